"""The one JSON shape of a case, for the API, the command line and the pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from receiver.domain.case import Case
from receiver.domain.revision import Revision
from receiver.domain.timetable import Schedule, hosts_of


def case_view(
    case: Case,
    row: Mapping[str, Any],
    events: Sequence[Mapping[str, Any]],
    attempts: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """A case as everybody sees it; what is not known yet is null or empty."""
    body = case.model_dump(mode="json")
    proposal = body.get("proposal")
    ended = case.kind in ("ended", "closed")
    run = run_view(attempts) if any(one["mode"] == "run" for one in attempts) else None
    return {
        "id": case.id,
        "number": row["number"],
        "state": case.kind,
        "outcome": body.get("outcome"),
        "why": body.get("why") or row["waiting"],
        "reason": body.get("reason"),
        "waiting": "" if ended else row["waiting"],
        "revision": body.get("revision"),
        "mode": body.get("mode"),
        "alert": body.get("alert"),
        "entity": body.get("entity"),
        "unresolved": body.get("unresolved") or "",
        "confirmation": body.get("confirmation"),
        "facts": body.get("facts") or [],
        "memories": body.get("memories") or [],
        "attempts": body.get("attempts") or [],
        "plan": body.get("plan"),
        "track": body.get("track") and {**body["track"], "said": _track_said(case)},
        "requested_by": body.get("requested_by"),
        "policy": body.get("guard") or [],
        "scheduled": body.get("scheduled"),
        "standing": body.get("standing") and {**body["standing"], "checks": body.get("asked") or []},
        "runfile": body.get("runfile"),
        "risk": body.get("risk"),
        "rehearsals": body.get("rehearsals") or [],
        "proposal": proposal and {**proposal, "state": _proposal_state(case.kind, body)},
        "approval": body.get("approval"),
        "run": run,
        "verification": body.get("verification"),
        "resolutions": row.get("resolutions") or [],
        "needs_you": case.kind == "proposed" or _is_unsettled(body, row),
        "events": [dict(event) for event in events],
        "timestamps": {
            "opened_at": row["opened_at"],
            "updated_at": row["updated_at"],
            "closed_at": row["closed_at"],
            "due_at": row["due_at"],
        },
    }


def schedule_view(schedule: Schedule, mark: Mapping[str, Any] | None, revision: Revision) -> dict[str, Any]:
    """A schedule of the policy, what it comes to, and when it was and will be."""
    playbook = revision.catalog.playbooks.get(schedule.playbook)
    reads = playbook is not None and playbook.effect == "read"
    listed = schedule.playbook in revision.policy.read_without_proposal
    known = mark or {}
    return {
        **schedule.model_dump(mode="json"),
        "hosts": list(hosts_of(schedule, revision.inventory)),
        "effect": playbook.effect if playbook else None,
        "runs_as": "nothing" if playbook is None else "read" if reads and listed else "proposal",
        **{name: known.get(name) for name in ("since", "last_at", "last_fate", "last_why", "ran_at", "next_at")},
    }


def _is_unsettled(body: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """An interrupted run needs a person until somebody has settled it."""
    return body.get("outcome") == "interrupted" and not any(one["settles"] for one in row.get("resolutions") or ())


def _track_said(case: Case) -> str:
    track = getattr(case, "track", None)
    return track.said if track is not None else ""


def run_view(attempts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A run: its real attempt when there is one, else its last rehearsal."""
    real = [one for one in attempts if one["mode"] == "run"]
    last = (real or list(attempts))[-1]
    result = last["result"] or {}
    status = last["status"] or ("running" if last["is_alive"] else "interrupted")
    return {
        "id": last["run"],
        "case": last["case_id"],
        "mode": last["mode"],
        "status": status,
        "why": result.get("why", ""),
        "stats": result.get("stats", {}),
        "changes": result.get("changes", []),
        "isolation": result.get("isolation", ""),
        "begun_at": last["begun_at"],
        "ended_at": last["ended_at"],
        "cancel_by": last["cancel_by"],
        "attempts": [{key: one[key] for key in ("id", "mode", "status", "begun_at", "ended_at")} for one in attempts],
    }


def _proposal_state(kind: str, body: Mapping[str, Any]) -> str:
    if body.get("approval"):
        return "merged"
    return "open" if kind == "proposed" else "closed"
