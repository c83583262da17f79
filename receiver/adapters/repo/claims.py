"""Claims: the right to start a run, given once and for ever (rule S2).

A claim is a commit of its own with an empty tree at `refs/gitmedic/claims/<run id>`. Decides who was first by
git's own ref lock; after an unclear answer the ref is read back and only our own nonce is a yes. Where pull requests
live on a forge, the claim is made there as well, by a push that only a new ref can take.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from receiver.adapters.repo import objects, upstream
from receiver.adapters.repo.branches import clock, transaction
from receiver.adapters.repo.names import check_id, check_run, check_word, made_at
from receiver.adapters.repo.process import Git
from receiver.adapters.repo.upstream import Access, Pushed
from receiver.domain.runfile import path_of, read_runfile
from receiver.errors import Invalid, Refused, Unavailable

CLAIMS = "refs/gitmedic/claims"
#: where a forge takes no other refs than branches and tags
TAGS = "refs/tags/gitmedic-claim-"
#: a claim outlives its run's expiry by so long
KEPT_SECONDS = 30 * 86400
#: pauses before the tries to reach the forge: what was claimed here cannot be claimed again later
_PATIENCE = (0.0, 1.0, 3.0)
_AS_TAGS = "gitmedic.claimsAsTags"


def claim(git: Git, run: str, instance: str, nonce: str) -> bool:
    """True only for the one who was first, ever."""
    return claimed(git, run, instance, nonce) is not None


def claimed(git: Git, run: str, instance: str, nonce: str) -> str | None:
    """The commit of the claim, for the one who was first in this repository."""
    check_run(run)
    check_word(instance, "instance id")
    check_word(nonce, "nonce", least=16)  # two claims with one nonce would both read themselves back
    ref = f"{CLAIMS}/{run}"
    base = objects.commit_of(git, f"refs/heads/{git.settings.base}")
    words = f"gitmedic claim\n\nrun: {run}\ninstance: {instance}\nnonce: {nonce}\n".encode()
    tree = objects.EMPTY_TREE[len(base) if base else 40]
    made = git.run("commit-tree", tree, "-F", "-", stdin=words, doing=f"claiming run {run}")
    commit = check_id(made.stdout.decode("ascii", "replace").strip())
    try:
        failed = transaction(git, f"create {ref} {commit}")
    except Unavailable as error:
        failed = error.message
    if failed is None:
        _settle(git, ref)
        return commit
    if "reference already exists" in failed:
        return None
    return _read_back(git, ref, instance, nonce, failed)


def claim_there(git: Git, access: Access, run: str, instance: str, nonce: str) -> bool:
    """First in this repository, then on the forge; True only for the one who was first in both."""
    commit = claimed(git, run, instance, nonce)
    if commit is None:
        return False
    lost, error = False, None
    for pause in _PATIENCE:
        time.sleep(pause)
        try:
            return _push(git, access, run, commit, lost=lost)
        except Unavailable as unclear:
            lost, error = True, unclear
    raise Unavailable(f"claiming run {run} on the forge: {error}", after_seconds=30)


def carry(git: Git, access: Access) -> int:
    """Make every claim of this repository on the forge as well; how many were new there.

    One that is there already stays as it is: whoever made it was first.
    """
    listed = git.run("for-each-ref", "--format=%(objectname) %(refname)", f"{CLAIMS}/").stdout.decode(
        "ascii", "replace"
    )
    ours = {ref.removeprefix(f"{CLAIMS}/"): one for one, _, ref in (row.partition(" ") for row in listed.splitlines())}
    left, carried, words = _not_there(git, access, ours), 0, ""
    as_tags = git.run("config", "--local", "--get", _AS_TAGS, ok=(0, 1)).stdout.strip() == b"true"
    for by_tag in (True,) if as_tags else (False, True):
        before = len(left)
        for first in range(0, len(left), 100):
            some = {_names(run)[by_tag]: ours[run] for run in left[first : first + 100]}
            pushes, leases = [f"{one}:{ref}" for ref, one in some.items()], dict.fromkeys(some, "")
            words = upstream.push(git, access, *pushes, leases=leases, doing="carrying claims to the forge").words
        left = _not_there(git, access, ours) if left else left
        carried += before - len(left)
        if by_tag and carried and not as_tags:
            git.run("config", "--local", _AS_TAGS, "true")
        if not left:
            return carried
    raise Refused(
        f"carrying claims to the forge: {len(left)} of {len(ours)} are refused there: {words}",
        next_step="let gitmedic's account create tags gitmedic-claim-* (a rule for tags may forbid it)",
        reason="claim_refused",
    )


def _not_there(git: Git, access: Access, runs: Iterable[str]) -> list[str]:
    there = upstream.listed(git, access, f"{CLAIMS}/*", f"{TAGS}*", doing="listing claims")
    return [run for run in runs if not any(name in there for name in _names(run))]


def prune_there(git: Git, access: Access) -> None:
    """As `prune`, on the forge; by the run's id, since the claims themselves are not here."""
    now = clock(git)
    there = upstream.listed(git, access, f"{CLAIMS}/*", f"{TAGS}*", doing="listing claims")
    over = []
    for ref, one in there.items():
        run = ref.removeprefix(f"{CLAIMS}/").removeprefix(TAGS)
        made = made_at(run)
        if made is not None and now - made > KEPT_SECONDS and ref in _names(run) and is_expired(git, run, now):
            over.append((ref, one))
    upstream.delete(git, access, over)


