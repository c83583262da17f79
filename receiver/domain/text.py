"""Outside text made harmless, and one sentence for each step of a case.

Refuses to let outside text act: names are quoted in code spans, long text goes into fences longer than any
run of backticks in it, mentions and markup have no effect there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any

from receiver.domain.case import Case

#: neither markup nor a mention, an image, a reference or a command in any forge's Markdown
_HARMLESS = re.compile(r"[\w ,.:;'\"/()%=?-]*")


def step_said(case: Case) -> str:
    """One sentence of what the step that made this kind of case found."""
    return _SAID[case.kind](case)


def span(text: str) -> str:
    """Outside text as a Markdown code span on one line."""
    clean = plain(text).replace("|", "\\|")
    ticks = "`" * (_longest_run(clean) + 1)
    return f"{ticks} {clean} {ticks}" if "`" in clean else f"`{clean or ' '}`"


def sentence(text: str, limit: int = 400) -> str:
    """A sentence of ours that may quote outside words: as it is while nothing in it could act, else a code span."""
    clean = plain(text, limit)
    return clean if _HARMLESS.fullmatch(clean) and "://" not in clean and "www." not in clean else span(clean)


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


def _rehearsed(case: Any) -> str:
    return f"the dry run ended well; {len(case.rehearsals[-1].result.changes)} would change"


def _approved(case: Any) -> str:
    return f"merged as {case.approval.merge_sha[:12]}, approved by {', '.join(case.approval.approved_by)}"


def _vetted(case: Any) -> str:
    if case.standing is not None:
        return f"{case.runfile.playbook} only reads, and {case.standing.by} lets it run without a proposal"
    return f"policy allows {case.runfile.playbook}, risk {case.risk}"


_SAID: dict[str, Callable[[Any], str]] = {
    "received": lambda case: "an alert was stored",
    "triaged": lambda case: f"about {case.entity.name}" if case.entity else f"no entity: {case.unresolved}",
    "investigated": lambda case: f"{len(case.facts)} facts; {case.confirmation.why}",
    "planned": lambda case: case.plan.why,
    "vetted": _vetted,
    "rehearsed": _rehearsed,
    "proposed": lambda case: f"pull request {case.proposal.number}: {case.proposal.url}",
    "approved": _approved,
    "executed": lambda case: f"the run ended well; {len(case.result.changes)} changed",
    "verified": lambda case: f"{case.verification.verdict}: {case.verification.why}",
    "ended": lambda case: f"{case.outcome}: {case.why}",
    "closed": lambda case: f"{case.outcome}: {case.why}",
}
