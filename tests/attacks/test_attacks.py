"""Each attack runs nothing with its checks on, runs with all of them out, and is stopped by each of them alone."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import pytest

from receiver.domain.approval import APPROVAL
from tests.attacks import landing, theirs, words  # noqa: F401 - they fill the table
from tests.attacks.stand import files, stand_of
from tests.attacks.table import ATTACKS, Attack, page, take_out

ROOT = Path(__file__).parents[2]
#: it asks what `begun` is about, so it goes and comes with it
NOT_ATTACKED = {"unused"}
pytestmark = pytest.mark.anyio
CASES = [(attack, forge) for attack in ATTACKS for forge in attack.forges]
#: each check of each attack once, on the first forge that has it: the checks are the same on all. Where there is one
#: check only, that it stops the attack is seen with all of them on
ALONE = {
    (attack.name, name): (attack, forge, name)
    for attack, forge in reversed(CASES)
    if len(attack.stops_on(forge)) > 1
    for name in sorted(attack.stops_on(forge))
}
EACH = pytest.mark.parametrize(("attack", "forge"), CASES, ids=[f"{attack.name}-{forge}" for attack, forge in CASES])


async def attacked(
    attack: Attack, forge: str, database: str, place: Path, out: Collection[str] = ()
) -> tuple[int, str]:
    """How often it ran, beyond what is fair, and how the case stands then."""
    with pytest.MonkeyPatch.context() as patch:
        take_out(patch, out)
        async with stand_of(forge, place).standing(database, files(**attack.setting)) as stand:
            await attack.act(stand)
            await stand.work()
            if attack.harm == "closed":
                return int(stand.world.case(stand.id).kind == "closed"), stand.said
            return len(stand.ran(attack.harm)) - attack.fair, stand.said


@EACH
async def test_with_all_checks_nothing_runs(attack: Attack, forge: str, database: str, tmp_path: Path) -> None:
    ran, said = await attacked(attack, forge, database, tmp_path / "stand")
    assert ran <= 0, said
    reasons = {name.removeprefix("given.") for name in attack.stops_on(forge)}
    if attack.says is None:
        assert said.partition(":")[0] in reasons, said
    else:
        assert said.startswith(attack.says), said


@EACH
async def test_without_its_checks_it_runs(attack: Attack, forge: str, database: str, tmp_path: Path) -> None:
    ran, said = await attacked(attack, forge, database, tmp_path / "stand", attack.stops_on(forge))
    assert ran > 0, said


@pytest.mark.parametrize(
    ("attack", "forge", "name"),
    ALONE.values(),
    ids=[f"{attack.name}-{forge}-{name}" for attack, forge, name in ALONE.values()],
)
async def test_each_check_alone_stops_it(attack: Attack, forge: str, name: str, database: str, tmp_path: Path) -> None:
    ran, said = await attacked(attack, forge, database, tmp_path / "stand", attack.stops_on(forge) - {name})
    assert ran <= 0, said


def test_the_docs_list_every_attack_with_its_checks() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    assert [line for line in page().split("\n") if line not in text] == []
    listed, attacked_now = (re.findall(r"^\| `([\w.]+)`", one, re.MULTILINE) for one in (text, page()))
    assert listed == attacked_now, "what is no longer attacked is still listed"


def test_every_row_of_the_approval_is_attacked_or_said_not_to_be() -> None:
    stopped = {name for attack in ATTACKS for forge in attack.forges for name in attack.stops_on(forge)}
    assert {row.name for row in APPROVAL} - stopped == NOT_ATTACKED
