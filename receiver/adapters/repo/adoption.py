"""What stands between the adopted revision and the tip (rule S4): pending commits, their diff, their digest.

Decides that only `playbooks roles collections.lock inventory prompts policy.yml` need adoption: merges that
bring run files or reports never do. Accepts nothing; it shows and digests.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256

from receiver.adapters.repo import objects
from receiver.adapters.repo.branches import base_tip
from receiver.adapters.repo.names import check_id, plain
from receiver.adapters.repo.process import Git
from receiver.adapters.repo.revisions import CONTENT, known
from receiver.domain.revision import Pending

_MOST_PATHS = 20


def content_differs(git: Git, old: str, new: str) -> tuple[str, ...]:
    """The names of CONTENT that differ between two commits; empty: nothing to adopt."""
    roots = [objects.root(git, known(git, one)) for one in (old, new)]
    found = objects.find(git, *(f"{one}:{name}" for one in roots for name in CONTENT))
    before, after = found[: len(CONTENT)], found[len(CONTENT) :]
    return tuple(name for name, one, other in zip(CONTENT, before, after, strict=True) if one != other)


def pending(git: Git, adopted: str) -> tuple[Pending, ...]:
    """Commits after the adopted one, oldest first, that touch CONTENT. Empty when the content is the same."""
    tip = base_tip(git)
    if not content_differs(git, adopted, tip):
        return ()
    listed = git.run("rev-list", "--first-parent", "--reverse", tip, f"^{adopted}", "--", *_places(git))
    commits = listed.stdout.decode("ascii").split()
    bodies = objects.read(git, commits)
    parents = [_first_parent(body) for body in bodies]
    feed = "".join(f"{one} {parent}\n" if parent else f"{one}\n" for one, parent in zip(commits, parents, strict=True))
    changed = _paths(git, feed)
    return tuple(_pending(one, body, changed.get(one, [])) for one, body in zip(commits, bodies, strict=True))


def as_reviewed(git: Git, old: str, first: str, last: str, head: str) -> bool:
    """Whether what lies between the revision in force and `last`, which `first` begins, is exactly what `head` changed
    of CONTENT since it forked: file by file, by id.

    A merge that mixed the change with others, a commit pushed in between, or a base that was rewritten below it is
    nobody's review.
    """
    check_id(head)
    before = objects.commit_of(git, f"{first}^1")
    if before is None or objects.commit_of(git, head) != head:
        return False
    fork = objects.merge_base(git, before, head)
    if fork is None:
        return False
    places = _places(git)
    return objects.changes(git, old, last, *places) == objects.changes(git, fork, head, *places)


def diff(git: Git, old: str, new: str) -> str:
    """The change of CONTENT as plain text, cut at a bound that is said."""
    most = git.settings.max_diff_bytes
    kept, cut = git.head_of(
        "diff-tree", "-r", "-p", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color",
        objects.root(git, known(git, old)), objects.root(git, known(git, new)), "--", *CONTENT,
        most=most, doing="comparing revisions",
    )  # fmt: skip
    text = plain(kept.decode("utf-8", "replace"))
    return f"{text}\n… cut after {most} bytes; see all of it with: git diff {old} {new}\n" if cut else text


def digest(git: Git, old: str, new: str) -> str:
    """What an acceptance signs: both commits and every changed file of CONTENT by mode and id."""
    before, after = (objects.root(git, known(git, one)) for one in (old, new))
    lines = [f"gitmedic revision 1\0{old}\0{new}"]
    lines += [
        f"{one.status}\0{one.mode}\0{one.id}\0{one.path}" for one in objects.changes(git, before, after, *CONTENT)
    ]
    return sha256("\n".join(lines).encode()).hexdigest()


def _places(git: Git) -> tuple[str, ...]:
    """CONTENT by full path, for questions about histories."""
    prefix = git.settings.prefix
    return tuple(f"{prefix}/{name}" for name in CONTENT) if prefix else CONTENT


def _first_parent(body: bytes) -> str | None:
    """The first parent that a commit object names."""
    for line in body.split(b"\n\n", 1)[0].split(b"\n"):
        if line.startswith(b"parent "):
            return line[7:].decode("ascii")
    return None


def _paths(git: Git, feed: str) -> dict[str, list[str]]:
    """Changed paths of CONTENT for each `<commit> <parent>` line."""
    raw = git.run(
        "diff-tree", "--stdin", "--root", "-r", "-z", "--name-only", "--no-renames", "--", *_places(git),
        stdin=feed.encode(),
    ).stdout  # fmt: skip
    wanted = {line.split(" ")[0] for line in feed.splitlines()}
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for word in raw.split(b"\0"):
        name = objects.text(word)
        if name in wanted and name not in found:
            current = found.setdefault(name, [])
        elif name:
            current.append(plain(name))
    return found


def _pending(commit: str, body: bytes, paths: list[str]) -> Pending:
    header, _, message = body.partition(b"\n\n")
    author, at = "", datetime.fromtimestamp(0, UTC)
    for line in header.split(b"\n"):
        if line.startswith(b"author "):
            who, _, when = line[7:].decode("utf-8", "replace").rpartition("> ")
            author, at = plain(f"{who}>"), _moment(when)
    subject = plain(message.decode("utf-8", "replace").split("\n", 1)[0])
    return Pending(
        commit=commit,
        subject=subject[:200],
        author=author[:200],
        at=at,
        paths=tuple(paths[:_MOST_PATHS]),
        more_paths=max(len(paths) - _MOST_PATHS, 0),
    )


def _moment(when: str) -> datetime:
    seconds = when.split(" ", maxsplit=1)[0]
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)
