"""The ops repository as a mirror of a forge's: what is fetched, from whom, and what it is told."""

from __future__ import annotations

import asyncio
import base64
import subprocess
from pathlib import Path

import pytest

from receiver.adapters.repo.creation import become_mirror, become_own, create_mirror
from receiver.adapters.repo.git import OpsRepository
from receiver.adapters.repo.settings import RepoSettings
from receiver.errors import Refused, Unavailable
from tests.fix_repo import BRANCH, CONTENT, FIRST, Person, proposed
from tests.fix_upstream import TOKEN, Forge, Login, Mirrors
from tests.forges.pulls import State
from tests.forges.server import ForgeServer

pytestmark = pytest.mark.anyio
SECRET = base64.b64encode(f"bot:{TOKEN}".encode()).decode()


def git(ops: OpsRepository, *arguments: str) -> str:
    done = subprocess.run(["git", "--git-dir", str(ops._git.path), *arguments], check=True, capture_output=True)
    return done.stdout.decode().strip()


async def test_the_base_branch_and_nothing_else_is_fetched(mirror: OpsRepository, forge: Forge):
    forge.state.push(forge.ada, forge.repository, "topic", {"x": b"x"})
    subprocess.run(["git", "--git-dir", str(forge.repository.folder), "tag", "v1", "main"], check=True)
    assert await mirror.fetch() == forge.tip()
    assert git(mirror, "for-each-ref", "--format=%(refname)") == "refs/heads/main"
    landed = forge.land({"inventory/hosts.yml": b"all: {hosts: {db1: {}}}\n"})
    assert await mirror.fetch() == landed == await mirror.tip()
    assert set((await mirror.revision(landed)).inventory.hosts) == {"db1"}


async def test_a_revision_that_another_machine_adopted_is_fetched_when_it_is_asked_for(
    mirror: OpsRepository, forge: Forge
):
    landed = forge.land({"inventory/hosts.yml": b"all: {hosts: {db1: {}}}\n"})
    assert set((await mirror.revision(landed)).inventory.hosts) == {"db1"}
    seen = len(forge.faults.requests())
    await mirror.revision(landed)
    assert len(forge.faults.requests()) == seen
    with pytest.raises(Refused):
        await mirror.revision("f" * 40)


async def test_the_one_request_carries_the_token_at_once(mirror: OpsRepository, forge: Forge):
    await mirror.fetch()
    seen = forge.faults.requests()
    assert {one.status for one in seen} == {200}  # not a single 401: it is not asked for first
    assert {one.headers["authorization"] for one in seen} == {f"Basic {SECRET}"}


async def test_the_token_is_in_no_argument_file_or_message(mirror: OpsRepository, forge: Forge, tmp_path: Path):
    seen: set[bytes] = set()

    async def look(task: asyncio.Task[str]) -> None:
        while not task.done():
            for place in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(place.read_bytes())
                except OSError:
                    continue
            await asyncio.sleep(0.02)

    forge.faults.add("GET", "info/refs", "delay", seconds=1.0)
    fetching = asyncio.create_task(mirror.fetch())
    await look(fetching)
    await fetching
    assert any(b"remote-http" in one and forge.url.encode() in one for one in seen)
    assert not [one for one in seen if TOKEN.encode() in one or SECRET.encode() in one]
    for file in mirror._git.path.rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        assert TOKEN.encode() not in content and SECRET.encode() not in content, file
    forge.state.expire(TOKEN)
    with pytest.raises(Refused) as refused:
        await mirror.fetch()
    assert TOKEN not in f"{refused.value.message} {refused.value!r}" and SECRET not in refused.value.message


async def test_what_the_forge_says_back_is_redacted(mirror: OpsRepository, forge: Forge):
    script = f"#!/bin/sh\necho 'error: no {TOKEN} nor {SECRET}' >&2\nexit 1\n"
    (forge.repository.folder / "hooks" / "update").write_text(script)
    with pytest.raises(Refused, match="error: no … nor …") as refused:
        await proposed(mirror)
    assert TOKEN not in refused.value.message and SECRET not in refused.value.message


@pytest.mark.parametrize(
    ("login", "reason"), [({"password": "wrong"}, "token"), ({"user": "", "password": ""}, "token")]
)
async def test_a_wrong_token_is_for_a_person(mirrors: Mirrors, forge: Forge, login: dict[str, str], reason: str):
    ops = mirrors(login=Login(forge.url, **login))
    with pytest.raises(Refused, match=r"Authentication failed|could not read Username") as refused:
        await ops.fetch()
    assert (refused.value.reason, "forge connect" in refused.value.next_step) == (reason, True)


