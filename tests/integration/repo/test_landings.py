"""What git says about a merge, for every way in which a run file can come to the base branch."""

import pytest

from receiver.adapters.repo.git import OpsRepository
from receiver.domain.landing import Landing
from receiver.domain.proposal import Proposal
from tests.fix_repo import BRANCH, CONTENT, PATH, Person, proposed

pytestmark = pytest.mark.anyio
PLAYBOOK = "playbooks/web/restart"
ONE = (("A", "100644", PATH),)


async def landing(ops: OpsRepository, proposal: Proposal, merge: str | None) -> Landing:
    return await ops.landing(proposal, merge)


def is_good(facts: Landing) -> bool:
    """As the approval table reads it."""
    whole = facts.reachable and facts.first_landing and facts.reviewed == facts.landed == ONE
    return whole and facts.head_blob == facts.landed_blob is not None and facts.content == CONTENT


def merge(person: Person, *options: str, what: str = f"gitmedic/{BRANCH}") -> str:
    person.on_main()
    person.git("merge", "-q", *options, what)
    return person.push_main()


async def test_merge_commit(ops: OpsRepository, person: Person):
    proposal = await proposed(ops)
    facts = await landing(ops, proposal, merge(person, "--no-ff"))
    assert is_good(facts)
    assert facts.base_tip == facts.merge_sha == await ops.tip()


async def test_merge_onto_a_base_that_moved_and_moved_on(ops: OpsRepository, person: Person):
    proposal = await proposed(ops)
    person.write("notes.txt", b"n")
    person.commit("notes")
    person.push_main()
    merged = merge(person, "--no-ff")
    person.write("notes.txt", b"more")
    person.commit("notes")
    person.push_main()
    assert is_good(await landing(ops, proposal, merged))


async def test_our_own_merge(ops: OpsRepository):
    proposal = await proposed(ops)
    merged, tip = await ops.prepare_merge(proposal.head_sha, "Merge")
    assert not (await landing(ops, proposal, merged)).reachable  # prepared is not merged
    assert await ops.land(merged, tip, BRANCH, proposal.head_sha)
    assert is_good(await landing(ops, proposal, merged))
    # proposing the same again after a crash still finds it
    again = await proposed(ops)
    assert again == proposal


async def test_merges_of_branches_that_forked_before_are_no_second_landing(ops: OpsRepository):
    """Three proposals from one tip, merged one after the other: each landed once."""
    others = [("runs/2026/11/26/other-1.yml", b"other: 1\n"), ("runs/2026/11/26/other-2.yml", b"other: 2\n")]
    proposal = await proposed(ops)
    heads = [(BRANCH, proposal.head_sha)]
    for path, content in others:
        branch = path.rsplit("/", 1)[1].removesuffix(".yml")
        heads.append((branch, (await ops.propose(branch=branch, path=path, content=content, message="x"))[0]))
    merges = []
    for branch, head in heads:
        merged, tip = await ops.prepare_merge(head, "Merge")
        assert await ops.land(merged, tip, branch, head)
        merges.append(merged)
    assert is_good(await landing(ops, proposal, merges[0]))


async def test_squash_rebase_and_fast_forward(ops: OpsRepository, person: Person):
    proposal = await proposed(ops)
    person.on_main()
    person.git("merge", "-q", "--squash", f"gitmedic/{BRANCH}")
    person.commit("squashed")
    assert is_good(await landing(ops, proposal, person.push_main()))


async def test_fast_forward(ops: OpsRepository, person: Person):
    proposal = await proposed(ops)
    assert is_good(await landing(ops, proposal, merge(person, "--ff-only")))


async def test_direct_push_has_no_merge(ops: OpsRepository, person: Person):
    proposal = await proposed(ops)
    person.write(PATH, CONTENT)
    person.commit("directly")
    person.push_main()
    facts = await landing(ops, proposal, None)
    assert not facts.reachable
    assert not facts.first_landing
    assert facts.landed == ()
    assert facts.content is None


