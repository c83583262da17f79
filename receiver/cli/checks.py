"""The checks of `gitmedic doctor`, one function each: settings in, rows out.

To add one, write it and add it to `CHECKS`. None of them changes anything.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import stat
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from receiver.cli.doctor import Row
from receiver.config import Settings, problems
from receiver.errors import Refused, Unavailable

_LITTLE_BYTES, _TOO_LITTLE_BYTES = 2 << 30, 200 << 20
_SKEW_SECONDS = 5.0
_GIT = (2, 34)


async def programs(settings: Settings) -> list[Row]:
    """Python, ansible-core and git, in versions that work."""
    from importlib.metadata import version

    rows = [Row("ok", "python", ".".join(map(str, sys.version_info[:3])))]
    rows.append(Row("ok", "ansible-core", version("ansible-core")))
    if shutil.which("git") is None:
        return [*rows, Row("bad", "git", "not installed", "install git, 2.34 or newer")]
    process = await asyncio.create_subprocess_exec("git", "--version", stdout=asyncio.subprocess.PIPE)
    said = (await process.communicate())[0].decode().strip().removeprefix("git version ")
    numbers = tuple(int(part) for part in said.split(".")[:2] if part.isdigit())
    fits = numbers >= _GIT
    return [*rows, Row("ok" if fits else "bad", "git", said, "" if fits else "install git 2.34 or newer")]


async def sandbox(settings: Settings) -> list[Row]:
    """The strongest rung of isolation that works here."""
    if not settings.data_dir.is_dir():
        return []
    from receiver.adapters.runner.ansible import AnsibleRunner

    works, why = await AnsibleRunner(settings.runner, data_dir=settings.data_dir).probed()
    if works:
        return [Row("ok", "isolation", "bwrap")]
    fix = "install bubblewrap, or allow `none` for a site in policy.yml: isolation.none_allowed"
    return [Row("bad", "isolation", f"none: {why}", fix)]


async def files(settings: Settings) -> list[Row]:
    """The data directory, its mode, its secrets, and room on its disk."""
    folder = settings.data_dir
    if not folder.is_dir():
        return [Row("bad", "data directory", f"{folder}: there is none", "gitmedic init DIR")]
    mode = stat.S_IMODE(folder.stat().st_mode)
    is_open = bool(mode & 0o066)
    rows = [
        Row(
            "bad" if is_open else "ok",
            "data directory",
            f"{folder} (mode {mode:04o})",
            f"chmod go-rw {folder}" if is_open else "",
        )
    ]
    rows += [Row("bad", "secrets", error.message, error.next_step) for error in _open_secrets(settings)]
    free = shutil.disk_usage(folder).free
    status = "ok" if free > _LITTLE_BYTES else "warn" if free > _TOO_LITTLE_BYTES else "bad"
    fix = "" if status == "ok" else "free some space: without it alerts are answered 503"
    return [*rows, Row(status, "free disk", f"{free >> 20} MiB", fix)]  # type: ignore[arg-type]


async def database(settings: Settings) -> list[Row]:
    """It answers, it has every migration, and its clock is ours."""
    import psycopg

    from receiver.adapters.store.embedded import dsn_of
    from receiver.adapters.store.migrate import migrations

    dsn = settings.database.url.get_secret_value() or dsn_of(settings.data_dir)
    try:
        async with await psycopg.AsyncConnection.connect(dsn, connect_timeout=3) as connection:
            row = await (await connection.execute("SELECT version(), now()")).fetchone()
            known = await (await connection.execute("SELECT to_regclass('schema_migrations')")).fetchone()
            applied: set[str] = set()
            if known and known[0]:
                names = await (await connection.execute("SELECT name FROM schema_migrations")).fetchall()
                applied = {name for (name,) in names}
    except psycopg.OperationalError as error:
        said = str(error).strip().split("\n")[0]
        return [Row("bad", "database", said, "gitmedic up" if settings.embedded else "see [database] url")]
    version, now = row or ("unknown", datetime.now(UTC))
    missing = sorted(set(migrations()) - applied)
    skew = abs((datetime.now(UTC) - now).total_seconds())
    return [
        Row("ok", "database", str(version).split(" on ")[0]),
        Row(
            "bad" if missing else "ok",
            "migrations",
            f"missing: {', '.join(missing)}" if missing else f"{len(applied)} applied",
            "gitmedic up" if missing else "",
        ),
        _clock("database", skew),
    ]


async def server(settings: Settings) -> list[Row]:
    """The server answers, and would store an alert."""
    import httpx

    url = f"{settings.web.local_url}/readyz"
    try:
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            answer = await client.get(url)
    except httpx.HTTPError as error:
        return [Row("bad", "server", f"{url}: {error or type(error).__name__}", "gitmedic up")]
    if answer.status_code == 200:
        return [Row("ok", "server", f"ready on {settings.web.listen}")]
    return [Row("bad", "server", f"{url}: {answer.status_code} {answer.text[:200]}", "see the log of gitmedic up")]


async def revision(settings: Settings) -> list[Row]:
    """What is in force, what is not yet, and what the catalog leaves out."""
    from receiver.cli.open import office

    async with office() as opened:
        adopted = await opened.repo.adopted()
        pending = await opened.repo.pending(adopted)
        content = await opened.repo.revision(adopted)
    rows = [Row("ok", "revision", f"{adopted[:12]}, {len(content.catalog.playbooks)} playbooks")]
    if pending:
        rows.append(Row("warn", "revision", f"{len(pending)} commits not adopted", "gitmedic revision diff"))
    rows += [
        Row("bad", "catalog", problem, "gitmedic catalog lint DIR, with your work tree")
        for problem in content.catalog.problems
    ]
    if not content.policy.people:
        rows.append(Row("bad", "people", "policy.yml names nobody, so nothing can be approved", "add `people`"))
    return [*rows, *_modes(settings, content.policy)]


async def sources(settings: Settings) -> list[Row]:
    """Each source answers, keeps our time, and says by its jobs who speaks for whom (rule S3)."""
    from receiver.adapters.proof.client import PrometheusClient

    rows: list[Row] = []
    for source in settings.sources:
        name = f"source {source.name}"
        if source.kind != "prometheus":
            rows.append(Row("ok", name, f"kind {source.kind}: no API is asked"))
            continue
        client = PrometheusClient(source)
        try:
            groups = await client.rules()
            jobs = {row.labels.get("job", "") for row in await client.instant("count by (job) (up)")} - {""}
            clock = await client.instant("vector(time())")
        except Unavailable as error:
            rows.append(Row("bad", name, error.message, f"correct its url in {settings.file}"))
            continue
        finally:
            await client.aclose()
        rows.append(Row("ok", name, f"{len(groups)} groups of rules, {len(jobs)} jobs"))
        rows.append(_clock(name, abs(time.time() - clock[0].value)))
        rows += _jobs(name, jobs, source.jobs)
    return rows


#: what a job's name says about whom it may speak for; the first that matches
_SPEAKS = (
    (re.compile(r"push|federat", re.IGNORECASE), None),
    (re.compile(r"blackbox|probe|snmp|ping|icmp|http", re.IGNORECASE), "any"),
    (re.compile(r"cadvisor|docker|pve|proxmox|libvirt|podman|kube", re.IGNORECASE), "guests"),
    (re.compile(r"node|windows|smart|zfs|systemd", re.IGNORECASE), "self"),
)


def proposed_jobs(jobs: Iterable[str]) -> dict[str, str]:
    """A first list for `jobs`; what only repeats others' words (push, federation) is never in it."""
    found: dict[str, str] = {}
    for job in sorted(jobs):
        word = next((word for pattern, word in _SPEAKS if pattern.search(job)), None)
        if word is not None:
            found[job] = word
    return found


