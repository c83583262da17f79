"""Who approved a pull request, by our own count (promise P2, rules S8 and S9).

Decides whose word counts: people of the policy that was in force before, each by the latest word, on exactly the
reviewed head, not taken back, from an account that may still write there. Never counts the pull request's author,
whoever pushed its head, our own account or any other bot; from risk medium not who asked for the run. Where policy.yml
names one person as `approvals.solo`, that person's merge is a word as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from receiver.domain.forge import Account, PullRequest, Review
from receiver.domain.outcome import Risk
from receiver.domain.place import key_of
from receiver.domain.policyfile import Person, Policy, rule_for
from receiver.domain.proposal import Proposal
from receiver.domain.record import Record

#: what an ssh signature is made for, so that one made for anything else is none
NAMESPACE = "gitmedic-approval"


class Vote(Record):
    """What is counted: one pull request, and what it is about."""

    policy: Policy  #: in force before it
    pull: PullRequest
    head_sha: str  #: the one that was reviewed
    risk: Risk
    requested_by: str  #: actor
    author: Account | None = None  #: of a pull request that a person opened; None: it is our own
    labels: Mapping[str, str] = {}
    playbook: str | None = None
    host: str | None = None
    unseen: tuple[str, ...] = ()  #: where the dry run could not go on: nobody has seen what follows


def person_of(policy: Policy, account: Account) -> Person | None:
    """The person of the policy behind an account; nobody by display name or address."""
    for person in policy.people:
        if account.forge == "local":
            if account.id == person.name and not account.is_bot:
                return person
        elif _is_meant(person.forges.get(account.forge, ""), account):
            return person
    return None


def _is_meant(said: str, account: Account) -> bool:
    """`id:` and the forge's number, which never changes hands; else the login."""
    if said.startswith("id:"):
        return said.removeprefix("id:") == account.id
    return bool(said) and said.lower() == account.login.lower()


def may_approve(person: Person, risk: Risk) -> bool:
    """Whether the policy lets this person approve that much."""
    return person.approves is not None and risk.rank <= person.approves.rank


def standing(vote: Vote) -> dict[str, Review]:
    """Each person's latest word that still stands on the reviewed head, by the person's name."""
    latest: dict[str, Review] = {}
    for review in sorted((*vote.pull.reviews, *_merge_as_word(vote)), key=lambda review: review.at):
        person = person_of(vote.policy, review.by)
        if person is not None:
            latest[person.name] = review
    return {name: review for name, review in latest.items() if review.head_sha == vote.head_sha and review.stands}


def _merge_as_word(vote: Vote) -> tuple[Review, ...]:
    """For one person alone, pressing merge says it all."""
    by, at = vote.pull.merged_by, vote.pull.merged_at
    if vote.policy.solo is None or by is None or at is None:
        return ()
    person = person_of(vote.policy, by)
    if person is None or person.name != vote.policy.solo:
        return ()
    return (Review(by=by, head_sha=vote.pull.head_sha, verdict="approve", at=at, via="merge"),)


def approvers(vote: Vote) -> tuple[str, ...]:
    """Names of the people whose approval counts, in order."""
    people = {person.name: person for person in vote.policy.people}
    found = []
    for name, review in standing(vote).items():
        person, is_solo = people[name], vote.policy.solo == name
        if review.verdict != "approve" or not may_approve(person, vote.risk) or not review.may_write:
            continue
        if review.by.is_bot or (not is_solo and _wrote(vote, person)):
            continue
        if vote.risk is not Risk.LOW and not is_solo and vote.requested_by in actors(person):
            continue
        found.append(name)
    return tuple(sorted(found))


def _wrote(vote: Vote, person: Person) -> bool:
    """Whether the bytes, or the last push, are this person's own."""
    authors = [account for account in (vote.author, vote.pull.pushed_by) if account is not None]
    return any(person_of(vote.policy, account) == person for account in authors)


def objectors(vote: Vote) -> tuple[str, ...]:
    """Names of the people who ask for it not to run."""
    return tuple(sorted(name for name, review in standing(vote).items() if review.verdict == "reject"))


