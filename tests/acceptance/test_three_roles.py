"""Server, planner and executor as three processes, each under its own database role with its own password.

One alert goes through all of them, from the webhook to a verified fix, and none asks for more than its role may do.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from receiver.adapters.proof.probe import ProbeProof, send_alerts
from receiver.adapters.repo.creation import create_ops_repository
from receiver.adapters.store import narrow
from receiver.adapters.store.embedded import EmbeddedPostgres
from receiver.config import Settings, load
from receiver.demo import cards, files
from receiver.domain.case import Closed, Proposed
from receiver.domain.outcome import Outcome
from receiver.errors import Retry
from receiver.office import Office, SystemClock, open_office
from receiver.starter import adopt, instance_id, os_user, prepare
from tests.integration.cli.processes import environment, gitmedic
from tests.machine import free_port

#: each process, its role, and where it is started
SERVE, PLAN, EXECUTE = ("serve",), ("work", "--role", "plan"), ("work", "--role", "execute")
ROLES = dict(zip((SERVE, PLAN, EXECUTE), narrow.NAMES, strict=True))
RULE = """[[sources]]
name = "demo"
kind = "probe"
url = "http://127.0.0.1:{port}/metrics"
interval_seconds = 1
[[sources.rules]]
alert = "DemoCacheFull"
expr = "demo_cache_bytes > 20000000"
for_seconds = 1
labels = {{ severity = "warning" }}
"""


class Place:
    """A directory with what breaks, a database, and a settings file for the owner and for each process."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.elsewhere = folder, folder / "home", folder / "executor"
        for name in ("cache", "web", "queue", "passwords"):
            (folder / name).mkdir()
        for data in (self.home, self.elsewhere):
            data.mkdir(mode=0o700)
        self.postgres = EmbeddedPostgres(folder / "postgres")
        self.listen = f"127.0.0.1:{free_port()}"
        self.running: dict[tuple[str, ...], subprocess.Popen[bytes]] = {}

    def write(self, name: str, user: str, password: str, *, exporter: int = 0) -> Path:
        """The settings of one process: who it is at the database, and nothing of the others."""
        said = conninfo_to_dict(self.postgres.dsn())
        asked = urlencode({"host": said["host"]})
        url = f"postgresql://{user}:{quote(password, safe='')}@/{said['dbname']}?{asked}"
        text = f"demo = true\ndatabase.url = {url!r}\nweb.listen = '{self.listen}'\nworker.poll_seconds = 0.1\n"
        if name == "execute":
            text = f"database.url = {url!r}\nrepo.url = 'file://{self.home}/ops.git'\n"
        file = self.folder / f"{name}.toml"
        file.write_text(text + (RULE.format(port=exporter) if exporter else ""))
        file.chmod(0o600)
        return file

    def options(self, words: tuple[str, ...]) -> list[str]:
        data = self.elsewhere if words == EXECUTE else self.home
        return ["--data-dir", str(data), "--config", str(self.folder / f"{words[-1]}.toml")]

    def start(self, words: tuple[str, ...], strange: dict[str, str]) -> None:
        """As by hand: with secrets of others around it."""
        argv = [sys.executable, "-m", "receiver", *words, *self.options(words)]
        with (self.folder / f"{words[-1]}.log").open("ab") as out:
            self.running[words] = subprocess.Popen(
                argv, env=environment(**strange), stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    def log(self, words: tuple[str, ...]) -> str:
        return (self.folder / f"{words[-1]}.log").read_text()


@pytest.fixture
def place() -> Iterator[Place]:
    """Where also root's PostgreSQL user may go."""
    folder = Path(tempfile.mkdtemp(prefix="gm-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield Place(folder)
    shutil.rmtree(folder)


async def until(done, what: str, place: Place) -> None:
    async with asyncio.timeout(180):
        while not await done():
            for words, process in place.running.items():
                assert "permission denied" not in place.log(words), f"{what}: {words}: {place.log(words)}"
                assert process.poll() is None, f"{what}: {words} ended: {place.log(words)}"
            await asyncio.sleep(0.1)


async def exporting(place: Place, stack: contextlib.AsyncExitStack) -> int:
    """What is broken and mended, as a page of metrics."""
    port = place.folder / "port"
    argv = [sys.executable, "-m", "receiver.demo.exporter", str(place.folder), str(port)]
    exporter = stack.enter_context(subprocess.Popen(argv, env=environment()))
    stack.callback(exporter.terminate)

    async def written() -> bool:
        return port.exists()

    await until(written, "the exporter", place)
    return int(port.read_text())


async def made(place: Place, exporter: int) -> dict[str, str]:
    """The tables and the roles, by the database's owner; each role's password."""
    owner = conninfo_to_dict(place.postgres.dsn())
    config = place.write("owner", str(owner["user"]), str(owner["password"]), exporter=exporter)
    told = ("--data-dir", str(place.home), "--config", str(config))
    for words in (("upgrade",), ("db-roles", "--passwords", str(place.folder / "passwords"))):
        done = await asyncio.to_thread(gitmedic, *words, *told)
        assert done.returncode == 0, done.stderr
    settings = load(place.home, config, environment={})
    prepare(place.home)
    person = os_user()
    create_ops_repository(settings.repo.path, files.ops_files(place.folder, person), f"{person} <{person}@localhost>")
    await adopt(settings, place.postgres.dsn())
    return {name: (place.folder / "passwords" / f"{name}.password").read_text().strip() for name in narrow.NAMES}


@contextlib.asynccontextmanager
async def three_processes(place: Place) -> AsyncIterator[Settings]:
    """All three, at work; the server's settings."""
    async with contextlib.AsyncExitStack() as stack:
        await place.postgres.start()
        stack.push_async_callback(place.postgres.stop)
        exporter = await exporting(place, stack)
        passwords = await made(place, exporter)
        assert len(set(passwords.values())) == 3
        for words, role in ROLES.items():
            place.write(words[-1], role, passwords[role], exporter=0 if words == EXECUTE else exporter)
        for words, role in ROLES.items():
            others = [password for name, password in passwords.items() if name != role]
            place.start(words, {"PGPASSWORD": "canary-a", "SECRET": "canary-b", "NOTES": " ".join(others)})
            stack.callback(place.running[words].wait)
            stack.callback(place.running[words].kill)
        settings = load(place.home, place.folder / "serve.toml", environment={})
        async with httpx.AsyncClient(trust_env=False) as http:

            async def ready() -> bool:
                with contextlib.suppress(httpx.HTTPError):
                    return (await http.get(f"{settings.web.local_url}/readyz")).status_code == 200
                return False

            await until(ready, "the server", place)
        for words in (PLAN, EXECUTE):

            async def lives(words: tuple[str, ...] = words) -> bool:
                done = await asyncio.to_thread(gitmedic, *words, "--health", *place.options(words))
                return done.returncode == 0

            await until(lives, words[-1], place)
        yield settings


async def walked(office: Office, place: Place) -> Closed:
    """The only case at its end; a person approves it on its way, through the server's doors."""
    found: Closed | None = None
    approved = False

    async def over() -> bool:
        nonlocal found, approved
        with contextlib.suppress(Retry):
            page = await office.store.archive.cases(limit=1, cursor=None, filters={})
            case = await office.store.archive.stored(page.items[0]["id"]) if page.items else None
            found = case if isinstance(case, Closed) else None
            if isinstance(case, Proposed) and not approved:
                person = next(one for one in (await office.doors.policy()).people if os_user() in one.os)
                head = case.proposal.head_sha
                await office.doors.approve(case.id, head_sha=head, person=person, via="terminal")
                approved = True
        return found is not None

    await until(over, "the case", place)
    assert found is not None
    return found


async def examined(place: Place) -> None:
    """`gitmedic doctor` under each role says what it finds, and not that it may not look."""
    asked = [asyncio.to_thread(gitmedic, "doctor", "--json", *place.options(words), timeout=120) for words in ROLES]
    for words, done in zip(ROLES, await asyncio.gather(*asked), strict=True):
        rows = {row["what"]: row for row in json.loads(done.stdout)["items"]}
        assert rows["database"]["status"] == rows["migrations"]["status"] == "ok", (words, rows)
        assert sum(row.startswith("worker ") for row in rows) == 2, (words, rows)
        assert "revision" in rows and not [row for row in rows.values() if "ermission" in row["found"]], (words, rows)


@pytest.mark.anyio
async def test_from_the_webhook_to_a_verified_fix_under_three_roles(place: Place) -> None:
    async with three_processes(place) as settings, open_office(settings) as office:
        for words, process in place.running.items():
            known = Path(f"/proc/{process.pid}/environ").read_bytes()
            assert b"canary" not in known and b"NOTES" not in known and b"PATH=" in known, words
        told = ("--json", *place.options(SERVE))
        made = await asyncio.to_thread(
            gitmedic, "token", "create", "--scope", "alerts:write", "--source", "demo", *told
        )
        assert made.returncode == 0, made.stderr
        token = json.loads(made.stdout)["token"]
        hook = f"{settings.web.local_url}/alertmanager/demo"
        sender = asyncio.create_task(send_alerts(ProbeProof(settings.sources[0], SystemClock()), hook, token))
        try:
            cards.fill_cache(place.folder)
            closed = await walked(office, place)
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
        assert closed.outcome is Outcome.FIXED, (closed.why, place.log(PLAN), place.log(EXECUTE))
        with psycopg.connect(place.postgres.dsn()) as owner:
            began = owner.execute("SELECT DISTINCT mode, instance FROM attempts ORDER BY mode").fetchall()
            at_work = owner.execute(
                "SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = 'gitmedic'"
            ).fetchall()
        here = instance_id(place.elsewhere)
        assert began == [("check", here), ("run", here)]
        assert {name for (name,) in at_work} >= set(narrow.NAMES)
        async with httpx.AsyncClient(trust_env=False) as http:
            page = (await http.get(f"{settings.web.local_url}/metrics")).text
        assert page.count("gitmedic_worker_up{") == 2 and 'gitmedic_site_executors{site="demo"} 1.0' in page
        await examined(place)
        for words, process in place.running.items():
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 30) == 0, place.log(words)
            log = place.log(words)
            assert "permission denied" not in log and "broken" not in log and "Traceback" not in log, log
