"""Every shipped playbook against the real thing: dry runs change nothing, a run mends, a second changes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fix_sshd import SshHost
from tests.machine import required
from tests.playbooks.stage import CATALOG, ROOT, Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    required("bwrap")
    return Stage(tmp_path)


@pytest.mark.anyio
async def test_cache_prune(stage: Stage) -> None:
    cache = stage.place / "cache"
    cache.mkdir()
    (cache / "a").write_text("x")
    (cache / "kept").mkdir()
    stage.local({"cache.path": str(cache)}, writable=[str(cache)])
    check = await stage.run("demo_cache_prune", "check", path=str(cache))
    assert (check.status, check.changes) == ("successful", ("here: Delete them",)), check.why
    assert (cache / "a").exists()
    run = await stage.run("demo_cache_prune", path=str(cache))
    assert run.status == "successful" and [p.name for p in cache.iterdir()] == ["kept"]
    again = await stage.run("demo_cache_prune", path=str(cache))
    assert (again.status, again.changes) == ("successful", ())
    other = await stage.run("demo_cache_prune", path=str(stage.place))
    assert other.status == "failed" and "not this host's cache" in other.why


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "service"
    (place / "web").mkdir(parents=True)
    process = subprocess.Popen([sys.executable, "-m", "receiver.demo.service", str(place)])
    end = time.monotonic() + 20
    while not (place / "web" / "control.sock").exists() and time.monotonic() < end:
        time.sleep(0.05)
    yield place / "web"
    process.terminate()
    process.wait()


@pytest.mark.anyio
async def test_web_restart(stage: Stage, service: Path) -> None:
    control = str(service / "control.sock")
    stage.local({"web.control": control}, sockets=[control])
    healthy = await stage.run("demo_web_restart", control=control)
    assert (healthy.status, healthy.changes) == ("successful", ()), healthy.why
    before = int((service / "web.pid").read_text())
    os.kill(before, 9)
    check = await stage.run("demo_web_restart", "check", control=control)
    assert check.status == "successful" and check.not_previewable == ("here: Restart the service",), check
    assert int((service / "web.pid").read_text()) == before
    run = await stage.run("demo_web_restart", control=control)
    assert (run.status, run.changes) == ("successful", ("here: Restart the service",)), run.why
    assert int((service / "web.pid").read_text()) != before


@pytest.mark.anyio
async def test_wrong_fix(stage: Stage) -> None:
    queue = stage.place / "queue"
    queue.mkdir()
    stage.local({"queue.path": str(queue)}, writable=[str(queue)])
    check = await stage.run("demo_wrong_fix", "check", path=str(queue))
    assert check.status == "successful" and "+looked at" in check.diff and list(queue.iterdir()) == []
    assert (await stage.run("demo_wrong_fix", path=str(queue))).changes
    assert (await stage.run("demo_wrong_fix", path=str(queue))).changes == ()


@pytest.mark.anyio
async def test_path_cleanup_over_ssh(stage: Stage, ssh_hosts: Callable[[str, str], SshHost]) -> None:
    key = stage.place / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "t", "-f", str(key)], check=True)
    host = ssh_hosts("remote", key.with_suffix(".pub").read_text())
    stage.keys = {"ssh": key}
    (stage.place / "data" / "known_hosts").write_text(host.known_line + "\n")
    folder = host.home / "old"
    folder.mkdir()
    for name, days in (("old", 40), ("new", 0)):
        (folder / name).write_text("x")
        os.utime(folder / name, (time.time() - days * 86400,) * 2)
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "61101", str(folder)], check=True)
    stage.hosts["remote"] = {
        "ansible_host": "127.0.0.1", "ansible_port": host.port, "ansible_user": host.user,
        "ansible_python_interpreter": "/usr/bin/python3", "gitmedic_facts": {"cleanup.path": [str(folder)]},
    }  # fmt: skip
    params = {"path": str(folder), "older_than": "30d"}
    check = await stage.run("host_path_cleanup", "check", "remote", **params)
    assert (check.status, check.changes) == ("successful", ("remote: Delete them",)), check.why
    assert {p.name for p in folder.iterdir()} == {"old", "new"}
    assert (await stage.run("host_path_cleanup", "run", "remote", **params)).status == "successful"
    assert {p.name for p in folder.iterdir()} == {"new"}
    assert (await stage.run("host_path_cleanup", "run", "remote", **params)).changes == ()
    other = await stage.run("host_path_cleanup", "run", "remote", path="/etc", older_than="30d")
    assert other.status == "failed" and "not among" in other.why


def test_every_playbook_has_a_test_here() -> None:
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [id for id in CATALOG if f'"{id}"' not in text] == []


def test_alertmanager_example() -> None:
    done = subprocess.run(
        [required("amtool"), "check-config", str(ROOT / "alertmanager.example.yml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "SUCCESS" in done.stdout, done.stderr
