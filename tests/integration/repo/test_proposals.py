"""A proposal is one new file on a new branch; the same again is the same; nothing is ever overwritten."""

import asyncio

import pytest

from receiver.adapters.repo import branches
from receiver.adapters.repo.git import OpsRepository
from receiver.errors import Conflict, Invalid
from tests.fix_repo import BRANCH, CONTENT, PATH, Person

pytestmark = pytest.mark.anyio


async def propose(ops: OpsRepository, **changed: object) -> tuple[str, str]:
    wanted = {"branch": BRANCH, "path": PATH, "content": CONTENT, "message": "Restart web"} | changed
    return await ops.propose(**wanted)  # type: ignore[arg-type]


async def test_round_trip(ops: OpsRepository, person: Person):
    base = await ops.tip()
    assert await propose(ops, message="Restart web\n\n-m --evil\x00\x1b[31m") == (
        await ops.head(BRANCH),
        base,
    )
    person.fetch()
    assert person.say("diff", "--name-status", "gitmedic/main", f"gitmedic/{BRANCH}") == f"A\t{PATH}"
    shown = person.git("cat-file", "-p", f"gitmedic/{BRANCH}:{PATH}").stdout
    assert shown.encode() == CONTENT
    assert person.say("log", "-1", "--format=%an <%ae>|%cn|%s", f"gitmedic/{BRANCH}") == (
        "gitmedic <gitmedic@localhost>|gitmedic|Restart web"
    )
    assert "\x1b" not in person.git("log", "-1", "--format=%B", f"gitmedic/{BRANCH}").stdout
    assert person.say("ls-remote", "gitmedic", "refs/gitmedic/*") == ""  # no scratch ref is left


async def test_content_is_kept_byte_for_byte(ops: OpsRepository, person: Person):
    content = b"done\n\x00data 3\r\n\xff" + b"x" * 70_000
    await propose(ops, content=content)
    person.fetch()
    person.git("checkout", "-q", f"gitmedic/{BRANCH}")
    assert (person.folder / PATH).read_bytes() == content


async def test_the_same_again_is_the_same_also_after_the_base_moved(ops: OpsRepository, person: Person):
    first = await propose(ops)
    person.write("notes.txt", b"n")
    person.commit("notes")
    person.push_main()
    assert await propose(ops, message="another message") == first


async def test_the_same_branch_with_other_bytes_is_a_conflict(ops: OpsRepository):
    await propose(ops)
    with pytest.raises(Conflict, match="there already"):
        await propose(ops, content=CONTENT + b"#")
    with pytest.raises(Conflict, match="there already"):
        await propose(ops, content=CONTENT[:-1] + b"#")
    with pytest.raises(Conflict, match="there already"):
        await propose(ops, path=PATH.replace("21", "22"))


async def test_a_branch_that_a_person_added_to_is_a_conflict(ops: OpsRepository, person: Person):
    await propose(ops)
    person.fetch()
    person.git("checkout", "-q", "-b", "more", f"gitmedic/{BRANCH}")
    person.write("policy.yml", b"mode: propose\nwidened: true\n")
    person.commit("more")
    assert person.push(f"HEAD:{BRANCH}").returncode == 0
    with pytest.raises(Conflict, match="there already"):
        await propose(ops)


@pytest.mark.parametrize("path", ["policy.yml", "policy.yml/below", "playbooks/web", "playbooks"])
async def test_an_existing_path_is_never_overwritten(ops: OpsRepository, person: Person, path: str):
    with pytest.raises(Conflict, match="already"):
        await propose(ops, path=path)
    assert await ops.head(BRANCH) is None
    assert person.say("ls-remote", "gitmedic", "refs/gitmedic/*") == ""


@pytest.mark.parametrize(
    "branch",
    [
        "", "-x", "--upload-pack=x", "a..b", "a b", "a~1", "a^", "a:b", "a?", "a*", "a[", "a\\b", "a\nb",
        "a\n", "/a", "a/", "a//b", "a/.b", "a.lock", "a.lock/b", "a.", "@", "a@{1}", "HEAD", "a\0b", "ä",
        "x" * 201, "0123456789012345678901234567890123456789", "refs/../x", "a/-b",
    ],
)  # fmt: skip
async def test_branch_names_that_git_reads_otherwise(ops: OpsRepository, branch: str):
    with pytest.raises(Invalid):
        await propose(ops, branch=branch)
    with pytest.raises(Invalid):
        await ops.head(branch)


@pytest.mark.parametrize(
    "path",
    [
        "", "/etc/passwd", "../x", "a/../b", ".git/config", "a/.git/x", "a//b", "a/", "-x", "a\n",
        "a\nM 100644 inline b",
        'a"b', "a\\b", "a\0b", "a b", "ä", "x" * 401, ".gitmodules", ".gitattributes",
    ],
)  # fmt: skip
async def test_paths_that_git_reads_otherwise(ops: OpsRepository, path: str):
    with pytest.raises(Invalid):
        await propose(ops, path=path)


async def test_a_branch_in_the_way_is_a_conflict(ops: OpsRepository):
    await propose(ops, branch="gitmedic")
    with pytest.raises(Conflict, match="cannot create"):
        await propose(ops)


async def test_too_large(ops: OpsRepository):
    with pytest.raises(Invalid, match="more than"):
        await propose(ops, content=b"x" * ((1 << 20) + 1))


async def test_two_at_once_are_one(ops: OpsRepository):
    answers = await asyncio.gather(*(propose(ops) for _ in range(4)))
    assert len(set(answers)) == 1


async def test_sweep_drops_what_is_merged_and_old_and_nothing_else(
    ops: OpsRepository, person: Person, monkeypatch: pytest.MonkeyPatch
):
    head, _ = await propose(ops)
    merge, tip = await ops.prepare_merge(head, "Merge")
    assert await ops.land(merge, tip, BRANCH, head)
    open_one, _ = await propose(ops, branch="gitmedic/open", path="runs/open.yml")
    forgotten, _ = await ops.prepare_merge(open_one, "Merge")
    person.git("push", "-q", "gitmedic", "main:topic")
    await ops.sweep()
    assert await ops.head(BRANCH) == head  # not old yet
    assert "refs/gitmedic/tmp" in person.say("ls-remote", "gitmedic")
    real = branches.Git.run

    def tomorrow(git, *arguments, **options):
        done = real(git, *arguments, **options)
        if arguments[0] != "var":
            return done
        *name, at, zone = done.stdout.split()
        return done._replace(stdout=b" ".join([*name, b"%d" % (int(at) + 90_000), zone]))

    monkeypatch.setattr(branches.Git, "run", tomorrow)
    await ops.sweep()
    assert await ops.head(BRANCH) is None
    assert await ops.head("gitmedic/open") == open_one
    assert await ops.head("topic") is not None
    refs = person.say("ls-remote", "gitmedic")
    assert "refs/gitmedic/tmp" not in refs
    assert forgotten not in refs


async def test_a_proposal_is_four_git_processes(ops: OpsRepository, monkeypatch: pytest.MonkeyPatch):
    """The time is in the processes: a fifth would be seen here, a slow one by bench/propose.py."""
    started = []
    real = branches.Git.run
    monkeypatch.setattr(
        branches.Git,
        "run",
        lambda git, *words, **more: (started.append(words[0]), real(git, *words, **more))[1],
    )
    await propose(ops)
    # once, until git's settings change: whose repository this is
    assert started.pop(0) == "config"
    assert started == ["cat-file", "fast-import", "diff-tree", "update-ref"]
    started.clear()
    await ops.fetch()
    assert "config" not in started
