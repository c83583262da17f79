"""The ops repository behind the ports `Repo`, `Branches` and `Adoption`, and for `gitmedic revision`.

Adds to a repository that takes run files what only the catalog's has: the revision in force, what a run stands on, and
what waits for adoption. Refuses to read anything but a commit by its id.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable

from receiver.adapters.repo import adoption, mirror, objects, revisions
from receiver.adapters.repo.names import check_id
from receiver.adapters.repo.process import Git
from receiver.adapters.repo.runs import RunRepository
from receiver.adapters.repo.settings import RepoSettings
from receiver.adapters.repo.upstream import Upstream
from receiver.domain.landing import Trees
from receiver.domain.revision import Pending, Revision
from receiver.errors import Invalid

_REVISIONS_KEPT = 8


class OpsRepository(RunRepository):
    """The catalog's repository: it takes run files as well, unless another place does."""

    def __init__(
        self, settings: RepoSettings, adoption: Callable[[], Awaitable[str]], upstream: Upstream | None = None
    ) -> None:
        super().__init__(settings, upstream)
        self._adoption = adoption
        self._revisions: OrderedDict[str, Revision] = OrderedDict()

    # --- the port Repo

    async def adopted(self) -> str:
        """The commit in force; which one that is, the database says."""
        return check_id(await self._adoption())

    async def revision(self, commit: str) -> Revision:
        """Catalog, inventory and policy at a commit; the last few are kept, since a commit never changes."""
        kept = self._revisions.get(commit)
        if kept is not None:
            self._revisions.move_to_end(commit)
            return kept
        await self._bring(commit)
        read = await self._do(revisions.revision, commit)
        self._revisions[commit] = read
        while len(self._revisions) > _REVISIONS_KEPT:
            self._revisions.popitem(last=False)
        return read

    async def inventory_files(self, commit: str) -> dict[str, bytes]:
        """The files of the inventory at a commit, by path below the content's folder."""
        return await self._do(revisions.inventory_files, commit)

    async def trees(self, commit: str, playbook_path: str) -> Trees:
        """What a run file pins."""
        await self._bring(commit)
        found = await self._do(revisions.trees, commit, playbook_path)
        if found is None:
            raise Invalid(
                f"commit {commit[:12]} has no such playbook",
                where=playbook_path,
                next_step="see what is in force with: gitmedic catalog list",
            )
        return found

    async def files(self, commit: str, playbook_path: str) -> dict[str, bytes]:
        """The named files that may enter a run (rule S6), by path below the playbook's folder."""
        await self._bring(commit)
        return await self._do(revisions.run_files, commit, playbook_path)

    async def _bring(self, commit: str) -> None:
        """A mirror far from where things are adopted may not have it yet."""
        if self._upstream is not None and not await self._do(_is_here, check_id(commit)):
            await self.fetch()

    # --- for `gitmedic revision` and the pages

    async def content_commit(self, tip: str | None = None) -> str:
        """The commit whose content counts: the adopted one unless what needs adoption differs at the tip."""
        adopted = await self.adopted()
        at = tip or await self.tip()
        return at if await self._do(adoption.content_differs, adopted, at) else adopted

    async def pending(self, adopted: str) -> tuple[Pending, ...]:
        """Commits whose content is not in force yet, oldest first."""
        return await self._do(adoption.pending, adopted)

    async def diff(self, old: str, new: str) -> str:
        """What would change, as bounded plain text."""
        return await self._do(adoption.diff, old, new)

    async def digest(self, old: str, new: str) -> str:
        """What an acceptance signs."""
        return await self._do(adoption.digest, old, new)

    async def as_reviewed(self, old: str, first: str, last: str, head: str, head_ref: str) -> bool:
        """Whether these commits brought, over the revision in force, just what a pull request's head showed."""
        access = await self._access()
        if access is not None:
            await self._do(mirror.take_head, access, check_id(head), head_ref)
        return await self._do(adoption.as_reviewed, old, first, last, head)


def _is_here(git: Git, commit: str) -> bool:
    return objects.commit_of(git, commit) == commit
