"""Make it yours: five steps from a first look to your own machines, each with something to copy and a test.

Decides what a step's test asks; refuses to pretend: a step that cannot be taken yet says so.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from receiver.domain.finding import Finding
from receiver.domain.policyfile import Person
from receiver.errors import GitmedicError, Refused
from receiver.identity import new_id
from receiver.web.access import needs_person, needs_viewer
from receiver.web.pages.render import fragment, page
from receiver.web.parts import Parts

STEPS = ("alertmanager", "inventory", "forge", "model", "service")
Test = Callable[[Parts], Awaitable[Finding]]


def routes(parts: Parts) -> APIRouter:
    """/start and the tests of its steps."""
    router = APIRouter(include_in_schema=False)

    async def shown(request: Request, results: dict[str, Finding], token: str = "") -> Response:
        await needs_viewer(request, parts)
        revision = await parts.revision()
        return page(
            request, "start.html", here="set-up", results=results, url=parts.url, token=token,
            sources=parts.sources, hosts=len(revision.inventory.hosts), mode=revision.policy.mode,
            repository=parts.repository,
        )  # fmt: skip

    @router.get("/start")
    async def start(request: Request) -> Response:
        """The five steps."""
        return await shown(request, {})

    @router.post("/start/token")
    async def token(request: Request) -> Response:
        """Make a token that may deliver alerts and nothing else; it is shown once."""
        person = await needs_person(request, parts)
        if parts.new_token is None:
            raise Refused("no token can be made here", next_step="gitmedic token create", reason="unknown_case")
        _refuse_lookers(person)
        name = f"alertmanager-{new_id()[-8:]}"
        made = await parts.new_token(name, f"user:{person.name}")
        return await shown(request, {}, made)

    @router.get("/start/{step}")
    async def back(step: str) -> Response:
        """Somebody reloaded the answer of a test."""
        return RedirectResponse("/start", status_code=303)

    @router.post("/start/{step}")
    async def test(request: Request, step: str) -> Response:
        """Test one step."""
        await needs_person(request, parts)
        if step not in _TESTS:
            raise Refused(f"no step {step[:40]!r}", next_step="look at set-up", reason="unknown_case")
        try:
            found = await _TESTS[step](parts)
        except GitmedicError as error:
            found = Finding(status="bad", what=step, found=error.message, fix=getattr(error, "next_step", ""))
        if request.headers.get("hx-request"):
            return HTMLResponse(fragment("parts/finding.html", found=found))
        return await shown(request, {step: found})

    return router


def _refuse_lookers(person: Person) -> None:
    """A token lets alerts in; who may neither approve nor dispatch hands out none."""
    if person.approves is None and not person.dispatches:
        raise Refused(
            f"making a token: {person.name} may only look",
            next_step="gitmedic token create, as the owner of the data directory",
            reason="not_entitled",
        )


async def _alertmanager(parts: Parts) -> Finding:
    if not parts.sources:
        return Finding(status="bad", what="sources", found="no [[sources]] in gitmedic.toml", fix="add one, as above")
    found = (await parts.archive.alerts(limit=1, cursor=None, filters={})).items
    if not found:
        fix = "let one fire, or: gitmedic alert test"
        return Finding(status="warn", what="alerts", found="no alert has come yet", fix=fix)
    last = found[0]
    name = last["labels"].get("alertname", "an alert")
    text = f"the last alert, {name}, came from {last['source']} at {last['last_seen_at']:%Y-%m-%d %H:%M:%S} UTC"
    return Finding(status="ok", what="alerts", found=text)


async def _inventory(parts: Parts) -> Finding:
    revision = await parts.revision()
    hosts = revision.inventory.hosts
    blind = sorted(name for name, host in hosts.items() if not host.match)
    if not hosts:
        return Finding(status="bad", what="inventory", found="no host", fix="add one to inventory/hosts.yml, and push")
    if blind:
        text = (
            f"{len(hosts)} hosts; {len(blind)} of them have no `match`, so no alert means them: {', '.join(blind[:5])}"
        )
        return Finding(status="warn", what="inventory", found=text, fix="add gitmedic: {match: […]} to them")
    return Finding(status="ok", what="inventory", found=f"{len(hosts)} hosts at revision {revision.commit[:12]}")


async def _forge(parts: Parts) -> Finding:
    adopted = await parts.repo.adopted()
    text = f"the built-in forge answers; revision {adopted[:12]} is in force, reviews are the pages here"
    return Finding(status="ok", what="forge", found=text)


async def _model(parts: Parts) -> Finding:
    playbooks = (await parts.revision()).catalog.playbooks.values()
    ruled = [one for one in playbooks if one.handles]
    if not ruled:
        return Finding(status="warn", what="rules", found="no playbook has `handles`", fix="add a row to a catalog.yml")
    text = f"rules choose: {len(ruled)} playbooks say which alerts they answer; no model is asked"
    return Finding(status="ok", what="rules", found=text)


async def _service(parts: Parts) -> Finding:
    if "INVOCATION_ID" in os.environ or "NOTIFY_SOCKET" in os.environ:
        return Finding(status="ok", what="service", found="kept running by systemd")
    text = "started by hand: it ends with the terminal, and nothing starts it after a reboot"
    return Finding(status="warn", what="service", found=text, fix="install the unit above")


_TESTS: dict[str, Test] = dict(zip(STEPS, (_alertmanager, _inventory, _forge, _model, _service), strict=True))
