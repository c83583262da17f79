"""Attacks on which bytes it is, and on where and how often they land: what was approved is not what arrives."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from receiver.domain.outcome import Verdict
from receiver.domain.place import Routing
from tests.attacks.stand import POLICY, Elsewhere, Stand
from tests.attacks.table import FORGES, attack
from tests.forges.state import Protection

STRICT = POLICY.replace("posture: warn", "posture: strict")
_EDITED = b"schema: 1\nrun: edited\n"
_MOVED = ("same_head", "same_bytes", "as_proposed", "reads_back")
_ELSEWHERE = ("reachable", "landed_once", "one_file", "same_bytes", "as_proposed", "reads_back")


async def _approved(stand: Stand) -> None:
    """In due form, and waiting for its host."""
    await stand.propose()
    await stand.approve("anna")
    await stand.merge("anna")
    await stand.hold()


@attack(*_MOVED, forges=FORGES, more={"gitea": (*_MOVED, "quorum"), "gitlab": (*_MOVED, "quorum")})
async def pushed_after_approval(stand: Stand) -> None:
    """Anna approves, eve pushes other bytes to the branch, and an administrator merges those."""
    proposal = await stand.propose()
    await stand.approve("anna")
    stand.push("eve", proposal.branch, {proposal.path: _EDITED})
    await stand.merge("mallory")


@attack(*_MOVED, forges=FORGES, more={"gitea": (*_MOVED, "quorum"), "gitlab": (*_MOVED, "quorum")})
async def force_pushed_after_approval(stand: Stand) -> None:
    """As before, with a branch that is rewritten: one commit, as if it had never been another."""
    proposal = await stand.propose()
    await stand.approve("anna")
    stand.put("eve", proposal.branch, stand.commit("eve", [stand.tip()], {proposal.path: _EDITED}), force=True)
    await stand.merge("mallory")


@attack(*_MOVED, "quorum", forges=FORGES)
async def edited_and_approved_anew(stand: Stand) -> None:
    """Eve edits the run file in the pull request, anna approves the new head: nobody rehearsed that."""
    proposal = await stand.propose()
    stand.push("eve", proposal.branch, {proposal.path: _EDITED})
    await stand.approve("anna")
    await stand.merge("mallory")


@attack("quorum", forges=FORGES)
async def another_head_was_approved(stand: Stand) -> None:
    """Anna approves a head that is forced back afterwards: her word was on other bytes."""
    proposal = await stand.propose()
    stand.put("eve", proposal.branch, stand.commit("eve", [stand.tip()], {proposal.path: _EDITED}), force=True)
    await stand.approve("anna")
    stand.put("eve", proposal.branch, proposal.head_sha, force=True)
    await stand.merge("mallory")


@attack(*_ELSEWHERE[1:], forges=("gitea",))
async def called_merged_by_hand(stand: Elsewhere) -> None:
    """Anna approves, and an administrator calls it merged by a commit of the base that does not carry the file."""
    await stand.propose()
    await stand.approve("anna")
    stand.repository.styles.add("manual")
    stand.state.call_merged(stand.user("mallory"), stand.pull(), stand.tip())  # type: ignore[attr-defined]


@attack("quorum")
async def pushed_to_the_base(stand: Elsewhere) -> None:
    """An administrator pushes the proposal's commit to the base: the forge calls it merged, nobody approved."""
    proposal = await stand.propose()
    if stand.name == "gitea":
        stand.state.autodetects = True  # type: ignore[attr-defined]
    stand.put("mallory", "main", proposal.head_sha)


@attack("merged", *_ELSEWHERE, more={"gitlab": ("merged", *_ELSEWHERE, "quorum")})
async def merged_into_another_base(stand: Elsewhere) -> None:
    """Approved, then pointed at a branch that nobody protects, and merged there."""
    await stand.propose()
    await stand.approve("anna")
    stand.put("eve", "develop", stand.tip())
    stand.state.retarget(stand.user("mallory"), stand.pull(), "develop")
    await stand.merge("eve")


@attack("reachable", "landed_once")
async def base_rewritten_after_the_merge(stand: Elsewhere) -> None:
    """Approved and merged; before it starts, the base is forced back to before the merge."""
    await stand.propose()
    before = stand.tip()
    await stand.approve("anna")
    await stand.merge("anna")
    await stand.hold()
    stand.repository.protection["main"] = Protection(force_push=True)
    stand.put("mallory", "main", before, force=True)
    await stand.let_go()


async def _merged_by_hand(stand: Elsewhere, *, mode: str = "100644", content: bytes = b"", more: bytes = b"") -> None:
    """A merge commit as an administrator makes it with git, and pushes it."""
    proposal = await stand.propose()
    await stand.approve("anna")
    if stand.name == "gitea":
        stand.state.autodetects = True  # type: ignore[attr-defined]
    odd: dict[str, bytes | tuple[str, bytes] | None] = {proposal.path: (mode, content or stand.bytes)}
    if more:
        odd["more.txt"] = more
    stand.put("mallory", "main", stand.commit("mallory", [stand.tip(), proposal.head_sha], odd))


@attack("one_file")
async def more_in_the_merge(stand: Elsewhere) -> None:
    """The merge commit brings a second file that no review showed."""
    await _merged_by_hand(stand, more=b"more\n")


@attack(*_ELSEWHERE[3:])
async def other_bytes_in_the_merge(stand: Elsewhere) -> None:
    """The merge commit brings other bytes at the proposed path than the head that it names as its parent."""
    await _merged_by_hand(stand, content=_EDITED)


