"""Real git in a forge's bare repositories: commits, and the ways in which forges merge.

Decides nothing about who may do what. Every merge is made by git itself, so its commits are those of a forge.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

ZERO = "0" * 40
#: asked by git for every pushed ref; what is refused to this user stands in the environment of the request
_UPDATE = r"""#!/bin/sh
ref=$1 old=$2 new=$3
matches() { set -f; for one in $2; do case "$1" in $one) return 0 ;; esac; done; return 1; }
if matches "$ref" "$FORGE_CLOSED"; then
    echo "error: $FORGE_WORDS $ref" >&2
    exit 1
fi
case "$old$new" in *[!0]*) ;; *) exit 0 ;; esac
if matches "$ref" "$FORGE_FORWARD_ONLY"; then
    case "$new" in *[!0]*) ;; *) echo "error: Cannot delete a protected branch $ref" >&2; exit 1 ;; esac
    case "$old" in
    *[!0]*) git merge-base --is-ancestor "$old" "$new" || { echo "error: Cannot force-push to $ref" >&2; exit 1; } ;;
    esac
fi
exit 0
"""


class Clash(Exception):
    """The two sides do not merge."""


def git(folder: Path, *arguments: str, stdin: bytes = b"", check: bool = True, **more: str) -> str:
    """One command in a bare repository; its output."""
    environment = {
        "PATH": os.environ["PATH"], "LC_ALL": "C", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_AUTHOR_NAME": "Forge", "GIT_AUTHOR_EMAIL": "noreply@forge.example",
        "GIT_COMMITTER_NAME": "Forge", "GIT_COMMITTER_EMAIL": "noreply@forge.example",
    } | more  # fmt: skip
    done = subprocess.run(
        ["git", "--git-dir", str(folder), *arguments], input=stdin, capture_output=True, env=environment, check=False
    )
    if check and done.returncode != 0:
        raise AssertionError(f"git {arguments}: {done.stderr.decode()}")
    return done.stdout.decode("utf-8", "surrogateescape").strip()


def make_bare(folder: Path, base: str) -> None:
    """An empty repository as a forge keeps it."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "--bare", "--template=", f"--initial-branch={base}")
    for name, value in (
        ("http.receivepack", "true"), ("gc.auto", "0"), ("receive.autogc", "false"), ("uploadpack.allowFilter", "true"),
    ):  # fmt: skip
        git(folder, "config", name, value)
    (folder / "hooks").mkdir()
    hook = folder / "hooks" / "update"
    hook.write_text(_UPDATE)
    hook.chmod(0o755)


def tip(folder: Path, ref: str) -> str | None:
    """The commit of a ref or id."""
    return git(folder, "rev-parse", "-q", "--verify", f"{ref}^{{commit}}", check=False) or None


def refs(folder: Path) -> dict[str, str]:
    """Every ref with its object."""
    listed = git(folder, "for-each-ref", "--format=%(objectname) %(refname)")
    return {name: one for one, _, name in (line.partition(" ") for line in listed.splitlines())}


def is_ancestor(folder: Path, older: str, newer: str) -> bool:
    """Whether one commit is part of another's history."""
    return git(folder, "merge-base", older, newer, check=False) == older


def commit(
    folder: Path, parent: str | None, files: Mapping[str, bytes | None], message: str, who: tuple[str, str]
) -> str:
    """A commit of these files on top of another; None takes a file away. No ref is moved."""
    with tempfile.TemporaryDirectory() as scratch:
        index = {"GIT_INDEX_FILE": f"{scratch}/index"}
        git(folder, "read-tree", *([parent] if parent else ["--empty"]), **index)
        lines = []
        for path, content in files.items():
            one = ZERO if content is None else git(folder, "hash-object", "-w", "--stdin", stdin=content)
            lines.append(f"{'0' if content is None else '100644'} {one}\t{path}\0")
        git(folder, "update-index", "-z", "--index-info", stdin="".join(lines).encode(), **index)
        tree = git(folder, "write-tree", **index)
    return _commit(folder, tree, [parent] if parent else [], message, who)


def merged(folder: Path, base: str, head: str, message: str, who: tuple[str, str]) -> str:
    """A commit of two parents."""
    return _commit(folder, _tree(folder, base, head), [base, head], message, who)


def squashed(folder: Path, base: str, head: str, message: str, who: tuple[str, str]) -> str:
    """One commit on top of the base that brings all of the head."""
    return _commit(folder, _tree(folder, base, head), [base], message, who)


def rebased(folder: Path, base: str, head: str) -> str:
    """The head's commits one by one on top of the base; the last of them."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        git(folder, "worktree", "add", "-q", "--detach", str(tree), base)
        try:
            picked = subprocess.run(
                ["git", "-C", str(tree), "-c", "user.name=Forge", "-c", "user.email=noreply@forge.example",
                 "cherry-pick", "--allow-empty", f"{base}..{head}"],
                capture_output=True, check=False,
            )  # fmt: skip
            if picked.returncode != 0:
                raise Clash(picked.stderr.decode()[:200])
            done = subprocess.run(["git", "-C", str(tree), "rev-parse", "HEAD"], capture_output=True, check=True)
            return done.stdout.decode().strip()
        finally:
            git(folder, "worktree", "remove", "--force", str(tree))


def _tree(folder: Path, base: str, head: str) -> str:
    first = git(folder, "merge-tree", "--write-tree", base, head, check=False).split("\n")
    if len(first) != 1:
        raise Clash("the branches conflict")
    return first[0]


def _commit(folder: Path, tree: str, parents: list[str], message: str, who: tuple[str, str]) -> str:
    named = {"GIT_AUTHOR_NAME": who[0], "GIT_AUTHOR_EMAIL": who[1]}
    above = [word for parent in parents for word in ("-p", parent)]
    return git(folder, "commit-tree", tree, *above, "-F", "-", stdin=message.encode(), **named)
