"""Signatures of people over what they approve, by `ssh-keygen -Y` (OpenSSH's PROTOCOL.sshsig).

Decides that a signature counts for one namespace only, so that one made for a commit or a file is none here.
Refuses keys that are no plain public keys: options beside a key could widen what it is good for.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from receiver.errors import Refused, Unavailable

_KEY = re.compile(r"(?:sk-)?(?:ssh|ecdsa)-[a-z0-9-]+(?:@openssh\.com)? [A-Za-z0-9+/]+={0,2}(?: [^\r\n]*)?")
_MOST = 16_384
_SECONDS = 10.0
_INSTALL = "install OpenSSH's client, for example: apt install openssh-client"


def signed_by(key: Path, text: str, namespace: str) -> str:
    """Sign at a terminal; ssh-keygen asks for a passphrase or a touch by itself."""
    doing = f"signing with {str(key)!r}"
    try:
        done = subprocess.run(
            ["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", namespace],
            input=text.encode(), capture_output=True, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise Refused(f"{doing}: there is no ssh-keygen on PATH", next_step=_INSTALL) from None
    if done.returncode != 0:
        said = " ".join(done.stderr.decode("utf-8", "replace").split())[:300]
        raise Refused(f"{doing}: ssh-keygen says: {said}", next_step="name a private key, or a public one of an agent")
    return done.stdout.decode()


class SshSignatures:
    """The Signatures port."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    async def is_by(self, text: str, signature: str, keys: Sequence[str]) -> bool:
        """Whether one of these ssh public keys signed exactly this text."""
        plain = [key.strip() for key in keys if _KEY.fullmatch(key.strip())]
        if not plain or len(signature) > _MOST or "BEGIN SSH SIGNATURE" not in signature:
            return False
        if shutil.which("ssh-keygen") is None:
            raise Refused(
                "verifying a signature: there is no ssh-keygen on PATH",
                next_step=_INSTALL,
            )
        return await self._verified(text, signature, plain)

    async def _verified(self, text: str, signature: str, keys: list[str]) -> bool:
        with tempfile.TemporaryDirectory(prefix="gitmedic-signature-") as folder:
            signers, given = Path(folder) / "signers", Path(folder) / "signature"
            signers.write_text("".join(f"person {' '.join(key.split()[:2])}\n" for key in keys), "utf-8")
            given.write_text(signature if signature.endswith("\n") else f"{signature}\n", "utf-8")
            process = await asyncio.create_subprocess_exec(
                "ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", "person", "-n", self._namespace,
                "-s", str(given),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            try:
                await asyncio.wait_for(process.communicate(text.encode()), _SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()
                raise Unavailable("verifying a signature: ssh-keygen gave no answer") from None
            return process.returncode == 0
