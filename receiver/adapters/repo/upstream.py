"""The forge's git: how it is asked, and what its answers mean.

Decides that a token travels only in the environment of the one git process that needs it: never in an argument (which
`ps` shows), an address, a file or a message. Refuses plain http beyond this machine, redirects, proxies, certificates
that nobody vouches for, and every protocol but the one in the address.
"""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from receiver.adapters.repo.names import is_id, plain
from receiver.adapters.repo.process import Git, Output, environment
from receiver.adapters.repo.settings import RepoSettings
from receiver.domain.address import is_loopback
from receiver.errors import Refused, Unavailable

#: what git or a forge says → the machine's word for it, and what a person can do
_REFUSALS = (
    (("Authentication failed", "could not read Username", "error: 401"), "token",
     "its token is wrong or expired: gitmedic forge connect"),
    (("SSL certificate", "certificate verif", "CAfile", "issuer certificate"), "certificate",
     "name the certificate, or its authority, as forge.ca_file"),
    (("Host key verification failed", "HOST IDENTIFICATION HAS CHANGED"), "host_key",
     "compare the host's key, and name the right one in repo.known_hosts_file"),
    (("Permission denied (publickey",), "ssh_key", "let the key of repo.ssh_key_file in there"),
    (("error: 403",), "forbidden", "see what the token lacks with: gitmedic doctor"),
    (("error: 404", "not found", "does not appear to be a git repository"), "not_found",
     "see whether the repository is still there and the token may read it: gitmedic doctor"),
    (("error: 301", "error: 302", "error: 303", "error: 307", "error: 308", "redirect"), "moved",
     "the repository was moved or renamed: gitmedic forge connect"),
    (("couldn't find remote ref",), "no_branch", "push it, or set repo.base to the branch that is protected"),
    (("fsck error", "fsckObjects", "fsck failed"), "malformed",
     "the repository has objects that git calls malformed; see them with: git fsck"),
)  # fmt: skip


#: user, host, port and path, none of which ssh or its far side could read as an option or a command
_SSH = re.compile(r"ssh://[A-Za-z0-9_][\w.-]*@[A-Za-z0-9][A-Za-z0-9.-]*(:\d{1,5})?(/[A-Za-z0-9_][\w.-]*)+/?", re.ASCII)


class Upstream(Protocol):
    """Where pull requests live, as git sees it."""

    @property
    def url(self) -> str:
        """What git fetches from and pushes to; no secret is part of it."""

    @property
    def ca_file(self) -> Path | None:
        """A certificate, or its authority, that is trusted in the place of the system's."""

    @property
    def ssh_command(self) -> str:
        """How git calls ssh; empty where it does not."""

    async def login(self) -> tuple[str, str]:
        """User and password of now; a token may be renewed from time to time."""


@dataclass(frozen=True)
class Access:
    """One use of an upstream."""

    url: str
    user: str
    password: str = field(repr=False)
    ca_file: Path | None = None
    ssh_command: str = ""  #: how ssh is called, for an address that needs it

    @property
    def secret(self) -> str:
        """The header's value, of which a part alone is a secret, too."""
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")

    def redacted(self, text: str) -> str:
        """Without the token in any form; one bounded line."""
        for one in (self.secret, self.password):
            text = text.replace(one, "…") if one else text
        return " ".join(plain(text).split())[:400]


class Pushed(NamedTuple):
    """What became of a push."""

    flags: dict[str, str]  #: ref → git's porcelain flag: `*` new, `!` refused, `=` as it was, `-` deleted
    words: str

    @property
    def passes(self) -> bool:
        """Whether what was refused may be taken later: the forge was at odds with itself, not with us."""
        return any(sign in self.words for sign in ("cannot lock", "failed to lock", "failed to update ref", "unpack"))


async def access_to(upstream: Upstream) -> Access:
    """With the password of now."""
    user, password = await upstream.login()
    return Access(check_address(upstream.url), user, password, upstream.ca_file, upstream.ssh_command)


def check_address(url: str) -> str:
    """An address for git, or `Refused`: https, http on this machine, ssh, or a folder."""
    parts = urlsplit(url)
    if parts.scheme == "ssh" and _SSH.fullmatch(url):
        return url
    host = (parts.hostname or "").lower()
    fine = (
        (parts.scheme == "https" and host) or (parts.scheme == "http" and is_loopback(url)) or (parts.scheme == "file")
    )
    if not fine or parts.username or parts.password or parts.query or parts.fragment or plain(url) != url:
        raise Refused(
            f"reaching the forge's git at {parts.scheme}://{host}: this address is not used",
            next_step="use https://HOST/OWNER/REPOSITORY without user and password; plain http only on this machine",
            reason="address",
        )
    return url


def fetch(git: Git, access: Access, *refspecs: str, doing: str) -> None:
    """Exactly these refs: no tags, no submodules, nothing that the repository's own config could add."""
    tries = 3
    for left in range(tries - 1, -1, -1):
        done = ask(
            git, access, "fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head",
            "--no-auto-maintenance", "--refmap=", "--end-of-options", access.url, *refspecs, doing=doing,
        )  # fmt: skip
        if done.status == 0:
            return
        # another process of ours brings the same at this moment
        if left == 0 or "cannot lock ref" not in done.stderr:
            raise failed(access, done, doing)


