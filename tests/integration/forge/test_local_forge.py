"""One approval is one merge of the approved head, whatever happens at once or in between."""

import asyncio
import multiprocessing
import os
from pathlib import Path

import pytest
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.forge.local import LocalForge
from receiver.adapters.forge.settings import LocalForgeSettings
from receiver.adapters.repo.git import OpsRepository
from receiver.adapters.repo.settings import RepoSettings
from receiver.domain.forge import Opening, PullRequest, person_account
from receiver.errors import Broken, Conflict, Refused, Unavailable
from tests.fix_repo import BRANCH, CONTENT, PATH, Person, proposed

pytestmark = pytest.mark.anyio
PLAYBOOK = "playbooks/web/restart"


async def opened(ops: OpsRepository, forge: LocalForge) -> PullRequest:
    proposal = await proposed(ops)
    return await forge.open(opening(proposal.head_sha))


def opening(head: str, base: str = "main") -> Opening:
    return Opening(branch=BRANCH, head_sha=head, base=base, title="Restart web", body="Why")


def edit(person: Person) -> str:
    """A person pushes to the proposal's branch."""
    person.fetch()
    person.git("checkout", "-q", "-B", "edit", f"gitmedic/{BRANCH}")
    person.write(PATH, CONTENT + b"# edited\n")
    head = person.commit("edit")
    assert person.push(f"HEAD:{BRANCH}").returncode == 0
    return head


def merges(person: Person) -> int:
    person.fetch()
    return int(person.say("rev-list", "--count", "--merges", "gitmedic/main"))


async def test_the_merge_stands_in_git(ops: OpsRepository, forge: LocalForge, person: Person):
    proposal = await proposed(ops)
    pull = await opened(ops, forge)
    merged = await forge.approve_and_merge(pull.number, pull.head_sha, "ada", "session")
    facts = await ops.landing(proposal, merged.merge_sha)
    assert facts.reachable
    assert facts.first_landing
    assert facts.reviewed == facts.landed == (("A", "100644", PATH),)
    assert facts.head_blob == facts.landed_blob
    person.on_main()
    assert person.say("log", "-1", "--format=%B") == (
        f"Merge proposal #{pull.number}: Restart web\n\n"
        f"Proposal: {BRANCH} at {pull.head_sha}\nApproved-by: ada (session)"
    )
    assert person.say("log", "-1", "--format=%P").split()[1] == pull.head_sha
    assert (person.folder / PATH).read_bytes() == CONTENT


async def test_the_base_may_have_moved(ops: OpsRepository, forge: LocalForge, person: Person):
    pull = await opened(ops, forge)
    person.write("policy.yml", b"mode: observe\n")
    person.commit("policy")
    person.push_main()
    await forge.approve_and_merge(pull.number, pull.head_sha, "ada", "session")
    person.on_main()
    assert (person.folder / "policy.yml").read_bytes() == b"mode: observe\n"


async def test_the_base_moves_under_the_merge(ops: OpsRepository, forge: LocalForge, person: Person):
    pull = await opened(ops, forge)
    land, moved = ops.land, []

    async def late(*what: str) -> bool:
        if not moved:
            person.write("notes.txt", b"n")
            person.commit("notes")
            moved.append(person.push_main())
        return await land(*what)

    ops.land = late  # type: ignore[method-assign]
    merged = await forge.approve_and_merge(pull.number, pull.head_sha, "ada", "session")
    assert len(merged.reviews) == 1
    person.on_main()
    assert person.say("rev-parse", f"{merged.merge_sha}^1") == moved[0]
    assert (person.folder / "notes.txt").exists()


async def test_a_base_that_never_rests(ops: OpsRepository, forge: LocalForge):
    pull = await opened(ops, forge)

    async def never(*_: str) -> bool:
        return False

    ops.land = never  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="moved under it 5 times"):
        await forge.approve_and_merge(pull.number, pull.head_sha, "ada", "session")
    assert (await forge.read(pull.number)).state == "open"