async def test_direct_push_named_as_the_merge_shows_what_it_brought(ops: OpsRepository, person: Person):
    proposal = await proposed(ops)
    person.write(PATH, CONTENT)
    person.write("policy.yml", b"mode: propose\nwider: true\n")
    person.commit("directly, with company")
    facts = await landing(ops, proposal, person.push_main())
    assert facts.landed == (("M", "100644", "policy.yml"), *ONE)
    assert not is_good(facts)


async def test_edited_before_the_merge(ops: OpsRepository, person: Person):
    proposal = await proposed(ops)
    person.fetch()
    person.git("checkout", "-q", "-b", "edit", f"gitmedic/{BRANCH}")
    person.write(PATH, CONTENT + b"# edited\n")
    person.commit("edit")
    facts = await landing(ops, proposal, merge(person, "--no-ff", what="edit"))
    assert facts.head_blob != facts.landed_blob
    assert facts.content == CONTENT + b"# edited\n"
    assert not is_good(facts)


async def test_edited_in_the_merge(ops: OpsRepository, person: Person):
    proposal = await proposed(ops)
    person.on_main()
    person.git("merge", "-q", "--no-ff", "--no-commit", f"gitmedic/{BRANCH}")
    person.write(PATH, CONTENT + b"# evil\n")
    person.commit("merge")
    facts = await landing(ops, proposal, person.push_main())
    assert facts.landed == facts.reviewed == ONE
    assert facts.head_blob != facts.landed_blob
    assert facts.content != CONTENT


async def test_edited_or_removed_after_the_merge(ops: OpsRepository, person: Person):
    proposal = await proposed(ops)
    merged = merge(person, "--no-ff")
    person.write(PATH, CONTENT + b"# later\n")
    person.commit("edit")
    person.push_main()
    assert not (await landing(ops, proposal, merged)).first_landing
    person.write(PATH, CONTENT)
    person.commit("and back: the tip looks untouched")
    person.push_main()
    facts = await landing(ops, proposal, merged)
    assert facts.reachable
    assert not facts.first_landing


@pytest.mark.parametrize("how", ["mv", "cp"])
async def test_moved_or_copied(ops: OpsRepository, person: Person, how: str):
    proposal = await proposed(ops)
    merged = merge(person, "--no-ff")
    other = person.folder / PATH.replace("1.yml", "2.yml")
    if how == "mv":
        (person.folder / PATH).rename(other)
    else:
        other.write_bytes(CONTENT)
    later = person.commit(how)
    person.push_main()
    assert not (await landing(ops, proposal, merged)).first_landing
    assert not is_good(await landing(ops, proposal, later))


async def test_copied_before_the_merge(ops: OpsRepository, person: Person):
    proposal = await proposed(ops)
    person.write(PATH.replace("1.yml", "2.yml"), CONTENT)
    person.commit("copy")
    person.push_main()
    assert not (await landing(ops, proposal, merge(person, "--no-ff"))).first_landing


@pytest.mark.parametrize("twin", [PATH.replace(".yml", ".YML"), PATH.replace("2026", "２０２６")])
async def test_a_twin_in_other_letters(ops: OpsRepository, person: Person, twin: str):
    proposal = await proposed(ops)
    person.write(twin, b"other")
    person.commit("twin")
    person.push_main()
    assert not (await landing(ops, proposal, merge(person, "--no-ff"))).first_landing


async def test_reverted_and_merged_again(ops: OpsRepository, person: Person):
    proposal = await proposed(ops)
    first = merge(person, "--no-ff")
    person.git("revert", "--no-edit", "-m", "1", "HEAD")
    person.push_main()
    assert not (await landing(ops, proposal, first)).first_landing
    person.git("revert", "--no-edit", "HEAD")
    again = person.push_main()
    for one in (first, again):
        facts = await landing(ops, proposal, one)
        assert facts.reachable
        assert not facts.first_landing
    assert facts.landed == ONE  # by its shape alone the second landing would pass


async def test_cherry_picked_elsewhere_first(ops: OpsRepository, person: Person):
    """Landed and removed on a side branch that is merged later: the tree never shows it, history does."""
    proposal = await proposed(ops)
    person.on_main()
    person.git("checkout", "-q", "-b", "side")
    person.git("cherry-pick", f"gitmedic/{BRANCH}")
    (person.folder / PATH).unlink()
    person.commit("hide it")
    merge(person, "--no-ff", what="side")
    merged = merge(person, "--no-ff")
    facts = await landing(ops, proposal, merged)
    assert facts.landed == ONE
    assert not facts.first_landing


