"""The words of a pull request: title, body, the one comment, the closing words, labels and the status line.

Rendered by us from ids and from what code read; no outside text without a code span or a fence. Nothing here carries a
time that changes by itself: the same state says the same words, so that a comment is edited only when there is news.
"""

from __future__ import annotations

from collections.abc import Sequence

from receiver.domain.case import Closed, Proposed, Rehearsed
from receiver.domain.given import AFTER, BEFORE
from receiver.domain.outcome import Risk
from receiver.domain.playbook import Playbook
from receiver.domain.proof import Reading
from receiver.domain.proposal import Answer
from receiver.domain.run import Hop, JobHost
from receiver.domain.text import fence, sentence, span
from receiver.domain.untrusted import prose

#: of the dry run in the body; the whole stays with the case
MAX_DIFF = 12_000
_MOST_LINES = 40


def proposal_title(case: Rehearsed, playbook: Playbook) -> str:
    """One line, from the catalog and the inventory only."""
    return f"{playbook.title} on {', '.join(case.runfile.targets)}"


def reached(hosts: Sequence[JobHost]) -> list[str]:
    """How each SSH target is reached, as it is pinned: user, address and way (rule S21)."""
    found = []
    for host in hosts:
        if host.connection == "ssh":
            by = [_login(hop) for hop in host.jump]
            way = f" by way of {', then '.join(by)}" if by else ""
            found.append(f"{host.name}: {_login(host)}{way}{', as root by sudo' if host.become else ''}")
    return found


def _login(host: JobHost | Hop) -> str:
    where = host.address if host.port == 22 else f"[{host.address}]:{host.port}"
    return f"{host.user}@{where}" if host.user else where


def proposal_body(case: Rehearsed | Proposed, playbook: Playbook, hosts: Sequence[JobHost] = ()) -> str:
    """Markdown: what would happen, where, why, and what the dry run showed."""
    expires = case.runfile.expires_at
    lines = [
        f"**{playbook.title}** (`{playbook.id}`, risk {playbook.risk}) on {_names(case.runfile.targets)}.",
        *(f"- {span(one)}" for one in reached(hosts)),
        "",
        f"Why: {_why(case)}",
        *(["", f"Track record: {case.track.said}."] if case.track is not None else []),
        "",
        "| parameter | value |",
        "|---|---|",
        *(f"| `{name}` | {span(str(value))} |" for name, value in case.runfile.params.items()),
        "",
        *dry_run(case, playbook),
        "",
        f"Merging approves exactly the run file in this pull request, until {expires:%Y-%m-%d %H:%M} UTC. Editing it, "
        "or pushing anything else to this branch, makes it worthless: to run something else, dispatch it.",
        *_decided(case),
    ]
    return "\n".join(lines)


def dry_run(case: Rehearsed | Proposed, playbook: Playbook) -> list[str]:
    """Counts and task names always; the diff, folded, only where the playbook lets it leave our own page."""
    result = case.rehearsals[-1].result
    counted = f"{len(result.changes)} would change"
    if result.not_previewable:
        counted += f", {len(result.not_previewable)} cannot be previewed"
    lines = [f"**Dry run** on the real targets: {counted}."]
    said = [f"- would change: {span(change)}" for change in result.changes]
    said += [f"- not previewable: {span(task)}" for task in result.not_previewable]
    lines += said[:_MOST_LINES]
    if len(said) > _MOST_LINES:
        lines.append(f"- and {len(said) - _MOST_LINES} more, on the page of the case")
    if playbook.publish_diff and result.diff:
        cut = len(result.diff) > MAX_DIFF
        summary = "The diff of the dry run" + (", its first part" if cut else "")
        lines += ["", f"<details><summary>{summary}</summary>", "", fence(result.diff[:MAX_DIFF]), "", "</details>"]
    elif result.diff:
        lines.append("The diff stays on the page of the case: the playbook does not say `publish_diff: yes`.")
    return lines


