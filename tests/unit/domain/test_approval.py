"""Each row of the approval table says no to exactly what it is for."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest

from receiver.domain.approval import APPROVAL, Merge
from receiver.domain.forge import Account, Posture, PullRequest, Review, bot_account, person_account
from receiver.domain.landing import Landing, Trees
from receiver.domain.outcome import Risk, Verdict
from receiver.domain.policyfile import Person, Policy, Rule
from receiver.domain.proof import Confirmation, Reading
from receiver.domain.proposal import Proposal
from receiver.domain.runfile import Pins, RunFile, path_of, write_runfile
from receiver.domain.table import answer_all

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
RUN = "019ac0de-0000-7000-8000-000000000001"
HEAD, MERGE = "a" * 40, "b" * 40
RUNFILE = RunFile(
    run=RUN,
    playbook="web_restart",
    targets=("web1",),
    params={"host": "web1"},
    revision="c" * 40,
    pins=Pins(playbook="d" * 40, roles="", collections="", targets="e" * 64),
    case="019ac0de-0000-7000-8000-000000000002",
    alert={"source": "prom", "fingerprint": "0" * 16, "starts_at": NOW.isoformat()},
    reason="playbook web_restart for an alert of source prom",
    requested_by="system",
    expires_at=NOW + timedelta(hours=4),
)
CONTENT = write_runfile(RUNFILE)
PATH = path_of(RUN, NOW)
ADDED = (("A", "100644", PATH),)
PROPOSAL = Proposal(
    run_id=RUN,
    path=PATH,
    branch=f"gitmedic/{RUN}",
    sha256=sha256(CONTENT).hexdigest(),
    head_sha=HEAD,
    base_sha="c" * 40,
    number=7,
    url="http://127.0.0.1/7",
    expires_at=RUNFILE.expires_at,
)


def review(person: str = "anna", verdict: str = "approve", head: str = HEAD, minute: int = 0) -> Review:
    return Review.model_validate(
        {
            "by": person_account(person),
            "head_sha": head,
            "verdict": verdict,
            "at": NOW + timedelta(minutes=minute),
            "via": "session",
        }
    )


LANDING = Landing(
    base_tip=MERGE,
    merge_sha=MERGE,
    reachable=True,
    first_landing=True,
    reviewed=ADDED,
    landed=ADDED,
    head_blob="1" * 40,
    landed_blob="1" * 40,
    content=CONTENT,
    trees=Trees(playbook="d" * 40),
)
PULL = PullRequest(
    number=7,
    url="http://127.0.0.1/7",
    repository="local",
    state="merged",
    head_sha=HEAD,
    head_ref=PROPOSAL.branch,
    base_ref="main",
    author=bot_account(),
    merge_sha=MERGE,
    merged_by=person_account("anna"),
    merged_at=NOW,
    reviews=(review(),),
)
PEOPLE = (
    Person(name="anna", os=("anna",), session=("anna",), approves=Risk.MEDIUM),
    Person(name="bert", os=("bert",), session=("bert",), approves=Risk.HIGH),
    Person(name="guest"),
)
GOOD = Merge(
    now=NOW,
    proposal=PROPOSAL,
    runfile=RUNFILE,
    risk=Risk.LOW,
    requested_by="system",
    policy=Policy(people=PEOPLE),
    forge="local",
    bot=bot_account(),
    base="main",
    pull_request=PULL,
    landing=LANDING,
    posture=Posture(protected=True, force_push=False),
    targets_digest="e" * 64,
    confirmation=Confirmation(confirmed=True, why="listed firing"),
    reading=Reading(verdict=Verdict.STILL_FIRING, why="it fires"),
    isolation="bwrap",
    sites=("home",),
)


def noes(merge: Merge) -> list[str]:
    return [answer.name for answer in answer_all(APPROVAL, merge) if answer.passed is False]


def with_landing(**change: Any) -> Merge:
    return GOOD.model_copy(update={"landing": LANDING.model_copy(update=change)})


def with_pull(**change: Any) -> Merge:
    return GOOD.model_copy(update={"pull_request": PULL.model_copy(update=change)})


def test_a_good_merge_passes_every_row() -> None:
    assert noes(GOOD) == []
    assert len(APPROVAL) >= 18


OTHER = CONTENT.replace(b"web1", b"web2")
SOLO = Policy(people=PEOPLE, solo="anna")
TWO = Rule(name="two", risks=(Risk.LOW,), approvals=2)
BERT = with_pull(reviews=(review("bert"),)).model_copy(update={"risk": Risk.HIGH})
ROBOT = Account(forge="github", id="9", login="robot", is_bot=True)
ROBOTS = {"policy": Policy(people=(Person(name="robot", forges={"github": "id:9"}, approves=Risk.HIGH),))}
WARN = {"posture": Posture(protected=False), "policy": Policy(people=PEOPLE, posture="warn")}


@pytest.mark.parametrize(
    ("merge", "names"),
    [
        (with_pull(author=person_account("mallory")), ["ours"]),
        (with_pull(author=bot_account().model_copy(update={"forge": "gitea"})), ["ours"]),
        (with_pull(number=8), ["ours"]),
        (with_pull(same_repository=False), ["merged"]),
        (with_pull(head_ref="gitmedic/other"), ["merged"]),
        (with_pull(base_ref="develop"), ["merged"]),
        (with_pull(state="open"), ["merged"]),
        (with_pull(state="closed"), ["merged"]),
        (with_pull(draft=True), ["merged"]),
        (with_pull(merge_sha=None), ["merged"]),
        (with_landing(reachable=False), ["reachable"]),
        (with_landing(first_landing=False), ["landed_once"]),
        (with_landing(reviewed=()), ["one_file"]),
        (with_landing(landed=()), ["one_file"]),
        (with_landing(landed=(*ADDED, ("A", "100644", "playbooks/x/y/playbook.yml"))), ["one_file"]),
        (with_landing(landed=(("A", "120000", PATH),)), ["one_file"]),
        (with_landing(landed=(("M", "100644", PATH),)), ["one_file"]),
        (with_landing(reviewed=(("A", "100755", PATH),)), ["one_file"]),
        (with_landing(landed_blob="2" * 40), ["same_bytes"]),
        (with_landing(head_blob=None), ["same_bytes"]),
        (with_landing(content=OTHER), ["as_proposed", "reads_back"]),
        (with_landing(content=CONTENT + b"\n"), ["as_proposed"]),
        (with_landing(content=b"!!python/object:x {}"), ["as_proposed", "reads_back"]),
        (with_landing(content=None), ["as_proposed", "reads_back"]),
        (with_landing(trees=None), ["undiverged"]),
        (with_landing(trees=Trees(playbook="f" * 40)), ["undiverged"]),
        (with_landing(trees=Trees(playbook="d" * 40, roles="1" * 40)), ["undiverged"]),
        (with_landing(trees=Trees(playbook="d" * 40, collections="1" * 40)), ["undiverged"]),
        (GOOD.model_copy(update={"targets_digest": "f" * 64}), ["undiverged"]),
        (GOOD.model_copy(update={"begun": True}), ["unused"]),
        (GOOD.model_copy(update={"now": PROPOSAL.expires_at}), ["in_time"]),
        (GOOD.model_copy(update={"fresh": False}), ["fresh"]),
        (GOOD.model_copy(update={"paused": "paused: holiday"}), ["in_the_way"]),
        (GOOD.model_copy(update={"isolation": "none"}), ["isolation"]),
        (GOOD.model_copy(update={"confirmation": None}), ["confirmed"]),
        (GOOD.model_copy(update={"confirmation": Confirmation(confirmed=False, why="gone")}), ["confirmed"]),
        (GOOD.model_copy(update={"reading": None}), ["still_firing"]),
        (GOOD.model_copy(update={"reading": Reading(verdict=Verdict.NO_DATA, why="?")}), ["still_firing"]),
        (GOOD.model_copy(update={"reading": Reading(verdict=Verdict.RESOLVED, why="!")}), ["still_firing"]),
        # who approved
        (with_pull(reviews=()), ["quorum"]),
        (with_pull(reviews=(review("guest"),)), ["quorum"]),
        (with_pull(reviews=(review("mallory"),)), ["quorum"]),
        (with_pull(reviews=(review("gitmedic"),)), ["quorum"]),
        (with_pull(reviews=(review(head="f" * 40),)), ["quorum"]),
        (with_pull(reviews=(review(), review(verdict="reject", minute=1))), ["quorum"]),
        (with_pull(reviews=(review(), review("bert", "reject"))), ["quorum"]),
        (with_pull(reviews=(review().model_copy(update={"stands": False}),)), ["quorum"]),
        (with_pull(reviews=(review().model_copy(update={"may_write": False}),)), ["quorum"]),
        (with_pull(pushed_by=person_account("anna")), ["quorum"]),
        (with_pull(reviews=(review().model_copy(update={"by": ROBOT}),)).model_copy(update=ROBOTS), ["quorum"]),
        (GOOD.model_copy(update={"policy": Policy(people=PEOPLE, rules=(TWO,))}), ["quorum"]),
        (with_pull(settling=True), ["settled"]),
        (GOOD.model_copy(update={"posture": None}), ["posture"]),
        (GOOD.model_copy(update={"posture": Posture(protected=False)}), ["posture"]),
        (GOOD.model_copy(update={"posture": Posture(protected=None)}), ["posture"]),
        (GOOD.model_copy(update={"posture": Posture(protected=True, force_push=True)}), ["posture"]),
        (GOOD.model_copy(update={"posture": Posture(protected=True, admins_bypass=True)}), ["posture"]),
        (GOOD.model_copy(update={"posture": Posture(protected=True, manual_merge=True)}), ["posture"]),
        (GOOD.model_copy(update={"posture": Posture(protected=True, reviews=0)}), ["posture"]),
        (GOOD.model_copy(update={"forge": "gitea", "repository": "12"}), ["repository"]),
        (GOOD.model_copy(update={"risk": Risk.HIGH}), ["quorum", "signed"]),
        (BERT, ["signed"]),
        (BERT.model_copy(update={"signed_by": ("anna",)}), ["signed"]),
        (BERT.model_copy(update={"signed_by": ("bert",), "requested_by": "user:bert"}), ["quorum", "signed"]),
        (GOOD.model_copy(update={"risk": Risk.MEDIUM, "requested_by": "user:anna"}), ["quorum"]),
        (GOOD.model_copy(update={"policy": SOLO, "risk": Risk.HIGH}), ["quorum", "signed"]),
    ],
)
def test_each_row_says_no_to_what_it_is_for(merge: Merge, names: list[str]) -> None:
    assert noes(merge) == names


@pytest.mark.parametrize(
    "merge",
    [
        with_pull(reviews=(review(verdict="reject"), review(minute=1))),
        with_pull(reviews=(review(), review("mallory", "reject"))),
        GOOD.model_copy(update={"requested_by": "user:anna"}),
        GOOD.model_copy(update={"risk": Risk.MEDIUM}),
        GOOD.model_copy(update=WARN),
        BERT.model_copy(update={"signed_by": ("bert",)}),
        with_pull(reviews=(review(), review("bert"))).model_copy(
            update={"policy": Policy(people=PEOPLE, rules=(TWO,))}
        ),
        # for one person a merge is the word
        with_pull(reviews=()).model_copy(update={"policy": SOLO, "risk": Risk.MEDIUM}),
        GOOD.model_copy(update={"risk": Risk.MEDIUM, "requested_by": "os:anna", "policy": SOLO}),
        GOOD.model_copy(update={"has_alert": False, "confirmation": None, "reading": None}),
        GOOD.model_copy(
            update={"isolation": "none", "policy": Policy(people=PEOPLE, isolation_none_allowed=("home",))}
        ),
    ],
)
def test_what_is_allowed(merge: Merge) -> None:
    assert noes(merge) == []


def test_the_executor_asks_neither_forge_nor_source() -> None:
    bare = GOOD.model_copy(update={"pull_request": None, "confirmation": None, "reading": None})
    needs = frozenset({"git", "database", "clock"})
    asked = {answer.name: answer.passed for answer in answer_all(APPROVAL, bare, needs=needs)}  # type: ignore[arg-type]
    assert asked["quorum"] is None and asked["same_bytes"] is True


DROPPED = Policy(people=PEOPLE[1:])
RAISED = Policy(people=(Person(name="guest", approves=Risk.HIGH),))


@pytest.mark.parametrize(
    ("merge", "now", "names"),
    [
        (GOOD, Policy(people=PEOPLE, rules=(TWO,)), ["quorum"]),
        (GOOD, DROPPED, ["quorum"]),
        (with_pull(reviews=(review("guest"),)), RAISED, ["quorum"]),
        # each policy has a word that counts, and they are of two people
        (with_pull(reviews=(review(), review("guest"))), RAISED, ["quorum"]),
        (with_pull(reviews=(review(), review("bert"))), DROPPED, []),
        (BERT.model_copy(update={"signed_by": ("bert",)}), Policy(people=PEOPLE[:1]), ["quorum", "signed"]),
        (GOOD.model_copy(update=WARN), Policy(people=PEOPLE), ["posture"]),
        (
            GOOD.model_copy(
                update={"isolation": "none", "policy": Policy(people=PEOPLE, isolation_none_allowed=("home",))}
            ),
            Policy(people=PEOPLE),
            ["isolation"],
        ),
    ],
)
def test_the_policy_of_the_proposal_and_that_of_now_must_both_let_it_pass(
    merge: Merge, now: Policy, names: list[str]
) -> None:
    assert noes(merge.model_copy(update={"policy_now": now})) == names
