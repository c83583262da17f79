"""A real PostgreSQL per test process, and a fresh database per test, cloned from a migrated template."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from receiver.adapters.store.embedded import EmbeddedPostgres
from receiver.adapters.store.migrate import migrate
from receiver.adapters.store.pool import open_pool
from tests.machine import quick_folder

TEMPLATE = "gitmedic_template"
#: as if the server had run for an hour: what is waited for after its start is no matter to most tests
OLD = """CREATE FUNCTION public.pg_postmaster_start_time() RETURNS timestamptz STABLE LANGUAGE sql
    AS $$ SELECT pg_catalog.pg_postmaster_start_time() - interval '1 hour' $$"""


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """One server for this test process; it dies with it."""
    data_dir = Path(tempfile.mkdtemp(prefix="gitmedic-test-", dir=quick_folder()))
    server = EmbeddedPostgres(data_dir / "data")
    data_dir.chmod(0o755)

    async def begin() -> None:
        await server.start()
        async with await psycopg.AsyncConnection.connect(server.dsn("postgres"), autocommit=True) as connection:
            for setting in ("fsync", "full_page_writes"):  # for a machine that loses power: no test does that
                await connection.execute(f"ALTER SYSTEM SET {setting} = off")
            await connection.execute("SELECT pg_reload_conf()")
            await connection.execute(f"CREATE DATABASE {TEMPLATE}")
        async with await psycopg.AsyncConnection.connect(server.dsn(TEMPLATE), autocommit=True) as connection:
            await connection.execute("CREATE EXTENSION vector")
            await connection.execute(OLD)
        await migrate(server.dsn(TEMPLATE))

    asyncio.run(begin())
    try:
        yield server
    finally:
        asyncio.run(server.stop())
        shutil.rmtree(data_dir, ignore_errors=True)


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The connection string of a fresh, migrated database."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy")
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
        connection.execute(f"ALTER DATABASE {name} SET search_path = public, pg_catalog")
    try:
        yield postgres.dsn(name)
    finally:
        with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def pool(database: str) -> AsyncIterator[AsyncConnectionPool[Any]]:
    """A pool on the fresh database."""
    async with open_pool(database) as opened:
        yield opened
