"""Is this merge an approval? Some twenty questions; `merged` alone answers none of them (promise P2).

Asked at the merge, asked again by the clearance just before the start, and those that need only git, the
database and the clock once more by the executor. A row that fails as None is not a no: come back later.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256

from receiver.domain.forge import Account, Posture, PullRequest
from receiver.domain.landing import Landing
from receiver.domain.outcome import Outcome, Risk, Verdict
from receiver.domain.place import Routing
from receiver.domain.policyfile import Policy, not_isolated
from receiver.domain.proof import Confirmation, Reading
from receiver.domain.proposal import Proposal
from receiver.domain.quorum import Vote, actors, approvers, candidates, may_approve, missing, needed
from receiver.domain.record import Record
from receiver.domain.run import JobHost
from receiver.domain.runfile import RunFile, read_runfile
from receiver.domain.table import NotHere, Row, first_no
from receiver.errors import Invalid


class Merge(Record):
    """What is known about one merge. None: not asked in this place."""

    now: datetime  #: the database's clock
    proposal: Proposal
    runfile: RunFile  #: as it was vetted
    risk: Risk
    requested_by: str
    policy: Policy  #: by which the run was vetted
    policy_now: Policy | None = None  #: in force now, where that is another one
    forge: str
    bot: Account
    repository: str = "local"  #: the forge's own number of ours
    base: str  #: name of the protected branch
    pull_request: PullRequest | None = None
    landing: Landing | None = None
    targets_digest: str = ""  #: of the targets as the adopted inventory resolves them now
    hosts: tuple[JobHost, ...] = ()
    begun: bool = False  #: a run of this file was begun before
    fresh: bool = True  #: approved by and for this instance, which never fell silent
    posture: Posture | None = None
    signed_by: tuple[str, ...] = ()  #: people whose signature over this head was verified here and now
    labels: dict[str, str] = {}  #: of the alert
    paused: str | None = None
    lock_holder: str | None = None
    isolation: str | None = None
    sites: tuple[str, ...] = ()
    routing: Routing = Routing()  #: which place takes which site's runs, by the settings of now
    confirmation: Confirmation | None = None
    reading: Reading | None = None
    has_alert: bool = True
    unseen: tuple[str, ...] = ()  #: where the last dry run could not go on


def _pull_request(merge: Merge) -> PullRequest:
    assert merge.pull_request is not None, "a row that needs the forge was asked without it"  # noqa: S101
    return merge.pull_request


def _landing(merge: Merge) -> Landing:
    assert merge.landing is not None, "a row that needs git was asked without it"  # noqa: S101
    return merge.landing


def is_here(merge: Merge) -> str | None:
    """A hook only wakes: its signature is checked at the door, and all that it says is read again here."""
    if merge.forge == "local":
        return NotHere(f"not on this forge: {merge.forge} sends no hooks")
    repository = _pull_request(merge).repository
    return None if repository == merge.repository else f"it is of repository {repository}, not of {merge.repository}"


def is_ours(merge: Merge) -> str | None:
    """The pull request is the one we opened by our own account, or the one of the person who dispatched through it."""
    pull, author = _pull_request(merge), merge.proposal.author or merge.bot
    if pull.number != merge.proposal.number or (pull.author.forge, pull.author.id) != (author.forge, author.id):
        return f"pull request {pull.number} is by {pull.author.login!r}, not by {author.login!r}"
    return None


def is_merged_here(merge: Merge) -> str | None:
    """Same repository, same branch, the protected base, merged and not merely closed."""
    pull = _pull_request(merge)
    if not pull.same_repository or pull.head_ref != merge.proposal.branch:
        return f"its head is {pull.head_ref!r}, not {merge.proposal.branch!r} of this repository"
    if pull.base_ref != merge.base:
        return f"it was merged into {pull.base_ref!r}, not into {merge.base!r}"
    if pull.state != "merged" or pull.draft or not pull.merge_sha:
        return f"it is {pull.state}, not merged"
    return None


def in_its_place(merge: Merge) -> str | None:
    """By the settings of now."""
    return merge.routing.misplaced(merge.sites, merge.proposal.place)


def same_head(merge: Merge) -> str | None:
    """Nobody pushed to its branch: what was rehearsed and reviewed is what stands there."""
    pull = _pull_request(merge)
    if pull.head_sha != merge.proposal.head_sha:
        by = f" by {pull.pushed_by.login}" if pull.pushed_by is not None else ""
        return f"its branch was moved from {merge.proposal.head_sha[:12]} to {pull.head_sha[:12]}{by} after the dry run"
    return None


def is_reachable(merge: Merge) -> str | None:
    """The merge is part of the base branch, as git itself sees it now."""
    landing = _landing(merge)
    return None if landing.reachable else f"{landing.merge_sha} is not on {merge.base}"


def landed_once(merge: Merge) -> str | None:
    """No revert and re-merge, no cherry-pick, no copy: the file came to the base exactly once."""
    return None if _landing(merge).first_landing else "the base branch has had this run file before"


def adds_one_file(merge: Merge) -> str | None:
    """Reviewed and landed: one new plain file at the proposed path, nothing else."""
    landing = _landing(merge)
    wanted = (("A", "100644", merge.proposal.path),)
    for what, changes in (("reviewed", landing.reviewed), ("merged", landing.landed)):
        if changes != wanted:
            shown = ", ".join(" ".join(change) for change in changes[:3]) or "nothing"
            return f"what was {what} is not one new file {merge.proposal.path}: {shown}"
    return None


def same_bytes(merge: Merge) -> str | None:
    """The landed blob is the blob of the reviewed head."""
    landing = _landing(merge)
    if landing.head_blob is None or landing.head_blob != landing.landed_blob:
        return f"the landed file is blob {landing.landed_blob}, the reviewed one {landing.head_blob}"
    return None


def as_proposed(merge: Merge) -> str | None:
    """The landed bytes are those that were rehearsed and proposed."""
    content = _landing(merge).content
    if content is None or sha256(content).hexdigest() != merge.proposal.sha256:
        return "the run file was edited after it was proposed"
    return None


def reads_back(merge: Merge) -> str | None:
    """Read strictly, it is the run that was vetted."""
    try:
        landed = read_runfile(_landing(merge).content or b"", merge.proposal.path)
    except Invalid as error:
        return error.message
    return None if landed == merge.runfile else "the run file does not say what was vetted"


def is_unused(merge: Merge) -> str | None:
    """A run file runs once."""
    return "this run was begun before" if merge.begun else None


def in_time(merge: Merge) -> str | None:
    """By the database's clock."""
    expires = merge.proposal.expires_at
    return None if merge.now < expires else f"it expired at {expires:%Y-%m-%d %H:%M} UTC"


