"""Rehearsed → Proposed: one run file on a new branch, one pull request, one comment.

Every word of it is rendered here from ids and what code read; the same again finds what is there already.
"""

from __future__ import annotations

from hashlib import sha256

from receiver.domain.case import Ended, Proposed, Rehearsed
from receiver.domain.forge import Opening
from receiver.domain.job import job_hosts
from receiver.domain.outcome import Outcome
from receiver.domain.proposal import Proposal
from receiver.domain.pulltext import proposal_body, proposal_title
from receiver.domain.runfile import path_of, write_runfile
from receiver.errors import Conflict
from receiver.places import Place
from receiver.ports import Ledger, Repo


async def propose(case: Rehearsed, *, repo: Repo, ledger: Ledger, at: Place) -> Proposed | Ended:
    """Open the pull request; a run that came in a person's own has one. Where somebody was first, it is over."""
    if case.given is not None:
        return case.become(Proposed, proposal=case.given.proposal)
    if await ledger.now() >= case.runfile.expires_at:
        # a forge that was away, or a place that is gone, keeps no slot for ever
        why = f"nothing could propose it before {case.runfile.expires_at:%Y-%m-%d %H:%M} UTC"
        return case.end(Outcome.EXPIRED, why, reason="in_time")
    revision = await repo.revision(case.revision)
    playbook = revision.catalog.playbooks[case.runfile.playbook]
    content = write_runfile(case.runfile)
    path = path_of(case.runfile.run, case.opened_at, at.prefix)
    branch = f"gitmedic/{case.runfile.run}"
    title = proposal_title(case, playbook)
    try:
        head, base_sha = await at.branches.propose(
            branch=branch, path=path, content=content, message=_message(case, title)
        )
        body = proposal_body(case, playbook, job_hosts(revision.inventory, case.runfile.targets))
        pull = await at.forge.open(Opening(branch=branch, head_sha=head, base=at.base, title=title, body=body))
    except Conflict as error:
        # its branch or its pull request is somebody else's, or was closed: asking again changes nothing
        return case.end(Outcome.REFUSED, error.message, reason="taken")
    proposal = Proposal(
        run_id=case.runfile.run,
        path=path,
        branch=branch,
        sha256=sha256(content).hexdigest(),
        head_sha=head,
        base_sha=base_sha,
        number=pull.number,
        url=pull.url,
        expires_at=case.runfile.expires_at,
        place=at.name,
        repository=at.repository,
    )
    return case.become(Proposed, proposal=proposal)


def _message(case: Rehearsed, title: str) -> str:
    """Of the commit: trailers that `git log --format=%(trailers)` and other tools read."""
    trailers = [f"Gitmedic-Run: {case.runfile.run}", f"Gitmedic-Case: {case.id}"]
    return "\n".join((title, "", *trailers, f"Requested-by: {case.requested_by}", ""))
