"""What is read at a commit: revision, pins, the files of a run; and what waits for adoption."""

import pytest

from receiver.adapters.repo import revisions
from receiver.adapters.repo.git import OpsRepository
from receiver.domain.inventory import Inventory
from receiver.domain.playbook import Catalog
from receiver.domain.policyfile import Policy
from receiver.domain.revision import Revision
from receiver.errors import Invalid, Refused
from tests.fix_repo import FIRST, Person, proposed

pytestmark = pytest.mark.anyio
PLAYBOOK = "playbooks/web/restart"
EMPTY = Revision(commit="0" * 40, catalog=Catalog(playbooks={}), inventory=Inventory(hosts={}), policy=Policy())


async def test_trees_are_git_ids(ops: OpsRepository, person: Person):
    commit = await ops.adopted()
    found = await ops.trees(commit, PLAYBOOK)
    assert found.playbook == person.say("rev-parse", f"HEAD:{PLAYBOOK}")
    assert found.roles == person.say("rev-parse", "HEAD:roles")
    assert found.collections == person.say("rev-parse", "HEAD:collections.lock")
    with pytest.raises(Invalid, match="no such playbook"):
        await ops.trees(commit, "playbooks/web/other")
    with pytest.raises(Invalid, match="no such playbook"):
        await ops.trees(commit, f"{PLAYBOOK}/playbook.yml")
    with pytest.raises(Refused, match="does not have it"):
        await ops.trees("f" * 40, PLAYBOOK)
    with pytest.raises(Invalid, match="no full commit id"):
        await ops.trees("main", PLAYBOOK)


async def test_only_named_files_enter_a_run(ops: OpsRepository):
    found = await ops.files(await ops.adopted(), PLAYBOOK)
    assert found == {
        "playbook.yml": FIRST[f"{PLAYBOOK}/playbook.yml"],
        "tasks/main.yml": b"[]\n",
        "roles/base/tasks/main.yml": b"[]\n",
    }


async def test_roles_of_roles_come_along(ops: OpsRepository, person: Person):
    person.write("roles/base/meta/main.yml", b"dependencies: [deep]\n")
    person.write("roles/base/README.md", b"read me\n")
    person.write("roles/deep/defaults/main.yml", b"a: 1\n")
    commit = person.commit("roles")
    person.push_main()
    found = await ops.files(commit, PLAYBOOK)
    assert {name for name in found if name.startswith("roles/")} == {
        "roles/base/tasks/main.yml", "roles/base/meta/main.yml", "roles/deep/defaults/main.yml",
    }  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [
        "library/ping.py", "module_utils/x.py", "action_plugins/x.py", "Filter_Plugins/x.py", "ansible.cfg",
        "collections/ansible_collections/a/b/plugins/modules/x.py", "tasks/library/x.py", "vars_plugins/x.py",
    ],
)  # fmt: skip
@pytest.mark.parametrize("below", [PLAYBOOK, "roles/base"])
async def test_code_for_ansible_itself_is_refused(ops: OpsRepository, person: Person, path: str, below: str):
    person.write(f"{below}/{path}", b"x")
    commit = person.commit("extend")
    person.push_main()
    with pytest.raises(Refused, match="would extend or configure Ansible"):
        await ops.files(commit, PLAYBOOK)


async def test_a_role_that_is_not_named_does_no_harm(ops: OpsRepository, person: Person):
    person.write(f"{PLAYBOOK}/files/library/data.txt", b"data")
    commit = person.commit("data")
    person.push_main()
    assert "files/library/data.txt" in await ops.files(commit, PLAYBOOK)


@pytest.mark.parametrize("below", [PLAYBOOK, "roles/base"])
async def test_links_are_refused(ops: OpsRepository, person: Person, below: str):
    (person.folder / below / "files").mkdir()
    (person.folder / below / "files" / "shadow").symlink_to("/etc/shadow")
    commit = person.commit("link")
    person.push_main()
    with pytest.raises(Refused, match="symbolic link"):
        await ops.files(commit, PLAYBOOK)


async def test_a_whole_revision(ops: OpsRepository):
    commit = await ops.adopted()
    revision = await ops.revision(commit)
    assert revision.commit == commit
    assert revision.policy.mode == "propose"
    assert list(revision.inventory.hosts) == ["web1"]
    assert len(revision.catalog.problems) == 1  # the stub of a catalog entry in FIRST


