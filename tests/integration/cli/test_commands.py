"""The commands as processes: before the first start, beside a running `up`, and where they must refuse."""

import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from receiver.domain.policyfile import read_policy
from tests.integration.cli.processes import Up, alive, environment, free_port, gitmedic, processes_of, wait_until
from tests.machine import quick_folder


@pytest.fixture
def place():
    """Where also root's PostgreSQL user may go."""
    folder = Path(tempfile.mkdtemp(prefix="gm-test-", dir=quick_folder()))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def running():
    """One `up` for the tests that only ask it things."""
    folder = Path(tempfile.mkdtemp(prefix="gm-test-", dir=quick_folder()))
    folder.chmod(0o755)
    _settings(folder / "d")
    with Up(folder / "d") as up:
        yield up.ready()
    shutil.rmtree(folder)


def _settings(data: Path) -> None:
    data.mkdir()
    (data / "gitmedic.toml").write_text("[[sources]]\nname = 'home'\nkind = 'webhook'\n")


def _json(done) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# --- before the first start


def test_init_makes_an_installation_and_a_second_one_goes_on(place):
    data, tree = place / "d", place / "tree"
    made = _json(gitmedic("init", str(tree), "--data-dir", str(data), "--json"))
    assert (tree / "policy.yml").is_file()
    assert (tree / "playbooks").is_dir()
    policy = read_policy((tree / "policy.yml").read_bytes())
    assert policy.solo == made["person"]
    head = subprocess.run(["git", "-C", tree, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert head.stdout.strip() == made["commit"]
    remotes = subprocess.run(["git", "-C", tree, "remote", "-v"], capture_output=True, text=True, check=True)
    assert f"gitmedic\t{data / 'ops.git'}" in remotes.stdout
    assert processes_of(data) == {}

    again = _json(gitmedic("init", str(place / "second"), "--data-dir", str(data), "--json"))
    assert again["commit"] == made["commit"]
    refused = gitmedic("init", str(tree), "--data-dir", str(data))
    assert refused.returncode == 5
    assert "something is there already" in refused.stderr
    assert "next: choose a new folder: gitmedic init DIR" in refused.stderr


def test_an_interrupted_init_goes_on_where_it_was(place):
    data = place / "d"
    for attempt in range(6):
        process = subprocess.Popen(
            [sys.executable, "-m", "receiver", "init", str(place / f"tree{attempt}"), "--data-dir", str(data)],
            env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(0.4 + attempt * 0.3)
        process.send_signal(signal.SIGKILL if attempt % 2 else signal.SIGINT)
        process.wait(30)
        wait_until(lambda: not processes_of(data), 10, "the end of what it started")
    made = _json(gitmedic("init", str(place / "tree"), "--data-dir", str(data), "--json"))
    assert (place / "tree" / "policy.yml").is_file()
    assert len(made["commit"]) == 40


def test_a_token_before_the_first_start_lets_in_afterwards(place):
    data = place / "d"
    _settings(data)
    with ThreadPoolExecutor(3) as pool:
        made = list(
            pool.map(
                lambda scope: _json(
                    gitmedic("token", "create", "--scope", scope, "--json", "--data-dir", str(data), timeout=120)
                ),
                ("read", "alerts:write", "admin"),
            )
        )
    assert len({one["token"] for one in made}) == 3
    assert processes_of(data) == {}
    with Up(data) as up:
        up.ready()
        for one, status in zip(made, (403, 200, 200), strict=True):
            assert _post(up.port, one["token"], b'{"version":"4","alerts":[]}') == status
        assert _post(up.port, "gm_wrong", b"{}") == 401
        assert up.end(signal.SIGTERM) == 143


def _post(port: int, token: str, body: bytes) -> int:
    import httpx

    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    return httpx.post(
        f"http://127.0.0.1:{port}/alertmanager/home", content=body, headers=headers, trust_env=False, timeout=30
    ).status_code


# --- up


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_up_in_an_empty_directory_is_ready_and_ends_cleanly(place, number, code):
    with Up(place / "d") as up:
        up.ready()
        assert "made a new ops repository" in up.words
        assert up.end(number) == code
        assert processes_of(place / "d") == {}


def test_a_second_up_is_refused(running):
    second = gitmedic("up", "--data-dir", str(running.data_dir), "--listen", f"127.0.0.1:{free_port()}")
    assert second.returncode == 7
    assert f"process {running.process.pid} owns it already" in second.stderr
    assert running.process.poll() is None


@pytest.mark.parametrize("command", ["up", "serve"])
def test_a_port_in_use_is_a_setting_that_cannot_be_used(place, command):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        refused = gitmedic(command, "--data-dir", str(place / "d"), "--listen", listen)
    assert refused.returncode == 3
    assert f"listening on '{listen}': Address already in use" in refused.stderr
    assert "next: " in refused.stderr


@pytest.mark.parametrize("name", ["serve", "plan", "execute", "postgres"])
def test_what_is_killed_under_up_comes_back_and_stores_alerts_again(running, name):
    before = running.pids()[name]
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: running.pids()[name] != before and alive(running.pids()[name]), what=f"a new {name}")
    wait_until(lambda: _ready(running.port), 40, "ready again")
    assert running.process.poll() is None


def _ready(port: int) -> bool:
    import httpx

    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_an_up_that_is_killed_takes_everything_with_it(place):
    with Up(place / "d") as up:
        up.ready().process.kill()
        up.process.wait()
        wait_until(lambda: not processes_of(place / "d"), 20, "the end of its children")


@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0])
def test_ctrl_c_during_the_start(place, seconds):
    with Up(place / "d") as up:
        time.sleep(seconds)
        ended = up.end(signal.SIGINT)
        # 1: Python itself was still starting, nothing of ours had begun
        assert ended in (130, -signal.SIGINT) or (ended == 1 and not (place / "d").exists())
        assert processes_of(place / "d") == {}
    with Up(place / "d") as again:
        again.ready()


