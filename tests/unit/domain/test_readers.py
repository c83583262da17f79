"""Inventory, policy, run files, matchers: raw → valid, and every refusal says where."""

from datetime import UTC, datetime, timedelta

import pytest

from receiver.domain.document import read_yaml
from receiver.domain.entity import Entity, Unresolved, resolve
from receiver.domain.inventory import read_inventory, targets_digest
from receiver.domain.job import job_hosts
from receiver.domain.matchers import Matchers
from receiver.domain.outcome import Mode, Risk
from receiver.domain.policyfile import Window, read_policy, rule_for, window_covers
from receiver.domain.runfile import Pins, RunFile, path_of, read_runfile, write_runfile
from receiver.errors import Invalid

HOSTS = b"""
all:
  vars: {color: red}
  children:
    web:
      vars: {color: green}
      hosts:
        web1: {ansible_host: 10.0.0.1, gitmedic: {site: home, node: pve1, match: ['instance=~"web1(:[0-9]+)?"']}}
        web2: {ansible_port: 2222, color: blue, gitmedic: {match: ['instance="web2"', 'name="two"']}}
"""


def inventory(text: bytes = HOSTS) -> object:
    return read_inventory({"inventory/hosts.yml": text})


def test_hosts_groups_and_topology() -> None:
    hosts = read_inventory({"inventory/hosts.yml": HOSTS, "inventory/host_vars/web1.yml": b"size: 3"}).hosts
    assert (hosts["web1"].address, hosts["web1"].node, hosts["web1"].variables) == (
        "10.0.0.1", "pve1", {"color": "green", "size": 3},
    )  # fmt: skip
    assert (hosts["web2"].address, hosts["web2"].port, hosts["web2"].variables["color"]) == ("web2", 2222, "blue")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"ansible_host: 10.0.0.1", b"ansible_host: '{{ lookup(1) }}'"),
        (b"ansible_host: 10.0.0.1", b"ansible_host: '-oProxyCommand=x'"),
        (b"ansible_host: 10.0.0.1", b"ansible_ssh_common_args: x"),
        (b"ansible_host: 10.0.0.1", b"ansible_shell_executable: /bin/x"),
        (b"ansible_host: 10.0.0.1", b"ansible_connection: docker"),
        (b"ansible_host: 10.0.0.1", b"ansible_user: 'a b'"),
        (b"ansible_host: 10.0.0.1", b"ansible_python_interpreter: 'python3; id'"),
        (b"ansible_port: 2222", b"ansible_port: 99999"),
        (b"site: home", b"sight: home"),
        (b"site: home", b"local: {writable: [relative]}"),
        (b"site: home", b"local: {writable: [/a/../b]}"),
        (b"web1:", b"'web 1':"),
        (b"web1:", b"'-web1':"),
        (b"color: blue", b"gm_color: blue"),
        (b'instance="web2"', b"instance=web2"),
        (b'instance="web2"', b'instance=~"("'),
        (b"hosts:", b"host:"),
    ],
)
def test_what_an_inventory_may_not_say(old: bytes, new: bytes) -> None:
    assert old in HOSTS
    with pytest.raises(Invalid, match=r"hosts\.yml|matcher"):
        inventory(HOSTS.replace(old, new))


def test_only_yaml_is_read() -> None:
    with pytest.raises(Invalid, match="only YAML"):
        read_inventory({"inventory/hosts.ini": b"[web]\nweb1"})


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        ({"instance": "web1"}, "web1"),
        ({"instance": "web1:9100"}, "web1"),
        ({"instance": "web10"}, None),
        ({"instance": "xweb1"}, None),
        ({"name": "two"}, "web2"),
        ({"instance": "web1", "name": "two"}, None),
        ({}, None),
    ],
)
def test_the_entity_is_one_host_or_none(labels: dict[str, str], name: str | None) -> None:
    found = resolve(labels, read_inventory({"inventory/hosts.yml": HOSTS}))
    if name is None:
        assert isinstance(found, Unresolved) and found.reason
    else:
        assert isinstance(found, Entity) and found.host == name


def test_the_digest_is_of_addresses_and_variables() -> None:
    before = read_inventory({"inventory/hosts.yml": HOSTS})
    for old, new in ((b"10.0.0.1", b"10.0.0.2"), (b"green", b"grey"), (b"web1(:", b"web1(;")):
        after = read_inventory({"inventory/hosts.yml": HOSTS.replace(old, new)})
        assert targets_digest(after, ["web1"]) != targets_digest(before, ["web1"])
    assert targets_digest(before, ["web1"]) == targets_digest(before, ["web1"])
    with pytest.raises(Invalid):
        targets_digest(before, ["nobody"])


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ("", {"a": "b"}, True),
        ('a="b"', {"a": "b"}, True),
        ('a="b", c!="d"', {"a": "b", "c": "d"}, False),
        ('a=~"b.*"', {"a": "bcd"}, True),
        ('a=~"b"', {"a": "abc"}, False),
        ('a!~"b"', {"a": "abc"}, True),
        ('a=""', {}, True),
        ('a!=""', {}, False),
        ('a=~"(a+)+b"', {"a": "a" * 5000}, False),
    ],
)
def test_matchers(text: str, labels: dict[str, str], matches: bool) -> None:
    assert Matchers.parse(text).matches(labels) is matches