async def test_a_repository_that_moved_is_not_followed(mirror: OpsRepository, forge: Forge, tmp_path: Path):
    (tmp_path / "other").mkdir()
    with ForgeServer(State(tmp_path / "other")) as other:
        elsewhere = f"{other.state.url}/org/ops.git/info/refs?service=git-upload-pack"
        forge.faults.add("GET", "info/refs", "redirect", location=elsewhere)
        with pytest.raises(Refused) as refused:
            await mirror.fetch()
        assert other.faults.requests() == []  # nobody else is told our token
    assert refused.value.reason == "moved"
    await mirror.fetch()
    forge.state.rename(forge.repository, "infra")
    with pytest.raises(Refused) as refused:
        await mirror.fetch()
    assert refused.value.reason == "moved"


async def test_a_certificate_of_its_own_counts_only_when_it_is_named(mirrors: Mirrors, tmp_path: Path):
    (tmp_path / "tls").mkdir()
    with ForgeServer(State(tmp_path / "tls"), tls=True) as server:
        forge = Forge(server, dict(FIRST))
        with pytest.raises(Refused) as refused:
            await mirrors(login=Login(forge.url)).fetch()
        assert refused.value.reason == "certificate"
        assert forge.faults.requests() == []  # the token was not sent
        assert await mirrors(login=Login(forge.url, ca_file=server.ca_file)).fetch() == forge.tip()


@pytest.mark.parametrize("what", ["500 before the effect", "lost before the effect", "lost after the effect"])
async def test_trouble_on_the_way_is_for_later(mirror: OpsRepository, forge: Forge, what):
    forge.faults.add("GET|POST", "ops.git", what)
    with pytest.raises(Unavailable):
        await mirror.fetch()
    assert await mirror.fetch() == forge.tip()


async def test_a_forge_that_hangs_is_given_up(mirrors: Mirrors, forge: Forge):
    ops = mirrors(network_seconds=0.5)
    forge.faults.add("GET", "info/refs", "delay", seconds=2.0)
    with pytest.raises(Unavailable, match=r"no end within 0\.5 s"):
        await ops.fetch()
    patient = OpsRepository(ops._git.settings.model_copy(update={"network_seconds": 60}), ops._adoption, ops._upstream)
    assert await patient.fetch() == forge.tip()
    await patient.close()


@pytest.mark.parametrize(
    "url",
    ["http://forge.example/o/r.git", "https://bot:x@forge.example/o/r.git", "ssh://forge.example/o/r", "ext::sh -c x",
     "git://forge.example/o/r", "https://forge.example/o/r?token=x", "-upload-pack=x", "https:///o/r", "/srv/ops.git"],
)  # fmt: skip
def test_addresses_that_are_not_used(tmp_path: Path, url: str):
    with pytest.raises(Refused) as refused:
        create_mirror(tmp_path / "m.git", url)
    assert "token=x" not in refused.value.message and ":x@" not in refused.value.message
    assert list(tmp_path.iterdir()) == []


async def test_words_in_a_name_are_no_reasons(mirrors: Mirrors, forge: Forge):
    forge.repository.name = "certificate verification of not found redirects"
    ops = mirrors(login=Login(forge.url.replace(" ", "%20")))
    assert await ops.fetch() == forge.tip()
    forge.faults.add("GET", "info/refs", "500 before the effect")
    with pytest.raises(Unavailable):
        await ops.fetch()


async def test_no_proxy_and_no_helper_of_the_user(mirror: OpsRepository, forge: Forge, tmp_path, monkeypatch):
    marker, script = tmp_path / "asked", tmp_path / "ask.sh"
    script.write_text(f"#!/bin/sh\ntouch {marker}\necho x\n")
    script.chmod(0o755)
    (tmp_path / ".gitconfig").write_text(f"[credential]\n\thelper = !{script}\n[core]\n\taskPass = {script}\n")
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name, value in (("HOME", str(tmp_path)), ("GIT_ASKPASS", str(script)), ("SSH_ASKPASS", str(script))):
        monkeypatch.setenv(name, value)
    assert await mirror.fetch() == forge.tip()
    forge.state.expire(TOKEN)
    with pytest.raises(Refused):
        await mirror.fetch()
    assert not marker.exists()


async def test_a_rewritten_base_is_followed_and_what_it_lost_is_kept(mirror: OpsRepository, forge: Forge):
    proposal = await proposed(mirror)
    pull = forge.state.open(forge.bot, forge.repository, BRANCH, "main", "Restart")
    merge = forge.state.merge(forge.ada, pull)
    facts = await mirror.landing(proposal, merge)
    assert facts.reachable and facts.first_landing and facts.content == CONTENT
    rewritten = forge.land({"other": b"x"}, onto=proposal.base_sha, force=True)
    facts = await mirror.landing(proposal, merge)
    assert (facts.base_tip, facts.reachable, facts.first_landing) == (rewritten, False, False)
    assert git(mirror, "cat-file", "-t", merge) == "commit"
    await mirror.sweep()
    assert git(mirror, "cat-file", "-t", merge) == "commit"