def vote_of(merge: Merge, policy: Policy | None = None) -> Vote:
    """What the count looks at."""
    return Vote(
        policy=policy or merge.policy,
        pull=_pull_request(merge),
        head_sha=merge.proposal.head_sha,
        risk=merge.risk,
        requested_by=merge.requested_by,
        author=merge.proposal.author,
        labels=merge.labels,
        playbook=merge.runfile.playbook,
        unseen=merge.unseen,
        host=merge.runfile.targets[0] if merge.runfile.targets else None,
    )


def _policies(merge: Merge) -> tuple[Policy, ...]:
    """Each must let it pass: nobody gains by a policy that came later, and whom it dropped has no word any more."""
    return (merge.policy,) if merge.policy_now is None else (merge.policy, merge.policy_now)


def quorum(merge: Merge) -> str | None:
    """Our own count: people of the policy before the merge, on this head, entitled to this risk."""
    votes = [vote_of(merge, policy) for policy in _policies(merge)]
    said = next((words for vote in votes if (words := missing(vote)) is not None), None)
    have, want = len(counted(merge)), max(needed(vote) for vote in votes)
    if said is None and have < want:
        return f"{have} of {want} approvals by people who may approve it by the policy of then and of now"
    return said


def counted(merge: Merge) -> tuple[str, ...]:
    """Names of the people whose approval counts."""
    return _in_each(approvers(vote_of(merge, policy)) for policy in _policies(merge))


def may_count(merge: Merge) -> tuple[str, ...]:
    """Names of the people whose approval would count."""
    return _in_each(candidates(vote_of(merge, policy)) for policy in _policies(merge))