@pytest.mark.parametrize(
    "text",
    ["a=b", 'a="b"} or m{c="d"', 'a="b" or c="d"', 'a="b"} offset 5m #', "a", 'a=~"("', '__name__="x"', "x" * 5000,
     'a="b"}[5m] #', 'a="b"} @ 5 #'],
)  # fmt: skip
def test_what_is_no_matcher_list(text: str) -> None:
    with pytest.raises(Invalid):
        Matchers.parse(text)


POLICY = b"""
mode: propose
sources: {a: {mode: propose}, b: {mode: observe}}
people: [{name: anna, os: [anna, root], session: [anna], approves: high, dispatches: yes}, {name: bert, os: [bert]}]
approvals: {solo: anna}
isolation: {none_allowed: [lab]}
limits: {open_proposals: 5, cooldown: 10m, expiry: 2h}
maintenance: [{name: night, zone: Europe/Berlin, days: [sun], start: '23:00', end: '02:00', match: 'team="x"'}]
rules:
  - {name: db, match: 'service="db"', autonomy: observe}
  - {name: web, hosts: [web1], risks: [low], cooldown_seconds: 1}
"""


def test_a_policy() -> None:
    policy = read_policy(POLICY)
    assert (policy.mode_of("a"), policy.mode_of("b"), policy.mode_of("c")) == (Mode.PROPOSE, Mode.OBSERVE, Mode.OBSERVE)
    assert (policy.limits.open_proposals, policy.limits.cooldown_seconds, policy.limits.expiry_seconds) == (
        5,
        600,
        7200,
    )
    assert (policy.solo, policy.isolation_none_allowed) == ("anna", ("lab",))
    lowered = read_policy(POLICY.replace(b"mode: propose\nsources", b"mode: observe\nsources"))
    assert lowered.mode_of("a") is Mode.OBSERVE
    assert read_policy(b"mode: observe").people == ()

    def rule(labels: dict[str, str], host: str, risk: Risk) -> str | None:
        found = rule_for(policy, labels=labels, host=host, playbook="p", risk=risk)
        return found.name if found else None

    assert rule({"service": "db"}, "web1", Risk.LOW) == "db"
    assert rule({}, "web1", Risk.LOW) == "web"
    assert rule({}, "web1", Risk.HIGH) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"mode: propose\n", b"mode: auto\n"),
        (b"mode: propose\n", b"mode: propose\ntoken: secret\n"),
        (b"{mode: observe}}", b"{node: observe}}"),
        (b"solo: anna", b"solo: nobody"),
        (b"{name: bert, os: [bert]}", b"{name: anna, os: [bert]}"),
        (b"{name: bert, os: [bert]}", b"{name: bert, os: [root]}"),
        (b"cooldown: 10m", b"cooldown: soon"),
        (b"cooldown: 10m", b"surprise: 10m"),
        (b"Europe/Berlin", b"Europe/Nowhere"),
        (b"start: '23:00'", b"start: '25:00'"),
        (b'service="db"', b"service=db"),
        (b"autonomy: observe", b"autonomy: yolo"),
        (b"approves: high", b"approves: everything"),
    ],
)
def test_what_a_policy_may_not_say(old: bytes, new: bytes) -> None:
    assert old in POLICY
    with pytest.raises(Invalid):
        read_policy(POLICY.replace(old, new, 1))


@pytest.mark.parametrize(
    ("moment", "labels", "covers"),
    [
        ("2026-11-29T22:30+00:00", {"team": "x"}, True),  # Sunday 23:30 in Berlin
        ("2026-11-30T00:30+00:00", {"team": "x"}, True),  # Monday 01:30, the window began on Sunday
        ("2026-11-30T01:30+00:00", {"team": "x"}, False),
        ("2026-11-29T21:30+00:00", {"team": "x"}, False),
        ("2026-11-30T22:30+00:00", {"team": "x"}, False),  # Monday
        ("2026-11-29T22:30+00:00", {"team": "y"}, False),
        ("2026-06-28T21:30+00:00", {"team": "x"}, True),  # summer time
    ],
)
def test_a_window_in_its_zone(moment: str, labels: dict[str, str], covers: bool) -> None:
    (window,) = read_policy(POLICY).windows
    assert window_covers(window, datetime.fromisoformat(moment), labels) is covers


