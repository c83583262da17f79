"""Claims: the right to start a run, given once and for ever (rule S2).

A claim is a commit of its own with an empty tree at `refs/gitmedic/claims/<run id>`. Decides who was first by
git's own ref lock; after an unclear answer the ref is read back and only our own nonce is a yes.
"""

from __future__ import annotations

import os

from receiver.adapters.repo import objects
from receiver.adapters.repo.branches import transaction
from receiver.adapters.repo.names import check_id, check_run, check_word
from receiver.adapters.repo.process import Git
from receiver.errors import Unavailable

CLAIMS = "refs/gitmedic/claims"
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
