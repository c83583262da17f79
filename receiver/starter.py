"""What `gitmedic init` makes: data directory, ops repository with the starter content, first person.

Decides who that person is (the OS user who asks; under sudo the one behind it), that their first commit is
the adopted revision (rule S4), and whether a data directory is still the one it was (rule S2). Refuses to
write over anything that is there; asked again, it goes on where it was interrupted.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pwd
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg
import yaml

from receiver.adapters.repo.creation import clone_work_tree, create_ops_repository
from receiver.adapters.repo.git import OpsRepository
from receiver.adapters.store.embedded import EmbeddedPostgres, dsn_of, explained
from receiver.adapters.store.migrate import migrate, migrations
from receiver.adapters.store.narrow import create as create_roles
from receiver.config import FILE, Settings
from receiver.domain.collection import LOCK, read_collections
from receiver.domain.inventory import read_inventory
from receiver.domain.playbook import read_catalog
from receiver.domain.policyfile import read_policy
from receiver.domain.revision import Revision
from receiver.errors import Conflict, Invalid, Refused, Unavailable
from receiver.identity import new_id

_FOLDERS = ("playbooks", "inventory", "prompts")
_POLICY = "policy.example.yml"
_LEFT_OUT = frozenset({"__pycache__", ".git", ".DS_Store"})
#: how long to wait for another gitmedic that is just using the database
_PATIENCE_SECONDS = 20.0


class Made(NamedTuple):
    """What `init` found or made."""

    commit: str  #: the adopted revision
    person: str
    is_new: bool  #: the ops repository was made now
    work_tree: Path | None


def os_user() -> str:
    """The OS user who asks; root under sudo is the user behind it."""
    uid = os.getuid()
    if uid == 0 and os.environ.get("SUDO_UID", "").isascii() and os.environ.get("SUDO_UID", "").isdigit():
        uid = int(os.environ["SUDO_UID"])
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return f"uid{uid}"


def owns(data_dir: Path) -> bool:
    """Whether this process's OS user owns the data directory; root owns all."""
    return os.geteuid() in (0, data_dir.stat().st_uid)


def content() -> dict[str, bytes]:
    """The starter content by path, from the wheel or from the checkout this runs from."""
    root = _root()
    files: dict[str, bytes] = {}
    for folder in _FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            inside = path.relative_to(root)
            if path.is_file() and not path.is_symlink() and not _LEFT_OUT & set(inside.parts):
                files[inside.as_posix()] = path.read_bytes()
    if (root / LOCK).is_file():
        files[LOCK] = (root / LOCK).read_bytes()
    return files


def starter_revision() -> Revision:
    """The starter content as if it were adopted, for trying things where nothing was initialised."""
    files = content()
    return Revision(
        commit="0" * 40,
        catalog=read_catalog(files),
        inventory=read_inventory({name: data for name, data in files.items() if name.startswith("inventory/")}),
        policy=read_policy(first_policy(os_user())),
        collections=read_collections(files.get(LOCK)),
        prompts={
            name.removeprefix("prompts/"): data.decode("utf-8", "replace")
            for name, data in files.items()
            if name.startswith("prompts/") and name.endswith(".j2")
        },
    )


def dsn_for(settings: Settings) -> str:
    """Where the database of these settings answers: a server's, or the built-in one's."""
    return settings.database.url.get_secret_value() or dsn_of(settings.data_dir)


def first_policy(person: str) -> bytes:
    """`policy.example.yml` with this person as the first, who decides alone up to medium."""
    example = _root() / _POLICY
    text = example.read_text("utf-8") if example.is_file() else "mode: observe\n"
    name = json.dumps(person)  # a JSON string is a YAML string
    who = (
        "# Who may decide. `os` and `session` name the same person at a terminal and in the browser.\n"
        f"people:\n  - name: {name}\n    os: [{name}]\n    session: [{name}]\n"
        "    approves: medium\n    dispatches: true\n"
        "# One person decides alone: their merge is the approval, up to risk medium.\n"
        f"approvals:\n  solo: {name}\n"
    )
    policy = f"{_without(text, ('people', 'approvals')).rstrip()}\n\n{who}".encode()
    read_policy(policy)
    return policy


