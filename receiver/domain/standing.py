"""May this be read without a proposal? The merged policy is the approval, in advance, for what only reads.

Asked by the executor just before the start, of what git, the database and the clock say then: the policy that vetted
the run and the one in force now must both have the schedule and list the playbook, the bytes that would run must read
only, and nothing may have moved. A row that fails as None is not a no: come back later.
"""

from __future__ import annotations

from datetime import datetime

from receiver.domain.landing import Trees
from receiver.domain.outcome import Outcome
from receiver.domain.playbook import Playbook
from receiver.domain.policyfile import Policy, not_isolated
from receiver.domain.record import Record
from receiver.domain.runfile import RunFile
from receiver.domain.table import Row
from receiver.domain.timetable import Schedule, Scheduled, params_for


class Standing(Record):
    """The approval of a reading run: given in advance by the people who merged the policy."""

    by: str  #: `policy:<schedule>@<commit>`
    at: datetime  #: when the guard found it, by the database's clock


class Grant(Record):
    """What is known about one reading run."""

    now: datetime  #: the database's clock
    scheduled: Scheduled
    by_policy: bool  #: no person asked for it
    runfile: RunFile
    playbook: Playbook  #: as it was vetted
    hosts: tuple[str, ...]  #: that the schedule means now
    policies: tuple[Policy, ...]  #: by which it was vetted, and the one in force where that is another
    effect: str  #: of the very bytes that would run: `read`, or why not
    trees: Trees | None  #: of the playbook at the revision in force; None: it is gone
    targets_digest: str  #: of the targets as the inventory in force resolves them
    begun: bool
    fresh: bool
    paused: str | None
    isolation: str
    sites: tuple[str, ...]


def find(policy: Policy, name: str) -> Schedule | None:
    """The schedule of this name."""
    return next((one for one in policy.schedules if one.name == name), None)


def is_scheduled(grant: Grant) -> str | None:
    """It is what the schedule says: this playbook with these parameters."""
    name = grant.scheduled.schedule
    for policy in grant.policies:
        found = find(policy, name)
        if found is None:
            return f"policy.yml has no schedule {name!r} any more"
        if grant.by_policy and not found.enabled:
            return f"schedule {name!r} was disabled in policy.yml"
        params = params_for(found, grant.playbook, next(iter(grant.runfile.targets), ""))
        if (found.playbook, params) != (grant.runfile.playbook, grant.runfile.params):
            return f"schedule {name!r} says something else by now"
    strangers = [host for host in grant.runfile.targets if host not in grant.hosts]
    return f"schedule {name!r} does not mean host {strangers[0]!r}" if strangers else None


def is_listed(grant: Grant) -> str | None:
    """People merged a policy that lets this playbook run without a proposal, and did not take it back."""
    if all(grant.runfile.playbook in policy.read_without_proposal for policy in grant.policies):
        return None
    return f"`read_without_proposal` of policy.yml does not list {grant.runfile.playbook}"


def only_reads(grant: Grant) -> str | None:
    """Computed from the bytes that would run, whatever the catalog says."""
    return None if grant.effect == "read" else f"it does not only read: {grant.effect}"


def is_undiverged(grant: Grant) -> str | None:
    """Playbook, roles, collections and targets are what the run file pins."""
    moved = grant.runfile.moved(grant.trees, grant.targets_digest)
    return f"{moved} since it was vetted" if moved else None


def is_unused(grant: Grant) -> str | None:
    """A run begins once."""
    return "this run was begun before" if grant.begun else None


def is_in_time(grant: Grant) -> str | None:
    """By the database's clock."""
    expires = grant.runfile.expires_at
    return None if grant.now < expires else f"nothing could begin it before {expires:%Y-%m-%d %H:%M} UTC"


def is_granted_here(grant: Grant) -> str | None:
    """Rule S2: what was decided before a restore, a move or a silence is not begun after it."""
    return None if grant.fresh else "decided before this instance was restored, moved or silent: the next one runs"


def is_free(grant: Grant) -> str | None:
    """Nothing starts while everything is paused."""
    return grant.paused


def is_isolated(grant: Grant) -> str | None:
    """Without a sandbox only where the policy says so."""
    return not_isolated(grant.isolation, grant.policies, grant.sites)


STANDING: tuple[Row[Grant], ...] = (
    Row("unused", "Has it never been begun?", is_unused, ("database",)),
    Row("in_time", "Is it not too old?", is_in_time, ("clock", "database"), Outcome.EXPIRED),
    Row("scheduled", "Is it what the schedule says?", is_scheduled, ("git",)),
    Row("listed", "Do people let it run without a proposal?", is_listed, ("git",)),
    Row("only_reads", "Does it change nothing?", only_reads, ("git",)),
    Row("undiverged", "Is what it stands on unchanged?", is_undiverged, ("git",), Outcome.SUPERSEDED),
    Row("fresh", "Was it decided for this instance?", is_granted_here, ("database",)),
    Row("in_the_way", "Is nothing paused?", is_free, ("database",), None),
    Row("isolation", "Is the sandbox as strong as the policy asks?", is_isolated),
)
