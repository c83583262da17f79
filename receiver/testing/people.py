"""What the doors and the web ask of the store, in memory: deliveries, secrets, a person's word, and what is shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from receiver.domain.alert import Alert, no_case_reason, read_delivery
from receiver.domain.case import Approved, Case, Planned, Proposed, Received, Vetted
from receiver.domain.delivery import Delivery
from receiver.domain.view import case_view, run_view
from receiver.errors import Refused
from receiver.identity import new_id
from receiver.ports import Clock, Event, Lines, Page, Post, Receipt, Token
from receiver.testing.store import FakeCases, FakeRuns, Row


class FakeInbox:
    """The Inbox port: alerts by identity; who next looks for work opens a case for each new one."""

    def __init__(self, clock: Clock, cases: FakeCases) -> None:
        self._clock, self._cases = clock, cases
        cases.opener = self.open_cases
        self.posts: list[Post] = []
        #: identity → the alert, its case, and why it has none of its own
        self.alerts: dict[tuple[str, str, str], tuple[Alert, str | None, str | None]] = {}

    async def store(self, posts: Sequence[Post]) -> list[Receipt]:
        """One receipt each, in order."""
        return [self._store(post) for post in posts]

    def _store(self, post: Post) -> Receipt:
        self.posts.append(post)
        read = read_delivery(post.body, source=post.source)
        new = sum([self._keep(alert) for alert in read.alerts])
        return Receipt(alerts=len(read.alerts), new=new, unreadable=len(read.unreadable))

    def _keep(self, alert: Alert) -> bool:
        key = (alert.source, alert.fingerprint, alert.starts_at.isoformat())
        if key in self.alerts:
            known, case, why = self.alerts[key]
            if alert.status == "resolved":
                self.alerts[key] = (known.model_copy(update={"status": "resolved"}), case, why)
                self._wake(case)
            return False
        self.alerts[key] = (alert, None, no_case_reason(alert, connected_at=alert.starts_at))
        return True

    def open_cases(self) -> int:
        """A case for each alert that waits for one."""
        waiting = [(key, alert) for key, (alert, case, why) in self.alerts.items() if case is None and why is None]
        for key, alert in waiting:
            known = self._open_case(alert)
            if known is not None:
                self.alerts[key] = (alert, known, "duplicate")
                continue
            firing = alert.model_copy(update={"status": "firing"})
            received = Received(id=new_id(), opened_at=self._clock.now(), alert=firing)
            self._cases.add(received)
            self._cases.told(received.id, Event(kind="case.received", actor="system"))
            self.alerts[key] = (alert, received.id, None)
        return len(waiting)

    def _open_case(self, alert: Alert) -> str | None:
        for row in self._cases.rows.values():
            known = row.case.alert
            same = known is not None and (known.source, known.fingerprint) == (alert.source, alert.fingerprint)
            if same and row.closed_at is None:
                return row.case.id
        return None

    def _wake(self, case: str | None) -> None:
        row = self._cases.rows.get(case or "")
        if row is not None and row.case.kind in ("proposed", "executed"):
            row.due_at, row.woken = self._clock.now(), True


class FakeAccess:
    """The Access port: secrets that a test makes up."""

    def __init__(self) -> None:
        self.tokens: dict[str, Token] = {}
        self.links: dict[str, str] = {}
        self.sessions: dict[str, str] = {}

    async def token(self, secret: str) -> Token | None:
        """By its secret."""
        return self.tokens.get(secret)

    async def enter(self, link_secret: str) -> tuple[str, str] | None:
        """Once."""
        person = self.links.pop(link_secret, None)
        if person is None:
            return None
        session = new_id()
        self.sessions[session] = person
        return session, person

    async def person(self, session_secret: str) -> str | None:
        """Whose session."""
        return self.sessions.get(session_secret)

    async def leave(self, session_secret: str) -> None:
        """Ended."""
        self.sessions.pop(session_secret, None)


class FakeDesk:
    """The Desk port over the fake rows."""

    def __init__(self, clock: Clock, cases: FakeCases, runs: FakeRuns) -> None:
        self._clock, self._cases, self._runs = clock, cases, runs
        self.adoptions: list[tuple[str, str | None, str, str]] = []
        self.words: dict[tuple[str, str, str], list[str]] = {}

    async def open(self, case: Planned, events: Sequence[Event]) -> None:
        """A case that a person began."""
        await self._cases.open(case, events)

    async def note(self, case: str, event: Event, *, wake: bool = False) -> None:
        """One line more; a closed case is not woken."""
        row = self._cases.rows.get(case)
        if row is None:
            return
        self._cases.told(case, event)
        if wake and row.closed_at is None:
            row.due_at, row.woken = self._clock.now(), True

    async def wake(self, case: str) -> None:
        """Due now; a closed case is not woken."""
        row = self._cases.rows.get(case)
        if row is not None and row.closed_at is None:
            row.due_at, row.woken = self._clock.now(), True

    async def cancel(self, run: str, actor: str) -> bool:
        """Every attempt of this run that has no end; before there is one, its approved case."""
        real = [one for one in self._runs.attempts.values() if one["run"] == run and one["mode"] == "run"]
        for id, row in self._cases.rows.items():
            case = row.case
            if not isinstance(case, Approved) and not (isinstance(case, Vetted) and case.standing is not None):
                continue
            if case.runfile.run == run and not real:
                self._runs.off[run] = actor
                await self.note(id, Event(kind="run.cancel_asked", actor=actor, text=f"cancel run {run}"), wake=True)
                return True
        live = [one for one in self._runs.attempts.values() if one["run"] == run and one["result"] is None]
        for attempt in live:
            self._runs.stop.add(run)
            said = Event(kind="run.cancel_asked", actor=actor, text=f"cancel run {run}")
            await self.note(attempt["case"], said)
        return bool(live)

    async def accept(self, old: str, new: str, digest: str, *, person: str, via: str) -> tuple[str, ...]:
        """Once each."""
        words = self.words.setdefault((old, new, digest), [])
        if person not in words:
            words.append(person)
        return tuple(words)

    async def adopt(self, commit: str, *, old: str | None, digest: str, actor: str) -> None:
        """The last one is in force."""
        self.adoptions.append((commit, old, digest, actor))


class FakeDeliveries:
    """The Deliveries port over the fake rows."""

    def __init__(self, clock: Clock, cases: FakeCases) -> None:
        self._clock, self._cases = clock, cases
        self.taken: dict[tuple[str, str, str], tuple[datetime, Delivery]] = {}

    async def take(self, delivery: Delivery) -> bool:
        """Once."""
        key = (delivery.forge, delivery.repository, delivery.id)
        if key in self.taken:
            return False
        self.taken[key] = (self._clock.now(), delivery)
        for row in self._cases.rows.values():
            case = row.case
            if not isinstance(case, Proposed) or case.proposal.number != delivery.number:
                continue
            if case.proposal.is_in(delivery.repository):
                row.due_at, row.woken = self._clock.now(), True
        return True

    async def since(self, forge: str, repository: str, moment: datetime) -> list[Delivery]:
        """In the order in which they came."""
        found = [one for (kind, number, _), one in self.taken.items() if (kind, number) == (forge, repository)]
        return [delivery for at, delivery in found if at > moment][:500]


class FakeLogs:
    """The Logs port over the fake runs."""

    def __init__(self, runs: FakeRuns) -> None:
        self._runs = runs

    async def run(self, id: str) -> dict[str, Any] | None:
        """With all attempts."""
        attempts = [one for one in self.attempts() if one["run"] == id]
        return run_view(attempts) if attempts else None

    async def run_log(
        self, id: str, *, after: int = -1, limit: int = 1000, tail: bool = False, of: Lines | None = None
    ) -> list[dict[str, Any]]:
        """Of the latest attempt, or the one that is asked for."""
        chosen = of or Lines()
        found = [
            (key, one["events"])
            for key, one in self._runs.attempts.items()
            if one["run"] == id and chosen.attempt in ("", key)
        ]
        key, all_events = found[-1] if found else ("", [])
        events = [
            {"attempt": key, **event.model_dump()}
            for event in all_events
            if event.seq > after
            and chosen.host in ("", event.host)
            and (not chosen.kinds or event.kind in chosen.kinds)
            and chosen.word.lower() in f"{event.task} {event.text} {event.diff}".lower()
        ]
        events = sorted(events, key=lambda event: int(event["seq"]))
        return events[-limit:] if tail else events[:limit]

    async def run_case(self, id: str) -> dict[str, Any] | None:
        """Of the rows under the fake runs."""
        begun = {one["case"] for one in self._runs.attempts.values() if one["run"] == id}
        for row in self._runs.cases.rows.values():
            runfile, outcome = getattr(row.case, "runfile", None), getattr(row.case, "outcome", None)
            if row.case.id in begun or (runfile is not None and runfile.run == id):
                return {"id": row.case.id, "state": row.case.kind, "waiting": row.waiting,
                        "outcome": outcome and str(outcome), "is_open": row.closed_at is None}  # fmt: skip
        return None

    async def run_tally(self, id: str) -> list[dict[str, Any]]:
        """Of the latest attempt."""
        log = await self.run_log(id, limit=10_000)
        counts = Counter((one["host"], one["kind"]) for one in log if one["host"])
        return [{"host": host, "kind": kind, "number": number} for (host, kind), number in sorted(counts.items())]

    def attempts(self) -> list[dict[str, Any]]:
        """All of them, as rows."""
        return [self._attempt(key) for key in self._runs.attempts]

    def _attempt(self, key: str) -> dict[str, Any]:
        one = self._runs.attempts[key]
        result = one["result"]
        return {
            "id": key, "run": one["run"], "case_id": one["case"], "mode": one["mode"], "is_alive": True,
            "begun_at": None, "ended_at": result.ended_at if result else None,
            "status": result.status if result else None, "result": result.model_dump() if result else None,
            "cancel_by": "somebody" if one["run"] in self._runs.stop else None,
        }  # fmt: skip


class FakeArchive:
    """The Archive port over the fake rows; its cursor is the number of a row."""

    def __init__(self, cases: FakeCases, logs: FakeLogs, inbox: FakeInbox) -> None:
        self._cases, self._logs, self._inbox = cases, logs, inbox

    async def alerts(self, *, limit: int, cursor: str | None, filters: dict[str, str]) -> Page:
        """One row per identity."""
        rows = [
            {
                "number": number, "source": alert.source, "fingerprint": alert.fingerprint, "status": alert.status,
                "labels": dict(alert.labels), "alertname": alert.name, "case": case, "why": why or self._end(case),
            }
            for number, (alert, case, why) in enumerate(self._inbox.alerts.values(), 1)
        ]  # fmt: skip
        return _page(rows, limit, cursor, filters, ("source", "status", "fingerprint", "alertname", "why"))

    async def cases(self, *, limit: int, cursor: str | None, filters: dict[str, str]) -> Page:
        """Short rows."""
        rows = [self._short(number, row) for number, row in enumerate(self._cases.rows.values(), 1)]
        known = ("state", "outcome", "alertname", "entity", "playbook", "source", "needs")
        return _page(rows, limit, cursor, filters, known)

    async def case(self, id: str) -> dict[str, Any] | None:
        """The whole case."""
        row = self._cases.rows.get(id)
        if row is None:
            return None
        short = self._short([*self._cases.rows].index(id) + 1, row) | {"due_at": row.due_at}
        attempts = [one for one in self._logs.attempts() if one["case_id"] == id]
        return case_view(row.case, short, await self.events(id, after=-1), attempts)

    async def events(self, id: str, *, after: int) -> list[dict[str, Any]]:
        """Numbered from one."""
        row = self._cases.rows.get(id)
        found = [{"seq": seq, **event.model_dump()} for seq, event in enumerate(row.events if row else (), 1)]
        return [event for event in found if event["seq"] > after]

    async def stored(self, id: str) -> Case | None:
        """As it is."""
        return self._cases.rows[id].case if id in self._cases.rows else None

    async def case_of_proposal(self, repository: str, number: int) -> str | None:
        """The last one that names it."""
        named = ((key, getattr(row.case, "proposal", None)) for key, row in self._cases.rows.items())
        found = [key for key, one in named if one is not None and one.number == number and one.is_in(repository)]
        return found[-1] if found else None

    async def entities(self) -> list[dict[str, Any]]:
        """One row per thing."""
        found: dict[str, dict[str, Any]] = {}
        for row in self._cases.rows.values():
            short = self._short(0, row)
            if short["entity"] is None:
                continue
            known = found.setdefault(short["entity"], {"name": short["entity"], "open": 0, "taken_at": None})
            known["open"] += row.case.kind != "closed"
            known |= {"case": short["id"], "state": short["state"], "outcome": short["outcome"]}
            known["updated_at"] = short["updated_at"]
            facts = getattr(row.case, "facts", ())
            known["taken_at"] = facts[0].model_dump(mode="json")["taken_at"] if facts else known["taken_at"]
        return [found[name] for name in sorted(found)]

    def _end(self, case: str | None) -> str:
        return str(getattr(self._cases.rows[case].case, "outcome", "open")) if case else "open"

    def _short(self, number: int, row: Row) -> dict[str, Any]:
        case, alert = row.case, row.case.alert
        entity, plan = getattr(case, "entity", None), getattr(case, "plan", None)
        proposal, outcome = getattr(case, "proposal", None), getattr(case, "outcome", None)
        return {
            "id": case.id, "number": number, "state": case.kind, "outcome": outcome and str(outcome),
            "why": getattr(case, "why", ""), "waiting": row.waiting, "alertname": alert.name if alert else None,
            "entity": entity.name if entity else None, "playbook": plan.playbook if plan else None,
            "source": alert.source if alert else None, "opened_at": case.opened_at, "updated_at": case.opened_at,
            "closed_at": row.closed_at, "proposal": proposal.number if proposal else None,
            "needs": "you" if case.kind == "proposed" or str(outcome) == "interrupted" else None,
        }  # fmt: skip


def _page(
    rows: Sequence[Mapping[str, Any]], limit: int, cursor: str | None, filters: dict[str, str], known: tuple[str, ...]
) -> Page:
    unknown = sorted(set(filters) - set(known))
    if unknown or filters.get("needs", "you") != "you":
        raise Refused(f"there is no filter {unknown}", reason="filter")
    if cursor and not cursor.isdigit():
        raise Refused(f"{cursor!r} is no cursor", reason="cursor")
    found = [
        dict(row)
        for row in reversed(rows)
        if (not cursor or row["number"] < int(cursor)) and all(row[name] == value for name, value in filters.items())
    ]
    limit = max(1, limit)
    return Page(items=tuple(found[:limit]), next=str(found[limit - 1]["number"]) if len(found) > limit else None)