async def init(settings: Settings, folder: Path | None) -> Made:
    """Make what is missing of an installation; `folder` becomes a work tree for people."""
    folder = folder.expanduser().absolute() if folder else None
    if folder and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(
            f"making a work tree in {str(folder)!r}: something is there already",
            next_step="choose a new folder: gitmedic init DIR",
        )
    if folder and settings.data_dir.is_relative_to(folder):
        raise Conflict(
            f"making a work tree in {str(folder)!r}: the data directory {settings.data_dir} lies in it",
            next_step="choose another folder for your copy: gitmedic init DIR",
        )
    async with database(settings) as dsn:
        made = await asyncio.to_thread(begin, settings)
        commit = await adopt(settings, dsn)
    if folder:
        await asyncio.to_thread(clone_work_tree, settings.repo.path, folder)
    return Made(commit, os_user(), made, folder)


def prepare(data_dir: Path) -> None:
    """The directory, its settings file and its instance id."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = data_dir / FILE
    if not file.exists():
        example = Path(__file__).with_name("gitmedic.example.toml").read_text("utf-8")
        with (
            contextlib.suppress(FileExistsError),
            os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream,
        ):
            stream.write(example)
    instance_id(data_dir)


def begin(settings: Settings) -> bool:
    """The ops repository with its first commit; False when it is there already."""
    if settings.repo.path.exists() and any(settings.repo.path.iterdir()):
        return False
    person = os_user()
    files = content() | {"policy.yml": first_policy(person)}
    create_ops_repository(
        settings.repo.path,
        files,
        f"{person} <{person}@localhost>",
        base=settings.repo.base,
        message="Start with gitmedic's own playbooks, inventory and prompts",
    )
    return True


async def adopt(settings: Settings, dsn: str) -> str:
    """The adopted commit; when there is none yet, the tip becomes it, in this OS user's name (rule S4)."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        if found := await _adopted(connection):
            return found
        repo = OpsRepository(settings.repo, _none_adopted)
        try:
            tip = await repo.tip()
            await repo.revision(tip)  # what cannot be read is not put in force
        finally:
            await repo.close()
        await connection.execute(
            "INSERT INTO adoptions (commit, actor) SELECT %s, %s WHERE NOT EXISTS (SELECT FROM adoptions)",
            (tip, f"os:{os_user()}"),
        )
        return await _adopted(connection) or tip


@asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[str]:
    """The connection string of a migrated database; the built-in one is started when nobody runs it."""
    async with _as_it_is(settings) as dsn:
        await _migrated(dsn)
        yield dsn


@asynccontextmanager
async def _as_it_is(settings: Settings) -> AsyncIterator[str]:
    url = settings.database.url.get_secret_value()
    with explained(settings.data_dir):
        prepare(settings.data_dir)
    if url:
        yield url
        return
    async with _moment(settings.data_dir):
        postgres = await _own(settings)
        try:
            if postgres is None:
                await _answers(settings)
            else:
                await postgres.start()
            yield EmbeddedPostgres(settings.data_dir).dsn()
        finally:
            if postgres is not None:
                await postgres.stop()


async def upgrade(settings: Settings) -> list[str]:
    """Apply the migrations that the database of these settings lacks; their names."""
    before: set[str] = set()
    async with _as_it_is(settings) as dsn:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            with contextlib.suppress(psycopg.errors.UndefinedTable):
                rows = await (await connection.execute("SELECT name FROM schema_migrations")).fetchall()
                before = {name for (name,) in rows}
        await _migrated(dsn)
    return sorted(set(migrations()) - before)


