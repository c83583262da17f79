"""Webhooks of a forge at the front door, as three forges send them and as nobody should."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest

from receiver.adapters.store.deliveries import PostgresDeliveries
from receiver.errors import Refused
from receiver.web.app import create_app
from receiver.web.parts import Hooked
from tests.door import URL, Door, proposed

pytestmark = pytest.mark.anyio
SECRET = "a secret, é"
KEY = b"k" * 32
WHSEC = "whsec_" + base64.b64encode(KEY).decode()
KINDS = ("github", "gitea", "gitlab", "gitlab-signed")
SHA = "a" * 40


@dataclass
class Hook:
    """The door of one kind of forge, and how that forge sends."""

    kind: str
    http: httpx.AsyncClient
    door: Door
    secret: list[str] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)

    @property
    def path(self) -> str:
        return f"/hooks/{self.kind.partition('-')[0]}/42"

    def payload(self, number: int = 3, repository: int = 42) -> dict[str, Any]:
        """New commits of a pull request."""
        if self.kind.startswith("gitlab"):
            about = {"iid": number, "action": "update", "oldrev": "b" * 40, "source_branch": "gitmedic/x",
                     "source_project_id": repository,
                     "last_commit": {"id": SHA}}  # fmt: skip
            return {"object_kind": "merge_request", "project": {"id": repository}, "user": {"id": 7},
                    "object_attributes": about}  # fmt: skip
        action = "synchronize" if self.kind == "github" else "synchronized"
        head = {"sha": SHA, "ref": "gitmedic/x", "repo": {"id": repository}}
        return {"action": action, "number": number, "repository": {"id": repository}, "sender": {"id": 7},
                "pull_request": {"number": number, "head": head}}  # fmt: skip

    def headers(self, body: bytes, id: str = "d-1", away: float = 0, secret: str = SECRET) -> dict[str, Any]:
        """With this forge's signature."""
        json_ = {"Content-Type": "application/json"}
        digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        stamp = f"{time.time() + away:.0f}"
        signed = base64.b64encode(hmac.new(KEY, f"{id}.{stamp}.".encode() + body, hashlib.sha256).digest()).decode()
        of_kind: dict[str, dict[str, Any]] = {
            "github": {"X-GitHub-Event": "pull_request", "X-GitHub-Delivery": id,
                       "X-Hub-Signature": "sha1=0", "X-Hub-Signature-256": f"sha256={digest}"},
            "gitea": {"X-Gitea-Event": "pull_request", "X-Gitea-Event-Type": "pull_request_sync",
                      "X-Gitea-Delivery": id, "X-Gitea-Signature": digest, "X-Hub-Signature-256": f"sha256={digest}",
                      "X-GitHub-Event": "pull_request", "X-GitHub-Delivery": id, "X-Gogs-Signature": digest},
            "gitlab": {"X-Gitlab-Event": "Merge Request Hook", "X-Gitlab-Event-UUID": "event-1",
                       "Idempotency-Key": id, "webhook-id": id, "webhook-timestamp": stamp,
                       "X-Gitlab-Token": secret.encode()},
            "gitlab-signed": {"X-Gitlab-Event": "Merge Request Hook", "webhook-id": id, "webhook-timestamp": stamp,
                              "webhook-signature": f"v1,{signed}"},
        }  # fmt: skip
        return json_ | of_kind[self.kind]

    async def send(self, payload: Any = None, id: str = "d-1", **more: Any) -> httpx.Response:
        """One delivery as the forge makes it; `more`: headers in the place of its own, None takes one away."""
        body = json.dumps(self.payload() if payload is None else payload).encode()
        headers = self.headers(body, id) | more
        return await self.post(body, {name: value for name, value in headers.items() if value is not None})

    async def post(self, body: Any, headers: dict[str, Any], path: str = "") -> httpx.Response:
        return await self.http.post(path or self.path, content=body, headers=headers)

    async def rows(self) -> list[dict[str, Any]]:
        return await self.door.rows("SELECT * FROM forge_deliveries ORDER BY received_at, id")


def opened(door: Door, kind: str, *others: Hooked, **more: Any) -> Hook:
    hook = Hook(kind, door.http, door, [WHSEC if kind == "gitlab-signed" else SECRET])
    hooked = Hooked(
        kind=kind.partition("-")[0], repository="42", key="42", secret=lambda: hook.secret[0],
        deliveries=PostgresDeliveries(door.office.store.pool), counted=lambda done: hook.counted.update([done]),
    )  # fmt: skip
    app = create_app(replace(door.app.state.parts, hooked=(replace(hooked, **more), *others)))
    hook.http = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=URL)
    return hook


@pytest.fixture(params=KINDS)
async def hook(request: pytest.FixtureRequest, door: Door) -> AsyncIterator[Hook]:
    made = opened(door, request.param)
    async with made.http:
        yield made


async def test_a_delivery_is_kept_once(hook: Hook) -> None:
    assert [(await hook.send()).status_code for _ in range(3)] == [202, 200, 200]
    (row,) = await hook.rows()
    kind = hook.kind.partition("-")[0]
    assert (row["forge"], row["repository"], row["id"], row["number"]) == (kind, "42", "d-1", 3)
    assert (row["ref"], row["after_sha"], row["pusher"]) == ("refs/heads/gitmedic/x", SHA, "7")
    assert hook.counted == {"taken": 1, "again": 2}


async def test_two_at_once_are_one(hook: Hook) -> None:
    answers = await asyncio.gather(*[hook.send() for _ in range(8)])
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [202]
    assert len(await hook.rows()) == 1