async def test_an_ops_repository_of_its_own_is_never_overwritten(bare: Path, forge: Forge):
    async def adopted() -> str:
        return await ops.tip()

    ops = OpsRepository(RepoSettings(path=bare), adopted, Login(forge.url))
    before = await ops.tip()
    with pytest.raises(Refused, match="an ops repository of its own"):
        await ops.fetch()
    assert await ops.tip() == before != forge.tip()
    become_mirror(bare, forge.url)
    assert await ops.fetch() == forge.tip() == await ops.tip()
    await ops.close()
    other = OpsRepository(RepoSettings(path=bare), adopted, Login(f"{forge.state.url}/org/else.git"))
    with pytest.raises(Refused, match="a mirror of"):
        await other.fetch()
    await other.close()


async def test_a_mirror_takes_no_push_of_people(mirror: OpsRepository, tmp_path: Path):
    await mirror.fetch()
    subprocess.run(["git", "clone", "-q", "-o", "gitmedic", str(mirror._git.path), str(tmp_path / "w")], check=True)
    person = Person(tmp_path / "w")
    person.write("policy.yml", b"mode: auto\n")
    person.commit("Mine")
    for ref in ("refs/heads/main", f"refs/heads/{BRANCH}", "refs/tags/v1"):
        refused = person.push(f"HEAD:{ref}")
        assert refused.returncode != 0 and "to the forge instead" in refused.stderr, ref


async def test_a_base_that_is_not_there(mirrors: Mirrors, forge: Forge):
    ops = mirrors(base="trunk")
    with pytest.raises(Refused) as refused:
        await ops.fetch()
    assert refused.value.reason == "no_branch"


async def test_malformed_objects_stay_outside(mirror: OpsRepository, forge: Forge):
    folder, before = forge.repository.folder, await mirror.fetch()
    blob = subprocess.run(
        ["git", "--git-dir", str(folder), "hash-object", "-w", "--stdin"], input=b"x", check=True, capture_output=True
    ).stdout.strip()
    raw = b"100644 .git\0" + bytes.fromhex(blob.decode())
    tree = subprocess.run(
        ["git", "--git-dir", str(folder), "hash-object", "-t", "tree", "--literally", "-w", "--stdin"],
        input=raw, check=True, capture_output=True,
    ).stdout.decode().strip()  # fmt: skip
    made = subprocess.run(
        ["git", "--git-dir", str(folder), "-c", "user.name=A", "-c", "user.email=a@b", "commit-tree", tree, "-p",
         before, "-m", "evil"],
        check=True, capture_output=True,
    ).stdout.decode().strip()  # fmt: skip
    subprocess.run(["git", "--git-dir", str(folder), "update-ref", "refs/heads/main", made], check=True)
    with pytest.raises(Refused) as refused:
        await mirror.fetch()
    assert refused.value.reason == "malformed" and await mirror.tip() == before


async def test_two_processes_fetch_at_once(mirror: OpsRepository, forge: Forge):
    await mirror.fetch()
    twin = OpsRepository(mirror._git.settings, mirror._adoption, Login(forge.url))
    for number in range(5):
        landed = forge.land({"other": b"%d" % number})
        assert await asyncio.gather(mirror.fetch(), twin.fetch()) == [landed, landed]
    await twin.close()


async def test_whoever_runs_with_the_settings_of_before_is_refused(ops: OpsRepository, bare: Path, forge: Forge):
    await ops.propose(branch=BRANCH, path="runs/2026/11/21/x.yml", content=CONTENT, message="Before")
    become_mirror(bare, forge.url)
    another = BRANCH.replace("0001", "0002")
    for act in (
        ops.propose(branch=another, path="runs/2026/11/21/y.yml", content=CONTENT, message="After"),
        ops.prepare_merge("a" * 40, "Merge"),
        ops.claim("01939a00-1111-7000-8000-000000000009", "one", "0" * 32),
    ):
        with pytest.raises(Refused, match="these settings name no forge"):
            await act
    become_own(bare)
    assert await ops.claim("01939a00-1111-7000-8000-000000000009", "one", "0" * 32)


async def test_a_mirror_that_was_made_our_own_again_is_not_fetched_over(mirror: OpsRepository, forge: Forge):
    tip = await mirror.fetch()
    become_own(mirror._git.path)
    forge.land({"inventory/hosts.yml": b"all: {hosts: {db1: {}}}\n"})
    with pytest.raises(Refused, match="an ops repository of its own"):
        await mirror.fetch()
    assert await mirror.tip() == tip
