"""The whole way of a case with the pull request on a forge elsewhere, by webhooks that are really sent, and without.

Real Prometheus, Alertmanager, Ansible, and git over HTTP; the forge itself is its double.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from receiver.adapters.repo.creation import become_mirror
from receiver.config import load
from receiver.demo import cards, rig
from receiver.domain.case import Case, Closed, Proposed
from receiver.domain.outcome import Outcome
from receiver.domain.runfile import RunFile, path_of, write_runfile
from receiver.forges import dialect_of
from receiver.office import Office, open_office
from tests.acceptance.test_restored_backup import Site
from tests.contract.places import ELSEWHERE
from tests.forges import gitwork
from tests.forges.pulls import State
from tests.forges.server import ForgeServer
from tests.forges.state import Protection, Pull, Repository
from tests.machine import required

SECRET = "a secret of forty characters, more or less"
SETTINGS = """
[{table}]
kind = "{kind}"
url = "{url}"
repository = "{repository}"
account = "{account}"
login = "gitmedic-bot"
token_file = "{folder}/token"
webhook_secret_file = "{folder}/hook"
poll_seconds = {poll}
write_seconds = 0
"""


class Beside(NamedTuple):
    """A place for all runs, on another forge than the catalog's."""

    state: State
    repository: Repository


class There:
    """The demo's proposals, on a forge."""

    def __init__(self, running: rig.Rig, office: Office, state: State, repository: Repository) -> None:
        self.running, self.office, self.state, self.repository = running, office, state, repository

    async def case(self, alertname: str, wanted: type[Case], seconds: float = 120) -> Any:
        async with asyncio.timeout(seconds):
            while True:
                page = await self.office.store.archive.cases(limit=1, cursor=None, filters={"alertname": alertname})
                found = await self.office.store.archive.stored(page.items[0]["id"]) if page.items else None
                if isinstance(found, wanted):
                    return found
                await asyncio.sleep(0.1)

    async def closed(self, case: str) -> Closed:
        """Its last word is on the forge a moment before the case is closed."""
        async with asyncio.timeout(60):
            while not isinstance(found := await self.office.store.archive.stored(case), Closed):
                await asyncio.sleep(0.1)
        return found

    def pull(self, number: int) -> Pull:
        return self.state.pull(self.repository, number)

    def merge(self, number: int) -> datetime:
        """Ada reads, approves and merges, on the forge."""
        pull, ada = self.pull(number), self.state.user("ada")
        self.state.review(ada, pull, "approve")
        self.state.merge(ada, pull, "merge")
        assert pull.merged_at is not None
        return pull.merged_at

    async def comment(self, number: int, words: str) -> str:
        """The one comment, once it says so."""
        async with asyncio.timeout(90):
            while True:
                bodies = [one.body for one in self.pull(number).comments]
                if any(words in body for body in bodies):
                    assert len(bodies) == 1
                    return bodies[0]
                await asyncio.sleep(0.1)

    async def first_task(self, run: str) -> datetime:
        async with self.office.store.pool.connection() as connection:
            rows = await (
                await connection.execute(
                    "SELECT min(e.at) FROM run_events e JOIN attempts a ON a.id = e.attempt_id "
                    "WHERE a.run = %s AND a.mode = 'run' AND e.kind LIKE 'task%%'", (run,)
                )
            ).fetchone()  # fmt: skip
        assert rows is not None and rows[0] is not None
        moment: datetime = rows[0]
        return moment


def with_people(bare: Path, *kinds: str) -> str:
    """The demo's policy, with the account that its person has on each forge; the commit."""
    policy = yaml.safe_load(gitwork.git(bare, "show", "main:policy.yml"))
    policy["people"][0]["forges"] = dict.fromkeys(kinds, "ada")
    content = yaml.safe_dump(policy).encode()
    commit = gitwork.commit(bare, "main", {"policy.yml": content}, "Who is who", ("Ada", "ada@example.org"))
    gitwork.git(bare, "update-ref", "refs/heads/main", commit)
    return commit


