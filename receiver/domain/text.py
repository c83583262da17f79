"""The words of a proposal, rendered by us from ids and from what code read. No outside text without a fence.

Refuses to let outside text act: names are quoted in code spans, long text goes into fences longer than any
run of backticks in it, mentions and markup have no effect there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any

from receiver.domain.case import Case, Closed, Rehearsed
from receiver.domain.playbook import Playbook
from receiver.domain.untrusted import prose

#: of the dry run on the page; the whole stays with the case
MAX_DIFF = 6000


def proposal_title(case: Rehearsed, playbook: Playbook) -> str:
    """One line, from the catalog and the inventory only."""
    return f"{playbook.title} on {', '.join(case.runfile.targets)}"


def proposal_body(case: Rehearsed, playbook: Playbook) -> str:
    """Markdown: what would happen, where, why, and what the dry run showed."""
    rehearsal = case.rehearsals[-1].result
    lines = [
        f"**{playbook.title}** (`{playbook.id}`, risk {playbook.risk}) on {_names(case.runfile.targets)}.",
        "",
        f"Why: {_why(case)}",
        *(["", f"Track record: {case.track.said}."] if case.track is not None else []),
        "",
        "| parameter | value |",
        "|---|---|",
        *(f"| `{name}` | {span(str(value))} |" for name, value in case.runfile.params.items()),
        "",
        f"Dry run: {len(rehearsal.changes)} would change.",
    ]
    lines += [f"- would change: {span(change)}" for change in rehearsal.changes[:20]]
    lines += [f"- not previewable: {span(task)}" for task in rehearsal.not_previewable[:20]]
    if playbook.publish_diff and rehearsal.diff:
        lines += ["", fence(rehearsal.diff[:MAX_DIFF])]
    expires = case.runfile.expires_at
    lines += [
        "",
        f"Expires {expires:%Y-%m-%d %H:%M} UTC. Merging approves exactly the file in this pull request.",
        *_decided(case),
    ]
    return "\n".join(lines)


def _decided(case: Rehearsed) -> list[str]:
    """Who decided, on which facts, at what cost; a model's own words last, as plain text that nothing acts on."""
    plan = case.plan
    if not plan.tier or plan.tier == "rules":
        return []
    cost = sum(one.cost_usd for one in case.attempts)
    cited = ", ".join(span(id) for id in plan.evidence) or "none"
    lines = ["", f"Decided by tier {span(plan.tier)} for {cost:.4f} USD; facts cited: {cited}."]
    words = [prose(plan.rationale), prose(plan.expected_effect)]
    if any(words):
        lines += ["", "In the model's own words, which nobody has checked:", "", fence("\n".join(filter(None, words)))]
    return lines


def outcome_comment(case: Closed) -> str:
    """What came of it."""
    lines = [f"Outcome: **{case.outcome}**. {plain(case.why)}"]
    if case.result is not None:
        lines.append(f"Run {case.result.status}, {len(case.result.changes)} changed.")
    if case.verification is not None:
        for name, reading in (("before", case.verification.before), ("after", case.verification.after)):
            if reading is not None:
                lines.append(f"{name}: {reading.verdict}, value {reading.value}")
    return "\n\n".join(lines)


def step_said(case: Case) -> str:
    """One sentence of what the step that made this kind of case found."""
    return _SAID[case.kind](case)


def span(text: str) -> str:
    """Outside text as a Markdown code span on one line."""
    clean = plain(text).replace("|", "\\|")
    ticks = "`" * (_longest_run(clean) + 1)
    return f"{ticks} {clean} {ticks}" if "`" in clean else f"`{clean or ' '}`"


def fence(text: str) -> str:
    """Outside text as a fenced block that nothing inside can close."""
    ticks = "`" * max(3, _longest_run(text) + 1)
    return f"{ticks}\n{text}\n{ticks}"


def plain(text: str, limit: int = 400) -> str:
    """One line without control, bidi and format characters."""
    kept = "".join(" " if character in "\r\n\t" else character for character in text)
    kept = "".join(c for c in kept if unicodedata.category(c) not in ("Cc", "Cf", "Co", "Cs", "Cn"))
    return kept[:limit]


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _why(case: Rehearsed) -> str:
    if case.alert is None:
        return f"dispatched by {span(case.requested_by)}"
    return f"alert {span(case.alert.name)} of source `{case.alert.source}`; {plain(case.plan.why)}"


def _rehearsed(case: Any) -> str:
    return f"the dry run ended well; {len(case.rehearsals[-1].result.changes)} would change"


def _approved(case: Any) -> str:
    return f"merged as {case.approval.merge_sha[:12]}, approved by {', '.join(case.approval.approved_by)}"


_SAID: dict[str, Callable[[Any], str]] = {
    "received": lambda case: "an alert was stored",
    "triaged": lambda case: f"about {case.entity.name}" if case.entity else f"no entity: {case.unresolved}",
    "investigated": lambda case: f"{len(case.facts)} facts; {case.confirmation.why}",
    "planned": lambda case: case.plan.why,
    "vetted": lambda case: f"policy allows {case.runfile.playbook}, risk {case.risk}",
    "rehearsed": _rehearsed,
    "proposed": lambda case: f"pull request {case.proposal.number}: {case.proposal.url}",
    "approved": _approved,
    "executed": lambda case: f"the run ended well; {len(case.result.changes)} changed",
    "verified": lambda case: f"{case.verification.verdict}: {case.verification.why}",
    "ended": lambda case: f"{case.outcome}: {case.why}",
    "closed": lambda case: f"{case.outcome}: {case.why}",
}
