"""Reading by object id: what a name means, which files a tree has, what a commit changed.

Every question goes to git on stdin or as a full id; nothing is read from a work tree. An object that is not
there is an answer (`None`, an empty tuple), never an error: ids come from forges and people.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from receiver.adapters.repo.names import is_id
from receiver.adapters.repo.process import Git
from receiver.errors import Broken, Invalid

_PLAIN_MODES = ("100644", "100755")
#: known to every git, of both kinds of object id, without being stored
EMPTY_TREE = {
    40: "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    64: "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
}


class Found(NamedTuple):
    """One object."""

    id: str
    kind: str  #: commit, tree, blob, tag
    size: int


class Entry(NamedTuple):
    """One file of a tree."""

    mode: str
    kind: str
    id: str
    path: str

    @property
    def plain(self) -> bool:
        """A file, not a symbolic link and not a submodule."""
        return self.mode in _PLAIN_MODES


class Change(NamedTuple):
    """One difference between two trees."""

    status: str
    mode: str  #: afterwards
    id: str  #: afterwards
    path: str


def find(git: Git, *names: str) -> list[Found | None]:
    """What each name means, in order; one process for all."""
    if any("\n" in name or not name or name.startswith("-") for name in names):
        raise Broken(f"asking git for {names!r}: a name would be read as something else")
    lines = git.run("cat-file", "--batch-check", stdin="".join(f"{name}\n" for name in names).encode())
    found: list[Found | None] = []
    for line in lines.stdout.decode("utf-8", "replace").splitlines():
        words = line.rsplit(" ", 2)
        whole = len(words) == 3 and is_id(words[0]) and words[2].isdigit()
        found.append(Found(words[0], words[1], int(words[2])) if whole else None)
    if len(found) != len(names):
        raise Broken(f"asking git for {len(names)} names: {len(found)} answers")
    return found


def commit_of(git: Git, name: str) -> str | None:
    """The commit that a full ref or id names."""
    (found,) = find(git, f"{name}^{{commit}}")
    return found.id if found else None


def root(git: Git, commit: str) -> str:
    """The tree in which content and run files lie: the commit's own, or its folder `prefix`; empty where that is not.

    Every read of content begins here, so that nothing outside the folder can be taken for it.
    """
    if not git.settings.prefix:
        return commit
    (found,) = find(git, f"{commit}:{git.settings.prefix}")
    return found.id if found is not None and found.kind == "tree" else EMPTY_TREE[len(commit)]


def blob_at(git: Git, commit: str, path: str) -> Found | None:
    """The file at a path, whatever its mode."""
    (found,) = find(git, f"{commit}:{path}")
    return found if found is not None and found.kind == "blob" else None


def read(git: Git, ids: Sequence[str]) -> list[bytes]:
    """The bytes of objects that are known to be there."""
    if not ids:
        return []
    if not all(is_id(one) for one in ids):
        raise Broken(f"reading {ids!r}: not object ids")
    stream = git.run("cat-file", "--batch", stdin="".join(f"{one}\n" for one in ids).encode()).stdout
    contents, position = [], 0
    for one in ids:
        end = stream.index(b"\n", position)
        words = stream[position:end].split(b" ")
        if len(words) != 3:
            raise Broken(f"reading object {one}: git says {stream[position:end][:100]!r}")
        size = int(words[2])
        contents.append(stream[end + 1 : end + 1 + size])
        position = end + 1 + size + 1
    return contents


def files(git: Git, tree: str, *paths: str) -> list[Entry]:
    """All files below the paths of a commit or tree, by full path."""
    listed = git.run("ls-tree", "-r", "-z", "--full-tree", tree, "--", *paths).stdout
    entries = []
    for line in listed.split(b"\0"):
        if line:
            about, _, path = line.partition(b"\t")
            mode, kind, one = about.decode("ascii").split(" ")
            entries.append(Entry(mode, kind, one, text(path)))
    return entries


def read_files(git: Git, entries: Iterable[Entry], *, most: int, doing: str) -> dict[str, bytes]:
    """The bytes of plain files, by path; links and submodules are left out. `Invalid` above `most` bytes."""
    plain = [entry for entry in entries if entry.plain]
    sizes = find(git, *(entry.id for entry in plain)) if plain else []
    total = sum(found.size for found in sizes if found)
    if total > most:
        raise Invalid(f"{doing}: {total} bytes are more than {most}", next_step="take large files out")
    return dict(zip((entry.path for entry in plain), read(git, [entry.id for entry in plain]), strict=True))


def changes(git: Git, old: str, new: str, *paths: str) -> tuple[Change, ...]:
    """What differs between two commits or trees, one line a file, renames as delete and add."""
    raw = git.run("diff-tree", "-r", "--raw", "--no-renames", "--no-abbrev", "-z", old, new, "--", *paths).stdout
    return tuple(parse_changes(raw.split(b"\0")))


def parse_changes(words: Sequence[bytes]) -> Iterable[Change]:
    """`:<mode> <mode> <id> <id> <status>` and a path, alternately."""
    for about, path in zip(words[0::2], words[1::2], strict=False):
        _, mode, _, one, status = about.decode("ascii").split(" ")
        yield Change(status, mode, one, text(path))


def merge_base(git: Git, one: str, other: str) -> str | None:
    """The best common ancestor of two commits that are there."""
    found = git.run("merge-base", one, other, ok=(0, 1)).stdout.decode("ascii").split()
    return found[0] if found else None


def is_ancestor(git: Git, older: str, newer: str) -> bool:
    """Whether one commit is part of another's history."""
    return git.run("merge-base", "--is-ancestor", older, newer, ok=(0, 1)).status == 0


def text(path: bytes) -> str:
    """A path for people and records; bytes that are no UTF-8 stay visible and equal no proposed path."""
    return path.decode("utf-8", "backslashreplace")