def test_a_single_window() -> None:
    window = Window(name="x", zone="Europe/Berlin", start="2026-12-24T18:00", end="2026-12-24T20:00")
    assert window_covers(window, datetime(2026, 12, 24, 17, 30, tzinfo=UTC), {})
    assert not window_covers(window, datetime(2026, 12, 24, 19, 30, tzinfo=UTC), {})


NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
RUN = RunFile(
    run="019ac0de-0000-7000-8000-000000000001",
    playbook="web_restart",
    targets=("web1", "web2"),
    params={"host": "web1", "text": "yes: 'no' \"{x}\" ü # \\", "count": 3, "list": ["a", "a"]},
    revision="c" * 40,
    pins=Pins(playbook="d" * 40, roles="", collections="", targets="e" * 64),
    case="019ac0de-0000-7000-8000-000000000002",
    alert={"source": "prom", "fingerprint": "0" * 16, "starts_at": NOW.isoformat()},
    reason="because",
    requested_by="system",
    expires_at=NOW + timedelta(hours=4),
)


def test_a_run_file_reads_back_as_it_was() -> None:
    content = write_runfile(RUN)
    assert read_runfile(content, path_of(RUN.run, NOW)) == RUN
    assert content == write_runfile(RUN) and content.isascii()
    assert path_of(RUN.run, NOW) == f"runs/2026/11/26/{RUN.run}.yml"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b"schema: 1", b"schema: 2"),
        lambda text: text + b"extra: 1\n",
        lambda text: text + b"run: other\n",
        lambda text: text + b"a: &x 1\nb: *x\n",
        lambda text: text + b"a: !!python/name:os.system\n",
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text + "# \u202e\n".encode(),
        lambda text: text + b"# \x00\n",
        lambda text: text + b"# " + b"x" * 70_000,
        lambda text: text.replace(b"expires_at", b"expired_at"),
        lambda text: b"",
        lambda text: b"[]",
        lambda text: b"\xff",
    ],
)
def test_what_is_no_run_file(change: object) -> None:
    with pytest.raises(Invalid, match=r"runs/|not UTF-8|runs"):
        read_runfile(change(write_runfile(RUN)), path_of(RUN.run, NOW))  # type: ignore[operator]


def test_a_run_file_is_named_after_its_run() -> None:
    with pytest.raises(Invalid, match="named after"):
        read_runfile(write_runfile(RUN), "runs/2026/11/26/019ac0de-0000-7000-8000-000000000009.yml")


@pytest.mark.parametrize("text", [b"a: 1\na: 2", b"1: x", b"<<: {a: 1}", b"a: &b 1", b"a: *b", b"a: !x 1"])
def test_yaml_that_means_two_things(text: bytes) -> None:
    with pytest.raises(Invalid, match=r"^here: "):
        read_yaml(text, where="here")


JUMPED = """
all:
  hosts:
    bastion: {ansible_host: 192.0.2.1, ansible_user: hop}
    inner: {ansible_host: 10.0.0.2, gitmedic: {jump: [bastion]}}
"""


def test_the_way_to_a_host_is_resolved_and_pinned():
    read = read_inventory({"inventory/h.yml": JUMPED.encode()})
    (host,) = job_hosts(read, ("inner",))
    assert [(hop.name, hop.address, hop.port, hop.user) for hop in host.jump] == [("bastion", "192.0.2.1", 22, "hop")]
    pinned = targets_digest(read, ["inner"])
    for old, new in (("192.0.2.1", "192.0.2.9"), ("hop}", "root}"), (", gitmedic: {jump: [bastion]}", "")):
        other = read_inventory({"inventory/h.yml": JUMPED.replace(old, new).encode()})
        assert targets_digest(other, ["inner"]) != pinned, old


def test_a_host_without_jump_hosts_keeps_the_digest_that_run_files_pin():
    read = read_inventory({"inventory/h.yml": b"all: {hosts: {web1: {ansible_host: 192.0.2.7, ansible_user: ops}}}"})
    assert targets_digest(read, ["web1"]) == "7700f1315309962a3b6ae6518956a3ba0fe21634594a46c58ddbcf7450c3a36e"


@pytest.mark.parametrize(
    ("bastion", "jump", "says"),
    [
        ("{}", "[nowhere]", "'nowhere' is not in the inventory"),
        ("{}", "[inner]", "each host once"),
        ("{}", "[bastion, bastion]", "each host once"),
        ("{ansible_connection: local}", "[bastion]", "only SSH goes"),
        ("{gitmedic: {jump: [inner]}}", "[bastion]", "write the whole way"),
    ],
)
def test_a_way_that_leads_nowhere_is_refused(bastion, jump, says):
    text = f"all: {{hosts: {{bastion: {bastion}, inner: {{gitmedic: {{jump: {jump}}}}}}}}}"
    with pytest.raises(Invalid, match=says):
        read_inventory({"inventory/h.yml": text.encode()})
