"""Several repositories over one database and one machine: each has its own branches, numbers and pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.forge.realm import in_realm
from receiver.adapters.forge.remote import RemoteForge
from receiver.adapters.repo.git import OpsRepository
from receiver.adapters.repo.runs import RunRepository
from receiver.config import Settings, load
from receiver.domain.forge import Account, Opening, PullRequest
from receiver.domain.policyfile import read_policy
from receiver.domain.quorum import person_of
from receiver.errors import Conflict, Refused
from receiver.forges import make_repository, open_places, upstream_of
from receiver.identity import new_id
from receiver.places import Place, Places
from tests.contract.places import ELSEWHERE, settings_of
from tests.fix_repo import CONTENT
from tests.forges import gitwork
from tests.forges.server import ForgeServer

pytestmark = pytest.mark.anyio
LAB = "[places.lab]\nsites = ['lab']\nbase = 'live'\nprefix = 'infra'\n"


def settings(folder: Path, bare: Path, text: str) -> Settings:
    (folder / "gitmedic.toml").write_text(f"[repo]\npath = '{bare}'\n{text}")
    return load(folder, environment={})


@pytest.fixture
async def two(tmp_path: Path, bare: Path, ops: OpsRepository, pool: AsyncConnectionPool[Any]) -> AsyncIterator[Places]:
    async with open_places(settings(tmp_path, bare, LAB), pool, ops, None) as (places, repos):
        assert len(repos) == 1
        yield places


async def opened(place: Place, run: str) -> PullRequest:
    branch, path = f"gitmedic/{run}", f"{place.prefix}{'/' if place.prefix else ''}runs/2026/11/26/{run}.yml"
    head, _ = await place.branches.propose(branch=branch, path=path, content=CONTENT, message="Run")
    return await place.forge.open(Opening(branch=branch, head_sha=head, base=place.base, title="Run", body=""))


async def test_our_own_pages_over_two_repositories(two: Places, tmp_path: Path) -> None:
    lab, run = two.named("lab"), new_id()
    ours, theirs = await opened(two.main, new_id()), await opened(lab, run)
    assert (two.main.key, lab.key) == ("local", "lab/local")
    assert (ours.url.rsplit("/", 2)[1:], theirs.url.rsplit("/", 3)[1:]) == (
        ["proposals", str(ours.number)], ["proposals", "lab", str(theirs.number)],
    )  # fmt: skip
    for place, other in ((two.main, theirs), (lab, ours)):
        for asked in (
            place.forge.read(other.number),
            place.review.approve(other.number, other.head_sha, "a", "session"),
        ):
            with pytest.raises(Refused, match="there is none with this number"):
                await asked
    assert await two.main.hosting.changed(None) == [ours.number] and await lab.hosting.changed(None) == [theirs.number]
    # the same run is proposed in one of them only
    with pytest.raises(Conflict):
        await opened(two.main, run)
    merged = await lab.review.approve_and_merge(theirs.number, theirs.head_sha, "ada", "session")
    assert merged.state == "merged" and await two.main.hosting.behind(merged.merge_sha or "") is None
    files = gitwork.git(tmp_path / "places" / "lab.git", "ls-tree", "-r", "--name-only", "live")
    assert files.split() == ["README.md", f"infra/runs/2026/11/26/{run}.yml"]


async def test_a_claim_is_one_of_its_place(two: Places) -> None:
    run, lab = new_id(), two.named("lab")
    assert await lab.branches.claim(run, "one", "n" * 32)
    assert not await lab.branches.claim(run, "two", "m" * 32)


async def test_a_place_that_was_never_connected_stops_no_other(
    tmp_path: Path, bare: Path, ops: OpsRepository, pool: AsyncConnectionPool[Any]
) -> None:
    far = "[places.attic]\nsites = ['attic']\n[places.attic.forge]\nkind = 'gitea'\nurl = 'https://git.home/a/b'\n"
    text = f"{LAB}{far}token_file = '{tmp_path}/none'\n"
    async with open_places(settings(tmp_path, bare, text), pool, ops, None) as (places, _):
        assert (await opened(places.named("lab"), new_id())).state == "open"
        attic = places.of_sites(["attic"])
        assert not attic.is_open and not (tmp_path / "places" / "attic.git").exists()
        with pytest.raises(Refused, match=r"forge\.repository is not set"):
            await attic.forge.read(1)


async def test_an_executor_elsewhere_fetches_a_place_and_claims_there(
    two: Places, tmp_path: Path, bare: Path, pool: AsyncConnectionPool[Any]
) -> None:
    """The same settings as the planner's, with where the two repositories lie."""
    (far := tmp_path / "far").mkdir()
    place = f"{LAB}url = 'file://{tmp_path}/places/lab.git'\n"
    lab, run = two.named("lab"), new_id()
    pull = await opened(lab, run)
    merged = await lab.review.approve_and_merge(pull.number, pull.head_sha, "ada", "session")
    text = f"[repo]\nurl = 'file://{bare}'\n"
    for more, is_open in ((LAB, False), (place, True)):
        (far / "gitmedic.toml").write_text(text + more)
        found = load(far, environment={})
        assert (found.repo.path, found.at("lab").repo.path) == (far / "ops.git", far / "places" / "lab.git")

        async def adopted() -> str:
            return "0" * 40

        ops = OpsRepository(found.repo, adopted, upstream_of(found, None))
        async with open_places(found, pool, ops, None) as (places, _):
            there = places.named("lab")
            assert (there.is_open, (far / "places").exists()) == (is_open, is_open)
            if is_open:
                assert await there.branches.claim(run, "far", "n" * 32)
                assert (await there.forge.read(pull.number)).merge_sha == merged.merge_sha
        await ops.close()
    assert not await lab.branches.claim(run, "near", "m" * 32)


