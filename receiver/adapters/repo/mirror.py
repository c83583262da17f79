"""The ops repository as a mirror of a forge's: what is read here is there, what is made here is pushed there.

Decides that the forge's base branch is the truth, also when it was rewritten (the commits of before stay in the object
store, and are simply reachable no more); that a branch of ours is new or says the same; and after a lost answer what
is there is read back. Refuses to follow another repository than the one it was made for.
"""

from __future__ import annotations

from collections.abc import Set
from datetime import UTC, datetime

from receiver.adapters.repo import branches, objects, upstream
from receiver.adapters.repo.branches import base_tip, clock, same_again, transaction, write_proposal
from receiver.adapters.repo.names import check_ref_name, is_id, made_at
from receiver.adapters.repo.process import Git
from receiver.adapters.repo.upstream import Access, Pushed
from receiver.domain.runfile import read_runfile
from receiver.errors import Invalid, Refused, Unavailable

#: where heads of others lie, each named after the commit that was asked for: names of branches can exclude each other
HEADS = "refs/gitmedic/heads"
#: a branch of ours stays so long whatever became of it
_KEPT_SECONDS = 2 * 86400
_MOST_FILES = 100


def check_mirror(git: Git, access: Access) -> None:
    """That this repository was made to follow that one, or `Refused`: the base branch is overwritten by a fetch."""
    followed = following(git)
    if followed != access.url:
        raise Refused(
            f"following {access.url}: {str(git.path)!r} is {_what_it_is(followed)}",
            next_step="make it a mirror of that repository with: gitmedic forge connect",
            reason="other_mirror",
        )


def check_own(git: Git) -> None:
    """That this repository follows nobody, or `Refused`: what is made here alone, the next fetch would overwrite."""
    followed = following(git)
    if followed:
        raise Refused(
            f"changing {str(git.path)!r}: it is {_what_it_is(followed)}, and these settings name no forge",
            next_step="restart gitmedic up; if it says this again: gitmedic forge connect",
            reason="other_mirror",
        )


def following(git: Git) -> str:
    """The address that this repository is a mirror of; empty: none."""
    said = git.run("config", "--local", "--get", "remote.forge.url", ok=(0, 1)).stdout
    return said.decode("utf-8", "replace").strip()


def _what_it_is(followed: str) -> str:
    return f"a mirror of {followed}" if followed else "an ops repository of its own"


def fetch(git: Git, access: Access) -> str:
    """The forge's base branch as it is now; its tip."""
    ref = f"refs/heads/{git.settings.base}"
    upstream.fetch(git, access, f"+{ref}:{ref}", doing=f"fetching branch {git.settings.base!r}")
    return base_tip(git)


def propose(git: Git, access: Access, branch: str, path: str, content: bytes, message: str) -> tuple[str, str]:
    """As `branches.propose`, on the forge; (head, base)."""
    branches.check_proposal(git, branch, path, content)
    tip, ref = fetch(git, access), f"refs/heads/{branch}"
    present, landed = objects.find(git, f"{ref}^{{commit}}", f"{tip}:{path}")
    if present is not None:
        scratch, (head, base) = "", same_again(git, branch, present.id, path, content)
        if landed is not None:
            return head, base  # merged, and its branch perhaps deleted: it is not made again
    else:
        scratch, head = write_proposal(git, tip, path, content, message)
        base = tip
    try:
        there = _push_new(git, access, ref, head)
        if there != head:
            head, base = same_again(git, branch, there, path, content)
        transaction(git, f"update {ref} {head}")
        _pack_when_many(git)
    finally:
        if scratch:
            transaction(git, f"delete {scratch}")
    return head, base


def _pack_when_many(git: Git) -> None:
    """Git opens every ref that is a file of its own, in each fetch and push; between two sweeps they add up."""
    folder = git.path / "refs" / "heads" / "gitmedic"
    if folder.is_dir() and len(list(folder.iterdir())) > _MOST_FILES:
        git.run("pack-refs", "--all")


def _push_new(git: Git, access: Access, ref: str, head: str) -> str:
    """What the new branch says on the forge after a push that was taken, refused or lost."""
    doing = f"pushing {ref!r}"
    try:
        pushed = upstream.push(git, access, f"{head}:{ref}", leases={ref: ""}, doing=doing)
    except Unavailable:
        # the answer was lost, not necessarily the push
        pushed = None
    if pushed is not None and pushed.flags[ref] == "*":
        return head
    there = take_branch(git, access, ref)
    if there is not None:
        return there
    if pushed is None:
        raise Unavailable(f"{doing} at {access.url}: no answer, and it is not there", after_seconds=30)
    raise refusal(access, pushed, doing)