async def test_the_order_means_nothing(hook: Hook) -> None:
    for id in ("d-3", "d-1", "d-2"):
        assert (await hook.send(id=id)).status_code == 202
    assert {row["id"] for row in await hook.rows()} == {"d-1", "d-2", "d-3"}


@pytest.mark.parametrize("kind", KINDS[:3])
async def test_two_forges_with_a_repository_of_one_number_are_told_apart_by_their_secrets(
    door: Door, kind: str
) -> None:
    deliveries = PostgresDeliveries(door.office.store.pool)
    silent = Hooked(kind=kind, repository="42", key="mute/42", secret=lambda: "", deliveries=deliveries, counted=print)
    other = replace(silent, key="lab/42", secret=lambda: "the lab's own")
    hook = opened(door, kind, silent, other)
    async with hook.http:
        body = json.dumps(hook.payload()).encode()
        assert (await hook.send(id="d-1")).status_code == 202
        theirs = await hook.post(body, hook.headers(body, "d-1", secret="the lab's own"))
        nobodys = await hook.post(body, hook.headers(body, "d-2", secret="a third one"))
    assert (theirs.status_code, nobodys.status_code) == (202, 403)
    assert [row["repository"] for row in await hook.rows()] == ["42", "lab/42"]


async def test_it_wakes_the_case_of_the_proposal_and_changes_nothing_else(hook: Hook) -> None:
    case = await proposed(hook.door)
    await hook.door.rows(f"UPDATE cases SET repository = '42' WHERE id = '{case.id}' RETURNING id")
    asked = f"SELECT kind, body, events, fence, due_at <= now() AS due FROM cases WHERE id = '{case.id}'"
    (before,) = await hook.door.rows(asked)
    await hook.send(hook.payload(case.proposal.number + 1), id="d-0")
    assert await hook.door.rows(asked) == [before]
    await hook.send(hook.payload(case.proposal.number))
    assert await hook.door.rows(asked) == [before | {"due": True}]


SEALS = {
    "github": ("X-Hub-Signature-256",), "gitea": ("X-Hub-Signature-256", "X-Gitea-Signature"),
    "gitlab": ("X-Gitlab-Token",), "gitlab-signed": ("webhook-signature",),
}  # fmt: skip


@pytest.mark.parametrize("wrong", [None, "", "sha256=", "v1,", "forged", b"\xe9\xff", "ключ".encode()])
async def test_nobody_is_believed_without_the_secret(hook: Hook, wrong: Any) -> None:
    answer = await hook.send(**dict.fromkeys(SEALS[hook.kind], wrong))
    assert answer.status_code == 403
    assert "forged" not in answer.text
    assert "forge.webhook_secret_file" in answer.json()["error"]
    assert hook.counted == {"unsigned": 1}
    assert await hook.rows() == []


async def test_one_wrong_signature_beside_a_good_one(door: Door) -> None:
    hook = opened(door, "gitea")
    for name in SEALS["gitea"]:
        assert (await hook.send(**{name: "sha256=" + "0" * 64})).status_code == 403
        assert (await hook.send(**{name: ""})).status_code == 403


async def test_the_seal_of_another_forge_is_none(hook: Hook) -> None:
    body = json.dumps(hook.payload()).encode()
    for kind in KINDS:
        if kind.partition("-")[0] == hook.kind.partition("-")[0]:
            continue
        given = Hook(kind, hook.http, hook.door).headers(body)
        # Gitea signs as GitHub does, and with the same secret so may anybody who knows it
        wanted = {202, 200} if {kind, hook.kind} == {"github", "gitea"} else {403}
        assert (await hook.post(body, given)).status_code in wanted, kind


async def test_another_body_under_a_good_signature(hook: Hook) -> None:
    if hook.kind == "gitlab":
        await _the_token_is_all_that_gitlab_sends(hook)
        return
    headers = hook.headers(json.dumps(hook.payload()).encode())
    forged = json.dumps(hook.payload(number=4)).encode()
    assert (await hook.post(forged, headers)).status_code == 403
    assert await hook.rows() == []


async def _the_token_is_all_that_gitlab_sends(hook: Hook) -> None:
    """Its plain token is bound to no body, which is why deliveries grant nothing."""
    headers = hook.headers(b"", secret="another")
    assert (await hook.post(json.dumps(hook.payload()).encode(), headers)).status_code == 403


async def test_a_clock_ten_minutes_off(door: Door) -> None:
    hook = opened(door, "gitlab-signed")
    body = json.dumps(hook.payload()).encode()
    for away, status in ((-600, 403), (600, 403), (-200, 202)):
        assert (await hook.post(body, hook.headers(body, away=away))).status_code == status


@pytest.mark.parametrize("secret", ["", "whsec_"])
async def test_without_a_secret_everything_is_refused(door: Door, secret: str) -> None:
    for kind in KINDS:
        hook = opened(door, kind)
        hook.secret[0] = "" if kind in ("github", "gitea") else secret
        answer = await hook.send()
        assert (answer.status_code, hook.counted) == (403, {"no_secret": 1})
        assert "set forge.webhook_secret_file" in answer.json()["error"]


async def test_a_secret_that_cannot_be_read_is_none(door: Door) -> None:
    def unreadable() -> str:
        raise Refused("reading forge.webhook_secret_file '/etc/x': Permission denied")

    answer = await opened(door, "github", secret=unreadable).send()
    assert answer.status_code == 403
    assert "/etc/x" not in answer.text


async def test_a_new_secret_counts_at_once(door: Door) -> None:
    hook = opened(door, "github")
    assert (await hook.send(id="d-1")).status_code == 202
    hook.secret[0] = "new"
    assert (await hook.send(id="d-2")).status_code == 403