async def test_an_executor_beside_a_catalog_on_a_forge_makes_no_repository_of_its_own(
    two: Places, tmp_path: Path, pool: AsyncConnectionPool[Any], ops: OpsRepository
) -> None:
    """Two of them would each win the claim in a repository that only they see."""
    (far := tmp_path / "far").mkdir()
    (far / "gitmedic.toml").write_text(LAB)
    async with open_places(load(far, environment={}), pool, ops, None, may_make=False) as (places, _):
        assert not places.named("lab").is_open and not (far / "places").exists()
    (far / "gitmedic.toml").write_text(f"{LAB}url = 'file://{tmp_path}/places/lab.git'\n")
    async with open_places(load(far, environment={}), pool, ops, None) as (places, _):  # where it lies itself
        assert not places.named("lab").is_open and not (far / "places").exists()


async def test_two_forges_with_the_same_numbers_share_no_row(tmp_path: Path, pool: AsyncConnectionPool[Any]) -> None:
    """Comments, words of people and pushers are kept by our name of the repository."""
    state = ELSEWHERE["gitea"].double(tmp_path / "forge")
    with ForgeServer(state):
        bot, ada = state.add_user("gitmedic-bot"), state.add_user("ada")
        made = state.add_repository("ops", "infra", rights={bot.id: "write", ada.id: "write"}, files={"a": b"b"})
        head = state.push(bot, made, "topic", {"x": b"y"})
        number = state.open(bot, made, branch="topic", base="main", title="T", body="").number
        known = settings_of(state, made, bot)
        account = Account(forge="gitea", id=known.account, login=known.login)
        async with AsyncExitStack() as stack:
            dialect = ELSEWHERE["gitea"].dialect(known, "main", secret=state.token_of("gitmedic-bot"))
            stack.push_async_callback(dialect.aclose)
            one, other = (
                RemoteForge(dialect, pool, repository=key, base="main", account=account)
                for key in (known.repository, f"lab/{known.repository}")
            )
            await one.approve(number, head, "ada", "session")
            assert [len((await forge.read(number)).reviews) for forge in (one, other)] == [1, 0]


async def test_who_is_who_on_a_second_server_of_a_kind_is_said_by_its_own_name(
    tmp_path: Path, pool: AsyncConnectionPool[Any]
) -> None:
    """Ada's number on the catalog's Gitea is somebody else's on the other one."""
    state = ELSEWHERE["gitea"].double(tmp_path / "forge")
    with ForgeServer(state):
        bot, ada = state.add_user("gitmedic-bot"), state.add_user("ada")
        made = state.add_repository("ops", "infra", rights={bot.id: "write", ada.id: "write"}, files={"a": b"b"})
        state.push(bot, made, "topic", {"x": b"y"})
        pull = state.open(bot, made, branch="topic", base="main", title="T", body="")
        state.review(ada, pull, "approve")
        state.merge(ada, pull, "merge")
        known, realm = settings_of(state, made, bot), "gitea:git.lan"
        dialect = in_realm(ELSEWHERE["gitea"].dialect(known, "main", secret=state.token_of("gitmedic-bot")), realm)
        account = Account(forge=realm, id=known.account, login=known.login)
        forge = RemoteForge(dialect, pool, repository="lab/1", base="main", account=account)
        found = await forge.read(pull.number)
        assert (await forge.account()).forge == (await dialect.rights()).account.forge == realm
        assert found.merged_by is not None and found.author == account
        for said, is_known in (("gitea", False), ('"gitea:git.lan"', True)):
            policy = read_policy(f"mode: observe\npeople: [{{name: ada, forges: {{{said}: ada}}}}]\n".encode())
            assert {person_of(policy, one) is not None for one in (found.merged_by, found.reviews[0].by)} == {is_known}
        await dialect.aclose()


async def test_processes_that_make_a_repository_at_once_do_not_stumble(tmp_path: Path, bare: Path) -> None:
    there = settings(tmp_path, bare, LAB).at("lab")
    await asyncio.gather(*[asyncio.to_thread(make_repository, there, "lab") for _ in range(4)])
    repo = RunRepository(there.repo)
    assert await repo.tip()
    await repo.close()
    assert [one.name for one in there.repo.path.parent.iterdir()] == ["lab.git"]