async def test_cherry_pick_of_the_head_afterwards(ops: OpsRepository, person: Person):
    proposal = await proposed(ops)
    merged = merge(person, "--no-ff")
    person.git("rm", "-q", PATH)
    person.commit("remove")
    person.git("cherry-pick", f"gitmedic/{BRANCH}")
    picked = person.push_main()
    for one in (merged, picked):
        assert not (await landing(ops, proposal, one)).first_landing


async def test_symbolic_link(ops: OpsRepository, person: Person):
    proposal = await proposed(ops)
    person.fetch()
    person.git("checkout", "-q", "-b", "link", f"gitmedic/{BRANCH}")
    (person.folder / PATH).unlink()
    (person.folder / PATH).symlink_to("/etc/passwd")
    head = person.commit("link")
    merged = merge(person, "--no-ff", what="link")
    facts = await landing(ops, proposal.model_copy(update={"head_sha": head}), merged)
    assert facts.reviewed == facts.landed == (("A", "120000", PATH),)
    assert facts.content == b"/etc/passwd"  # the link's own text: git was asked, not a work tree


async def test_an_extra_file_in_the_branch(ops: OpsRepository, person: Person):
    proposal = await proposed(ops)
    person.fetch()
    person.git("checkout", "-q", "-b", "extra", f"gitmedic/{BRANCH}")
    person.write("inventory/hosts.yml", b"all: {hosts: {evil: {}}}\n")
    head = person.commit("extra")
    merged = merge(person, "--no-ff", what="extra")
    facts = await landing(ops, proposal.model_copy(update={"head_sha": head}), merged)
    assert facts.reviewed == facts.landed == (("M", "100644", "inventory/hosts.yml"), *ONE)


async def test_forced_away(ops: OpsRepository, person: Person, bare):
    proposal = await proposed(ops)
    merged = merge(person, "--no-ff")
    (bare / "hooks" / "update").unlink()  # as on a forge that allows it
    person.git("reset", "-q", "--hard", "HEAD^1")
    assert person.push("main", "--force").returncode == 0
    facts = await landing(ops, proposal, merged)
    assert not facts.reachable
    assert not facts.first_landing
    assert facts.landed == ONE  # the object is still there: only reachability tells


async def test_garbage_is_not_an_error(ops: OpsRepository, person: Person):
    proposal = await proposed(ops)
    person.on_main()
    person.git("tag", "-a", "-m", "t", "v1")
    assert person.push("v1").returncode == 0
    tag = person.say("rev-parse", "v1")
    blob = person.say("rev-parse", "HEAD:policy.yml")
    tree = person.say("rev-parse", "HEAD^{tree}")
    short = proposal.head_sha[:12]
    for one in ("0" * 40, "f" * 40, "", "main", "--all", "HEAD", "x\ny", tag, blob, tree, short, "f" * 64):
        facts = await landing(ops, proposal, one)
        assert not facts.reachable
        assert not facts.first_landing
        assert facts.landed == ()
        assert facts.content is None
    root = person.say("rev-list", "--max-parents=0", "HEAD")
    assert not is_good(await landing(ops, proposal, root))
    strange = proposal.model_copy(update={"path": "../x", "head_sha": "gone", "base_sha": "--all"})
    facts = await ops.landing(strange, root)
    assert (facts.reviewed, facts.head_blob) == ((), None)


async def test_replace_refs_change_nothing(ops: OpsRepository, person: Person, bare):
    """Whoever can write refs/replace would else show other bytes under an approved id."""
    proposal = await proposed(ops)
    merged = merge(person, "--no-ff")
    person.write("evil", b"evil")
    evil = person.say("hash-object", "-w", "evil")
    blob = person.say("rev-parse", f"HEAD:{PATH}")
    assert "other bytes" in person.push(f"{evil}:refs/replace/{blob}").stderr
    (bare / "hooks" / "update").unlink()
    assert person.push(f"{evil}:refs/replace/{blob}").returncode == 0
    assert is_good(await landing(ops, proposal, merged))
