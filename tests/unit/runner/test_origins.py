"""Where credentials come from: read privately, in bounded time and size, and never quoted."""

from __future__ import annotations

import http.server
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from receiver.adapters.runner import origins
from receiver.adapters.runner.settings import CredentialSettings
from receiver.errors import GitmedicError, Refused

pytestmark = pytest.mark.anyio
CANARY = "canary-5f1d"


def by_command(code: str) -> CredentialSettings:
    return CredentialSettings(kind="token", command=(sys.executable, "-c", code))


async def test_a_file_of_ours_is_read(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(CANARY)
    (tmp_path / "t").chmod(0o600)
    assert await origins.read("t", CredentialSettings(kind="token", file=tmp_path / "t")) == CANARY.encode()


@pytest.mark.parametrize(
    ("mode", "content", "says"),
    [(0o640, CANARY, "others can read"), (0o600, "", "empty"), (0o600, "x" * 70_000, "larger"), (None, "", "No such")],
)
async def test_a_bad_file_is_refused(tmp_path: Path, mode: int | None, content: str, says: str) -> None:
    if mode is not None:
        (tmp_path / "t").write_text(content)
        (tmp_path / "t").chmod(mode)
    with pytest.raises(Refused, match=says) as caught:
        await origins.read("t", CredentialSettings(kind="token", file=tmp_path / "t"))
    assert CANARY not in caught.value.message


async def test_a_command_sees_next_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITMEDIC_DATABASE__URL", CANARY)
    said = await origins.read("t", by_command("import os, sys; print(sorted(os.environ)); print(sys.stdin.read())"))
    assert b"GITMEDIC" not in said and b"PATH" in said


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (f"print({CANARY!r}); import sys; sys.exit('{CANARY}')", "ended with 1"),
        (f"print({CANARY!r} * 10000)", "larger than"),
        (f"while True: print({CANARY!r})", "larger than"),
        (f"print({CANARY!r}, flush=True); import time; time.sleep(60)", "did not end"),
        ("pass", "empty"),
    ],
)
async def test_a_command_that_goes_wrong_is_not_quoted(code: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origins, "SECONDS", 2.0)
    began = time.monotonic()
    with pytest.raises(Refused, match=says) as caught:
        await origins.read("t", by_command(code))
    assert CANARY not in caught.value.message
    assert time.monotonic() - began < 20


async def test_a_command_that_is_not_there_is_named() -> None:
    with pytest.raises(Refused, match="'/no/such'"):
        await origins.read("t", CredentialSettings(kind="token", command=("/no/such",)))


async def test_sops_is_asked_for_one_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "sops"
    program.write_text(
        '#!/bin/sh\n[ "$1 $2 $3" = "-d --extract [\\"a\\"][\\"b\\"]" ] && echo "$SOPS_AGE_KEY_FILE:$4"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    sops = {"file": tmp_path / "x.yml", "key": "a.b", "age_key_file": tmp_path / "age"}
    credential = CredentialSettings.model_validate({"kind": "token", "sops": sops})
    assert await origins.read("t", credential) == f"{tmp_path}/age:{tmp_path}/x.yml\n".encode()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Refused, match="sops is not installed"):
        await origins.read("t", credential)


class Bao:
    """The documented read of a KV engine of version 2 (https://openbao.org/api-docs/secret/kv/kv-v2/), and no more."""

    def __init__(self) -> None:
        self.status, self.asked = 200, list[str]()
        self.sealed = 1000  #: so many times it answers with its status, then with the value
        self.body: Any = {"data": {"data": {"token": CANARY, "n": 1}, "metadata": {"version": 3, "destroyed": False}}}
        double = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                double.asked.append(self.path)
                double.status = 200 if len(double.asked) > double.sealed else double.status
                good = self.headers["X-Vault-Token"] == "s.root" and self.path == "/v1/kv/data/infra/proxmox"
                body = json.dumps(double.body if good else {"errors": []}).encode()
                self.send_response(double.status if good else 403)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origins, "AGAIN_SECONDS", (0.0, 0.0))


@pytest.fixture
def bao() -> Iterator[Bao]:
    made = Bao()
    yield made
    made.server.shutdown()
    made.server.server_close()


def kept(bao: Bao, place: Path, **more: str) -> CredentialSettings:
    (place / "token").write_text("s.root\n")
    (place / "token").chmod(0o600)
    where = {
        "address": f"http://127.0.0.1:{bao.server.server_port}", "mount": "kv", "path": "infra/proxmox",
        "key": "token", "token_file": place / "token", **more,
    }  # fmt: skip
    return CredentialSettings.model_validate({"kind": "token", "openbao": where})


async def test_openbao_gives_one_value(bao: Bao, tmp_path: Path) -> None:
    assert await origins.read("t", kept(bao, tmp_path)) == CANARY.encode()
    assert bao.asked == ["/v1/kv/data/infra/proxmox"]


@pytest.mark.parametrize(
    ("status", "more", "kind", "says"),
    [
        (404, {}, Refused, "answered 404"),
        (503, {}, Refused, "answered 503; it was asked 3 times, and nothing was started"),
        (307, {}, Refused, "answered 307"),
        (200, {"key": "absent"}, Refused, "has no text 'absent'"),
        (200, {"key": "n"}, Refused, "has no text 'n'"),
        (200, {"path": "infra/other"}, Refused, "answered 403"),
        (200, {"ca_file": "/no/such.pem"}, Refused, "reading /no/such.pem: No such file"),
        (200, {"ca_file": "/dev/null"}, Refused, "reading /dev/null: no certificate is in it"),
    ],
)
async def test_openbao_says_no(
    bao: Bao, tmp_path: Path, status: int, more: dict[str, str], kind: type[GitmedicError], says: str
) -> None:
    bao.status = status
    with pytest.raises(kind, match=says) as caught:
        await origins.read("t", kept(bao, tmp_path, **more))
    assert CANARY not in caught.value.message and "s.root" not in caught.value.message


async def test_openbao_that_was_just_unsealed_is_asked_again(bao: Bao, tmp_path: Path) -> None:
    bao.status, bao.sealed = 503, 2
    assert await origins.read("t", kept(bao, tmp_path)) == CANARY.encode()
    assert len(bao.asked) == 3


async def test_openbao_that_is_down_is_named_with_what_to_do(bao: Bao, tmp_path: Path) -> None:
    credential = kept(bao, tmp_path)
    bao.server.shutdown()
    bao.server.server_close()
    with pytest.raises(Refused, match="does not answer: ConnectError; it was asked 3 times") as caught:
        await origins.read("t", credential)
    assert "runs and is unsealed, then run it again" in caught.value.next_step


@pytest.mark.parametrize("value", [b"", b"a\nb", b"a\0b", b"\n"])
async def test_a_secret_is_one_line(value: bytes) -> None:
    with pytest.raises(Refused, match="one line"):
        origins.one_line(value, "reading it")
    assert origins.one_line(b" a b \r\n", "reading it") == b" a b "