@contextlib.asynccontextmanager
async def there(
    kind: str,
    folder: Path,
    *,
    poll: float = 60,
    hooks: bool = True,
    simulated: bool = False,
    place: Beside | None = None,
) -> AsyncIterator[There]:
    """A demo that is moved to a forge, as `gitmedic forge connect` does it."""
    state = ELSEWHERE[kind].double(folder / "forge")
    async with rig.running(simulated=simulated, say=lambda text: None) as running:
        site, bare = Site(running), running.settings.repo.path
        commit = with_people(bare, kind, *([place.state.name] if place else []))
        await running.office.store.desk.adopt(commit, old=None, digest="", actor="os:test")
        await site.stop()
        with ForgeServer(state) as server:
            repository = _repository(state, bare)
            _settle(running, state, repository, folder, poll)
            if place is not None:
                _settle(running, place.state, place.repository, folder / "place", poll, "places.there.forge")
            become_mirror(bare, f"{state.url}/{repository.full_name}.git")
            await site.start()
            settings = load(running.settings.data_dir, environment={})
            if hooks:
                admin = dialect_of(settings.forge, "main", secret=state.token_of("ada"))
                await admin.make_hook(f"{settings.web.local_url}/hooks/{kind}/{repository.id}", SECRET)
                await admin.aclose()
            async with open_office(settings) as office:
                yield There(running, office, state, repository)
            await site.stop()
            assert server.spec is not None and server.spec.violations == []
    shutil.rmtree(running.place, ignore_errors=True)


def _repository(state: State, bare: Path | None = None) -> Repository:
    users = {login: state.add_user(login) for login in ("gitmedic-bot", "ada")}
    rights: Any = {users["gitmedic-bot"].id: "write", users["ada"].id: "admin"}
    made = state.add_repository("ops", "infra", rights=rights, files={"README.md": b"ops\n"})
    if bare is not None:
        gitwork.git(made.folder, "fetch", "-q", str(bare), "+refs/heads/main:refs/heads/main")
    made.protection["main"] = Protection(required_reviews=1, admins_bypass=False)
    return made


def _settle(
    running: rig.Rig, state: State, repository: Repository, folder: Path, poll: float, table: str = "forge"
) -> None:
    folder.mkdir(exist_ok=True)
    for name, secret in (("token", state.token_of("gitmedic-bot")), ("hook", SECRET)):
        (folder / name).write_text(secret)
        (folder / name).chmod(0o600)
    bot = state.user("gitmedic-bot")
    with (running.settings.data_dir / "gitmedic.toml").open("a") as file:
        file.write(
            SETTINGS.format(
                table=table,
                kind=state.name,
                url=f"{state.url}/{repository.full_name}",
                repository=repository.id,
                account=bot.id,
                folder=folder,
                poll=poll,
            )
        )


