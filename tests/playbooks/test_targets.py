"""Playbooks of each kind of target against a real one: dry run, run, run again, a missing name, gone half-way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.domain.collection import Collections
from receiver.errors import Refused
from tests.machine import required
from tests.playbooks.stage import Stage
from tests.targets.docker import Docker, dockerd
from tests.targets.frr import Routers
from tests.targets.network import Net, network
from tests.targets.ssh import make_key, start_sshd

UNITS = {"web.service": "/bin/sleep infinity"}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    required("bwrap")
    with network(Path(f"/var/tmp/{tmp_path_factory.mktemp('net').name}-{id(tmp_path_factory)}")) as made:
        yield made


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    with dockerd() as made:
        yield made


@pytest.fixture
def stage(tmp_path: Path, net: Net) -> Iterator[Stage]:
    made = Stage(tmp_path)
    made.keys = {"ssh": make_key(net.base)[0]}
    with net.entered():
        yield made


@pytest.mark.anyio
async def test_service_restart(stage: Stage, net: Net, docker: Docker) -> None:
    host = docker.add_machine(net, "sd1", make_key(net.base)[1], UNITS)
    stage.trust(host.known_line)
    facts = {"service": ["web.service", "gone.service"]}
    stage.hosts["sd1"] = host.variables(gitmedic_facts=facts)

    def first_process() -> str:
        return docker.docker("exec", "sd1", "systemctl", "show", "-p", "MainPID", "web.service").stdout.decode()

    docker.docker("exec", "sd1", "systemctl", "stop", "web.service")
    check = await stage.run("host_service_restart", "check", "sd1", service="web.service")
    assert (check.status, check.changes) == ("successful", ("sd1: Restart the unit",)), check.why
    assert first_process() == "MainPID=0\n"
    run = await stage.run("host_service_restart", "run", "sd1", service="web.service")
    assert (run.status, run.changes) == ("successful", ("sd1: Restart the unit",)), run.why
    before = first_process()
    again = await stage.run("host_service_restart", "run", "sd1", service="web.service")
    assert again.status == "successful" and first_process() not in (before, "MainPID=0\n"), again.why
    missing = await stage.run("host_service_restart", "run", "sd1", service="gone.service")
    assert missing.status == "failed" and "knows no such unit" in missing.why
    other = await stage.run("host_service_restart", "run", "sd1", service="ssh.service")
    assert other.status == "failed" and "not among this host's services" in other.why


@pytest.mark.anyio
async def test_container_restart(stage: Stage, docker: Docker) -> None:
    if not docker.docker("ps", "-aqf", "name=web", check=False).stdout:
        docker.add_container("web", "--health-cmd", "test ! -e /tmp/sick", "--health-interval", "1s")
    socket = str(docker.socket)
    stage.hosts["box"] = {
        "ansible_connection": "local", "gitmedic_facts": {"container": ["web", "gone"], "docker.socket": socket},
        "gitmedic": {"local": {"sockets": [socket]}},
    }  # fmt: skip
    before = docker.inspect("web")
    docker.docker("kill", "web")
    check = await stage.run("docker_container_restart", "check", "box", container="web")
    assert (check.status, check.changes) == ("successful", ("box: Restart the container as it is",)), check.why
    assert not docker.inspect("web")["State"]["Running"]
    run = await stage.run("docker_container_restart", "run", "box", container="web")
    assert (run.status, run.changes) == ("successful", ("box: Restart the container as it is",)), run.why
    after = docker.inspect("web")
    assert after["Id"] == before["Id"] and after["State"]["Health"]["Status"] == "healthy"
    again = await stage.run("docker_container_restart", "run", "box", container="web")
    assert again.status == "successful", again.why
    assert docker.inspect("web")["State"]["StartedAt"] != after["State"]["StartedAt"]
    missing = await stage.run("docker_container_restart", "run", "box", container="gone")
    assert missing.status == "failed" and "knows no such container" in missing.why
    other = await stage.run("docker_container_restart", "run", "box", container="sd1")
    assert other.status == "failed" and "not among this host's containers" in other.why


@pytest.mark.anyio
async def test_bgp_session_clear(stage: Stage, net: Net) -> None:
    for program in ("zebra", "bgpd", "vtysh"):
        required(program)
    routers = Routers(net, make_key(net.base)[1])
    stage.trust(routers.target.known_line)
    stage.hosts["r1"] = routers.target.variables(gitmedic_facts={"peer": [routers.peer, "192.0.2.77"]})
    peer = routers.peer
    fine = await stage.run("network_bgp_session_clear", "run", "r1", peer=peer)
    assert (fine.status, fine.changes) == ("successful", ()), fine.why
    routers.break_session()
    check = await stage.run("network_bgp_session_clear", "check", "r1", peer=peer)
    assert check.status == "successful" and check.not_previewable == ("r1: Clear the session",), check
    assert routers.state() != "Established"
    run = await stage.run("network_bgp_session_clear", "run", "r1", peer=peer)
    assert (run.status, run.changes) == ("successful", ("r1: Clear the session",)), run.why
    assert routers.state() == "Established"
    assert (await stage.run("network_bgp_session_clear", "run", "r1", peer=peer)).changes == ()
    missing = await stage.run("network_bgp_session_clear", "run", "r1", peer="192.0.2.77")
    assert missing.status == "failed" and "knows no such peer" in missing.why
    routers.say("here", "configure terminal", "router bgp 65001", f"neighbor {peer} shutdown")
    purpose = await stage.run("network_bgp_session_clear", "run", "r1", peer=peer)
    assert purpose.status == "failed" and "on purpose" in purpose.why


@pytest.mark.anyio
async def test_a_host_that_goes_away_half_way(stage: Stage, net: Net) -> None:
    host = start_sshd(net, "far", make_key(net.base)[1])
    stage.trust(host.known_line)
    folder = host.home / "old"
    folder.mkdir()
    stage.hosts["far"] = host.variables(gitmedic_facts={"cleanup.path": [str(folder)]})

    async def pull_the_plug() -> None:
        while not any(event.task == "Find old files" for event in stage.events):
            await asyncio.sleep(0.01)
        net.link("far", "down")

    plug = asyncio.create_task(pull_the_plug())
    run = await stage.run("host_path_cleanup", "run", "far", path=str(folder), older_than="7d")
    await plug
    assert run.status == "failed" and run.stats["far"].unreachable == 1, run
    assert [event.kind for event in stage.events if event.kind == "unreachable"] == ["unreachable"]
    net.link("far", "up")
    assert (
        await stage.run("host_path_cleanup", "run", "far", path=str(folder), older_than="7d")
    ).status == "successful"


@pytest.mark.anyio
async def test_a_collection_that_nobody_pinned_is_not_loaded(stage: Stage) -> None:
    stage.lock = Collections()
    stage.hosts["box"] = {"ansible_connection": "local"}
    with pytest.raises(Refused, match=r"'community\.docker' is not in collections\.lock"):
        await stage.run("docker_container_restart", "check", "box", container="web")
