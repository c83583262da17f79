"""`gitmedic case` and `gitmedic dispatch`: what happens and why, and beginning something by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from receiver.cli.command import clean, command, field, given, group, line, run_async, say, show, table
from receiver.cli.exits import Code
from receiver.cli.open import existing, office, store
from receiver.errors import Refused

Id = Annotated[str, typer.Argument(metavar="CASE", help="Number or id of the case.")]
_COLUMNS = ("number", "id", "state", "outcome", "alertname", "entity", "playbook", "why")
_FOLLOW_SECONDS = 0.5
#: how long `resolve --verify` waits for the plan role
_LOOKED_AT_SECONDS = 30.0
#: of the playbooks that were not chosen; `--json` has all
_MOST_OTHERS = 12
#: how a followed case ended → the command's exit code
_CODES = {
    **dict.fromkeys(("fixed", "observed", "diagnosed", "notified", "nothing_to_do", "self_resolved"), Code.OK),
    **dict.fromkeys(("not_fixed", "no_data"), Code.NOT_VERIFIED),
    **dict.fromkeys(("refused", "rejected", "expired", "superseded"), Code.REFUSED),
}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    cases = group("case", "What happened to alerts, and why.")
    app.add_typer(cases)

    @command(cases, "list")
    def list_cases(
        state: Annotated[str, typer.Option("--state", help="proposed, executed, closed, …")] = "",
        outcome: Annotated[str, typer.Option("--outcome", help="fixed, not_fixed, refused, …")] = "",
        alertname: Annotated[str, typer.Option("--alertname", help="Of this alert.")] = "",
        entity: Annotated[str, typer.Option("--entity", help="About this host or thing.")] = "",
        limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 50,
        cursor: Annotated[str | None, typer.Option("--cursor", help="`next` of the page before.")] = None,
    ) -> None:
        """Cases, newest first."""
        asked = {"state": state, "outcome": outcome, "alertname": alertname, "entity": entity}
        filters = {name: value for name, value in asked.items() if value}
        run_async(_list(limit, cursor, filters))

    @command(cases, "show")
    def show_case(case: Id) -> None:
        """Everything about one case, with its timeline."""
        run_async(_show(case))

    @command(cases, "watch")
    def watch(
        case: Id,
        timeout: Annotated[float, typer.Option("--timeout", help="Seconds; 0: for ever.")] = 0,
    ) -> int:
        """Follow a case until it is closed; the exit code says how it ended."""
        return int(run_async(_watch(case, timeout)))

    @command(cases, "resolve")
    def resolve_case(
        case: Id,
        verify: Annotated[bool, typer.Option("--verify", help="Look how things are now.")] = False,
        propose: Annotated[bool, typer.Option("--propose", help="Propose the same again, as a new case.")] = False,
        close: Annotated[bool, typer.Option("--close", help="It needs nobody any more; with --reason.")] = False,
        reason: Annotated[str, typer.Option("--reason", help="Kept with the case.")] = "",
    ) -> int:
        """Say what becomes of an interrupted run, whose outcome nobody knows. It needs a person until this is said."""
        acts = [name for name, is_asked in (("verify", verify), ("propose", propose), ("close", close)) if is_asked]
        if len(acts) != 1:
            raise Refused(
                "resolving a case: exactly one of --verify, --propose and --close",
                next_step=f"gitmedic case resolve {case} --verify", reason="invalid",
            )  # fmt: skip
        return int(run_async(_resolve(case, acts[0], reason)))

    @command(cases, "export")
    def export(case: Id) -> None:
        """A closed case as a scenario for `gitmedic eval`, one JSON line."""
        run_async(_export(case))

    @command(app, "dispatch")
    def dispatch(
        playbook: Annotated[str, typer.Argument(help="Id of a playbook: gitmedic catalog list.")],
        param: Annotated[
            list[str], typer.Option("--param", "-e", metavar="NAME=VALUE", help="A parameter; repeat it.")
        ] = [],  # noqa: B006 - typer copies it
        reason: Annotated[str, typer.Option("--reason", help="Written on the proposal.")] = "",
        wait: Annotated[bool, typer.Option("--wait", help="Follow the case until it is closed.")] = False,
        timeout: Annotated[float, typer.Option("--timeout", help="Seconds, with --wait.")] = 0,
        write: Annotated[
            Path | None,
            typer.Option(
                "--write", metavar="DIR", help="Only write the run file below DIR, for your own pull request."
            ),
        ] = None,
    ) -> int:
        """Begin a case by hand. It meets the same policy, the same dry run and the same proposal.

        With `--write DIR` nothing begins: commit the file in your clone of the ops repository and open a pull request.
        """
        if write is not None:
            return int(run_async(_write(playbook, param, reason, write)))
        return int(run_async(_dispatch(playbook, param, reason, wait, timeout)))


async def _list(limit: int, cursor: str | None, filters: dict[str, str]) -> None:
    async with store() as opened:
        page = await opened.archive.cases(limit=limit, cursor=cursor, filters=filters)
    rows = [[item.get(column) or "" for column in _COLUMNS[:-1]] + [_why(item)] for item in page.items]
    show({"items": page.items, "next": page.next}, lambda: table(_COLUMNS, rows))
    if page.next and not given().json:
        say(f"more: --cursor {page.next}")


def _why(item: dict[str, Any]) -> str:
    return str(item.get("why") or item.get("waiting") or "")


async def resolve(archive: Any, case: str) -> str:
    """The id of a case that was named by its number; an id stays what it is."""
    if not (case.isascii() and case.isdigit() and len(case) < 18):
        return case
    page = await archive.cases(limit=1, cursor=str(int(case) + 1), filters={})
    return next((str(item["id"]) for item in page.items if item["number"] == int(case)), case)


async def _show(case: str) -> None:
    async with store() as opened:
        case = await resolve(opened.archive, case)
        found = await opened.archive.case(case)
    if found is None:
        raise _unknown("showing", case)
    show(found, lambda: _print(found))


async def _watch(case: str, timeout: float) -> Code:
    async with store() as opened, asyncio.timeout(timeout or None):
        return await follow(opened.archive, await resolve(opened.archive, case))


async def follow(archive: Any, case: str) -> Code:
    """Print the timeline as it grows, until the case is closed."""
    told = -1
    while True:
        found = await archive.case(case)
        if found is None:
            raise _unknown("following", case)
        for event in await archive.events(case, after=told):
            told = event["seq"]
            show(event, lambda event=event: _print_event(event))  # type: ignore[misc]
        if found["state"] == "closed":
            return _CODES.get(found["outcome"], Code.FAILED)
        await asyncio.sleep(_FOLLOW_SECONDS)


async def _resolve(case: str, act: Any, reason: str) -> Code:
    from receiver.cli.people import at_terminal
    from receiver.domain.text import plain

    found = existing()
    async with office() as opened:
        person = at_terminal(await opened.doors.policy(), found, f"resolving case {case}")
        case = await resolve(opened.store.archive, case)
        word = await opened.aftermath.resolve(case, act, person=person, reason=plain(reason))
        if word.act == "verify":
            return await _looked_at(opened.store.resolutions, case)
    show(word.model_dump(mode="json"), lambda: line(f"case {case}: settled by {person.name}"))
    if word.opened:
        say(f"next: gitmedic case watch {word.opened}")
    return Code.OK


async def _looked_at(resolutions: Any, case: str) -> Code:
    """The plan role looks; it alone may ask the sources."""
    for _ in range(int(_LOOKED_AT_SECONDS / _FOLLOW_SECONDS)):
        words = [word for word in await resolutions.of(case) if word.act == "verify"]
        if words and all(word.verdict is not None for word in words):
            said = f"case {case}: {words[-1].verdict}: {words[-1].why}"
            show(words[-1].model_dump(mode="json"), lambda said=said: line(said))  # type: ignore[misc]
            return Code.OK if words[-1].settles else Code.NOT_VERIFIED
        await asyncio.sleep(_FOLLOW_SECONDS)
    raise Refused(
        f"looking at case {case}: no planner has answered in {_LOOKED_AT_SECONDS:.0f} s",
        next_step="gitmedic doctor", reason="no_planner",
    )  # fmt: skip


async def _export(case: str) -> None:
    from receiver.domain.case import Closed
    from receiver.domain.lesson import scenario_of
    from receiver.errors import GitmedicError

    async with office() as opened:
        archive = opened.store.archive
        id = await resolve(archive, case)
        found = await archive.stored(id)
        if found is None:
            raise _unknown("exporting", case)
        if not isinstance(found, Closed):
            raise Refused(
                f"exporting case {case!r}: it is {found.kind}, not closed", next_step=f"gitmedic case watch {case}"
            )
        revision = None
        if found.revision:
            try:
                revision = await opened.repo.revision(found.revision)
            except GitmedicError as error:
                say(f"its revision cannot be read, so no verify query is offered: {error.message}")
        line(scenario_of(found, revision).model_dump_json())


def _unknown(doing: str, case: str) -> Refused:
    return Refused(f"{doing} case {case!r}: there is none", next_step="gitmedic case list", reason="unknown_case")


async def _dispatch(playbook: str, params: list[str], reason: str, wait: bool, timeout: float) -> Code:
    from receiver.starter import os_user

    async with office() as opened:
        revision = await opened.repo.revision(await opened.repo.adopted())
        known = revision.catalog.playbooks.get(playbook)
        values = read_params(params, known.params if known else {})
        case = await opened.doors.dispatch(playbook, values, actor=f"os:{os_user()}", reason=reason)
        if not wait:
            show({"schema": 1, "case": case}, lambda: line(case))
            say(f"next: gitmedic case watch {case}")
            return Code.OK
        say(f"case {case}")
        async with asyncio.timeout(timeout or None):
            return await follow(opened.store.archive, case)


async def _write(playbook: str, params: list[str], reason: str, folder: Path) -> Code:
    from receiver.domain.runfile import path_of, write_runfile
    from receiver.starter import os_user

    async with office() as opened:
        revision = await opened.repo.revision(await opened.repo.adopted())
        known = revision.catalog.playbooks.get(playbook)
        values = read_params(params, known.params if known else {})
        made = await opened.doors.write_runfile(playbook, values, actor=f"os:{os_user()}", reason=reason)
        place = await opened.doors.place_of(made)
        path = folder / path_of(made.run, opened.doors.clock.now(), place.prefix)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(write_runfile(made))
    except OSError as error:
        raise Refused(
            f"writing {str(path)!r}: {error.strerror}", next_step="name a folder that you may write"
        ) from None
    show(
        {"schema": 1, "file": str(path), "run": made.run, "expires_at": made.expires_at.isoformat()},
        lambda: line(str(path)),
    )
    where = f" of place {place.name!r}" if place.name else ""
    say(f"next: commit it on a branch of its own, push it, and open a pull request into branch {place.base!r}{where}")
    return Code.OK


def read_params(given_params: list[str], schema: dict[str, Any]) -> dict[str, Any]:
    """`name=value` pairs as the playbook's schema types them; text stays text."""
    properties: dict[str, dict[str, Any]] = schema.get("properties", {})
    values: dict[str, Any] = {}
    for pair in given_params:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise Refused(
                f"reading parameter {pair!r:.80}: expected NAME=VALUE",
                next_step="-e host=web1",
                reason="invalid",
            )
        values[name] = text
        if properties.get(name, {}).get("type", "string") != "string":
            try:
                values[name] = json.loads(text)
            except ValueError:
                continue  # the schema says what is wrong with it
    return values


