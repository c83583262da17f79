"""The ops repository and the forge in memory: commits are numbered snapshots of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha1

from receiver.domain.collection import LOCK, read_collections
from receiver.domain.forge import Account, Marks, Opening, Posture, PullRequest, Review, bot_account, person_account
from receiver.domain.inventory import read_inventory
from receiver.domain.landing import Brought, Landing, Trees
from receiver.domain.lint import enters_role, enters_run
from receiver.domain.playbook import read_catalog
from receiver.domain.policyfile import read_policy
from receiver.domain.prompt import read_prompts
from receiver.domain.proposal import Proposal
from receiver.domain.revision import Pending, Revision
from receiver.errors import Conflict, Invalid, Refused, Unavailable
from receiver.identity import usual_id
from receiver.ports import Clock, Turn


def _digest(*parts: bytes) -> str:
    return sha1(b"\0".join(parts), usedforsecurity=False).hexdigest()


@dataclass
class FakeRepo:
    """The Repo and Branches ports."""

    files_at: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, tuple[str, str, str, bytes]] = field(default_factory=dict)
    landed: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    claims: dict[str, str] = field(default_factory=dict)
    heads: dict[str, Brought] = field(default_factory=dict)
    adopted_commit: str = ""

    def adopt(self, files: Mapping[str, bytes]) -> str:
        """A new revision, in force at once."""
        commit = _digest(*(name.encode() + data for name, data in sorted(files.items())))
        self.files_at[commit] = dict(files)
        self.adopted_commit = commit
        return commit

    async def adopted(self) -> str:
        """The commit in force."""
        if not self.adopted_commit:
            raise Refused("reading the adopted revision: none was ever adopted")
        return self.adopted_commit

    async def revision(self, commit: str) -> Revision:
        """Read anew each time."""
        files = self._at(commit)
        if "policy.yml" not in files:
            raise Invalid(f"revision {commit[:12]} has no such file", where="policy.yml")
        return Revision(
            commit=commit,
            catalog=read_catalog({name: data for name, data in files.items() if name.startswith("playbooks/")}),
            inventory=read_inventory({name: data for name, data in files.items() if name.startswith("inventory/")}),
            policy=read_policy(files["policy.yml"]),
            collections=read_collections(files.get(LOCK)),
            prompts=read_prompts(files),
        )

    async def trees(self, commit: str, playbook_path: str) -> Trees:
        """Digests of the folders."""
        files = self._at(commit)
        if not _below(files, playbook_path):
            raise Invalid(f"commit {commit[:12]} has no such playbook", where=playbook_path)
        lock = files.get("collections.lock")
        return Trees(
            playbook=_tree(_below(files, playbook_path)),
            roles=_tree(_below(files, "roles")),
            collections=_digest(lock) if lock is not None else "",
        )

    async def files(self, commit: str, playbook_path: str) -> dict[str, bytes]:
        """The playbook, its folders of data and tasks, and the roles that it names."""
        files = self._at(commit)
        own = _below(files, playbook_path)
        found = {name: data for name, data in own.items() if enters_run(name)}
        if "playbook.yml" not in found:
            raise Invalid(f"commit {commit[:12]} has no such file", where=f"{playbook_path}/playbook.yml")
        named = b"\0".join(found.values())
        for name, data in _below(files, "roles").items():
            role, _, below = name.partition("/")
            if role.encode() in named and enters_role(below):
                found[f"roles/{name}"] = data
        return found

    async def propose(self, *, branch: str, path: str, content: bytes, message: str) -> tuple[str, str]:
        """The same again is the same; a branch that says something else is somebody else's."""
        head = _digest(branch.encode(), path.encode(), content)
        if branch in self.branches:
            known, base, *_ = self.branches[branch]
            if known != head:
                raise Conflict(f"creating branch {branch!r}: it is there already")
            return known, base
        base = self._tip()
        if path in self.files_at.get(self.adopted_commit, {}) or path in {one for one, _ in self.landed.values()}:
            raise Conflict(f"adding {path!r}: the base branch has it already")
        self.branches[branch] = (head, base, path, content)
        return head, base

    async def landing(self, proposal: Proposal, merge_sha: str | None) -> Landing:
        """As the fake merges left it; tests change `landed` to make it strange."""
        reviewed = next((one for one in self.branches.values() if one[0] == proposal.head_sha), None)
        found = self.landed.get(merge_sha or "")
        # a merge that brought another path has nothing at the proposed one
        content = found[1] if found and found[0] == proposal.path else None
        return Landing(
            base_tip=self._tip(),
            merge_sha=merge_sha,
            reachable=found is not None,
            first_landing=content is not None
            and [one for one, _ in self.landed.values()].count(proposal.path) == 1
            and [data for _, data in self.landed.values()].count(content) == 1,
            reviewed=(("A", "100644", reviewed[2]),) if reviewed else (),
            landed=(("A", "100644", found[0]),) if found else (),
            head_blob=_digest(reviewed[3]) if reviewed and reviewed[2] == proposal.path else None,
            landed_blob=_digest(content) if content is not None else None,
            content=content,
        )

    async def brought(self, head_ref: str, head_sha: str) -> Brought:
        """One file, as every head here has; tests put others into `heads`."""
        if head_sha in self.heads:
            return self.heads[head_sha]
        for head, base, path, content in self.branches.values():
            if head == head_sha:
                return Brought(base_sha=base, changes=(("A", "100644", path),), path=path, content=content)
        raise Unavailable(f"reading commit {head_sha}: the ops repository does not have it")

    async def claim(self, run: str, instance: str, nonce: str) -> bool:
        """The first one only."""
        if run in self.claims:
            return False
        self.claims[run] = nonce
        return True

    def _at(self, commit: str) -> dict[str, bytes]:
        if commit not in self.files_at:
            raise Refused(f"reading commit {commit}: the ops repository does not have it")
        return self.files_at[commit]

    def _tip(self) -> str:
        return next(reversed(self.landed), self.adopted_commit)


