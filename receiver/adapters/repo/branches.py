"""Proposals and merges as commits, made by `git fast-import` without a work tree.

Decides that a proposal is exactly one new plain file, and that a merge on the local forge brings exactly that
file onto the tip of the moment. Refuses a path that is there already, a branch that says something else, and
a head or a base that moved.
"""

from __future__ import annotations

from uuid import uuid4

from receiver.adapters.repo import objects, signing
from receiver.adapters.repo.names import check_branch, check_id, check_path, plain
from receiver.adapters.repo.process import Git
from receiver.errors import Conflict, Invalid, Refused, Unavailable

_SCRATCH = "refs/gitmedic/tmp"


def base_tip(git: Git) -> str:
    """The tip of the protected branch."""
    tip = objects.commit_of(git, f"refs/heads/{git.settings.base}")
    if tip is None:
        raise Refused(
            f"reading branch {git.settings.base!r} of {str(git.path)!r}: there is no such branch",
            next_step="push it, or set repo.base to the branch that is protected",
        )
    return tip


def propose(git: Git, branch: str, path: str, content: bytes, message: str) -> tuple[str, str]:
    """One new file on a new branch from the base's tip; (head, base)."""
    check_proposal(git, branch, path, content)
    ref, base_ref = f"refs/heads/{branch}", f"refs/heads/{git.settings.base}"
    present, base = objects.find(git, f"{ref}^{{commit}}", f"{base_ref}^{{commit}}")
    if present is not None:
        return same_again(git, branch, present.id, path, content)
    tip = base.id if base is not None else base_tip(git)
    scratch, head = write_proposal(git, tip, path, content, message)
    # a crash before this line leaves a scratch ref, which `sweep` drops
    moved = transaction(git, f"create {ref} {head}", f"delete {scratch} {head}")
    if moved is None:
        return head, tip
    transaction(git, f"delete {scratch} {head}")
    # another process of ours made the branch in the meantime, or a name stands in its way
    present_now = objects.commit_of(git, ref)
    if present_now is None:
        raise Conflict(f"creating branch {branch!r}: git says: {moved}", next_step="remove what is in its way")
    return same_again(git, branch, present_now, path, content)


def check_proposal(git: Git, branch: str, path: str, content: bytes) -> None:
    """Names and size of a proposal, or `Invalid`."""
    check_branch(branch)
    check_path(path)
    prefix = git.settings.prefix
    if prefix and not path.startswith(f"{prefix}/"):
        raise Invalid(
            f"{path!r} lies outside of {prefix!r}", next_step="propose below the folder that repo.prefix names"
        )
    if len(content) > git.settings.max_file_bytes:
        raise Invalid(f"{path}: {len(content)} bytes are more than {git.settings.max_file_bytes}")


def write_proposal(git: Git, tip: str, path: str, content: bytes, message: str) -> tuple[str, str]:
    """A commit that adds one file to a tip; (the scratch ref that keeps it, its id)."""
    scratch = f"{_SCRATCH}/{uuid4().hex}"
    head = _import(git, scratch, message, (tip,), [b"M 100644 inline %s\n" % path.encode(), _data(content)])
    try:
        _check_one_file(git, tip, head, path)
    except Conflict:
        transaction(git, f"delete {scratch} {head}")
        raise
    return scratch, head


def prepare_merge(git: Git, head: str, message: str) -> tuple[str, str]:
    """A two-parent commit of the base's tip and a head that adds one file; (merge, tip). Moves nothing.

    A scratch ref keeps the commit until `land` used it or `sweep` found it old.
    """
    check_id(head)
    tip = base_tip(git)
    if objects.commit_of(git, head) != head:
        raise Conflict(f"merging {head[:12]}: there is no such commit", next_step="load the page again")
    fork = objects.merge_base(git, tip, head)
    brought = objects.changes(git, fork, head) if fork else ()
    if len(brought) != 1 or (brought[0].status, brought[0].mode) != ("A", "100644"):
        shown = ", ".join(f"{one.status} {one.mode} {one.path}" for one in brought[:3]) or "nothing"
        raise Conflict(
            f"merging {head[:12]}: it does not add one plain file and nothing else, but: {shown}",
            next_step="reject it; gitmedic proposes again while the alert fires",
        )
    added = brought[0]
    check_path(added.path)
    line = f"M 100644 {added.id} {added.path}\n".encode()
    merge = _import(git, _merge_scratch(tip, head), message, (tip, head), [line])
    _check_one_file(git, tip, merge, added.path)
    return merge, tip


def land(git: Git, merge: str, tip: str, branch: str, head: str) -> bool:
    """Move the base from `tip` to `merge` while the branch stands at `head`; False when the base moved.

    Both are compared in one transaction: a push between the decision and the merge is an old head.
    """
    for one in (merge, tip, head):
        check_id(one)
    base_ref, ref = f"refs/heads/{git.settings.base}", f"refs/heads/{check_branch(branch)}"
    try:
        failed = transaction(
            git,
            f"update {base_ref} {merge} {tip}",
            f"verify {ref} {head}",
            f"delete {_merge_scratch(tip, head)}",
        )
    except Unavailable:
        # the answer was lost, not necessarily the change
        if objects.is_ancestor(git, merge, base_tip(git)):
            return True
        raise
    if failed is None:
        return True
    now, branch_now = base_tip(git), objects.commit_of(git, ref)
    if now == merge or objects.is_ancestor(git, merge, now):
        return True
    if branch_now != head:
        raise Conflict(
            f"merging branch {branch!r}: its head is {(branch_now or 'gone')[:12]} and no longer {head[:12]}",
            next_step="look at the proposal again and approve what it says now",
        )
    if now != tip:
        return False
    raise Unavailable(f"moving branch {git.settings.base!r} to {merge[:12]}: git says: {failed}")