def _jobs(name: str, jobs: set[str], known: Mapping[str, str]) -> list[Row]:
    fresh = {job: word for job, word in proposed_jobs(jobs).items() if job not in known}
    if known and not fresh:
        return [Row("ok", f"{name}: jobs", ", ".join(f"{job}={word}" for job, word in known.items()))]
    if not fresh:
        return [Row("warn", f"{name}: jobs", "none is listed, so no alert is confirmed", "set `jobs` of it")]
    listed = ", ".join(f'"{job}" = "{word}"' for job, word in (dict(known) | fresh).items())
    # a job counts only while its scrape config does not take labels from others
    fix = f"jobs = {{ {listed} }}, without those that have honor_labels"
    return [Row("warn", f"{name}: jobs", f"not listed: {', '.join(fresh)}", fix)]


def _clock(name: str, skew: float) -> Row:
    is_far = skew > _SKEW_SECONDS
    fix = "let both keep time by NTP" if is_far else ""
    return Row("bad" if is_far else "ok", f"{name}: clock", f"{skew:.1f} s from ours", fix)


def _modes(settings: Settings, policy: Any) -> list[Row]:
    return [
        Row("ok", f"source {name}", f"mode {policy.mode_of(name)}")
        for name in (source.name for source in settings.sources)
    ]


def _open_secrets(settings: Settings) -> list[Refused]:
    from receiver.config import check_secret
    from receiver.errors import Invalid

    found = problems(settings)
    for name in ("postgres.password",):
        if (settings.data_dir / name).exists():
            try:
                check_secret(settings.data_dir / name, what="the database password")
            except Invalid as error:
                found.append(error)
    return found


Check = Callable[[Settings], Awaitable[list[Row]]]
CHECKS: tuple[tuple[str, Check], ...] = (
    ("programs", programs),
    ("isolation", sandbox),
    ("data directory", files),
    ("database", database),
    ("server", server),
    ("sources", sources),
    ("revision", revision),
)