def _below(files: Mapping[str, bytes], folder: str) -> dict[str, bytes]:
    prefix = f"{folder.rstrip('/')}/"
    return {name.removeprefix(prefix): data for name, data in files.items() if name.startswith(prefix)}


def _tree(files: Mapping[str, bytes]) -> str:
    return _digest(*(name.encode() + data for name, data in sorted(files.items()))) if files else ""


@dataclass
class FakeAdoption:
    """The Adoption port: commits that tests push."""

    repo: FakeRepo
    waiting: list[Pending] = field(default_factory=list)
    #: heads whose content is what landed
    reviewed: set[str] = field(default_factory=set)

    def push(self, files: Mapping[str, bytes]) -> str:
        """A commit of the base that is not in force."""
        commit = _digest(*(name.encode() + data for name, data in sorted(files.items())))
        self.repo.files_at[commit] = dict(files)
        at = datetime.fromtimestamp(0, UTC)
        self.waiting.append(Pending(commit=commit, subject="a change", author="x <x@y>", at=at, paths=("policy.yml",)))
        return commit

    async def fetch(self) -> str:
        """The last that was pushed."""
        return self.waiting[-1].commit if self.waiting else self.repo.adopted_commit

    async def pending(self, adopted: str) -> tuple[Pending, ...]:
        """Those after the adopted one."""
        commits = [one.commit for one in self.waiting]
        return tuple(self.waiting[commits.index(adopted) + 1 :] if adopted in commits else self.waiting)

    async def digest(self, old: str, new: str) -> str:
        """Of both ids."""
        return _digest(old.encode(), new.encode())

    async def as_reviewed(self, old: str, first: str, last: str, head: str, head_ref: str) -> bool:
        """As tests say."""
        return head in self.reviewed