@pytest.mark.parametrize("command", ["up", "serve", "work", "doctor", "config check", "case list"])
def test_a_wrong_setting_is_exit_code_3_and_names_the_next_command(place, command):
    (place / "gitmedic.toml").write_text("[web]\nlisten = 8090\n")
    refused = gitmedic(*command.split(), "--data-dir", str(place))
    assert refused.returncode == 3
    assert f"{place / 'gitmedic.toml'}: web.listen is 8090" in refused.stderr
    assert "next: gitmedic config check" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_data_directory_that_cannot_be_written_is_refused():
    refused = gitmedic("up", "--data-dir", "/proc/gitmedic", "--listen", f"127.0.0.1:{free_port()}")
    assert refused.returncode == 3
    assert "preparing the data directory /proc/gitmedic" in refused.stderr
    assert "next: " in refused.stderr


def test_a_read_only_data_directory_is_refused(place):
    folder = Path("/proc/sys")  # where root may not write either
    if os.geteuid() != 0:
        folder = place / "d"
        folder.mkdir(mode=0o500)
    refused = gitmedic("up", "--data-dir", str(folder), "--listen", f"127.0.0.1:{free_port()}")
    assert refused.returncode == 3
    assert f"preparing the data directory {folder}" in refused.stderr
    assert "Traceback" not in refused.stderr


# --- beside a running up


def test_lists_are_items_and_next(running):
    for command in ("case list", "token list", "catalog list", "lock"):
        data = _json(gitmedic(*command.split(), "--json", "--data-dir", str(running.data_dir)))
        assert isinstance(data["items"], list), command
        assert data["next"] is None


def test_a_token_beside_a_running_server_lets_in_at_once_and_not_after_it_is_revoked(running):
    arguments = ("--data-dir", str(running.data_dir), "--json")
    made = _json(gitmedic("token", "create", "--scope", "alerts:write", "--source", "home", *arguments))
    assert _post(running.port, made["token"], b'{"version":"4","alerts":[]}') == 200
    _json(gitmedic("token", "revoke", made["name"], *arguments))
    assert _post(running.port, made["token"], b'{"version":"4","alerts":[]}') == 401


def test_a_test_alert_becomes_a_case_with_a_reason(running):
    where = ("--data-dir", str(running.data_dir))
    told = gitmedic("alert", "test", "-l", "host=web1", "--listen", f"127.0.0.1:{running.port}", "--json", *where)
    assert _json(told)["status"] == 200

    def closed() -> dict:
        items = _json(gitmedic("case", "list", "--json", *where))["items"]
        return next((item for item in items if item["alertname"] == "GitmedicTest" and item["outcome"]), {})

    case = wait_until(closed, 60, "the end of the case")
    shown = _json(gitmedic("case", "show", str(case["number"]), "--json", *where))
    assert shown["id"] == case["id"]
    assert shown["why"]
    watched = gitmedic("case", "watch", case["id"], "--json", *where)
    kinds = [json.loads(row)["kind"] for row in watched.stdout.splitlines()]
    assert kinds[-1] == "case.closed"
    assert gitmedic("case", "show", "nothing", *where).returncode == 2


