"""Making the bare ops repository or a mirror of a forge's, and a work tree of it for people.

Decides how it is set up: every write synced to disk, nothing ever pruned, pushed objects checked, and our
`update` hook for pushes by people. Refuses a place where something is already.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from errno import EEXIST, ENOTEMPTY
from importlib.resources import files as resources
from pathlib import Path
from uuid import uuid4

from receiver.adapters.repo.names import check_branch, check_id, check_signature, check_tree_path
from receiver.adapters.repo.process import Git, environment, execute, gitpython
from receiver.adapters.repo.settings import RepoSettings
from receiver.adapters.repo.upstream import check_address
from receiver.errors import Conflict, Unavailable

_CONFIG = {
    "core.fsync": "all",  # a claim and a merge must survive the power
    "core.logAllRefUpdates": "always",  # a ref's history is part of the audit
    "core.sharedRepository": "false",
    "gc.auto": "0",  # `sweep` packs; heads of closed proposals are evidence, so nothing is pruned
    "gc.pruneExpire": "never",
    "gc.reflogExpire": "never",
    "gc.reflogExpireUnreachable": "never",
    "maintenance.auto": "false",
    "receive.autogc": "false",
    "receive.fsckObjects": "true",
    "receive.denyDeleteCurrent": "refuse",
    "fetch.fsckObjects": "true",
}


def create_ops_repository(
    path: Path,
    files: Mapping[str, bytes],
    author: str,
    *,
    base: str = "main",
    message: str = "First revision",
) -> str:
    """A bare repository with one commit of these files by `author` (`Name <address>`); the commit's id."""
    check_signature(author)
    check_branch(base)
    for name in files:
        check_tree_path(name)
    with _beside(path) as made:
        return _begin(_empty(made, base), files, author, message)


def begin_base(path: Path, files: Mapping[str, bytes], author: str, base: str = "main") -> str:
    """The first commit of a repository that is there and has no base branch yet; the commit's id."""
    check_signature(author)
    return _begin(Git(RepoSettings(path=path, base=check_branch(base))), files, author, "First commit")


def _begin(git: Git, files: Mapping[str, bytes], author: str, message: str) -> str:
    first = git.run(
        "fast-import", "--quiet", "--date-format=now",
        stdin=_stream(git.settings, files, author, message), doing="writing the first commit",
    )  # fmt: skip
    return check_id(first.stdout.decode("ascii", "replace").strip())


def create_mirror(path: Path, url: str, base: str = "main") -> None:
    """A bare repository that follows the base branch of a forge's; nothing is fetched yet."""
    check_branch(base)
    check_address(url)
    with _beside(path) as made:
        _follow(_empty(made, base), url)


def become_mirror(path: Path, url: str, base: str = "main") -> None:
    """Let a repository that is there follow a forge's from now on: its own base branch is overwritten by a fetch."""
    check_address(url)
    _follow(Git(RepoSettings(path=path, base=check_branch(base))), url)


def become_own(path: Path, base: str = "main") -> None:
    """Let a mirror be the ops repository itself again, as it stands; people push to it and nothing is overwritten."""
    git = Git(RepoSettings(path=path, base=check_branch(base)))
    git.run("config", "--local", "--remove-section", "remote.forge", ok=(0, 5, 128))
    git.run("config", "--local", "--unset-all", "gitmedic.claimsAsTags", ok=(0, 5))
    install_hook(git.path, git.settings.base)


def clone_work_tree(bare: Path, folder: Path) -> None:
    """An ordinary work tree for a person, whose remote `gitmedic` is the bare repository."""
    folder = folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(
            f"making the work tree {str(folder)!r}: something is there already",
            next_step="choose an empty folder; an existing Ansible repository is taken in by: gitmedic adopt",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    settings = RepoSettings(path=bare)
    _git(
        settings, folder.parent,
        "clone", "--quiet", "--no-hardlinks", "--origin", "gitmedic", "--", str(bare.absolute()), str(folder),
        doing=f"making the work tree {str(folder)!r}",
    )  # fmt: skip


def install_hook(path: Path, base: str = "main", *, is_mirror: bool = False) -> None:
    """Write our update hook; whole or not at all."""
    hooks = path / "hooks"
    hooks.mkdir(exist_ok=True)
    text = resources("receiver.adapters.repo").joinpath("update.sh").read_text("utf-8")
    fresh = hooks / f".update.{uuid4().hex[:8]}"
    text = text.replace("@BASE@", check_branch(base)).replace("@MIRROR@", "yes" if is_mirror else "no")
    fresh.write_text(text, "utf-8")
    fresh.chmod(0o755)
    fresh.replace(hooks / "update")


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A new folder that takes the path when all went well: half a repository is never found there."""
    path = path.absolute()
    taken = Conflict(
        f"creating the ops repository {str(path)!r}: something is there already",
        next_step="choose another data directory, or go on with the one that is there: gitmedic up",
    )
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise taken
    made = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    made.mkdir(mode=0o700, parents=True)
    try:
        yield made
        try:
            if path.exists():
                path.rmdir()
            made.rename(path)
        except OSError as error:  # somebody made it meanwhile
            raise (taken if error.errno in (ENOTEMPTY, EEXIST) else error) from None
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def _empty(path: Path, base: str) -> Git:
    settings = RepoSettings(path=path, base=base)
    _git(
        settings, path, "init", "--quiet", "--bare", "--template=", f"--initial-branch={base}", ".",
        doing=f"creating the ops repository {str(path)!r}",
    )  # fmt: skip
    git = Git(settings)
    for name, value in _CONFIG.items():
        git.run("config", "--local", name, value)
    install_hook(path, base)
    return git


def _follow(git: Git, url: str) -> None:
    base = f"refs/heads/{git.settings.base}"
    # never `--mirror`: a fetch brings exactly one branch, whatever else the forge's repository has
    for name, value in (("url", url), ("fetch", f"+{base}:{base}"), ("tagOpt", "--no-tags")):
        git.run("config", "--local", "--replace-all", f"remote.forge.{name}", value)
    install_hook(git.path, git.settings.base, is_mirror=True)


def _stream(settings: RepoSettings, files: Mapping[str, bytes], author: str, message: str) -> bytes:
    words = message.encode()
    committer = f"{settings.author_name} <{settings.author_email}>"
    parts = [
        f"feature done\ncommit refs/heads/{settings.base}\nmark :1\n".encode(),
        f"author {author} now\ncommitter {committer} now\n".encode(),
        b"data %d\n%s\n" % (len(words), words),
    ]
    for name, content in sorted(files.items()):
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        parts.append(f'M 100644 inline "{quoted}"\n'.encode() + b"data %d\n%s\n" % (len(content), content))
    parts.append(b"\nget-mark :1\ndone\n")
    return b"".join(parts)


def _git(settings: RepoSettings, folder: Path, *arguments: str, doing: str) -> None:
    """A git command that needs no repository yet."""
    variables = [f"{name}={value}" for name, value in environment(settings).items()]
    argv = ["env", "-i", *variables, "git", "-c", "core.hooksPath=/dev/null", *arguments]
    status, _, stderr = execute(gitpython().Git(folder), argv, timeout=settings.timeout_seconds)
    if status != 0:
        raise Unavailable(f"{doing}: git says: {' '.join(stderr.split())[:300]}")