async def database_roles(settings: Settings, folder: Path) -> list[Path]:
    """Make the database roles, or give them their rights anew; the files with new passwords."""
    made = []
    async with _as_it_is(settings) as dsn:
        await _migrated(dsn)
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            for name, password in (await create_roles(connection)).items():
                file = folder / f"{name}.password"
                file.unlink(missing_ok=True)
                with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
                    stream.write(password + "\n")
                made.append(file)
    return made


def instance_id(data_dir: Path) -> str:
    """The id of this very directory; a moved, copied or restored one is another and gets a new id."""
    file = data_dir / "instance"
    with _locked(data_dir / "instance.lock"):
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            found, said = file.stat(), json.loads(file.read_text())
            if (said["device"], said["inode"]) == (found.st_dev, found.st_ino):
                return str(said["id"])
        fresh = file.with_name(".instance.part")
        fresh.unlink(missing_ok=True)
        with fresh.open("w") as stream:
            stat = os.fstat(stream.fileno())
            said = {"id": new_id(), "device": stat.st_dev, "inode": stat.st_ino}
            stream.write(json.dumps(said) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        fresh.chmod(0o600)
        fresh.replace(file)  # a rename keeps the inode that the file names
        return str(said["id"])


def _root() -> Path:
    packed = Path(__file__).with_name("starter")
    root = packed if packed.is_dir() else Path(__file__).parent.parent
    if not (root / "playbooks").is_dir():
        raise Invalid("there is no starter content", where=str(root), next_step="install gitmedic from its wheel again")
    return root


def _without(text: str, keys: tuple[str, ...]) -> str:
    """The text of a YAML mapping without these top-level blocks; comments stay."""
    kept: list[str] = []
    dropping = False
    for line in text.splitlines(keepends=True):
        if line[:1] not in (" ", "\t", "#", "\n", "-"):
            dropping = line.split(":", 1)[0] in keys
        if not dropping or line[:1] in ("#", "\n"):
            kept.append(line)
    yaml.safe_load("".join(kept))
    return "".join(kept)


async def _none_adopted() -> str:
    raise Refused("reading the adopted revision: there is none", next_step="gitmedic init DIR")


async def _adopted(connection: psycopg.AsyncConnection[tuple[str]]) -> str | None:
    rows = await connection.execute("SELECT commit FROM adoptions ORDER BY id DESC LIMIT 1")
    row = await rows.fetchone()
    return row[0] if row else None


async def _migrated(dsn: str) -> None:
    try:
        await migrate(dsn)
    except psycopg.OperationalError as error:
        said = str(error).strip().split("\n")[0]
        raise Unavailable(f"connecting to the database: {said}") from None


async def _own(settings: Settings) -> EmbeddedPostgres | None:
    """The server to start, owned; None when another gitmedic runs it."""
    postgres = EmbeddedPostgres(settings.data_dir)
    try:
        with explained(settings.data_dir):
            postgres.own()
    except Refused as error:
        if error.reason != "second_owner":
            raise
        return None
    return postgres


async def _answers(settings: Settings) -> None:
    """Wait until the server that another gitmedic starts or restarts answers."""
    end = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
    while True:
        try:
            dsn = EmbeddedPostgres(settings.data_dir).dsn()
            async with await psycopg.AsyncConnection.connect(dsn, connect_timeout=2):
                return
        except (psycopg.OperationalError, Unavailable) as error:
            if asyncio.get_running_loop().time() > end:
                said = str(error).strip().split("\n")[0]
                raise Unavailable(f"connecting to PostgreSQL in {settings.data_dir}: {said}") from None
            await asyncio.sleep(0.2)


@asynccontextmanager
async def _moment(data_dir: Path) -> AsyncIterator[None]:
    """One at a time borrows the database, so that none stops it under another."""
    lock = os.open(data_dir / "moment.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    end = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if asyncio.get_running_loop().time() > end:
                    raise Unavailable(f"opening {data_dir}: another gitmedic command holds it") from None
            await asyncio.sleep(0.1)
        yield
    finally:
        os.close(lock)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