def _cell(item: dict[str, Any], column: str) -> Any:
    value = item.get(column)
    return value.get("name") or value.get("labels", {}).get("alertname") if isinstance(value, dict) else value


def _print(case: dict[str, Any]) -> None:
    for name in ("id", "state", "outcome", "why", "alert", "entity", "revision"):
        if value := _cell(case, name):
            field(name, value)
    plan, proposal, run, verified = (case.get(name) or {} for name in ("plan", "proposal", "run", "verification"))
    if plan:
        field("plan", f"{plan.get('playbook') or plan.get('action')}: {plan.get('why')}")
        for name, value in (plan.get("params") or {}).items():
            field("", f"{name} = {value}")
        if case.get("track"):
            field("track record", case["track"]["said"])
        _print_decision(plan, case.get("attempts") or ())
    _print_similar(case)
    if proposal:
        place = f" in place {proposal['place']}" if proposal.get("place") else ""
        field("proposal", f"{proposal.get('url')} ({proposal.get('state', '')}){place}")
    if run:
        field("run", f"{run.get('id')} {run.get('status') or ''}")
    _print_resolutions(case)
    if verified:
        field("verified", f"{verified.get('verdict')}: {verified.get('why', '')}")
    line("")
    for event in case.get("events", ()):
        _print_event(event)