def standing_comment(case: Proposed, required: Sequence[str], *, can_approve: Sequence[str], silent: str = "") -> str:
    """While it is open: what it still takes. Edited in place, and only when there is news."""
    lines = [f"**No proof either way:** {sentence(silent)}", ""] if silent else []
    lines.append("**Still required**")
    lines += [f"- {sentence(words)}" for words in required]
    lines.append("- then merge it" if required else "- merge it")
    if can_approve:
        lines += ["", f"May approve: {', '.join(span(name) for name in can_approve)}. gitmedic counts for itself."]
    else:
        lines += [
            "",
            f"Nobody in `policy.yml` may approve risk {case.risk} here: close it, or change the policy first.",
        ]
    if case.risk.rank >= Risk.HIGH.rank:
        lines += ["", f"Risk {case.risk} needs a signature: `gitmedic approve {case.id} --sign KEY`"]
    lines += ["", f"Case `{case.id}`, run `{case.proposal.run_id}`, file sha256 `{case.proposal.sha256[:12]}`."]
    return "\n".join(lines)


def closing(why: str, reading: Reading | None = None) -> str:
    """The one comment when we close it ourselves, with the evidence where there is some."""
    lines = [f"Closed: {sentence(why)}."]
    if reading is not None and reading.expression:
        lines += ["", "The alert's own expression:", "", fence(reading.expression[:2000])]
        if reading.sample_at is not None:
            lines.append(f"Newest sample of its series: {reading.sample_at:%Y-%m-%d %H:%M:%S} UTC.")
    return "\n".join(lines)


def outcome_comment(case: Closed) -> str:
    """What came of it."""
    lines = [f"Outcome: **{case.outcome}**. {sentence(case.why)}"]
    if case.approval is not None:
        lines.append(f"Approved by {', '.join(span(name) for name in case.approval.approved_by)}.")
    if case.result is not None:
        lines.append(f"Run {case.result.status}, {len(case.result.changes)} changed.")
    if case.verification is not None:
        for name, reading in (("before", case.verification.before), ("after", case.verification.after)):
            if reading is not None:
                lines.append(f"{name}: {reading.verdict}, value {reading.value}")
    return "\n\n".join(lines)


def labels(risk: Risk, *states: str) -> tuple[str, ...]:
    """All of ours; what is not among them is taken off."""
    return ("gitmedic", f"gitmedic/risk-{risk}", *(f"gitmedic/{state}" for state in states if state))


def status_line(case: Proposed, required: Sequence[str]) -> str:
    """Beside the commit: what the dry run found, and the first thing that is missing."""
    result = case.rehearsals[-1].result
    said = f"rehearsed: {len(result.changes)} would change"
    return f"{said}; {required[0]}"[:140] if required else said


def _decided(case: Rehearsed | Proposed) -> list[str]:
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


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _why(case: Rehearsed | Proposed) -> str:
    if case.alert is None:
        return f"dispatched by {span(case.requested_by)}"
    return f"alert {span(case.alert.name)} of source `{case.alert.source}`; {sentence(case.plan.why)}"


def given_comment(answers: Sequence[Answer], *, is_taken: bool) -> str:
    """On a person's own pull request: what was looked at without touching anything, and what follows."""
    lines = ["**This run file was read**", "", "| question | answer |", "|---|---|"]
    for one in answers:
        said = "yes" if one.passed else ("–" if one.passed is None else f"**no**: {sentence(one.why)}")
        lines.append(f"| {_QUESTIONS.get(one.name, one.name)} | {said} |")
    lines += ["", _TAKEN if is_taken else _NOT_TAKEN]
    return "\n".join(lines)


_TAKEN = "It becomes a case: policy, then a dry run on the real targets, which will stand here."
_NOT_TAKEN = "Nothing was rehearsed, and merging it will not run anything."
_QUESTIONS = {row.name: row.question for row in (*BEFORE, *AFTER)}
