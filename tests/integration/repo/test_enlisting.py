"""Hosts as proposals on a real repository: nothing is in force, and what people wrote is left alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from receiver.adapters.repo.git import OpsRepository
from receiver.domain.forge import Opening
from receiver.enlisting import Enlisting
from receiver.errors import Conflict, Refused
from receiver.office import Office
from tests.fix_repo import Person

pytestmark = pytest.mark.anyio
SAID = {"address": "192.0.2.10", "user": "ops", "site": "home"}


class Hosted:
    """A forge that takes pull requests and remembers them."""

    def __init__(self, name: str) -> None:
        self.name, self.opened = name, list[Opening]()

    async def open(self, opening: Opening) -> Any:
        self.opened.append(opening)
        return SimpleNamespace(url="https://forge/1")


def office(ops: OpsRepository, forge: Hosted) -> Office:
    place = SimpleNamespace(branches=ops, forge=forge, base="main", prefix="")
    return cast(Office, SimpleNamespace(repo=ops, places=SimpleNamespace(main=place)))


async def test_on_the_built_in_forge_it_waits_for_acceptance(ops: OpsRepository, person: Person) -> None:
    enlisting = Enlisting(office(ops, Hosted("local")))
    made = await enlisting.add("web2", SAID, actor="os:ada")
    assert made["commit"] == await ops.tip() and "revision accept" in made["next_step"]
    assert await ops.head(made["branch"]) is None  # what landed is in nobody's sight any more
    assert person.say("ls-remote", "gitmedic", f"refs/gitmedic/closed/{made['branch']}")
    assert [host["name"] for host in await enlisting.listed()] == ["web1"]
    (pending,) = await ops.pending(await ops.adopted())
    assert pending.paths == ("inventory/hosts/web2.yml",)
    host = (await ops.revision(await ops.tip())).inventory.hosts["web2"]
    assert (host.address, host.user) == ("192.0.2.10", "ops")
    with pytest.raises(Conflict, match="already"):
        await enlisting.add("web2", SAID, actor="os:ada")
    person.on_main()
    assert "Asked for by os:ada" in person.say("log", "-1", "--format=%B")


async def test_elsewhere_it_is_a_pull_request(ops: OpsRepository) -> None:
    forge, tip = Hosted("gitea"), await ops.tip()
    made = await Enlisting(office(ops, forge)).add("web2", SAID, actor="token:x")
    assert made["url"] == "https://forge/1" and await ops.tip() == tip
    (opened,) = forge.opened
    assert opened.branch == made["branch"] and opened.head_sha == made["commit"] == await ops.head(opened.branch)


async def test_a_removal_is_a_patch(ops: OpsRepository, person: Person) -> None:
    enlisting, tip = Enlisting(office(ops, Hosted("local"))), await ops.tip()
    made = await enlisting.add("web2", SAID, actor="os:ada")
    patch = (await enlisting.remove("web2"))["patch"]
    assert await ops.tip() == made["commit"] != tip
    person.on_main()
    (person.folder.parent / "patch").write_text(patch)
    person.git("apply", str(person.folder.parent / "patch"))
    assert not (person.folder / "inventory" / "hosts" / "web2.yml").exists()
    with pytest.raises(Refused, match="not in the inventory"):
        await enlisting.remove("web3")
