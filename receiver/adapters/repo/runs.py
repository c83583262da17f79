"""A repository that takes run files, behind the port `Branches` and for the built-in forge.

Decides that all git of one repository happens in one thread of its own, one process after the other: git's
own locks then only meet other processes. With an upstream it is a mirror: what is asked about the base branch, a
head or a claim is asked of the forge first, and an unreachable forge is no answer. Knows of no catalog: what a run
stands on is not asked here. What each question means is decided in the files beside this one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from receiver.adapters.repo import branches, claims, landings, mirror, objects
from receiver.adapters.repo.names import check_branch, check_id
from receiver.adapters.repo.process import Git
from receiver.adapters.repo.settings import RepoSettings
from receiver.adapters.repo.upstream import Access, Upstream, access_to
from receiver.domain.landing import Brought, Landing
from receiver.domain.proposal import Proposal
from receiver.errors import GitmedicError

P = ParamSpec("P")
R = TypeVar("R")


class RunRepository:
    """One bare repository on this machine, or a mirror of a forge's on this machine. Close it when done."""

    def __init__(self, settings: RepoSettings, upstream: Upstream | None = None) -> None:
        self._git = Git(settings)
        self._upstream = upstream
        self._agreed: tuple[int, int] | None = None  #: the state of git's settings that agrees with ours
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="git")

    async def close(self) -> None:
        """Wait for the git command that is under way, and give the thread back."""
        await asyncio.to_thread(self._thread.shutdown, wait=True)

    # --- the port Branches

    async def propose(self, *, branch: str, path: str, content: bytes, message: str) -> tuple[str, str]:
        """One new file on a new branch from the base's tip; (head, base). The same again is harmless."""
        access = await self._access()
        if access is None:
            return await self._do(branches.propose, branch, path, content, message)
        return await self._do(mirror.propose, access, branch, path, content, message)

    async def landing(self, proposal: Proposal, merge_sha: str | None) -> Landing:
        """The facts of git about the run file; what its playbook is now, the catalog's repository says."""
        access = await self._access()
        if access is not None:
            await self._do(mirror.fetch, access)
            await self._do(mirror.take_head, access, proposal.head_sha, proposal.branch, proposal.number)
        return await self._do(landings.landing, proposal, merge_sha)

    async def claim(self, run: str, instance: str, nonce: str) -> bool:
        """Claim the run (rule S2); True only for the one who was first, ever."""
        access = await self._access()
        if access is None:
            return await self._do(claims.claim, run, instance, nonce)
        return await self._do(claims.claim_there, access, run, instance, nonce)

    async def brought(self, head_ref: str, head_sha: str) -> Brought:
        """What a pull request of a person brings; `Retry` while its head cannot be had."""
        access = await self._access()
        if access is not None:
            await self._do(mirror.fetch, access)
            await self._do(mirror.take_head, access, check_id(head_sha), head_ref)
        return await self._do(landings.brought, head_sha)

    async def fetch(self) -> str:
        """The tip of the base branch, as the forge has it now; without a forge, as it is."""
        access = await self._access()
        return await (self._do(branches.base_tip) if access is None else self._do(mirror.fetch, access))

    # --- for the local forge

    async def head(self, branch: str) -> str | None:
        """Where a branch stands."""
        return await self._do(objects.commit_of, f"refs/heads/{check_branch(branch)}")

    async def prepare_merge(self, head: str, message: str) -> tuple[str, str]:
        """A two-parent commit that adds the head's one file to the tip; (merge, tip). Moves nothing."""
        await self._access()
        return await self._do(branches.prepare_merge, head, message)

    async def land(self, merge: str, tip: str, branch: str, head: str) -> bool:
        """Move the base from tip to merge; False when it moved meanwhile, `Conflict` when the head did."""
        return await self._do(branches.land, merge, tip, branch, head)

    async def contains(self, commit: str) -> bool:
        """Whether a commit is part of the base branch."""
        return await self._do(_contains, commit)

    async def retire(self, branch: str) -> None:
        """Take a closed proposal's branch out of people's sight; its commits stay."""
        await self._do(branches.retire, branch)

    # --- for the daily schedule and the pages

    async def tip(self) -> str:
        """The tip of the base branch."""
        return await self._do(branches.base_tip)

    async def sweep(self) -> None:
        """Drop what is over, pack and index."""
        access = await self._access()
        if access is not None:
            await self._do(mirror.sweep, access)
            await self._do(claims.prune_there, access)
        await self._do(claims.prune)
        await self._do(branches.sweep)

    async def _access(self) -> Access | None:
        """The forge with the password of now. Asked anew each time: a person may connect it while we run."""
        access = await access_to(self._upstream) if self._upstream is not None else None
        stat = (self._git.path / "config").stat()
        stamp = (stat.st_ino, stat.st_mtime_ns)  # git writes its settings beside them and renames
        if stamp != self._agreed:
            await (self._do(mirror.check_own) if access is None else self._do(mirror.check_mirror, access))
            self._agreed = stamp
        return access

    async def _do(self, act: Callable[Concatenate[Git, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: act(self._git, *args, **kwargs))


def _contains(git: Git, commit: str) -> bool:
    try:
        check_id(commit)
    except GitmedicError:
        return False
    if objects.commit_of(git, commit) != commit:
        return False
    return objects.is_ancestor(git, commit, branches.base_tip(git))
