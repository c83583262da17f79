"""Where a credential's value comes from: a file, a command that prints it, sops, OpenBao or Vault.

Decides that a value is read afresh for each run, within a bounded time, in a bounded size, and that a program that is
asked sees next to nothing of our environment. Refuses files that others can read. No message ever quotes what was
read, nor what such a program said.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import ssl
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import structlog

from receiver.adapters.runner.settings import CredentialSettings, OpenBaoSettings, SopsSettings
from receiver.errors import Refused, Unavailable

MOST_BYTES = 64 << 10
SECONDS = 20.0
log = structlog.get_logger()
#: how long to wait before a store that did not answer is asked again
AGAIN_SECONDS = (1.0, 3.0)
#: one answer of a store; together with the waits a run begins half a minute later at most
_ANSWER_SECONDS = 10.0
#: systemd and Docker put secrets here, readable as they see fit
_PLACED = ("/run/secrets", "/run/credentials")
_PASSED_ON = ("PATH", "HOME", "LANG", "USER")


async def read(name: str, credential: CredentialSettings) -> bytes:
    """The value, as it lies there."""
    doing = f"reading credential {name!r}"
    if credential.file is not None:
        return private_file(credential.file, doing)
    if credential.command:
        return await printed(credential.command, doing)
    if credential.sops is not None:
        return await _by_sops(credential.sops, doing)
    assert credential.openbao is not None, "the settings name one origin"  # noqa: S101
    return await _asked_again(credential.openbao, doing)


async def _asked_again(wanted: OpenBaoSettings, doing: str) -> bytes:
    """A store that is just being restarted or unsealed answers a little later; nothing of the run has begun."""
    for pause in AGAIN_SECONDS:
        try:
            return await _by_openbao(wanted, doing)
        except Unavailable as error:
            log.warning("credential.asked_again", error=error.message, in_seconds=pause)
        await asyncio.sleep(pause)
    try:
        return await _by_openbao(wanted, doing)
    except Unavailable as error:
        raise Refused(
            f"{error.message}; it was asked {len(AGAIN_SECONDS) + 1} times, and nothing was started",
            next_step=f"see that {wanted.address} runs and is unsealed, then run it again",
            reason="credential",
        ) from None


async def passphrase(name: str, credential: CredentialSettings) -> bytes | None:
    """The passphrase of a key, where one is configured."""
    doing = f"reading the passphrase of credential {name!r}"
    if credential.passphrase_file is not None:
        return one_line(private_file(credential.passphrase_file, doing), doing)
    if credential.passphrase_command:
        return one_line(await printed(credential.passphrase_command, doing), doing)
    return None


def private_file(path: Path, doing: str) -> bytes:
    """The content of a file that nobody else can read."""
    try:
        with path.open("rb") as stream:
            found = os.fstat(stream.fileno())
            content = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise Refused(
            f"{doing}: {path}: {error.strerror}", next_step=f"put it there, chmod 600 {path}", reason="credential"
        ) from None
    placed = any(path.is_relative_to(folder) for folder in _PLACED)
    if not placed and found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Refused(f"{doing}: others can read {path}", next_step=f"chmod 600 {path}", reason="credential")
    return _bounded(content, doing)


def one_line(value: bytes, doing: str) -> bytes:
    """Without the line break that editors and programs end a file with; a secret of more lines is another thing."""
    bare = value.removesuffix(b"\n").removesuffix(b"\r")
    if not bare or b"\n" in bare or b"\0" in bare:
        raise Refused(f"{doing}: one line of text is expected", reason="credential")
    return bare


async def printed(argv: Sequence[str], doing: str, environment: Mapping[str, str] | None = None) -> bytes:
    """What a program prints. It ends within its time, or it and all of its children are ended."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env={**kept, **(environment or {})}, start_new_session=True, cwd="/",
        )  # fmt: skip
    except OSError as error:
        raise Refused(
            f"{doing}: starting {argv[0]!r}: {error.strerror}",
            next_step="name a program that is there, with its whole path",
            reason="credential",
        ) from None
    said = b""
    try:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        async with asyncio.timeout(SECONDS):
            while len(said) <= MOST_BYTES and (chunk := await process.stdout.read(MOST_BYTES)):
                said += chunk
            if len(said) <= MOST_BYTES:
                await process.wait()
    except TimeoutError:
        raise Refused(
            f"{doing}: {argv[0]!r} did not end in {SECONDS:.0f} s", next_step=_by_hand(argv), reason="credential"
        ) from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if len(said) <= MOST_BYTES and process.returncode != 0:
        raise Refused(
            f"{doing}: {argv[0]!r} ended with {process.returncode}", next_step=_by_hand(argv), reason="credential"
        )
    return _bounded(said, doing)