def prune(git: Git) -> None:
    """Drop claims of runs that expired more than 30 days ago: their files can start nothing any more.

    A claim whose run file cannot be found or read stays: it may be the only thing that keeps it from running.
    """
    now, form = clock(git), "--format=%(objectname) %(committerdate:unix) %(refname)"
    listed = git.run("for-each-ref", form, f"{CLAIMS}/").stdout.decode("utf-8", "replace")
    rows = [line.split(" ", 2) for line in listed.splitlines()]
    old = [(one, ref) for one, date, ref in rows if now - int(date) > KEPT_SECONDS]
    gone = [(one, ref) for one, ref in old if is_expired(git, ref.rpartition("/")[2], now)]
    if gone:
        transaction(git, *(f"delete {ref} {one}" for one, ref in gone))


def is_expired(git: Git, run: str, now: int) -> bool:
    """Whether the run's file is on the base branch and can have started nothing for 30 days."""
    try:
        check_run(run)
    except Invalid:
        return False  # none of ours
    made = datetime.fromtimestamp((UUID(run).int >> 80) / 1000, UTC)
    # the file was named a moment later
    days = [path_of(run, made + timedelta(days=by), git.settings.prefix) for by in (0, -1, 1)]
    found = objects.find(git, *(f"refs/heads/{git.settings.base}:{path}" for path in days))
    there = next(((one, path) for one, path in zip(found, days, strict=True) if one is not None), None)
    if there is None:
        return False
    try:
        runfile = read_runfile(objects.read(git, [there[0].id])[0], there[1])
    except Invalid:
        return False
    return now - runfile.expires_at.timestamp() > KEPT_SECONDS


def _read_back(git: Git, ref: str, instance: str, nonce: str, why: str) -> str | None:
    """After a lost answer: whose claim is there?"""
    present = objects.commit_of(git, ref)
    if present is None:
        raise Unavailable(f"claiming {ref!r}: {why}", after_seconds=10)
    lines = objects.read(git, [present])[0].decode("utf-8", "replace").splitlines()
    return present if f"instance: {instance}" in lines and f"nonce: {nonce}" in lines else None


def _names(run: str) -> tuple[str, str]:
    return f"{CLAIMS}/{run}", f"{TAGS}{run}"


def _push(git: Git, access: Access, run: str, commit: str, *, lost: bool) -> bool:
    """One try; `lost`: an earlier one may have arrived, so that finding our own commit there is a yes."""
    ref, tag = _names(run)
    as_tags = git.run("config", "--local", "--get", _AS_TAGS, ok=(0, 1)).stdout.strip() == b"true"
    chosen = tag if as_tags else ref
    try:
        pushed = upstream.push(git, access, f"{commit}:{chosen}", leases={chosen: ""}, doing=f"claiming run {run}")
    except Unavailable as unclear:
        pushed, lost = Pushed({chosen: ""}, unclear.message), True
    flag, words = pushed.flags[chosen], pushed.words
    # a connection that dies makes curl send the push again, and then our own ref stands in its way
    lost = lost or flag == "!"
    # both names: another executor may have been told by the forge to use the other one
    there = upstream.listed(git, access, ref, tag, doing=f"reading the claim of run {run}")
    if there:
        return there == {chosen: commit} and (flag == "*" or lost)
    if flag != "!" or pushed.passes:
        raise Unavailable(words, after_seconds=10)
    if as_tags:
        raise Refused(
            f"claiming run {run}: the forge takes neither {ref!r} nor {tag!r}: {words}",
            next_step="let gitmedic's account create tags gitmedic-claim-* (a rule for tags may forbid it)",
            reason="claim_refused",
        )
    git.run("config", "--local", _AS_TAGS, "true")
    return _push(git, access, run, commit, lost=lost)


def _settle(git: Git, ref: str) -> None:
    """Git syncs the file, not its folder: a claim must survive the power as well as the process."""
    folder = os.open((git.path / ref).parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