def _print_resolutions(case: dict[str, Any]) -> None:
    """What people said about an interrupted run, and that it needs one of them."""
    if case.get("needs_you") and case.get("outcome") == "interrupted":
        field("needs you", f"gitmedic case resolve {case['id']} --verify | --propose | --close --reason WORDS")
    for word in case.get("resolutions") or ():
        said = f"{word['verdict']}: {word['why']}" if word.get("verdict") else word.get("opened") or word.get("reason")
        field("resolution", f"{word['act']} by {word['actor']}: {said or 'asked'}")


def _print_similar(case: dict[str, Any]) -> None:
    """What was recalled for the plan; a note is told from what gitmedic saw itself."""
    for number, one in enumerate(case.get("memories") or ()):
        said = f"note of {one['author']}, unchecked: " if one["kind"] == "note" else ""
        field("" if number else "similar", f"{str(one['at'])[:10]} {said}{one['text']} ({one['id']})")


def _print_decision(plan: dict[str, Any], attempts: Sequence[dict[str, Any]]) -> None:
    """Which tier decided, on which facts and at what cost; why the others, tiers and playbooks, did not."""
    if plan.get("tier"):
        cost = sum(one["cost_usd"] for one in attempts)
        cited = ", ".join(plan.get("evidence") or ()) or "none"
        field("decided by", f"{plan['tier']}, {cost:.4f} USD, facts cited: {cited}")
    for one in attempts:
        asked = f" {one['seconds']:.1f} s, {one['tokens_in'] + one['tokens_out']} tokens" if one.get("requests") else ""
        field(f"  {one['tier']}", f"{one['verdict'].replace('_', ' ')}: {one['why']}{asked}")
    for one in [one for one in plan.get("candidates") or () if not one["chosen"]][:_MOST_OTHERS]:
        field("  not", f"{one['playbook']}: {one['why']}")
    for name, words in (("it says", plan.get("rationale")), ("it expects", plan.get("expected_effect"))):
        if words:
            field(name, f"“{words}” (a model's words, not checked)")


def _print_event(event: dict[str, Any]) -> None:
    at = str(event.get("at", ""))[:19].replace("T", " ")
    line(f"{at}  {clean(str(event['kind'])):<20} {clean(str(event['actor'])):<14} {clean(str(event['text']))}")
