"""A signature counts for its text, its key and its purpose, and for nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from receiver.adapters.signature.sshsig import SshSignatures
from receiver.domain.proposal import Proposal
from receiver.domain.quorum import NAMESPACE, approval_text
from receiver.ports import Signatures
from receiver.testing.repo import FakeSignatures

pytestmark = pytest.mark.anyio
PROPOSAL = Proposal(
    run_id="r", path="runs/r.yml", branch="gitmedic/r", sha256="b" * 64, head_sha="a" * 40, base_sha="c" * 40, number=7,
    url="http://forge/7", expires_at=datetime(2026, 11, 26, tzinfo=UTC),
)  # fmt: skip
TEXT = approval_text("12", PROPOSAL)


class Keys:
    """Two keys, and how one signs."""

    def __init__(self, signatures: Signatures, mine: str, other: str, sign: Callable[[str, str], str]) -> None:
        self.signatures, self.mine, self.other, self.sign = signatures, mine, other, sign


def ssh(folder: Path) -> Keys:
    for name, kind in (("mine", "ed25519"), ("other", "ecdsa")):
        command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "a key", "-f", str(folder / name)]
        subprocess.run(command, check=True)

    def sign(text: str, purpose: str = NAMESPACE) -> str:
        command = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(folder / "mine"), "-n", purpose]
        return subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout.decode()

    mine, other = ((folder / f"{name}.pub").read_text() for name in ("mine", "other"))
    return Keys(SshSignatures(NAMESPACE), mine, other, sign)


def fake(folder: Path) -> Keys:
    def sign(text: str, purpose: str = NAMESPACE) -> str:
        return FakeSignatures.sign(text, "mine" if purpose == NAMESPACE else purpose)

    return Keys(FakeSignatures(), "mine", "other", sign)


@pytest.fixture(params=[ssh, fake], ids=["ssh", "fake"])
def keys(request: pytest.FixtureRequest, tmp_path: Path) -> Keys:
    made: Keys = request.param(tmp_path)
    return made


async def test_by_its_own_key(keys: Keys):
    assert await keys.signatures.is_by(TEXT, keys.sign(TEXT, NAMESPACE), [keys.other, keys.mine])


async def test_by_another_key(keys: Keys):
    assert not await keys.signatures.is_by(TEXT, keys.sign(TEXT, NAMESPACE), [keys.other])
    assert not await keys.signatures.is_by(TEXT, keys.sign(TEXT, NAMESPACE), [])


async def test_over_another_head(keys: Keys):
    other = TEXT.replace("a" * 40, "c" * 40)
    assert not await keys.signatures.is_by(other, keys.sign(TEXT, NAMESPACE), [keys.mine])


async def test_made_for_something_else(keys: Keys):
    assert not await keys.signatures.is_by(TEXT, keys.sign(TEXT, "git"), [keys.mine])


@pytest.mark.parametrize("signature", ["", "x", "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n"])
async def test_what_is_none(keys: Keys, signature: str):
    assert not await keys.signatures.is_by(TEXT, signature, [keys.mine])


async def test_a_key_with_options_is_no_key(tmp_path: Path):
    keys = ssh(tmp_path)
    for line in (f'namespaces="git" {keys.mine}', f"cert-authority {keys.mine}", f"{keys.mine.strip()}\nperson x"):
        assert not await keys.signatures.is_by(TEXT, keys.sign(TEXT, NAMESPACE), [line])
