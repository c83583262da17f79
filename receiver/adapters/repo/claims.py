"""Claims: the right to start a run, given once and for ever (rule S2).

A claim is a commit of its own with an empty tree at `refs/gitmedic/claims/<run id>`. Decides who was first by
git's own ref lock; after an unclear answer the ref is read back and only our own nonce is a yes.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from uuid import UUID

from receiver.adapters.repo import objects
from receiver.adapters.repo.branches import clock, transaction
from receiver.adapters.repo.names import check_id, check_run, check_word
from receiver.adapters.repo.process import Git
from receiver.domain.runfile import path_of, read_runfile
from receiver.errors import Invalid, Unavailable

CLAIMS = "refs/gitmedic/claims"
#: a claim outlives its run's expiry by so long
KEPT_SECONDS = 30 * 86400
#: known to every git, of both kinds of object id, without being stored
_EMPTY_TREE = {
    40: "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    64: "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
}


def claim(git: Git, run: str, instance: str, nonce: str) -> bool:
    """True only for the one who was first, ever."""
    check_run(run)
    check_word(instance, "instance id")
    check_word(nonce, "nonce", least=16)  # two claims with one nonce would both read themselves back
    ref = f"{CLAIMS}/{run}"
    base = objects.commit_of(git, f"refs/heads/{git.settings.base}")
    words = f"gitmedic claim\n\nrun: {run}\ninstance: {instance}\nnonce: {nonce}\n".encode()
    tree = _EMPTY_TREE[len(base) if base else 40]
    made = git.run("commit-tree", tree, "-F", "-", stdin=words, doing=f"claiming run {run}")
    commit = check_id(made.stdout.decode("ascii", "replace").strip())
    try:
        failed = transaction(git, f"create {ref} {commit}")
    except Unavailable as error:
        failed = error.message
    if failed is None:
        _settle(git, ref)
        return True
    if "reference already exists" in failed:
        return False
    return _read_back(git, ref, instance, nonce, failed)


def prune(git: Git) -> None:
    """Drop claims of runs that expired more than 30 days ago: their files can start nothing any more.

    A claim whose run file cannot be found or read stays: it may be the only thing that keeps it from running.
    """
    now, form = clock(git), "--format=%(objectname) %(committerdate:unix) %(refname)"
    listed = git.run("for-each-ref", form, f"{CLAIMS}/").stdout.decode("utf-8", "replace")
    rows = [line.split(" ", 2) for line in listed.splitlines()]
    old = [(one, ref) for one, date, ref in rows if now - int(date) > KEPT_SECONDS]
    gone = [(one, ref) for one, ref in old if _expired(git, ref.rpartition("/")[2], now)]
    if gone:
        transaction(git, *(f"delete {ref} {one}" for one, ref in gone))


def _expired(git: Git, run: str, now: int) -> bool:
    try:
        check_run(run)
    except Invalid:
        return False  # none of ours
    made = datetime.fromtimestamp((UUID(run).int >> 80) / 1000, UTC)
    days = [path_of(run, made + timedelta(days=by)) for by in (0, -1, 1)]  # the file was named a moment later
    found = objects.find(git, *(f"refs/heads/{git.settings.base}:{path}" for path in days))
    there = next(((one, path) for one, path in zip(found, days, strict=True) if one is not None), None)
    if there is None:
        return False
    try:
        runfile = read_runfile(objects.read(git, [there[0].id])[0], there[1])
    except Invalid:
        return False
    return now - runfile.expires_at.timestamp() > KEPT_SECONDS


def _read_back(git: Git, ref: str, instance: str, nonce: str, why: str) -> bool:
    """After a lost answer: whose claim is there?"""
    present = objects.commit_of(git, ref)
    if present is None:
        raise Unavailable(f"claiming {ref!r}: {why}", after_seconds=10)
    lines = objects.read(git, [present])[0].decode("utf-8", "replace").splitlines()
    return f"instance: {instance}" in lines and f"nonce: {nonce}" in lines


def _settle(git: Git, ref: str) -> None:
    """Git syncs the file, not its folder: a claim must survive the power as well as the process."""
    folder = os.open((git.path / ref).parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