def refusal(access: Access, pushed: Pushed, doing: str) -> Refused | Unavailable:
    """A push that the forge did not want."""
    if pushed.passes:
        return Unavailable(f"{doing} at {access.url}: {pushed.words}", after_seconds=10)
    return Refused(
        f"{doing} at {access.url}: the forge refuses it: {pushed.words}",
        next_step="let gitmedic's account create branches gitmedic/* (protection or rulesets may forbid it)",
        reason="push_refused",
    )


def take_branch(git: Git, access: Access, ref: str) -> str | None:
    """Where a branch stands on the forge; its commits are here then."""
    there = upstream.listed(git, access, ref, doing=f"reading {ref!r}").get(ref)
    if there is not None:
        _bring(git, access, there, [ref])
    return there


def take_head(git: Git, access: Access, head: str, branch: str, number: int = 0) -> bool:
    """Bring a head that the forge names, from its branch or from where forges keep heads of pull requests."""
    if not is_id(head) or objects.commit_of(git, head) == head:
        return is_id(head)
    kept = [f"refs/pull/{number}/head", f"refs/merge-requests/{number}/head"] if number else []
    wanted = [f"refs/heads/{check_ref_name(branch)}", *kept]
    there = upstream.listed(git, access, *wanted, doing=f"looking for commit {head[:12]}")
    # exactly these: git's patterns match the ends of names
    _bring(git, access, head, [ref for ref in wanted if ref in there and (there[ref] == head or ref == wanted[0])])
    return objects.commit_of(git, head) == head


def _bring(git: Git, access: Access, head: str, refs: list[str]) -> None:
    for ref in refs:
        if objects.commit_of(git, head) != head:
            upstream.fetch(git, access, f"+{ref}:{HEADS}/{head}", doing=f"fetching {ref!r}")


def sweep(git: Git, access: Access) -> None:
    """Delete branches of ours on the forge that are over: two days old, and merged or expired. Never the base."""
    fetch(git, access)
    tip, now = base_tip(git), clock(git)
    there = upstream.listed(git, access, "refs/heads/gitmedic/*", doing="listing branches")
    base, over = f"refs/heads/{git.settings.base}", []
    for ref, head in there.items():
        run = ref.removeprefix("refs/heads/gitmedic/")
        made = made_at(run)
        if made is None or now - made < _KEPT_SECONDS or ref == base or not ref.startswith("refs/heads/gitmedic/"):
            continue
        _bring(git, access, head, [ref])
        if objects.commit_of(git, head) == head and _is_over(git, tip, head, run, now):
            over.append((ref, head))
    upstream.delete(git, access, over)
    _forget(git, there.keys() - dict(over).keys(), now)


def _forget(git: Git, kept: Set[str], now: int) -> None:
    """Drop our own names of branches that the forge has no more; their commits stay in the object store."""
    names = git.run("for-each-ref", "--format=%(objectname) %(refname)", "refs/heads/gitmedic/").stdout.decode("ascii")
    gone = []
    for one, _, ref in (line.partition(" ") for line in names.splitlines()):
        made = made_at(ref.removeprefix("refs/heads/gitmedic/"))
        if ref not in kept and made is not None and now - made > _KEPT_SECONDS:
            gone.append(f"delete {ref} {one}")
    if gone:
        transaction(git, *gone)


def _is_over(git: Git, tip: str, head: str, run: str, now: int) -> bool:
    """Merged in any style, or its run can start no more: an open pull request is closed when its run expires."""
    if objects.is_ancestor(git, head, tip):
        return True
    fork = objects.merge_base(git, tip, head)
    brought = objects.changes(git, fork, head) if fork else ()
    if len(brought) != 1 or brought[0].path.rpartition("/")[2] != f"{run}.yml":
        return False
    if objects.blob_at(git, tip, brought[0].path) is not None:
        return True
    try:
        runfile = read_runfile(objects.read(git, [brought[0].id])[0], brought[0].path)
    except Invalid:
        return False
    return datetime.fromtimestamp(now, UTC) > runfile.expires_at