@pytest.mark.anyio
@pytest.mark.parametrize("kind", list(ELSEWHERE))
async def test_from_an_alert_to_a_proved_fix_by_a_pull_request(kind: str, tmp_path: Path) -> None:
    required("prometheus")
    required("alertmanager")
    async with there(kind, tmp_path) as forge:
        cards.fill_cache(forge.running.place)
        case = await forge.case("DemoCacheFull", Proposed)
        pull = forge.pull(case.proposal.number)
        assert "**Dry run** on the real targets" in pull.body and case.proposal.url.endswith(f"/{pull.number}")
        assert "0 of 1 approvals" in await forge.comment(pull.number, "Still required")
        trailers = gitwork.git(forge.repository.folder, "log", "-1", "--format=%(trailers)", pull.head_sha)
        assert f"Gitmedic-Run: {case.runfile.run}" in trailers and f"Gitmedic-Case: {case.id}" in trailers
        merged_at = forge.merge(pull.number)
        end = await forge.case("DemoCacheFull", Closed)
        assert end.outcome is Outcome.FIXED, end.why
        assert end.approval is not None and end.approval.approved_by == (end.approval.approved_by[0],)
        assert "Outcome: **fixed**" in await forge.comment(pull.number, "Outcome")
        delay = (await forge.first_task(case.runfile.run) - merged_at).total_seconds()
        print(f"{kind}: merge to first task {delay:.2f} s by webhook")
        claims = subprocess.run(
            ["git", "--git-dir", str(forge.repository.folder), "for-each-ref", "refs/gitmedic/claims", "refs/tags"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert case.runfile.run in claims


@pytest.mark.anyio
async def test_without_webhooks_polling_does_all(tmp_path: Path) -> None:
    async with there("gitea", tmp_path, poll=2, hooks=False, simulated=True) as forge:
        cards.fill_cache(forge.running.place)
        case = await forge.case("DemoCacheFull", Proposed)
        merged_at = forge.merge(case.proposal.number)
        end = await forge.case("DemoCacheFull", Closed)
        assert end.outcome is Outcome.FIXED, end.why
        delay = (await forge.first_task(case.runfile.run) - merged_at).total_seconds()
        print(f"gitea: merge to first task {delay:.2f} s by polling every 2 s")


async def adopted(forge: There, commit: str) -> None:
    async with asyncio.timeout(30):
        while await forge.office.repo.adopted() != commit:
            await asyncio.sleep(0.1)


@pytest.mark.anyio
async def test_a_person_changes_policy_and_dispatches_through_git(tmp_path: Path) -> None:
    """Both by pull requests of their own: the one is in force once merged, the other runs after its dry run."""
    async with there("gitea", tmp_path, simulated=True) as forge:
        state, repository, ada = forge.state, forge.repository, forge.state.user("ada")
        policy = gitwork.git(repository.folder, "show", "main:policy.yml")
        state.push(ada, repository, "policy", {"policy.yml": f"{policy}\n# looked at\n".encode()})
        change = state.open(ada, repository, branch="policy", base="main", title="Look at the policy", body="")
        repository.protection["main"] = Protection(required_reviews=0, admins_bypass=False)  # for one person alone
        state.merge(ada, change, "merge")
        await adopted(forge, change.merge_sha or "")

        cards.fill_cache(forge.running.place)
        made, own = await dispatched_by_hand(forge)
        assert "**Dry run** on the real targets" in await forge.comment(own.number, "Still required")
        state.merge(ada, own, "squash")
        assert "Outcome" in await forge.comment(own.number, "Outcome")
        found = await forge.closed(made.case)
        assert found.result is not None and found.result.status == "successful"
        assert own.body == "please"


async def dispatched_by_hand(forge: There) -> tuple[RunFile, Pull]:
    """A run file in a pull request of a person's own."""
    ada, person = forge.state.user("ada"), (await forge.office.doors.policy()).people[0].name
    params = {"host": "demo-cache", "path": str(forge.running.place / "cache")}
    made = await forge.office.doors.write_runfile("demo_cache_prune", params, actor=f"user:{person}", reason="by hand")
    path = path_of(made.run, datetime.now(UTC))
    forge.state.push(ada, forge.repository, "prune", {path: write_runfile(made)})
    own = forge.state.open(ada, forge.repository, branch="prune", base="main", title="Prune the cache", body="please")
    return made, own


@pytest.mark.anyio
async def test_the_catalog_on_one_forge_and_its_runs_on_another(tmp_path: Path) -> None:
    """Whoever merges in the place starts the run; what is in force, only the catalog's repository says."""
    state = ELSEWHERE["gitea"].double(tmp_path / "gitea")
    with ForgeServer(state) as server:
        place = Beside(state, _repository(state))
        policy = {"policy.yml": b"mode: observe\n"}
        strange = gitwork.commit(place.repository.folder, "main", policy, "A policy", ("Eve", "eve@example.org"))
        gitwork.git(place.repository.folder, "update-ref", "refs/heads/main", strange)
        async with there("github", tmp_path, poll=2, hooks=False, simulated=True, place=place) as forge:
            in_force = await forge.office.repo.adopted()
            cards.fill_cache(forge.running.place)
            case = await forge.case("DemoCacheFull", Proposed)
            assert (case.proposal.place, case.proposal.repository) == ("there", str(place.repository.id))
            on_gitea = There(forge.running, forge.office, state, place.repository)
            pull = on_gitea.pull(case.proposal.number)
            assert case.proposal.url.startswith(state.url) and "**Dry run** on the real targets" in pull.body
            # the catalog's repository has no say about that site, whoever asks for it there and merges it
            made, own = await dispatched_by_hand(forge)
            await forge.comment(own.number, "belong to place")
            forge.repository.protection["main"] = Protection(required_reviews=0, admins_bypass=False)
            forge.state.merge(forge.state.user("ada"), own, "merge")
            on_gitea.merge(pull.number)
            end = await forge.case("DemoCacheFull", Closed)
            assert end.outcome is Outcome.FIXED, end.why
            assert "Outcome: **fixed**" in await on_gitea.comment(pull.number, "Outcome")
            assert any(case.runfile.run in name for name in gitwork.refs(place.repository.folder))
            assert not any(case.runfile.run in name for name in gitwork.refs(forge.repository.folder))
            assert await forge.office.store.archive.run(made.run) is None
            assert await forge.office.repo.adopted() == in_force
        assert server.spec is not None and server.spec.violations == []