def needed(vote: Vote) -> int:
    """How many approvals it takes."""
    rule = rule_for(vote.policy, labels=vote.labels, host=vote.host, playbook=vote.playbook, risk=vote.risk)
    count = max(rule.approvals or 1, 1) if rule is not None else 1
    if vote.policy.solo is not None:
        return 1
    if vote.author is not None and vote.pull.pushed_by is None:
        count += 1  # who pushed it cannot be told, so one of the approvals might be that person's own
    if vote.risk is not Risk.LOW and _is_unmapped(vote):
        count += 1  # the same for who asked
    if vote.unseen:
        count += 1  # a second pair of eyes for what the dry run could not show
    return count


def _is_unmapped(vote: Vote) -> bool:
    """A person asked, and which account on this forge is theirs is not said."""
    if vote.requested_by == "system" or vote.requested_by.startswith("policy:"):
        return False  # nobody asked but the policy, which people merged
    forge = vote.pull.author.forge
    asked = next((person for person in vote.policy.people if vote.requested_by in actors(person)), None)
    return asked is None or (forge != "local" and forge not in asked.forges)


def missing(vote: Vote) -> str | None:
    """What the count still lacks, in words; None when it is enough."""
    against = objectors(vote)
    if against:
        return f"{against[0]} asked for it not to run"
    have, want = approvers(vote), needed(vote)
    if len(have) >= want:
        return None
    counted = f"{len(have)} of {want} approvals of head {vote.head_sha[:12]} by people who may approve risk {vote.risk}"
    if vote.unseen:
        counted += f" (one more, since the dry run could not go on at {vote.unseen[0]})"
    asked = [name for name, review in standing(vote).items() if review.verdict == "approve" and name not in have]
    if asked:
        return f"{counted}; the word of {', '.join(asked)} does not count: {_why_not(vote, asked[0])}"
    return counted


def _why_not(vote: Vote, name: str) -> str:
    person = next(person for person in vote.policy.people if person.name == name)
    review = standing(vote)[name]
    if not may_approve(person, vote.risk):
        return f"policy.yml does not let {name} approve risk {vote.risk}"
    if not review.may_write:
        return f"{review.by.login} may not write to the repository"
    if _wrote(vote, person):
        return f"{name} wrote or pushed it"
    if vote.requested_by in actors(person):
        return f"{name} asked for it: from risk medium somebody else approves"
    return "a bot's account"


def candidates(vote: Vote) -> tuple[str, ...]:
    """Names of the people whose approval would count."""
    return tuple(
        person.name
        for person in vote.policy.people
        if may_approve(person, vote.risk)
        and (vote.policy.solo == person.name or not _wrote(vote, person))
        and (vote.risk is Risk.LOW or vote.policy.solo == person.name or vote.requested_by not in actors(person))
    )


def actors(person: Person) -> set[str]:
    """How this person appears as an actor."""
    return {f"user:{name}" for name in (person.name, *person.session)} | {f"os:{name}" for name in person.os}


def reach_of(policy: Policy) -> Risk:
    """As far as the most entitled may go: a change of what is in force takes the word of such people, so that nobody
    raises themselves by it. Nobody entitled to anything: nothing is in anybody's reach."""
    reaches = [person.approves for person in policy.people if person.approves is not None]
    return max(reaches, key=lambda risk: risk.rank, default=Risk.CRITICAL)


def still_to_accept(policy: Policy, names: Sequence[str]) -> str | None:
    """What a revision that no forge counted still lacks: two of the most entitled, or all where there are fewer."""
    entitled = [person.name for person in policy.people if may_approve(person, reach_of(policy))]
    want, have = min(2, len(entitled)), [name for name in entitled if name in names]
    if not entitled or len(have) >= want > 0:
        return None if entitled else "nobody in policy.yml may approve anything"
    others = ", ".join(name for name in entitled if name not in names)
    return f"{len(have)} of {want} words by people who may approve risk {reach_of(policy)}; it takes one of: {others}"


def approval_text(repository: str, proposal: Proposal) -> str:
    """What is signed from risk high: this file on this head of this pull request in this place, and nothing else."""
    return "\n".join((
        "gitmedic approval 1",
        f"repository {key_of(proposal.place, repository)}",
        f"pull request {proposal.number}",
        f"head {proposal.head_sha}",
        f"run {proposal.run_id}",
        f"sha256 {proposal.sha256}",
        "",
    ))  # fmt: skip


def merged_at(pull: PullRequest, now: datetime) -> datetime:
    """When it was merged by the forge's word, never in the future."""
    return min(pull.merged_at or now, now)