async def test_an_old_head(ops: OpsRepository, forge: LocalForge, person: Person):
    pull = await opened(ops, forge)
    head = edit(person)
    with pytest.raises(Conflict, match="no longer"):
        await forge.approve_and_merge(pull.number, pull.head_sha, "ada", "session")
    now = await forge.read(pull.number)
    assert (now.state, now.head_sha, now.reviews) == ("open", head, ())
    merged = await forge.approve_and_merge(pull.number, head, "ada", "session")
    assert merged.head_sha == head


async def test_a_push_between_the_decision_and_the_merge(ops: OpsRepository, forge: LocalForge, person: Person):
    pull = await opened(ops, forge)
    land = ops.land

    async def late(*what: str) -> bool:
        edit(person)
        return await land(*what)

    ops.land = late  # type: ignore[method-assign]
    with pytest.raises(Conflict, match="no longer"):
        await forge.approve_and_merge(pull.number, pull.head_sha, "ada", "session")
    assert (await forge.read(pull.number)).state == "open"
    assert merges(person) == 0


async def test_a_push_after_the_merge_changes_nothing(ops: OpsRepository, forge: LocalForge, person: Person):
    pull = await opened(ops, forge)
    merged = await forge.approve_and_merge(pull.number, pull.head_sha, "ada", "session")
    edit(person)
    assert await forge.read(pull.number) == merged


@pytest.mark.parametrize("what", ["policy", "link", "second", "nothing"])
async def test_a_head_that_is_more_than_one_new_file(ops: OpsRepository, forge: LocalForge, person: Person, what: str):
    pull = await opened(ops, forge)
    person.fetch()
    person.git("checkout", "-q", "-B", "more", f"gitmedic/{BRANCH}")
    if what == "policy":
        person.write("policy.yml", b"mode: propose\nwide: open\n")
    elif what == "second":
        person.write(PATH.replace("1.yml", "2.yml"), b"run: other\n")
    else:
        (person.folder / PATH).unlink()
        if what == "link":
            (person.folder / PATH).symlink_to("/etc/passwd")
    head = person.commit(what)
    assert person.push(f"HEAD:{BRANCH}").returncode == 0
    with pytest.raises(Conflict, match="does not add one plain file"):
        await forge.approve_and_merge(pull.number, head, "ada", "session")
    assert (await forge.read(pull.number)).state == "open"
    assert merges(person) == 0


@pytest.mark.parametrize("how", ["file", "head"])
async def test_a_direct_push_is_nobodys_approval(ops: OpsRepository, forge: LocalForge, person: Person, how: str):
    pull = await opened(ops, forge)
    if how == "file":
        person.write(PATH, CONTENT)
        person.commit("directly")
    else:
        person.fetch()
        person.git("merge", "-q", "--no-ff", f"gitmedic/{BRANCH}")
    person.push_main()
    now = await forge.read(pull.number)
    assert (now.state, now.merge_sha, now.merged_by) == ("open", None, None)
    with pytest.raises(Conflict, match=r"already|nothing"):
        await forge.approve_and_merge(pull.number, pull.head_sha, "ada", "session")
    assert (await forge.read(pull.number)).reviews == ()


async def test_a_hundred_clicks_at_once(ops: OpsRepository, forge: LocalForge, person: Person):
    pull = await opened(ops, forge)
    names = ["ada", "bob"] * 10
    said = await asyncio.gather(
        *(forge.approve_and_merge(pull.number, pull.head_sha, name, "session") for name in names),
        return_exceptions=True,
    )
    merged = [one for one in said if isinstance(one, PullRequest)]
    assert merged
    assert all(one == merged[0] for one in merged)
    assert all(isinstance(one, PullRequest | Conflict) for one in said)
    assert len([one for one in said if isinstance(one, Conflict)]) >= 10  # whoever was not first
    assert merges(person) == 1
    assert len(merged[0].reviews) == 1