def retire(git: Git, branch: str) -> None:
    """Take a closed proposal's branch out of people's sight; its commits stay at `refs/gitmedic/closed/`."""
    check_branch(branch)
    head = objects.commit_of(git, f"refs/heads/{branch}")
    if head is not None:
        transaction(git, f"update refs/gitmedic/closed/{branch} {head}", f"delete refs/heads/{branch} {head}")


def transaction(git: Git, *lines: str) -> str | None:
    """All of these ref changes or none; None when done, else git's words."""
    done = git.run(
        "update-ref",
        "--no-deref",
        "--stdin",
        stdin="".join(f"{line}\n" for line in lines).encode(),
        ok=(0, 1, 128),
    )
    return None if done.status == 0 else " ".join(done.stderr.split())[:300] or "no reason"


def sweep(git: Git) -> None:
    """Drop scratch refs and merged branches of a day ago, pack, index paths for `landing`. Prunes nothing."""
    base = f"refs/heads/{git.settings.base}"
    stale = [*_old(git, f"{_SCRATCH}/"), *_old(git, "refs/heads/gitmedic/", f"--merged={base}")]
    if stale:
        transaction(git, *(f"delete {ref} {one}" for one, ref in stale))
    git.run("pack-refs", "--all")
    git.run("repack", "-d", "-q", "--geometric=2", doing="packing")
    git.run("commit-graph", "write", "--reachable", "--changed-paths", doing="indexing paths")


def clock(git: Git) -> int:
    """Seconds since the epoch by git's own clock, which wrote the dates that are compared with it."""
    return int(git.run("var", "GIT_COMMITTER_IDENT").stdout.split()[-2])


def _old(git: Git, prefix: str, *options: str) -> list[tuple[str, str]]:
    """Refs whose commit is older than a day; (id, ref)."""
    form = "--format=%(objectname) %(committerdate:unix) %(refname)"
    listed = git.run("for-each-ref", form, *options, prefix).stdout.decode("utf-8", "replace")
    now = clock(git)
    found = [line.split(" ", 2) for line in listed.splitlines()]
    return [(one, ref) for one, date, ref in found if now - int(date) > 86400]


def _merge_scratch(tip: str, head: str) -> str:
    # one name for one question: `land` can drop it, and preparing the same again replaces it
    return f"{_SCRATCH}/merge-{tip}-{head}"


def _import(git: Git, ref: str, message: str, parents: tuple[str, ...], body: list[bytes]) -> str:
    """One commit by `git fast-import` at a scratch ref."""
    words = plain(message).encode()[:64_000].decode("utf-8", "ignore").encode() or b"gitmedic"
    signature = f"{git.settings.author_name} <{git.settings.author_email}>".encode()
    stream = [
        b"feature done\ncommit %s\nmark :1\ncommitter %s now\n" % (ref.encode(), signature),
        _data(words),
        b"from %s\n" % parents[0].encode(),
        *(b"merge %s\n" % parent.encode() for parent in parents[1:]),
        *body,
        b"\nget-mark :1\ndone\n",
    ]
    made = git.run(
        "fast-import",
        "--quiet",
        "--force",
        "--date-format=now",
        stdin=b"".join(stream),
        doing="writing a commit",
    )
    commit = check_id(made.stdout.decode("ascii", "replace").strip())
    if git.settings.signing_key_file is None:
        return commit
    signed = signing.signed(git, commit)
    failed = transaction(git, f"update {ref} {signed} {commit}")
    if failed is not None:
        raise Unavailable(f"signing commit {commit[:12]}: git says: {failed}")
    return signed


def _data(content: bytes) -> bytes:
    # counted, so that nothing inside can end it
    return b"data %d\n%s\n" % (len(content), content)


def _check_one_file(git: Git, old: str, new: str, path: str) -> None:
    """fast-import overwrites without a word: what came out is what counts."""
    made = [(one.status, one.mode, one.path) for one in objects.changes(git, old, new)]
    if made != [("A", "100644", path)]:
        raise Conflict(
            f"adding {path!r}: the base branch has it, or something of that name, already",
            next_step="a run file is proposed once; look at its history with: git log -- " + path,
        )


def same_again(git: Git, branch: str, head: str, path: str, content: bytes) -> tuple[str, str]:
    """The branch is there: fine when it says the same, else somebody else's."""
    parent, blob = objects.find(git, f"{head}^1", f"{head}:{path}")
    if parent is not None and blob is not None and blob.kind == "blob" and blob.size == len(content):
        one = [(change.status, change.mode, change.path) for change in objects.changes(git, parent.id, head)]
        if one == [("A", "100644", path)] and objects.read(git, [blob.id]) == [content]:
            return head, parent.id
    raise Conflict(
        f"creating branch {branch!r}: it is there already and does not add just this {path!r}",
        next_step=f"look at it with: git log -p {branch}; delete it if nobody needs it",
    )