async def _by_sops(wanted: SopsSettings, doing: str) -> bytes:
    """As https://getsops.io/docs/ has it: `sops decrypt --extract '["a"]["b"]' FILE`, or the older `-d`."""
    program = shutil.which("sops")
    if program is None:
        raise Refused(f"{doing}: sops is not installed", next_step="install sops", reason="credential")
    extract = "".join(f'["{part}"]' for part in wanted.key.split("."))
    environment = {} if wanted.age_key_file is None else {"SOPS_AGE_KEY_FILE": str(wanted.age_key_file)}
    return await printed((program, "-d", "--extract", extract, str(wanted.file)), doing, environment)


async def _by_openbao(wanted: OpenBaoSettings, doing: str) -> bytes:
    """https://openbao.org/api-docs/secret/kv/kv-v2/#read-secret-version: `GET /:mount/data/:path`."""
    token = one_line(private_file(wanted.token_file, doing), doing).decode("ascii", "replace")
    headers = {"X-Vault-Token": token, "X-Vault-Request": "true"}
    if wanted.namespace:
        headers["X-Vault-Namespace"] = wanted.namespace
    options: dict[str, Any] = {"timeout": _ANSWER_SECONDS, "follow_redirects": False, "trust_env": False}
    if wanted.ca_file is not None:
        options["verify"] = _trusting(wanted.ca_file, doing)
    where = f"{wanted.address}/v1/{wanted.mount}/data/{wanted.path}"
    try:
        async with httpx.AsyncClient(**options) as client:
            answer = await client.get(where, headers=headers)
    except (httpx.HTTPError, UnicodeError) as error:
        raise Unavailable(f"{doing}: {wanted.address} does not answer: {type(error).__name__}") from None
    if answer.status_code in (429, 472, 473, 500, 502, 503):
        raise Unavailable(f"{doing}: {wanted.address} answered {answer.status_code}")
    if answer.status_code != 200:
        raise Refused(
            f"{doing}: {where} answered {answer.status_code}",
            next_step="404: no such path or version; 403: its token may not read it", reason="credential",
        )  # fmt: skip
    try:
        value = answer.json()["data"]["data"][wanted.key]
    except (ValueError, KeyError, TypeError):
        value = None
    if not isinstance(value, str):
        raise Refused(
            f"{doing}: {where} has no text {wanted.key!r}; is {wanted.mount!r} a KV engine of version 2?",
            reason="credential",
        )
    return _bounded(value.encode(), doing)


def _trusting(authorities: Path, doing: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(authorities))
    except OSError as error:
        said = "no certificate is in it" if isinstance(error, ssl.SSLError) else error.strerror
        raise Refused(
            f"{doing}: reading {authorities}: {said}", next_step="see its ca_file in gitmedic.toml", reason="credential"
        ) from None


def _bounded(value: bytes, doing: str) -> bytes:
    if len(value) > MOST_BYTES:
        raise Refused(f"{doing}: it is larger than {MOST_BYTES >> 10} KiB", reason="credential")
    if not value.strip():
        raise Refused(f"{doing}: it is empty", reason="credential")
    return value


def _by_hand(argv: Sequence[str]) -> str:
    return f"run it by hand as the executor's user: {' '.join(argv)}"[:300]