def test_locks_by_hand(running):
    where = ("--data-dir", str(running.data_dir))
    assert gitmedic("lock", "web1", "--reason", "disk swap", *where).returncode == 0
    taken = gitmedic("lock", "web1", *where)
    assert taken.returncode == 7
    assert "disk swap" in taken.stderr
    assert gitmedic("unlock", "web1", *where).returncode == 0
    assert gitmedic("unlock", "web1", *where).returncode == 2


def test_pause_and_resume(running):
    where = ("--data-dir", str(running.data_dir), "--json")
    assert "holidays" in _json(gitmedic("pause", "--reason", "holidays", *where))["paused"]
    assert _json(gitmedic("resume", *where))["paused"] is None


def test_the_revision_in_force_and_nothing_to_adopt(running):
    where = ("--data-dir", str(running.data_dir))
    shown = _json(gitmedic("revision", "show", "--json", *where))
    assert shown["adopted"] == shown["tip"]
    assert shown["pending"] == []
    assert gitmedic("revision", "diff", *where).returncode == 0


def test_deciding_needs_a_terminal(running):
    where = ("--data-dir", str(running.data_dir))
    for command in ("approve", "reject"):
        refused = gitmedic(command, "1", *where)
        assert refused.returncode == 2
        assert "this is none" in refused.stderr
    code, said = _at_terminal("approve", "999999", *where)
    assert code == 2, said
    assert "999999" in said


def _at_terminal(*arguments: str, answer: str = "") -> tuple[int, str]:
    """A command whose standard input, output and error are a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "receiver", *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment()
    )
    os.close(theirs)
    said: list[bytes] = []

    def read() -> None:
        try:
            while part := os.read(ours, 4096):
                said.append(part)
        except OSError:
            return

    reader = threading.Thread(target=read)
    reader.start()
    if answer:
        os.write(ours, answer.encode())
    code = process.wait(60)
    reader.join(10)
    os.close(ours)
    return code, b"".join(said).decode()


def test_dispatch_of_an_unknown_playbook_names_the_list(running):
    refused = gitmedic("dispatch", "no_such", "--data-dir", str(running.data_dir))
    assert refused.returncode == 2
    assert "next: gitmedic catalog list" in refused.stderr


def test_a_link_signs_in_once(running):
    import httpx

    made = _json(gitmedic("link", "--data-dir", str(running.data_dir), "--json"))
    url = made["url"].replace("127.0.0.1:8090", f"127.0.0.1:{running.port}")
    with httpx.Client(trust_env=False, timeout=30) as client:
        assert client.get(url).status_code < 400


def test_doctor_names_what_to_do(running):
    told = gitmedic(
        "doctor",
        "--json",
        "--data-dir",
        str(running.data_dir),
        env=environment(GITMEDIC_LISTEN=f"127.0.0.1:{running.port}"),
    )
    data = json.loads(told.stdout)
    rows = {row["what"]: row for row in data["items"]}
    for what in ("database", "migrations", "server", "data directory", "revision", "git", "ansible-core"):
        assert rows[what]["status"] == "ok", rows[what]
    assert all(row["fix"] for row in data["items"] if row["status"] != "ok")
    assert told.returncode == (0 if data["healthy"] else 1)


def test_doctor_on_nothing_is_red_and_says_init(place):
    told = gitmedic("doctor", "--data-dir", str(place / "none"))
    assert told.returncode == 1
    assert "gitmedic init DIR" in told.stdout
    assert not (place / "none").exists()


# --- talk and data


def test_help_is_quick_and_needs_nothing():
    began = time.process_time()
    seconds = []
    for _ in range(3):
        began = time.monotonic()
        assert gitmedic("--help", env=environment(HOME="/nonexistent")).returncode == 0
        seconds.append(time.monotonic() - began)
    loaded = os.getloadavg()[0] / (os.cpu_count() or 1)
    assert min(seconds) < 0.5 * max(1.0, loaded), seconds


def test_a_closed_pipe_is_no_traceback(running):
    shell = f"{sys.executable} -m receiver config show --data-dir {running.data_dir} | head -1"
    told = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, env=environment(), check=False)
    assert "Traceback" not in told.stderr


def test_ctrl_c_in_a_command_is_130(running):
    process = subprocess.Popen(
        [sys.executable, "-m", "receiver", "work", "--role", "plan", "--name", "second",
         "--data-dir", str(running.data_dir)],
        env=environment(), stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode in (0, 130)
    assert "Traceback" not in said
