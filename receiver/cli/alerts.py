"""`gitmedic alert`: the door that Alertmanager uses, tried by hand.

Decides that the try goes the whole way: over HTTP to the running server, with a token of its own that is
revoked afterwards.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from receiver.cli.command import command, group, line, run_async, say, show
from receiver.cli.open import existing, store
from receiver.errors import Refused, Unavailable

if TYPE_CHECKING:
    from receiver.config import Settings

Source = Annotated[str, typer.Option("--source", help="One of [[sources]]; the first when not given.")]
Listen = Annotated[
    str | None,
    typer.Option("--listen", metavar="HOST:PORT", help="Where the server listens. (GITMEDIC_LISTEN)"),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    alerts = group("alert", "Try the door that Alertmanager uses.")
    app.add_typer(alerts)

    @command(alerts, "test")
    def test(
        source: Source = "",
        alertname: Annotated[str, typer.Option("--alertname", help="Its label alertname.")] = "GitmedicTest",
        label: Annotated[
            list[str], typer.Option("--label", "-l", metavar="NAME=VALUE", help="One more; repeat it.")
        ] = [],  # noqa: B006 - typer copies it
        resolved: Annotated[bool, typer.Option("--resolved", help="Send it as resolved.")] = False,
        listen: Listen = None,
    ) -> None:
        """Send one alert to the running server, as Alertmanager would."""
        body = payload(alertname, label, resolved=resolved)
        run_async(_send(json.dumps(body).encode(), source, listen))

    @command(alerts, "replay")
    def replay(
        file: Annotated[Path, typer.Argument(help="The body of one webhook request, as JSON.")],
        source: Source = "",
        listen: Listen = None,
    ) -> None:
        """Send a stored webhook body again, byte by byte."""
        try:
            body = file.read_bytes()
        except OSError as error:
            raise Refused(
                f"reading {str(file)!r}: {error.strerror}",
                next_step="gitmedic alert replay FILE",
                reason="invalid",
            ) from None
        run_async(_send(body, source, listen))


def payload(alertname: str, labels: list[str], *, resolved: bool) -> dict[str, Any]:
    """A webhook body of version 4 with one alert."""
    said = {"alertname": alertname, "severity": "info"}
    for pair in labels:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise Refused(f"reading label {pair!r:.80}: not NAME=VALUE", next_step="-l host=web1", reason="invalid")
        said[name] = value
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    status = "resolved" if resolved else "firing"
    alert = {
        "status": status, "labels": said, "startsAt": now,
        "endsAt": now if resolved else "0001-01-01T00:00:00Z",
        "annotations": {"summary": "sent by gitmedic alert test"}, "generatorURL": "",
    }  # fmt: skip
    return {
        "version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "status": status, "receiver": "gitmedic",
        "groupLabels": {}, "commonLabels": said, "commonAnnotations": {}, "externalURL": "", "alerts": [alert],
    }  # fmt: skip


async def _send(body: bytes, source: str, listen: str | None) -> None:
    found = existing(listen)
    source = source or _first(found)
    url = f"{found.web.local_url}/alertmanager/{source}"
    async with _token(source) as secret:
        status, answer = await _post(url, body, secret, found)
    show({"schema": 1, "url": url, "status": status, "answer": answer}, lambda: line(f"{status} {answer}"))
    if status != 200:
        raise Unavailable(f"sending to {url}: it answered {status}")
    say("next: gitmedic case list")


def _first(found: Settings) -> str:
    if not found.sources:
        raise Refused(
            "sending a test alert: no source is configured",
            next_step=f"add [[sources]] with a name to {found.file}, and start gitmedic again", reason="settings",
        )  # fmt: skip
    return found.sources[0].name


@asynccontextmanager
async def _token(source: str) -> AsyncIterator[str]:
    """A token for this one request."""
    from receiver.starter import os_user

    name = f"alert-test-{secrets.token_hex(3)}"
    async with store() as opened:
        secret = await opened.access.create_token(name, "alerts:write", source=source, created_by=f"os:{os_user()}")
        try:
            yield secret
        finally:
            await opened.access.revoke_token(name)


async def _post(url: str, body: bytes, secret: str, found: Settings) -> tuple[int, str]:
    import httpx

    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    try:
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            answer = await client.post(url, content=body, headers=headers)
    except httpx.HTTPError as error:
        raise Unavailable(
            f"sending to {url}: {error or type(error).__name__}; is gitmedic up on {found.web.listen}?"
        ) from None
    return answer.status_code, answer.text[:2000]
