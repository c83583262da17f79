"""Known secrets are taken out of what a run says, in every disguise that is looked for."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from urllib.parse import quote

import pytest

from receiver.adapters.runner.clean import clean
from receiver.adapters.runner.redaction import Redactor
from receiver.domain.run import RunEvent, RunResult

SECRET = 'tK"9/ä+\\s3cr&t'
NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    "disguise",
    [
        SECRET,
        quote(SECRET, safe=""),
        quote(SECRET),
        json.dumps(SECRET)[1:-1],
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
        repr(SECRET)[1:-1],
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
    ],
)
def test_no_disguise_helps(disguise: str) -> None:
    said = Redactor([SECRET.encode()]).text(f"before {disguise} after")
    assert disguise not in said and said.startswith("before (secret)") and said.endswith(" after")


@pytest.mark.parametrize("user", ["", "a", "ab", "abc", "abcd"])
@pytest.mark.parametrize("after", ["", "x", "yz"])
def test_base64_hides_it_at_no_offset(user: str, after: str) -> None:
    secret = "correct-horse-battery"
    coded = base64.b64encode(f"{user}:{secret}{after}".encode()).decode()
    said = Redactor([secret.encode()]).text(coded)
    assert "(secret)" in said
    rest = "".join(said.split("(secret)")).rstrip("=")
    assert len(rest) <= len(user) * 2 + 4 + len(after) * 2 + 4


def test_every_line_of_a_key_goes() -> None:
    key = "-----BEGIN X-----\n" + "\n".join(["abcdefghijklmnopqrstuvwxyz012345"] * 3) + "\n-----END X-----\n"
    assert "ghijklmn" not in Redactor([key.encode()]).text("+abcdefghijklmnopqrstuvwxyz012345\n")


def test_half_a_secret_at_a_cut_goes_too() -> None:
    secret = "correct-horse-battery-staple"
    text = clean("x" * 4080 + secret + "y" * 100)
    assert "correct-hor" in text
    for said in (text, f"{text}: what followed", f"here: {text}: {text}"):
        assert "corr" not in Redactor([secret.encode()]).text(said), said
    assert Redactor([secret.encode()]).text(f"{text}: z").endswith("[112 more characters]: z")


def test_events_and_results_lose_them_and_keep_their_shape() -> None:
    redactor = Redactor([b"successful", b"2026", b"abc"])
    event = RunEvent(
        seq=1, at=NOW, kind="ok", host="h", task="successful", text="2026", diff="+2026", data={"a": ["2026"]}
    )
    seen = redactor.event(event)
    assert (seen.task, seen.text, seen.diff, seen.data) == ("(secret)",) * 2 + ("+(secret)", {"a": ["(secret)"]})
    result = RunResult(
        status="successful", why="2026", changes=("h: 2026",), preview_ends=("h: 2026",), started_at=NOW, ended_at=NOW
    )
    found = redactor.result(result)
    assert (found.status, found.why, found.changes) == ("successful", "(secret)", ("h: (secret)",))
    assert found.preview_ends == ("h: (secret)",)
    assert redactor.text("abc") == "abc"  # too short: it would be everywhere


def test_without_secrets_nothing_is_touched() -> None:
    event = RunEvent(seq=1, at=NOW, kind="ok", text="as it was")
    assert Redactor().event(event) is event
