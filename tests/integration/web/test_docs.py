"""The API's own page: nothing is missing on it, and what it says of scopes and lines for a shell is so."""

import html
import re
import shlex
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from receiver.adapters.store.archive import ALERT_FILTERS, CASE_FILTERS
from receiver.web.api import logs, schedules
from receiver.web.api import routes as api
from receiver.web.hooks import alertmanager
from receiver.web.pages.docs import told
from tests.door import URL, Door

pytestmark = pytest.mark.anyio
SCOPES = ("read", "alerts:write", "dispatch", "admin")
NOT_LET_IN = (401, 403)


def calls(door: Door) -> list[dict[str, Any]]:
    """Every call as the page tells it."""
    return [call for group in told(door.app.openapi(), URL).values() for call in group]


async def asked(door: Door, call: dict[str, Any], headers: dict[str, str]) -> httpx.Response:
    """The call with its own example."""
    path = call["path"].replace("{source}", "prom").replace("{id}", "019ac0de-0000-7000-8000-000000000001")
    words = shlex.split(call["curl"])
    content = words[words.index("-d") + 1] if "-d" in words else None
    return await door.http.request(
        call["method"], path, content=content, headers={**headers, "Content-Type": "application/json"}
    )


async def test_every_call_of_the_api_is_on_the_page(door: Door) -> None:
    browser = await door.session("guest")
    page = html.unescape(re.sub(r"<[^>]+>", "", (await browser.get("/docs")).text))
    parts = door.app.state.parts
    made = [route for one in (api, logs, schedules, alertmanager) for route in one.routes(parts).routes]
    served = [one for one in made if isinstance(one, APIRoute)]
    assert len(served) == len(calls(door)) > 14
    assert [one.path for one in served for method in one.methods if f"{method} {one.path}" not in page] == []
    assert [call["curl"] for call in calls(door) if call["curl"] not in page] == []
    assert (await door.http.get("/docs")).status_code == 303  # a page for people, as all others
    await browser.aclose()


async def test_a_token_may_what_the_page_says(door: Door) -> None:
    tokens = {scope: await door.token(scope) for scope in SCOPES}
    for call in calls(door):
        answers = {scope: (await asked(door, call, headers)).status_code for scope, headers in tokens.items()}
        may = [scope for scope, status in answers.items() if status not in NOT_LET_IN]
        assert sorted(may) == sorted(call["scopes"]), (call["method"], call["path"], answers)


async def test_a_session_may_what_the_page_says(door: Door) -> None:
    browser = await door.session("anna")
    headers = {"Cookie": f"gitmedic_session={browser.cookies['gitmedic_session']}", "Origin": URL}
    for call in calls(door):
        status = (await asked(door, call, headers)).status_code
        assert (status not in NOT_LET_IN) == call["has_session"], (call["method"], call["path"], status)
    await browser.aclose()


async def test_a_line_for_a_shell_does_what_it_says(door: Door) -> None:
    browser = await door.session("anna")
    session = browser.cookies["gitmedic_session"]
    for call in calls(door):
        scope = call["scopes"][0] if call["scopes"] else "read"
        secret = (await door.token(scope))["Authorization"].removeprefix("Bearer ")
        values = {"$TOKEN": secret, "$SESSION": session, "$SOURCE": "prom", "$ID": "none", "$NAME": "none"}
        words = shlex.split(call["curl"])
        for name, value in values.items():
            words = [word.replace(name, value) for word in words]
        options = list(zip(words[1:-1:2], words[2:-1:2], strict=True))
        method = dict(options).get("-X", "GET")
        headers = dict(word.split(": ", 1) for flag, word in options if flag == "-H")
        if "-b" in dict(options):
            headers["Cookie"] = dict(options)["-b"]
        answer = await door.http.request(method, words[-1], headers=headers, content=dict(options).get("-d"))
        # of a case, a run or a playbook that is not there; it was let in, and what it sent was read
        known = (
            (404, 409, 422)
            if {"$ID", "$NAME"} & set(re.findall(r"\$[A-Z]+", call["curl"])) or call["path"] == "/api/dispatch"
            else ()
        )
        assert answer.status_code in (200, 202, *known), (words, answer.text)
        assert not answer.is_error or answer.json()["reason"].startswith(("unknown", "not_")), answer.text
    await browser.aclose()


async def test_every_filter_is_named(door: Door) -> None:
    named = {call["path"]: [one["name"] for one in call["parameters"]] for call in calls(door)}
    assert named["/api/alerts"] == ["limit", "cursor", *ALERT_FILTERS]
    assert named["/api/cases"] == ["limit", "cursor", *CASE_FILTERS]