async def test_revision_reads_blobs_and_is_kept(ops: OpsRepository, person: Person, monkeypatch):
    seen = {}
    monkeypatch.setattr(revisions, "read_catalog", lambda files: seen.update(files) or EMPTY.catalog)
    monkeypatch.setattr(revisions, "read_inventory", lambda files: seen.update(files) or EMPTY.inventory)
    monkeypatch.setattr(revisions, "read_policy", lambda data: seen.update({"policy.yml": data}) or EMPTY.policy)
    (person.folder / "playbooks" / "link.yml").symlink_to("/etc/passwd")
    commit = person.commit("link")
    person.push_main()
    first = await ops.revision(commit)
    assert seen == {
        path: data for path, data in FIRST.items() if path.startswith(("playbooks/", "inventory/", "policy.yml"))
    }
    assert await ops.revision(commit) is first
    for number in range(9):
        person.write("policy.yml", b"# %d\n" % number)
        other = person.commit("policy")
        person.push_main()
        await ops.revision(other)
    assert await ops.revision(commit) is not first


async def test_a_revision_without_policy_is_invalid(ops: OpsRepository, person: Person):
    person.git("rm", "-q", "policy.yml")
    commit = person.commit("no policy")
    person.push_main()
    with pytest.raises(Invalid, match=r"policy\.yml"):
        await ops.revision(commit)
    with pytest.raises(Refused, match="does not have it"):
        await ops.revision("a" * 40)


async def test_a_prompt_with_an_error_is_not_put_in_force(ops: OpsRepository, person: Person):
    person.write("prompts/plan.j2", b"{{ cycler.__init__.__globals__ }}")
    commit = person.commit("prompt")
    person.push_main()
    with pytest.raises(Invalid, match=r"prompts/plan\.j2: line 1"):
        await ops.revision(commit)


async def test_run_files_and_notes_need_no_adoption(ops: OpsRepository, person: Person):
    first = await ops.adopted()
    proposal = await proposed(ops)
    merge, tip = await ops.prepare_merge(proposal.head_sha, "Merge")
    await ops.land(merge, tip, proposal.branch, proposal.head_sha)
    person.on_main()
    person.write("reports/2026-W47.md", b"# Week\n")
    person.commit("report")
    person.push_main()
    assert await ops.pending(first) == ()
    assert await ops.content_commit() == first


async def test_content_waits_for_adoption(ops: OpsRepository, person: Person):
    first = await ops.adopted()
    person.write("policy.yml", b"mode: observe\x1b[31m\n")
    for number in range(25):
        person.write(f"playbooks/web/p{number}/playbook.yml", b"[]\n")
    one = person.commit("policy: \x1b[31mobserve")
    person.git("checkout", "-q", "-b", "side", first)
    person.write("inventory/hosts.yml", b"all: {}\n")
    person.commit("inventory")
    person.git("checkout", "-q", "main")
    person.git("merge", "-q", "--no-ff", "-m", "merge side", "side")
    two = person.push_main()
    waiting = await ops.pending(first)
    assert [(item.commit, item.author) for item in waiting] == [
        (one, "Ada <ada@example.org>"), (two, "Ada <ada@example.org>"),
    ]  # fmt: skip
    assert waiting[0].subject == "policy: [31mobserve"
    assert len(waiting[0].paths) == 20
    assert waiting[0].more_paths == 6
    assert waiting[1].paths == ("inventory/hosts.yml",)
    assert await ops.content_commit() == two
    shown = await ops.diff(first, two)
    assert "+mode: observe[31m" in shown
    assert "\x1b" not in shown
    digest = await ops.digest(first, two)
    assert digest == await ops.digest(first, two)
    assert len({digest, await ops.digest(first, one), await ops.digest(one, two)}) == 3


async def test_changed_and_changed_back_needs_nothing(ops: OpsRepository, person: Person):
    first = await ops.adopted()
    person.write("policy.yml", b"mode: observe\n")
    person.commit("change")
    person.git("revert", "--no-edit", "HEAD")
    person.push_main()
    assert await ops.pending(first) == ()
    assert await ops.content_commit() == first


async def test_a_huge_diff_is_cut_and_says_so(ops: OpsRepository, person: Person):
    first = await ops.adopted()
    person.write("prompts/plan.j2", b"line\n" * 1_000_000)
    person.commit("huge")
    shown = await ops.diff(first, person.push_main())
    assert len(shown) < 201_000
    assert "cut after 200000 bytes" in shown