def push(git: Git, access: Access, *refspecs: str, leases: Mapping[str, str], doing: str) -> Pushed:
    """Exactly these refs, each only from where `leases` says it is (empty: it is not there yet)."""
    done = ask(
        git, access, "push", "--porcelain", "--no-verify", "--no-signed", "--recurse-submodules=no",
        *(f"--force-with-lease={ref}:{old}" for ref, old in leases.items()),
        "--end-of-options", access.url, *refspecs, doing=doing,
    )  # fmt: skip
    flags = {}
    reasons = []
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        flag, _, rest = line.partition("\t")
        names, _, summary = rest.partition("\t")
        ref = names.rpartition(":")[2]
        if len(flag) == 1 and ref in leases:
            flags[ref] = flag
            reasons += [summary] if flag == "!" else []
    if set(flags) != set(leases):
        raise failed(access, done, doing)
    # what the forge itself says stands behind `remote:`
    said = [line.removeprefix("remote:") for line in done.stderr.splitlines() if line.startswith("remote:")]
    return Pushed(flags, access.redacted("; ".join([*reasons, *said])))


def delete(git: Git, access: Access, over: Sequence[tuple[str, str]]) -> None:
    """Delete (ref, where it was seen) on the forge, a hundred at a time; what it wants to keep, it keeps."""
    for first in range(0, len(over), 100):
        chosen = dict(over[first : first + 100])
        push(git, access, *(f":{ref}" for ref in chosen), leases=chosen, doing="deleting what is over")


def listed(git: Git, access: Access, *patterns: str, doing: str) -> dict[str, str]:
    """Refs of the forge as they are now."""
    done = ask(git, access, "ls-remote", "--quiet", "--refs", "--end-of-options", access.url, *patterns, doing=doing)
    if done.status != 0:
        raise failed(access, done, doing)
    rows = (line.partition("\t") for line in done.stdout.decode("utf-8", "replace").splitlines())
    return {name: one for one, _, name in rows if is_id(one)}


def failed(access: Access, done: Output, doing: str) -> Refused | Unavailable:
    """A failure by what can be done about it."""
    words = access.redacted(done.stderr) or f"status {done.status}"
    message = f"{doing} at {access.url}: git says: {words}"
    said = done.stderr.replace(access.url, "")  # a repository may be called anything
    for signs, reason, step in _REFUSALS:
        if any(sign in said for sign in signs):
            return Refused(message, next_step=step, reason=reason)
    return Unavailable(message, after_seconds=30)


def ask(git: Git, access: Access, *arguments: str, doing: str) -> Output:
    """One git process that talks to the forge, with an environment of its own."""
    argv = ["git", f"--git-dir={git.path}", "-c", f"core.hooksPath={os.devnull}", *arguments]
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=git.path,
            env=network_environment(git.settings, access), start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise Unavailable(f"{doing}: starting git: {error}", after_seconds=10) from error
    with process:
        try:
            stdout, stderr = process.communicate(timeout=git.settings.network_seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            raise Unavailable(
                f"{doing} at {access.url}: no end within {git.settings.network_seconds:g} s", after_seconds=60
            ) from None
    return Output(process.returncode, stdout, stderr.decode("utf-8", "replace"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """With the helpers that it started; gently first, since a killed git leaves its lock files behind."""
    for what, seconds in ((signal.SIGTERM, 3.0), (signal.SIGKILL, None)):
        os.killpg(process.pid, what)
        try:
            process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            continue
        return


def network_environment(settings: RepoSettings, access: Access) -> dict[str, str]:
    """What that process is told: the usual, where it may speak, and the token for this address alone."""
    scheme = urlsplit(check_address(access.url)).scheme
    config = {
        "credential.helper": "",
        "http.followRedirects": "false",
        "http.proxy": "",
        "http.lowSpeedLimit": "100",
        "http.lowSpeedTime": "30",
        "transfer.fsckObjects": "true",
        "transfer.credentialsInUrl": "die",
        "protocol.version": "2",
        "push.followTags": "false",
        "gc.auto": "0",
    }
    if scheme not in ("file", "ssh") and access.password:
        config[f"http.{access.url}.extraHeader"] = f"Authorization: Basic {access.secret}"
    if access.ca_file is not None:
        config["http.sslCAInfo"] = str(access.ca_file)
    pairs: Sequence[tuple[str, str]] = [*config.items()]
    return {
        **environment(settings),
        "GIT_ALLOW_PROTOCOL": scheme,
        # curl looks for a .netrc, by the account's entry when there is no HOME
        "HOME": os.devnull,
        **({"GIT_SSH_COMMAND": access.ssh_command, "GIT_SSH_VARIANT": "ssh"} if access.ssh_command else {}),
        "GIT_CONFIG_COUNT": str(len(pairs)),
        **{f"GIT_CONFIG_KEY_{number}": name for number, (name, _) in enumerate(pairs)},
        **{f"GIT_CONFIG_VALUE_{number}": value for number, (_, value) in enumerate(pairs)},
    }
