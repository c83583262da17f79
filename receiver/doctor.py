"""What works on this machine, what does not, and how to mend it: one function per check, settings in, findings out.

Decides what is red (something will not work), yellow (it works, and will not for long) and green. Each check stands
alone: one that breaks is a red row of its own and hides no other. To add one, write it and add it to `CHECKS`. None
of them changes anything.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import ssl
import stat
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Literal

import httpx
import psycopg

from receiver.adapters.embedder.openai import OpenAIEmbedder
from receiver.adapters.proof.client import PrometheusClient
from receiver.adapters.repo.git import OpsRepository
from receiver.adapters.runner.ansible import AnsibleRunner
from receiver.adapters.runner.collections import compared, installed_in
from receiver.adapters.store.heartbeat import Heartbeats
from receiver.adapters.store.migrate import migrations
from receiver.adapters.store.pool import open_pool
from receiver.adapters.store.resolutions import PostgresResolutions
from receiver.adapters.store.sites import PostgresSites
from receiver.attendance import COMMAND
from receiver.config import Settings, check_secret, problems
from receiver.domain.collection import Collections
from receiver.domain.finding import Finding
from receiver.errors import GitmedicError, Invalid, Refused, Unavailable
from receiver.starter import dsn_for

_LITTLE_BYTES, _TOO_LITTLE_BYTES = 2 << 30, 200 << 20
_SKEW_SECONDS = 5.0
_GIT = (2, 34)


async def programs(settings: Settings) -> list[Finding]:
    """Python, ansible-core and git, in versions that work."""

    rows = [_row("ok", "python", ".".join(map(str, sys.version_info[:3])))]
    rows.append(_row("ok", "ansible-core", version("ansible-core")))
    if shutil.which("git") is None:
        return [*rows, _row("bad", "git", "not installed", "install git, 2.34 or newer")]
    process = await asyncio.create_subprocess_exec("git", "--version", stdout=asyncio.subprocess.PIPE)
    said = (await process.communicate())[0].decode().strip().removeprefix("git version ")
    numbers = tuple(int(part) for part in said.split(".")[:2] if part.isdigit())
    fits = numbers >= _GIT
    return [*rows, _row("ok" if fits else "bad", "git", said, "" if fits else "install git 2.34 or newer")]


async def sandbox(settings: Settings) -> list[Finding]:
    """The strongest rung of isolation that works here, why no stronger one, and what it does not stop."""
    if not settings.data_dir.is_dir():
        return []

    found = await AnsibleRunner(settings.runner, data_dir=settings.data_dir).probed()
    if found.rung != "none":
        return [_row("ok", "isolation", found.words)]
    fix = "docs/howto/isolation.md; or allow `none` for a site: isolation.none_allowed in policy.yml"
    return [_row("bad", "isolation", found.words, fix)]


async def files(settings: Settings) -> list[Finding]:
    """The data directory, its mode, its secrets, and room on its disk."""
    folder = settings.data_dir
    if not folder.is_dir():
        return [_row("bad", "data directory", f"{folder}: there is none", "gitmedic init DIR")]
    mode = stat.S_IMODE(folder.stat().st_mode)
    is_open = bool(mode & 0o066)
    rows = [
        _row(
            "bad" if is_open else "ok",
            "data directory",
            f"{folder} (mode {mode:04o})",
            f"chmod go-rw {folder}" if is_open else "",
        )
    ]
    rows += [_row("bad", "secrets", error.message, error.next_step) for error in _open_secrets(settings)]
    rows += [
        _row(
            "warn",
            f"credential {name!r}",
            "it is for no host: no run gets it",
            'hosts = ["…"], or ["*"] for every host',
        )
        for name, one in settings.credentials.items()
        if not one.hosts
    ]
    free = shutil.disk_usage(folder).free
    status: Literal["ok", "warn", "bad"]
    status = "ok" if free > _LITTLE_BYTES else "warn" if free > _TOO_LITTLE_BYTES else "bad"
    fix = "" if status == "ok" else "free some space: without it alerts are answered 503"
    return [*rows, _row(status, "free disk", f"{free >> 20} MiB", fix)]


async def database(settings: Settings) -> list[Finding]:
    """It answers, it has every migration, and its clock is ours."""
    dsn = dsn_for(settings)
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
        return [_row("bad", "database", said, "gitmedic up" if settings.embedded else "see [database] url")]
    version, now = row or ("unknown", datetime.now(UTC))
    missing = sorted(set(migrations()) - applied)
    skew = abs((datetime.now(UTC) - now).total_seconds())
    return [
        _row("ok", "database", str(version).split(" on ")[0]),
        _row(
            "bad" if missing else "ok",
            "migrations",
            f"missing: {', '.join(missing)}" if missing else f"{len(applied)} applied",
            "gitmedic upgrade" if missing else "",
        ),
        _clock("database", skew),
        *_transport(settings),
    ]


def _transport(settings: Settings) -> list[Finding]:
    host = settings.database.unsafe_host
    if settings.embedded:
        return []
    if host:
        fix = "add ?sslmode=verify-full&sslrootcert=… to database.url, and take database.insecure away"
        found = f"insecure: {host} is spoken to without a checked certificate"
        return [_row("warn", "database: transport", found, fix)]
    return [_row("ok", "database: transport", "this machine, or a checked certificate")]


async def workers(settings: Settings) -> list[Finding]:
    """Who works, who is silent, which site nobody serves, and whether executors elsewhere reach the repository."""
    try:
        async with await psycopg.AsyncConnection.connect(dsn_for(settings), connect_timeout=3):
            pass
    except (psycopg.OperationalError, Unavailable):
        return []  # the database has a row of its own that says so
    async with open_pool(dsn_for(settings), most=1) as pool:
        beats = Heartbeats(pool)
        rows = [_worker(row) for row in await beats.workers() if row["ended_at"] is None]
        instances = {row["instance"] for row in await beats.workers() if row["lives"]}
        for outage in await PostgresSites(pool).unserved():
            since = f"nobody since {outage.since:%Y-%m-%d %H:%M} UTC"
            rows.append(_row("bad", f"executor for site {outage.site}", since, COMMAND.format(outage.site)))
        unsettled = await PostgresResolutions(pool).waiting()
        if unsettled:
            found = f"{unsettled} need a person: nobody knows what came of them"
            rows.append(_row("warn", "interrupted runs", found, "gitmedic case list --outcome interrupted"))
    if len(instances) > 1 and not settings.forge.is_remote and not settings.repo.url:
        found = f"{len(instances)} data directories share this database, and the repository lies in this one alone"
        rows.append(
            _row("warn", "ops repository", found, "let the others fetch it: repo.url of theirs, or use a forge")
        )
    return rows


def _worker(row: Mapping[str, Any]) -> Finding:
    sites = ", ".join(row["sites"]) or ("every site that nobody names" if "execute" in row["roles"] else "")
    what = f"worker {row['name']}"
    found = (
        f"{row['roles']}{f' for {sites}' if sites else ''}, heard {row['silent_seconds']:.0f} s ago on {row['host']}"
    )
    if row["lives"]:
        return _row("ok", what, found)
    return _row("warn", what, f"silent: {found}", "start it again there, or forget it: its row goes after 7 days")


async def memory(settings: Settings) -> list[Finding]:
    """How recall works here: by words, and with an embedder by meaning; nothing of it is ever red."""

    chosen = settings.memory.embedder
    if not chosen.base_url:
        return [_row("ok", "memory", "recall by words; no embedder is set")]
    embedder = OpenAIEmbedder(chosen)
    try:
        (vector,) = await embedder.embed(["gitmedic"], query=True)
    except Unavailable as error:
        return [
            _row(
                "warn", "memory", f"recall by words only: {error.message}", f"see [memory.embedder] in {settings.file}"
            )
        ]
    finally:
        await embedder.aclose()
    dsn = dsn_for(settings)
    async with await psycopg.AsyncConnection.connect(dsn, connect_timeout=3) as connection:
        row = await (await connection.execute("SELECT to_regtype('halfvec') IS NOT NULL")).fetchone()
    if not (row and row[0]):
        fix = "install pgvector 0.7 or newer in that PostgreSQL: CREATE EXTENSION vector"
        return [_row("warn", "memory", "recall by words only: this PostgreSQL has no pgvector", fix)]
    return [_row("ok", "memory", f"recall by words and by {chosen.model}, {len(vector)} dimensions")]


async def server(settings: Settings) -> list[Finding]:
    """The server answers, and would store an alert."""

    url = f"{settings.web.local_url}/readyz"
    try:
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            answer = await client.get(url)
    except httpx.HTTPError as error:
        return [_row("bad", "server", f"{url}: {error or type(error).__name__}", "gitmedic up")]
    if answer.status_code == 200:
        return [_row("ok", "server", f"ready on {settings.web.listen}")]
    return [_row("bad", "server", f"{url}: {answer.status_code} {answer.text[:200]}", "see the log of gitmedic up")]


async def revision(settings: Settings, repo: OpsRepository) -> list[Finding]:
    """What is in force, what is not yet, and what the catalog leaves out."""
    adopted = await repo.adopted()
    pending = await repo.pending(adopted)
    content = await repo.revision(adopted)
    rows = [_row("ok", "revision", f"{adopted[:12]}, {len(content.catalog.playbooks)} playbooks")]
    if pending:
        rows.append(_row("warn", "revision", f"{len(pending)} commits not adopted", "gitmedic revision diff"))
    rows += [
        _row("bad", "catalog", problem, "gitmedic catalog lint DIR, with your work tree")
        for problem in content.catalog.problems
    ]
    if not content.policy.people:
        rows.append(_row("bad", "people", "policy.yml names nobody, so nothing can be approved", "add `people`"))
    modes = [_row("ok", f"source {one.name}", f"mode {content.policy.mode_of(one.name)}") for one in settings.sources]
    return [*rows, *modes, *_collections(settings, content.collections)]


def _collections(settings: Settings, lock: Collections) -> list[Finding]:
    """Whether what runs may load is here, byte for byte; an executor elsewhere has its own."""
    place, rows = installed_in(settings.runner.collections), []
    for one in lock.needed(lock.collections):
        try:
            compared(one, place)
        except Refused as error:
            rows.append(_row("warn", f"collection {one.name}", error.message, error.next_step))
        else:
            rows.append(_row("ok", f"collection {one.name}", f"{one.version}, as pinned"))
    return rows


async def sources(settings: Settings) -> list[Finding]:
    """Each source answers, keeps our time, and says by its jobs who speaks for whom (rule S3)."""

    rows: list[Finding] = []
    for source in settings.sources:
        name = f"source {source.name}"
        if source.kind != "prometheus":
            rows.append(_row("ok", name, f"kind {source.kind}: no API is asked"))
            continue
        client = PrometheusClient(source)
        try:
            groups = await client.rules()
            jobs = {row.labels.get("job", "") for row in await client.instant("count by (job) (up)")} - {""}
            clock = await client.instant("vector(time())")
        except Unavailable as error:
            rows.append(_row("bad", name, error.message, f"correct its url in {settings.file}"))
            continue
        finally:
            await client.aclose()
        rows.append(_row("ok", name, f"{len(groups)} groups of rules, {len(jobs)} jobs"))
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


def _jobs(name: str, jobs: set[str], known: Mapping[str, str]) -> list[Finding]:
    fresh = {job: word for job, word in proposed_jobs(jobs).items() if job not in known}
    if known and not fresh:
        return [_row("ok", f"{name}: jobs", ", ".join(f"{job}={word}" for job, word in known.items()))]
    if not fresh:
        return [_row("warn", f"{name}: jobs", "none is listed, so no alert is confirmed", "set `jobs` of it")]
    listed = ", ".join(f'"{job}" = "{word}"' for job, word in (dict(known) | fresh).items())
    # a job counts only while its scrape config does not take labels from others
    fix = f"jobs = {{ {listed} }}, without those that have honor_labels"
    return [_row("warn", f"{name}: jobs", f"not listed: {', '.join(fresh)}", fix)]


def _clock(name: str, skew: float) -> Finding:
    is_far = skew > _SKEW_SECONDS
    fix = "let both keep time by NTP" if is_far else ""
    return _row("bad" if is_far else "ok", f"{name}: clock", f"{skew:.1f} s from ours", fix)


def _open_secrets(settings: Settings) -> list[Refused]:

    found = problems(settings)
    for name in ("postgres.password",):
        if (settings.data_dir / name).exists():
            try:
                check_secret(settings.data_dir / name, what="the database password")
            except Invalid as error:
                found.append(error)
    return found


def _row(status: Literal["ok", "warn", "bad"], what: str, found: str, fix: str = "") -> Finding:
    return Finding(status=status, what=what, found=found, fix=fix)


Check = Callable[[Settings], Awaitable[list[Finding]]]


async def models(settings: Settings) -> list[Finding]:
    """Each tier's server answers, and a local one has its model. No key is sent: whether it is good, a case says."""

    planner, rows = settings.planner, []
    for name in planner.names:
        tier, model = planner.tiers[name], planner.model_of(name)
        url = f"{tier.url}/v1/models" if tier.kind == "anthropic" else f"{tier.url}/models"
        what, fix = f"tier {name}", f"correct planner.tiers.{name} in {settings.file}"
        try:
            verify = ssl.create_default_context(cafile=tier.ca_file) if tier.ca_file else True
            async with httpx.AsyncClient(timeout=5, trust_env=not tier.is_local, verify=verify) as client:
                answer = await client.get(url)
        except (httpx.HTTPError, OSError) as error:
            rows.append(_row("bad", what, f"{tier.url}: {error or type(error).__name__}", fix))
            continue
        is_open = answer.status_code == 200
        if is_open and model not in answer.text:
            rows.append(_row("bad", what, f"{tier.url} answers and does not name {model!r}", fix))
        elif is_open or answer.status_code in (400, 401, 403):
            rows.append(_row("ok", what, f"{tier.kind} {model} at {tier.url}, {tier.deadline:g} s"))
        else:
            rows.append(_row("warn", what, f"{url}: {answer.status_code}, so it may be no model server", fix))
    return rows


CHECKS: tuple[tuple[str, Check], ...] = (
    ("programs", programs),
    ("isolation", sandbox),
    ("data directory", files),
    ("database", database),
    ("workers", workers),
    ("memory", memory),
    ("server", server),
    ("sources", sources),
    ("models", models),
)


async def examine(
    settings: Settings,
    repo: Callable[[], AbstractAsyncContextManager[OpsRepository]],
    more: tuple[tuple[str, Check], ...] = (),
) -> list[Finding]:
    """All checks and `more`; `repo` opens the ops repository, which needs the database."""

    async def last(_: Settings) -> list[Finding]:
        async with repo() as opened:
            return await revision(settings, opened)

    rows: list[Finding] = []
    for name, check in (*CHECKS, ("revision", last), *more):
        try:
            rows += await check(settings)
        except GitmedicError as error:
            rows.append(
                _row("bad", name, error.message, error.next_step if isinstance(error, Refused) else "gitmedic up")
            )
        except Exception as error:
            rows.append(_row("bad", name, f"{type(error).__name__}: {error}", "gitmedic doctor -vv"))
    return rows