@attack("one_file")
async def lands_as_executable(stand: Elsewhere) -> None:
    """The merge commit brings the very bytes, as an executable file."""
    await _merged_by_hand(stand, mode="100755")


@attack("one_file")
async def lands_as_a_link(stand: Elsewhere) -> None:
    """The merge commit brings the very bytes, as a symbolic link."""
    await _merged_by_hand(stand, mode="120000")


@attack("landed_once", forges=FORGES)
async def a_copy_beside_it(stand: Stand) -> None:
    """The same run file lies on the base a second time, under another name."""
    proposal = await stand.propose()
    stand.push("mallory", "main", {proposal.path.replace(proposal.run_id, "copy"): stand.bytes})
    await stand.approve("anna")
    await stand.merge("anna")


@attack("landed_once", forges=FORGES)
async def taken_out_and_brought_again(stand: Stand) -> None:
    """Approved and merged, reverted on the base, and brought again by a cherry-pick before it starts."""
    proposal = await stand.propose()
    content = stand.bytes
    await stand.approve("anna")
    await stand.merge("anna")
    stand.push("mallory", "main", {proposal.path: None})
    stand.push("mallory", "main", {proposal.path: content})


@attack("in_time", forges=FORGES)
async def merged_too_late(stand: Stand) -> None:
    """A proposal that expired before it was looked at again is approved and merged after all."""
    proposal = await stand.propose()
    stand.world.clock.pass_seconds(
        (proposal.expires_at - stand.world.clock.now() + timedelta(seconds=1)).total_seconds()
    )
    await stand.approve("anna")
    await stand.merge("anna")


@attack("undiverged", forges=FORGES)
async def playbook_changed_after_approval(stand: Stand) -> None:
    """Between the approval and the start, another text of the playbook comes into force."""
    await _approved(stand)
    stand.adopt({"playbooks/web/restart/playbook.yml": b"- hosts: targets\n  tasks: []\n"})
    await stand.let_go()


@attack("undiverged", forges=FORGES)
async def address_changed_after_approval(stand: Stand) -> None:
    """Between the approval and the start, the host's name comes to mean another machine."""
    await _approved(stand)
    stand.adopt({"inventory/hosts.yml": _HOSTS})
    await stand.let_go()


_HOSTS = b"""
all:
  hosts:
    web1: {ansible_host: 127.0.0.9, ansible_connection: ssh, gitmedic: {site: home, match: ['instance="web1"']}}
"""


@attack("in_the_way", "last_look", forges=FORGES, says="paused by bert")
async def paused_after_approval(stand: Stand) -> None:
    """Everything is paused between the merge and the start."""
    await _approved(stand)
    stand.world.ledger.why_paused = "paused by bert"
    await stand.let_go()


@attack("fresh", forges=FORGES)
async def restored_after_approval(stand: Stand) -> None:
    """Approved and merged; then this installation is put back from a backup, or moved (rule S2)."""
    await _approved(stand)
    stand.world.ledger.since = stand.world.clock.now() + timedelta(days=1)
    await stand.let_go()


@attack("place", forges=FORGES)
async def site_given_to_another_place(stand: Stand) -> None:
    """Approved and merged here; then the settings give the runs of its site to another repository."""
    await _approved(stand)
    ports = stand.world.ports
    stand.world.ports = replace(ports, places=replace(ports.places, routing=Routing(named={"home": "lab"})))
    await stand.let_go()


@attack("posture", rules=STRICT, says="merged, but branch 'main'")
async def unprotected_base(stand: Elsewhere) -> None:
    """Approved and merged in due form, on a base that the forge protects from nobody, where policy.yml is strict."""
    stand.repository.protection.clear()
    await stand.propose()
    await stand.approve("anna")
    await stand.merge("anna")


@attack("settled", *_MOVED, "quorum", forges=("gitlab",), says="merged, but gitlab is still")
async def merged_while_approvals_are_taken_back(stand: Elsewhere) -> None:
    """GitLab takes approvals back some seconds after a push: pushed and merged within those seconds."""
    proposal = await stand.propose()
    await stand.approve("anna")
    stand.state.approval_settings = {"reset_approvals_on_push": True}  # type: ignore[attr-defined]
    stand.push("eve", proposal.branch, {proposal.path: _EDITED})
    stand.state.hidden_versions = 1  # type: ignore[attr-defined]
    await stand.merge("mallory")


@attack("claim", fair=1, says="settling")
async def two_installations_from_one_backup(stand: Elsewhere) -> None:
    """A copy of the data directory is started beside the first: both hold the same approved case."""
    await stand.propose()
    other = await stand.machine()
    other.world.cases.add(stand.world.case(stand.id))
    await stand.approve("anna")
    await stand.merge("anna")


@attack("confirmed", forges=FORGES, says="the source does not list it")
async def alert_that_its_source_no_longer_confirms(stand: Stand) -> None:
    """Between the merge and the start, the source knows nothing of the alert any more (rule S3)."""
    await _approved(stand)
    stand.world.proof.confirmed = False
    await stand.let_go()


@attack("still_firing", forges=FORGES, says="the fake says no_data")
async def source_that_fell_silent(stand: Stand) -> None:
    """Between the merge and the start, nobody can say whether the problem is still there."""
    await _approved(stand)
    stand.world.proof.verdict = Verdict.NO_DATA
    await stand.let_go()


@attack("isolation", forges=FORGES)
async def sandbox_that_is_gone(stand: Stand) -> None:
    """Between the merge and the start, no sandbox works any more, and policy.yml does not allow none."""
    await _approved(stand)
    stand.world.runner.rung = "none"
    await stand.let_go()
