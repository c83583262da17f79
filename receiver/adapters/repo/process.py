"""One git process at a time, through GitPython, with an environment from zero.

Decides how every git command of this package starts: no inherited variable (a `GIT_DIR`, a token, a user's
`.gitconfig` cannot reach it), no hooks, no replace refs, no prompt, an allow-list of protocols. Refuses a
repository that belongs to another OS user: git reads commands out of its config.
"""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Sequence
from io import RawIOBase
from pathlib import Path
from typing import Any, NamedTuple

from receiver.adapters.repo.settings import RepoSettings
from receiver.errors import Refused, Unavailable

_INSTALL = "install git 2.36 or newer and see that it is on PATH"


class Output(NamedTuple):
    """What one process said."""

    status: int
    stdout: bytes
    stderr: str


class _Head(RawIOBase):
    """Keeps the first bytes and lets the rest go by, so that a huge diff costs no memory."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.kept = bytearray()
        self.cut = False

    def write(self, data: Any) -> int:
        room = self._most - len(self.kept)
        self.kept += data[: max(room, 0)]
        self.cut = self.cut or len(data) > room
        return len(data)


def environment(settings: RepoSettings) -> dict[str, str]:
    """All that a git process of ours is told about the world."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "TZ": "UTC",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": ":".join(settings.protocols),
        # a pushed refs/replace/* would show other bytes under an approved id
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_AUTHOR_NAME": settings.author_name,
        "GIT_AUTHOR_EMAIL": settings.author_email,
        "GIT_COMMITTER_NAME": settings.author_name,
        "GIT_COMMITTER_EMAIL": settings.author_email,
    }


class Git:
    """Runs git for one repository; not for use by two threads at once."""

    def __init__(self, settings: RepoSettings) -> None:
        self.settings = settings
        self.path = settings.path.absolute()
        _check_owner(self.path)
        _check_repository(self.path)
        # not `git.Repo`: that one reads GIT_DIR and its kin while it looks for the repository
        self._git = gitpython().Git(self.path)
        self._bare = ["env", "-i", *(f"{name}={value}" for name, value in environment(settings).items())]
        self._start = [
            *self._bare,
            "git",
            f"--git-dir={self.path}",
            "-c",
            f"core.hooksPath={os.devnull}",
        ]

    def run(self, *arguments: str, stdin: bytes | None = None, ok: Sequence[int] = (0,), doing: str = "") -> Output:
        """Run one command; a status outside `ok` is `Unavailable` with git's own words."""
        with tempfile.TemporaryFile() as feed:
            if stdin is not None:
                feed.write(stdin)
                feed.seek(0)
            status, stdout, stderr = self._execute(arguments, istream=feed if stdin is not None else None)
        if status not in ok:
            raise self._failed(status, stderr, doing or f"running git {arguments[0]}")
        return Output(status, stdout, stderr)

    def other(self, *argv: str, stdin: bytes) -> Output:
        """A command that is not git's, started in the same way; its status is the caller's to judge."""
        with tempfile.TemporaryFile() as feed:
            feed.write(stdin)
            feed.seek(0)
            return Output(
                *execute(self._git, [*self._bare, *argv], timeout=self.settings.timeout_seconds, istream=feed)
            )

    def head_of(self, *arguments: str, most: int, doing: str) -> tuple[bytes, bool]:
        """The first bytes of a command's output, and whether there was more."""
        sink = _Head(most)
        status, _, stderr = self._execute(arguments, output_stream=sink)
        if status != 0:
            raise self._failed(status, stderr, doing)
        return bytes(sink.kept), sink.cut

    def _execute(self, arguments: Sequence[str], **options: Any) -> tuple[int, bytes, str]:
        return execute(self._git, [*self._start, *arguments], timeout=self.settings.timeout_seconds, **options)

    def _failed(self, status: int, stderr: str, doing: str) -> Unavailable:
        words = " ".join(stderr.split())[:300] or f"status {status}"
        return Unavailable(f"{doing} in {str(self.path)!r}: git says: {words}", after_seconds=10)


def execute(git: Any, argv: Sequence[str], *, timeout: float, **options: Any) -> tuple[int, bytes, str]:
    """One process by GitPython's `Git.execute`; only a missing git is an error here."""
    try:
        status, stdout, stderr = git.execute(
            argv,
            with_extended_output=True,
            with_exceptions=False,
            stdout_as_string=False,
            strip_newline_in_stdout=False,
            kill_after_timeout=timeout,
            shell=False,
            **options,
        )
    except OSError as error:
        raise Unavailable(f"starting git: {error}", after_seconds=10) from error
    except Exception as error:
        if type(error).__name__ != "GitCommandNotFound":
            raise
        raise Refused("starting git: there is no `env` command", next_step=_INSTALL) from error
    if status < 0 and str(stderr).startswith("Timeout: "):
        raise Unavailable(f"waiting for git: no answer within {timeout:g} s, so it was ended", after_seconds=30)
    if status == 127:
        raise Refused("starting git: there is no git on PATH", next_step=_INSTALL)
    return int(status), stdout if isinstance(stdout, bytes) else b"", str(stderr)


def gitpython() -> Any:
    """The GitPython package; imported late, since it looks for git when it is imported."""
    try:
        import git  # noqa: PLC0415
    except ImportError as error:
        raise Refused(f"loading GitPython: {error}", next_step=_INSTALL) from error
    return git


def _check_repository(path: Path) -> None:
    if not ((path / "HEAD").is_file() and (path / "objects").is_dir() and (path / "refs").is_dir()):
        raise Refused(
            f"opening the ops repository {str(path)!r}: there is no bare git repository",
            next_step="make one with: gitmedic init DIR",
        )


def _check_owner(path: Path) -> None:
    """Git itself checks this only when it discovers a repository, not when it is named."""
    try:
        owner = path.stat().st_uid
    except FileNotFoundError:
        return  # the next check says it better
    except PermissionError as error:
        raise Refused(
            f"opening the ops repository {str(path)!r}: OS user {_name(os.geteuid())} may not enter it",
            next_step="run gitmedic as the OS user who owns the data directory",
        ) from error
    if owner != os.geteuid():
        raise Refused(
            f"opening the ops repository {str(path)!r}: it belongs to OS user {_name(owner)}, and this is "
            f"{_name(os.geteuid())}",
            next_step=f"run gitmedic as {_name(owner)}, or give the data directory to "
            f"{_name(os.geteuid())} with chown -R",
        )


def _name(uid: int) -> str:
    try:
        return repr(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return f"uid {uid}"