class FakeWatchbook:
    """The Watchbook port."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.at: dict[str, datetime] = {}
        self.until: dict[str, datetime] = {}
        self.kept: dict[tuple[str, int, str], tuple[str | None, str]] = {}
        self.known: set[str] = set()

    async def begin(self, repository: str, seconds: float) -> Turn | None:
        """One at a time."""
        now = self._clock.now()
        if self.until.get(repository, now) > now:
            return None
        self.until[repository] = now + timedelta(seconds=seconds)
        return Turn(since=self.at.get(repository), at=now)

    async def done(self, repository: str, at: datetime | None) -> None:
        """Never back."""
        self.until.pop(repository, None)
        if at is not None:
            self.at[repository] = max(at, self.at.get(repository, at))

    async def seen(self, repository: str, number: int, head_sha: str) -> bool:
        """As kept."""
        return (repository, number, head_sha) in self.kept

    async def keep(self, repository: str, number: int, head_sha: str, *, case: str | None, why: str) -> None:
        """The first word stays."""
        self.kept.setdefault((repository, number, head_sha), (case, why))

    async def is_known(self, run: str, case: str) -> bool:
        """As kept; an id that is none counts as used."""
        return None in (usual_id(run), usual_id(case)) or bool({run, case} & self.known)


class FakeForge:
    """The Forge, Hosting and ReviewDesk ports."""

    name = "local"

    def __init__(self, repo: FakeRepo, clock: Clock, repository: str = "local") -> None:
        self._repo, self._clock, self.repository = repo, clock, repository
        self.pulls: dict[int, PullRequest] = {}
        self.comments: dict[int, str] = {}
        self.bodies: dict[int, str] = {}
        self.marks: dict[int, Marks] = {}
        self.bot = bot_account()
        self.shown = Posture(protected=True, force_push=False)
        self._changed: dict[int, datetime] = {}

    async def open(self, opening: Opening) -> PullRequest:
        """Or the one of this branch that is open or merged already."""
        for pull in self.pulls.values():
            if pull.head_ref == opening.branch and pull.state != "closed":
                return pull
        number = len(self.pulls) + 1
        self.bodies[number] = opening.body
        return self._put(
            PullRequest(
                number=number,
                url=f"http://127.0.0.1:8090/proposals/{number}",
                repository=self.repository,
                state="open",
                head_sha=opening.head_sha,
                head_ref=opening.branch,
                base_ref=opening.base,
                author=self.bot,
            )
        )

    async def read(self, number: int) -> PullRequest:
        """As it is now."""
        if number not in self.pulls:
            raise Refused(f"reading pull request {number}: there is none")
        return self.pulls[number]

    async def comment(self, number: int, text: str) -> None:
        """The one comment."""
        await self.read(number)
        self.comments[number] = text

    async def mark(self, number: int, marks: Marks) -> None:
        """The last marks."""
        await self.read(number)
        self.marks[number] = marks

    async def close(self, number: int, text: str) -> None:
        """Closed by us."""
        pull = await self.read(number)
        if pull.state == "merged":
            raise Conflict(f"closing pull request {number}: it is merged")
        if pull.state == "open":
            self._put(pull.model_copy(update={"state": "closed", "closed_by": self.bot}))
        self.comments[number] = text

    async def account(self) -> Account:
        """The bot."""
        return self.bot

    async def posture(self) -> Posture:
        """What `shown` says."""
        return self.shown

    async def changed(self, since: datetime | None) -> list[int]:
        """By the fake's clock, newest first."""
        if since is None:
            return sorted((number for number, pull in self.pulls.items() if pull.state == "open"), reverse=True)
        return sorted((number for number, at in self._changed.items() if at > since), reverse=True)

    async def behind(self, commit: str) -> int | None:
        """By the merge commit."""
        return next((number for number, pull in self.pulls.items() if pull.merge_sha == commit), None)

    async def approve(self, number: int, head_sha: str, person: str, via: str, *, signature: str = "") -> PullRequest:
        """Record the review."""
        pull = await self._approvable(number, head_sha, person)
        if pull.state == "merged":
            return pull
        review = self._review(pull, person, "approve", via, signature)
        return self._put(pull.model_copy(update={"reviews": (*pull.reviews, review)}))

    async def approve_and_merge(
        self, number: int, head_sha: str, person: str, via: str, *, signature: str = ""
    ) -> PullRequest:
        """Record the review and merge, once."""
        pull = await self._approvable(number, head_sha, person)
        if pull.state == "merged":
            return pull
        _, _, path, content = self._repo.branches[pull.head_ref]
        merge = _digest(b"merge", pull.head_sha.encode())
        self._repo.landed[merge] = (path, content)
        changed = {
            "state": "merged", "merge_sha": merge, "merged_by": person_account(person),
            "merged_at": self._clock.now(),
            "reviews": (*pull.reviews, self._review(pull, person, "approve", via, signature)),
        }  # fmt: skip
        return self._put(pull.model_copy(update=changed))

    async def reject(self, number: int, person: str, via: str, why: str) -> PullRequest:
        """Closed by a person."""
        pull = await self.read(number)
        if pull.state == "closed" and pull.closed_by == person_account(person):
            return pull
        if pull.state != "open":
            raise Conflict(f"rejecting pull request {number}: it is {pull.state}")
        reviews = (*pull.reviews, self._review(pull, person, "reject", via, ""))
        changed = {"state": "closed", "closed_by": person_account(person), "reviews": reviews}
        return self._put(pull.model_copy(update=changed))

    async def _approvable(self, number: int, head_sha: str, person: str) -> PullRequest:
        pull = await self.read(number)
        if pull.state == "merged" and (pull.merged_by, pull.head_sha) == (person_account(person), head_sha):
            return pull
        if pull.state != "open" or pull.head_sha != head_sha:
            raise Conflict(f"approving pull request {number}: it is {pull.state} at {pull.head_sha[:12]}")
        return pull

    def _put(self, pull: PullRequest) -> PullRequest:
        self.pulls[pull.number] = pull
        self._changed[pull.number] = self._clock.now()
        return pull

    def _review(self, pull: PullRequest, person: str, verdict: str, via: str, signature: str) -> Review:
        said = {
            "by": person_account(person), "head_sha": pull.head_sha, "verdict": verdict, "at": self._clock.now(),
            "via": via, "signature": signature,
        }  # fmt: skip
        return Review.model_validate(said)


class FakeSignatures:
    """The Signatures port: a signature is the key and the text, joined."""

    async def is_by(self, text: str, signature: str, keys: Sequence[str]) -> bool:
        """Whether one of the keys made it."""
        return any(signature == self.sign(text, key) for key in keys)

    @staticmethod
    def sign(text: str, key: str) -> str:
        """What this key's signature looks like."""
        return f"signed {_digest(key.encode(), text.encode())}"