def _in_each(names: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    first, *others = names
    return tuple(name for name in first if all(name in one for one in others))


def is_settled(merge: Merge) -> str | None:
    """Some forges take approvals back seconds after a push; until then they show old ones."""
    pull = _pull_request(merge)
    return f"{merge.forge} is still working out what the last push means" if pull.settling else None


def is_signed(merge: Merge) -> str | None:
    """Rule S9: from risk high the word of a named person is a signature, which no forge can give in their place."""
    if merge.risk.rank < Risk.HIGH.rank:
        return NotHere(f"risk {merge.risk} needs no signature")
    said = (_unsigned(merge, policy) for policy in _policies(merge))
    return next((words for words in said if words is not None), None)


def _unsigned(merge: Merge, policy: Policy) -> str | None:
    people = {person.name: person for person in policy.people}
    good = [name for name in merge.signed_by if name in people and may_approve(people[name], merge.risk)]
    if policy.solo is not None and policy.solo in good:
        return None
    others = [name for name in good if merge.requested_by not in actors(people[name])]
    if others:
        return None
    said = f"risk {merge.risk} needs an ssh signature over this head by somebody who may approve it"
    return f"{said}; {good[0]} asked for it" if good else said


def undiverged(merge: Merge) -> str | None:
    """Playbook, roles, collections and targets are what the run file pins."""
    moved = merge.runfile.moved(_landing(merge).trees, merge.targets_digest)
    return f"{moved} since it was proposed" if moved else None


def branch_posture(merge: Merge) -> str | None:
    """Whether the forge keeps the base branch from being rewritten or merged past; `approvals.posture` decides."""
    posture = merge.posture
    if posture is None:
        return "how the base branch is protected was not asked"
    unseen = () if posture.protected is not None else ("its protection cannot be seen with this token",)
    weak = (*posture.weaknesses, *unseen)
    if not weak:
        return None
    said = f"branch {merge.base!r}: {'; '.join(weak)}"
    is_strict = any(policy.posture == "strict" for policy in _policies(merge))
    return said if is_strict else NotHere(f"only warned of, as policy.yml says: {said}")


def still_firing(merge: Merge) -> str | None:
    """The source says now that the problem is there."""
    if not merge.has_alert:
        return NotHere("a person asked, not an alert")
    reading = merge.reading
    return None if reading and reading.verdict is Verdict.STILL_FIRING else (reading.why if reading else "not asked")


def still_confirmed(merge: Merge) -> str | None:
    """Rule S3, once more: nothing runs on the word of a source that cannot speak now."""
    if not merge.has_alert:
        return NotHere("a person asked, not an alert")
    confirmation = merge.confirmation
    if confirmation and confirmation.confirmed:
        return None
    return confirmation.why if confirmation else "its source was not asked"


def nothing_in_the_way(merge: Merge) -> str | None:
    """Not paused; the locks are ours."""
    return merge.paused or merge.lock_holder


def is_fresh(merge: Merge) -> str | None:
    """Rule S2: what was approved before a restore, a move or a silence needs a fresh approval."""
    return None if merge.fresh else "approved before this instance was restored, moved or silent: approve again"


def isolation_allowed(merge: Merge) -> str | None:
    """Without a sandbox only where the policy says so."""
    if merge.isolation is None:
        return NotHere("asked by the executor")
    return not_isolated(merge.isolation, _policies(merge), merge.sites)


APPROVAL: tuple[Row[Merge], ...] = (
    Row("repository", "Is it of our repository, read afresh?", is_here, ("forge",)),
    Row("place", "Do its targets' runs belong to this repository?", in_its_place, (), Outcome.SUPERSEDED),
    Row("ours", "Is it the pull request that we opened?", is_ours, ("forge",)),
    Row("settled", "Has the forge worked out its approvals?", is_settled, ("forge",), None),
    Row("merged", "Is it merged, from our branch into the base?", is_merged_here, ("forge",)),
    Row("same_head", "Is its head the one that was rehearsed?", same_head, ("forge",)),
    Row("reachable", "Is the merge on the base branch?", is_reachable, ("git",)),
    Row("landed_once", "Did the file land exactly once?", landed_once, ("git",)),
    Row("one_file", "Does it add one run file and nothing else?", adds_one_file, ("git",)),
    Row("same_bytes", "Did the reviewed bytes land?", same_bytes, ("git",)),
    Row("as_proposed", "Are they the proposed bytes?", as_proposed, ("git",)),
    Row("reads_back", "Do they read as the vetted run?", reads_back, ("git",)),
    Row("unused", "Has it never been begun?", is_unused, ("database",)),
    Row("in_time", "Is it not too old?", in_time, ("clock", "database"), Outcome.EXPIRED),
    Row("quorum", "Did entitled people approve this head?", quorum, ("forge",)),
    Row("signed", "Is it signed, where the risk asks for it?", is_signed, ("database",)),
    Row("undiverged", "Is what it stands on unchanged?", undiverged, ("git",), Outcome.SUPERSEDED),
    Row("posture", "Is the base branch protected?", branch_posture, ("forge",), None),
    Row("confirmed", "Can its source speak, and does it?", still_confirmed, ("source",), None),
    Row("still_firing", "Is the problem still there?", still_firing, ("source",), None),
    Row("in_the_way", "Is nothing paused or locked?", nothing_in_the_way, ("database",), None),
    Row("fresh", "Was it approved for this instance?", is_fresh, ("database",)),
    Row("isolation", "Is the sandbox as strong as the policy asks?", isolation_allowed),
)

#: asked of an open proposal, so that people see what it still takes; the rest only a merge can answer
_WHILE_OPEN = ("repository", "ours", "same_head", "settled", "quorum", "signed", "posture", "in_the_way")


def still_required(merge: Merge) -> tuple[str, ...]:
    """What an open proposal still needs before it may run, as sentences; the merge itself comes last."""
    rows = [row for row in APPROVAL if row.name in _WHILE_OPEN]
    said = [row.ask(merge) for row in rows]
    found = [words for words in said if words is not None and not isinstance(words, NotHere)]
    pull = _pull_request(merge)
    if pull.base_ref != merge.base:
        found.append(f"its base is {pull.base_ref!r} now; only a merge into {merge.base!r} counts")
    if pull.draft:
        found.append("it is a draft")
    return tuple(found)


def cannot_run(merge: Merge) -> bool:
    """Whether an open proposal can no longer become a run, whoever approves it."""
    return first_no([row for row in APPROVAL if row.name in ("repository", "ours", "same_head")], merge) is not None