async def test_nobody_decides_while_another_does(ops: OpsRepository, forge: LocalForge, pool: AsyncConnectionPool):
    pull = await opened(ops, forge)
    land, begun, go_on = ops.land, asyncio.Event(), asyncio.Event()

    async def slow(*what: str) -> bool:
        begun.set()
        await go_on.wait()
        return await land(*what)

    ops.land = slow  # type: ignore[method-assign]
    first = asyncio.create_task(forge.approve_and_merge(pull.number, pull.head_sha, "ada", "session"))
    await begun.wait()
    others = [
        asyncio.create_task(forge.approve_and_merge(pull.number, pull.head_sha, "bob", "session")),
        asyncio.create_task(forge.reject(pull.number, "carl", "session", "no")),
        asyncio.create_task(forge.close(pull.number, "expired")),
    ]
    waiting = 0
    async with asyncio.timeout(10), pool.connection() as connection:
        while waiting < len(others):
            assert not any(other.done() for other in others)
            cursor = await connection.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
            (waiting,) = await cursor.fetchone()
    go_on.set()
    merged = await first
    said = await asyncio.gather(*others, return_exceptions=True)
    assert [type(one) for one in said] == [Conflict] * 3
    assert [review.by.login for review in merged.reviews] == ["ada"]
    assert await forge.read(pull.number) == merged


def approve_in_a_process(database: str, bare: Path, number: int, head: str, name: str, barrier, answers) -> None:
    async def approve() -> str:
        async with AsyncConnectionPool(database, open=False, kwargs={"autocommit": True}) as pool:
            ops = OpsRepository(RepoSettings(path=bare), adoption=None)  # type: ignore[arg-type]
            try:
                barrier.wait(30)
                forge = LocalForge(pool, ops, LocalForgeSettings())
                return (await forge.approve_and_merge(number, head, name, "terminal")).merge_sha or ""
            except Conflict:
                return ""
            finally:
                await ops.close()

    answers.put(asyncio.run(approve()))


async def test_two_processes_at_once(ops: OpsRepository, forge: LocalForge, person: Person, bare: Path, database: str):
    pull = await opened(ops, forge)
    spawn = multiprocessing.get_context("spawn")
    barrier, answers = spawn.Barrier(2), spawn.Queue()
    given = (database, bare, pull.number, pull.head_sha)
    people = [
        spawn.Process(target=approve_in_a_process, args=(*given, name, barrier, answers)) for name in ("ada", "bob")
    ]
    for one in people:
        one.start()
    said = [answers.get(timeout=60) for _ in people]
    for one in people:
        one.join(30)
        one.close()
    answers.close()
    answers.join_thread()
    now = await forge.read(pull.number)
    assert sorted(said) == ["", now.merge_sha]
    assert merges(person) == 1


def die_while_merging(database: str, bare: Path, number: int, head: str, when: str) -> None:
    async def approve() -> None:
        async with AsyncConnectionPool(database, open=False, kwargs={"autocommit": True}) as pool:
            ops = OpsRepository(RepoSettings(path=bare), adoption=None)  # type: ignore[arg-type]
            land = ops.land

            async def dying(*what: str) -> bool:
                if when == "after":
                    await land(*what)
                os._exit(9)

            ops.land = dying  # type: ignore[method-assign]
            await LocalForge(pool, ops, LocalForgeSettings()).approve_and_merge(number, head, "ada", "session")

    asyncio.run(approve())


def crash(database: str, bare: Path, pull: PullRequest, when: str) -> None:
    process = multiprocessing.get_context("spawn").Process(
        target=die_while_merging, args=(database, bare, pull.number, pull.head_sha, when)
    )
    process.start()
    process.join(60)
    assert process.exitcode == 9
    process.close()


