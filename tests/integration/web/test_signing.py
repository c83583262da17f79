"""Risk high on the page and by the API: only with the person's signature over exactly this file (rule S9)."""

from __future__ import annotations

import subprocess
from html import unescape
from pathlib import Path

import pytest

from receiver.domain.quorum import NAMESPACE
from tests import door as doors
from tests.unit.test_pipeline import FILES, POLICY

pytestmark = pytest.mark.anyio
CATALOG = "playbooks/web/restart/catalog.yml"


def sign(key: Path, text: str) -> str:
    command = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", NAMESPACE]
    return subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout.decode()


def new_key(file: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True)
    return file.with_suffix(".pub").read_text().strip()


async def test_a_signature_is_asked_for_and_checked(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    public = new_key(tmp_path / "key")
    new_key(tmp_path / "other")
    policy = POLICY.replace(b"approves: medium", f"approves: high, ssh_keys: ['{public}']".encode())
    high = FILES[CATALOG].replace(b"risk: low", b"risk: high")
    monkeypatch.setattr(doors, "FILES", {**FILES, CATALOG: high, "policy.yml": policy})
    async with doors.opened(database, tmp_path) as door:
        case = await doors.proposed(door)
        anna = await door.session("anna")
        page = (await anna.get(f"/cases/{case.id}")).text
        text = unescape(page.partition('<pre class="sign" tabindex="0">')[2].partition("</pre>")[0])
        assert text.startswith("gitmedic approval 1\n") and case.proposal.sha256 in text
        form = {"head_sha": case.proposal.head_sha}
        for wrong in ("", "x", sign(tmp_path / "other", text), sign(tmp_path / "key", text + " ")):
            answer = await anna.post(f"/api/cases/{case.id}/approve", json={**form, "signature": wrong})
            assert (answer.status_code, answer.json()["reason"]) == (403, "needs_signature")
        assert (await door.office.forge.read(case.proposal.number)).reviews == ()
        # as a browser sends a text area
        good = sign(tmp_path / "key", text).replace("\n", "\r\n")
        done = await anna.post(f"/cases/{case.id}/approve", data={**form, "signature": good})
        assert done.status_code == 303
        pull = await door.office.forge.read(case.proposal.number)
        assert pull.state == "merged" and "BEGIN SSH SIGNATURE" in pull.reviews[0].signature
        await anna.aclose()