async def test_a_crash_after_git_is_healed_by_reading(
    ops: OpsRepository,
    forge: LocalForge,
    person: Person,
    bare: Path,
    database: str,
    pool: AsyncConnectionPool,
):
    pull = await opened(ops, forge)
    await asyncio.to_thread(crash, database, bare, pull, "after")
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT state, intended_at FROM pull_requests")
        state, intended_at = await cursor.fetchone()
    assert state == "open"
    now = await forge.read(pull.number)
    assert (now.state, now.merge_sha, now.merged_by) == ("merged", await ops.tip(), person_account("ada"))
    assert now.merged_at == intended_at  # when she decided, not when the row was completed
    assert [review.by.login for review in now.reviews] == ["ada"]
    assert await forge.approve_and_merge(pull.number, pull.head_sha, "ada", "session") == now
    with pytest.raises(Conflict, match="merged"):
        await forge.close(pull.number, "expired")
    assert merges(person) == 1


@pytest.mark.parametrize("first", ["approve", "close", "reject"])
async def test_a_crash_after_git_is_healed_by_whoever_comes(
    ops: OpsRepository, forge: LocalForge, person: Person, bare: Path, database: str, first: str
):
    pull = await opened(ops, forge)
    await asyncio.to_thread(crash, database, bare, pull, "after")
    with pytest.raises(Conflict, match="merged"):
        if first == "approve":
            await forge.approve_and_merge(pull.number, pull.head_sha, "bob", "session")
        elif first == "close":
            await forge.close(pull.number, "expired")
        else:
            await forge.reject(pull.number, "bob", "session", "no")
    assert (await forge.read(pull.number)).merged_by == person_account("ada")
    assert merges(person) == 1


async def test_a_crash_before_git_leaves_it_open(
    ops: OpsRepository, forge: LocalForge, person: Person, bare: Path, database: str
):
    pull = await opened(ops, forge)
    await asyncio.to_thread(crash, database, bare, pull, "before")
    now = await forge.read(pull.number)
    assert (now.state, now.merge_sha) == ("open", None)
    assert merges(person) == 0
    merged = await forge.approve_and_merge(pull.number, pull.head_sha, "bob", "session")
    assert merged.merged_by == person_account("bob")
    assert merges(person) == 1


async def test_closing_takes_the_branch_out_of_sight_and_keeps_it(
    ops: OpsRepository, forge: LocalForge, person: Person
):
    pull = await opened(ops, forge)
    await forge.close(pull.number, "expired")
    assert await ops.head(BRANCH) is None
    assert pull.head_sha in person.say("ls-remote", "gitmedic", "refs/gitmedic/closed/*")
    page = await forge.page(pull.number)
    assert page.closed_why == "expired"
    assert page.title == "Restart web"


async def test_a_pool_that_is_not_autocommit_is_a_bug(database: str, ops: OpsRepository):
    async with AsyncConnectionPool(database, open=False) as pool:
        with pytest.raises(Broken, match="autocommit"):
            await LocalForge(pool, ops, LocalForgeSettings()).read(1)


async def test_a_database_that_is_gone_is_come_back_later(ops: OpsRepository, tmp_path: Path):
    pool = AsyncConnectionPool(f"host={tmp_path}", open=False, timeout=0.2, kwargs={"autocommit": True})
    async with pool:
        with pytest.raises(Unavailable, match="not available"):
            await LocalForge(pool, ops, LocalForgeSettings()).read(1)


async def test_names_of_two_lines(ops: OpsRepository, forge: LocalForge):
    pull = await opened(ops, forge)
    for name in ("", "ada\nApproved-by: bob", "ada\u202e", " "):
        with pytest.raises(Refused):
            await forge.approve_and_merge(pull.number, pull.head_sha, name, "session")


async def test_another_base(ops: OpsRepository, forge: LocalForge):
    proposal = await proposed(ops)
    with pytest.raises(Refused, match="only 'main'"):
        await forge.open(opening(proposal.head_sha, base="other"))
    with pytest.raises(Conflict, match="it stands at"):
        await forge.open(opening("f" * 40))
