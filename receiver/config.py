"""The machine's settings: `gitmedic.toml` in the data directory, with the environment over it.

Decides where each value comes from (command line, then `GITMEDIC_A__B`, then the file, then the default) and
what it must look like. Refuses unknown keys in both, and secret files that others can read. Policy is not
here: it lies in the ops repository, and neither may hold the other's keys.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from contextvars import ContextVar
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from receiver.adapters.embedder.settings import MemorySettings
from receiver.adapters.forge.settings import ForgeSettings
from receiver.adapters.planner.settings import PlannerSettings
from receiver.adapters.proof.settings import SourceSettings
from receiver.adapters.repo.settings import RepoSettings
from receiver.adapters.runner.settings import NAME, CredentialSettings, RunnerSettings
from receiver.adapters.store.settings import DatabaseSettings, WorkerSettings
from receiver.adapters.telemetry.settings import LogSettings
from receiver.elsewhere import PlacesSettings
from receiver.errors import Invalid, Refused

FILE = "gitmedic.toml"
PREFIX = "GITMEDIC_"
HIDDEN = "(hidden)"
_NEXT = "gitmedic config check"
#: what stands between the user's name and the host of any address
_USERINFO = re.compile(r"(://[^/@:\s]*:)\S*@")
#: a password may also stand among a database url's parameters
_PASSWORD = re.compile(r"([?&](?:password|sslpassword)=)[^&]*", re.IGNORECASE)
#: what the command line settles, and what only the file of a directory may say of it
_GIVEN_ONLY = frozenset({"data_dir", "file"})
_NOT_BY_ENVIRONMENT = _GIVEN_ONLY | {"demo"}
#: systemd and Docker put secrets here, readable as they see fit
_SECRET_FOLDERS = ("/run/secrets", "/run/credentials")


def _listen(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("expected HOST:PORT, as in 127.0.0.1:8090 or [::1]:8090")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("an IPv6 address stands in brackets, as in [::1]:8090")
    return value


def _web_address(value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query):
        raise ValueError("expected http://HOST or https://HOST, as people type it")
    return value.rstrip("/")


def _one_name_each(sources: tuple[SourceSettings, ...]) -> tuple[SourceSettings, ...]:
    names = [source.name for source in sources]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"two sources are named {twice!r}")
    return sources


def _plain_names(credentials: dict[str, CredentialSettings]) -> dict[str, CredentialSettings]:
    wrong = next((name for name in credentials if not NAME.fullmatch(name)), None)
    if wrong is not None:
        raise ValueError(f"{wrong!r} is no name: small letters, digits, dashes and underscores")
    return credentials


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WebSettings(_Section):
    """The pages, the API and the hooks."""

    listen: Annotated[str, AfterValidator(_listen)] = Field(
        "127.0.0.1:8090", description="`HOST:PORT`; also `--listen` and `GITMEDIC_LISTEN`"
    )
    hosts: tuple[str, ...] = Field(
        (), description="names under which people and Alertmanager reach this server, beside loopback and `public_url`"
    )
    public_url: Annotated[str, AfterValidator(_web_address)] = Field(
        "", description="address that links in messages begin with; empty: made from `listen`"
    )

    @property
    def host(self) -> str:
        """The address to bind."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port to bind."""
        return int(self.listen.rpartition(":")[2])

    @property
    def names(self) -> tuple[str, ...]:
        """Every name this server answers to; what links begin with is one of them without being said again."""
        public = urlsplit(self.public_url).hostname or ""
        return tuple(dict.fromkeys(name.lower() for name in (*self.hosts, self.host, public) if name))

    @property
    def url(self) -> str:
        """Where people find the pages."""
        return self.public_url or self.local_url

    @property
    def local_url(self) -> str:
        """Where this machine finds them: a bind to every address is asked over loopback."""
        host = self.host
        with contextlib.suppress(ValueError):
            address = ip_address(host)
            if address.is_unspecified:
                host = "127.0.0.1" if address.version == 4 else "::1"
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


#: what `load` was given, for the sources of one construction
_given: ContextVar[tuple[dict[str, Any], Mapping[str, str]]] = ContextVar("_given")


class _Environment(EnvSettingsSource):
    """The environment that `load` was given, not the process's own."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        banned = {f"{PREFIX}{name}".lower() for name in _NOT_BY_ENVIRONMENT}
        names = {name.lower(): value for name, value in _given.get()[1].items()}
        return {name: value for name, value in names.items() if name not in banned}


class Settings(BaseSettings):
    """Everything that belongs to this machine."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=PREFIX, env_nested_delimiter="__", hide_input_in_errors=True
    )

    data_dir: Path = Field(description="where gitmedic keeps everything; by `--data-dir` only")
    file: Path = Field(description="where the settings were read; by `--config` only")
    demo: bool = Field(False, description="marks a directory made by `gitmedic demo`; in the file only")
    database: DatabaseSettings = DatabaseSettings()
    web: WebSettings = WebSettings()
    sources: Annotated[tuple[SourceSettings, ...], AfterValidator(_one_name_each)] = ()
    credentials: Annotated[dict[str, CredentialSettings], AfterValidator(_plain_names)] = {}
    runner: RunnerSettings = RunnerSettings()
    repo: RepoSettings
    forge: ForgeSettings = ForgeSettings()
    places: PlacesSettings = {}
    memory: MemorySettings = MemorySettings()
    worker: WorkerSettings = WorkerSettings()
    planner: PlannerSettings = PlannerSettings()
    log: LogSettings = LogSettings()

    @property
    def embedded(self) -> bool:
        """Whether gitmedic runs its own PostgreSQL."""
        return not self.database.url.get_secret_value()

    def at(self, place: str) -> Settings:
        """As they are for this place's repository and its forge; empty: the catalog's own."""
        if not place:
            return self
        one, path = self.places[place], self.data_dir / "places" / f"{place}.git"
        repo = self.repo.model_copy(update={"path": path, "base": one.base, "prefix": one.prefix, "url": one.url})
        return self.model_copy(update={"repo": repo, "forge": one.forge})

    def without_credentials(self) -> Settings:
        """For `serve` and the plan role, which hold none (promise P9)."""
        return self.model_copy(update={"credentials": {}})

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line, environment, file; nothing else is read behind anybody's back."""
        return (
            init_settings,
            _Environment(settings_cls),
            InitSettingsSource(settings_cls, init_kwargs=_given.get()[0]),
        )


def default_data_dir() -> Path:
    """Root's lies in /var/lib, anybody else's at home."""
    return Path("/var/lib/gitmedic") if os.geteuid() == 0 else Path.home() / ".local/share/gitmedic"


def load(
    data_dir: Path | None = None,
    config: Path | None = None,
    listen: str | None = None,
    *,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """The settings of this data directory; raises `Invalid` naming file or variable, key and value."""
    env = os.environ if environment is None else environment
    folder = data_dir or _path(env, "DATA_DIR") or default_data_dir()
    folder = folder.expanduser().absolute()
    named = config or _path(env, "CONFIG")
    file = (named or folder / FILE).expanduser().absolute()
    written = _read(file, must_exist=named is not None)
    _refuse_strangers(written, file, env)
    said: dict[str, Any] = {"data_dir": folder, "file": file}
    if listen or env.get(f"{PREFIX}LISTEN"):
        said["web"] = {"listen": listen or env[f"{PREFIX}LISTEN"]}
    written["repo"] = {"path": folder / "ops.git"} | _table(written.get("repo", {}), file, "repo")
    token = _given.set((written, env))
    try:
        return Settings(**said)
    except ValidationError as error:
        raise _invalid(error, file, written, env, listen) from None
    except ValueError as error:  # a list or table in a variable that is no JSON
        raise Invalid(str(error), where="environment", next_step=_NEXT) from None
    finally:
        _given.reset(token)


def check_secret(path: Path, *, what: str) -> None:
    """Refuse a secret file that is missing, or that others can read."""
    try:
        found = path.stat()
    except OSError as error:
        raise Invalid(
            f"reading {what} from {str(path)!r}: {error.strerror}",
            next_step=f"put it there, readable by gitmedic alone: chmod 600 {path}",
        ) from None
    placed = any(path.is_relative_to(folder) for folder in _SECRET_FOLDERS)
    if not placed and found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Invalid(
            f"reading {what} from {str(path)!r}: others can read it (mode {stat.S_IMODE(found.st_mode):04o})",
            next_step=f"chmod 600 {path}",
        )


def problems(settings: Settings) -> list[Refused]:
    """What is wrong beside the file itself: secrets that are missing or open to others."""
    found: list[Refused] = []
    for what, path in _secret_files(settings):
        try:
            check_secret(path, what=what)
        except Refused as error:
            found.append(error)
    url = settings.database.url.get_secret_value()
    password = _USERINFO.search(url) or _PASSWORD.search(url)
    if settings.file.exists() and (password or any(source.headers for source in settings.sources)):
        try:
            check_secret(settings.file, what="a password or a header")
        except Refused as error:
            found.append(error)
    return found


def _secret_files(settings: Settings) -> list[tuple[str, Path]]:
    named = [(f"credential {name!r}", one.file) for name, one in settings.credentials.items()]
    for name, one in settings.credentials.items():
        named.append((f"the passphrase of credential {name!r}", one.passphrase_file))
        named.append((f"the token of credential {name!r}", one.openbao.token_file if one.openbao else None))
    named += [(f"the key of tier {name!r}", tier.key_file) for name, tier in settings.planner.tiers.items()]
    for forge, where in [
        (settings.forge, ""),
        *((one.forge, f" of place {name!r}") for name, one in settings.places.items()),
    ]:
        named += [(f"the token of the forge{where}", forge.token_file)]
        named += [(f"the key of the GitHub App{where}", forge.app_key_file)]
        named += [(f"the secret of the forge's webhook{where}", forge.webhook_secret_file)]
    named.append(("the key of the embedder", settings.memory.embedder.key_file))
    return [(what, path) for what, path in named if path is not None]


def shown(settings: Settings) -> dict[str, Any]:
    """All settings as plain data, without any secret."""
    plain: dict[str, Any] = settings.model_dump(mode="json")
    url = settings.database.url.get_secret_value()
    plain["database"]["url"] = _PASSWORD.sub(rf"\1{HIDDEN}", url)
    for source in plain["sources"]:
        source["headers"] = dict.fromkeys(source["headers"], HIDDEN)
    hidden: dict[str, Any] = _hide(plain)
    return hidden


def explained(settings: Settings, environment: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Every setting with its value and where it comes from; no secret is shown."""
    env = os.environ if environment is None else environment
    written = _read(settings.file, must_exist=False)
    rows = []
    for name, value in flat(shown(settings)):
        variable = PREFIX + name.upper().replace(".", "__")
        if name in _GIVEN_ONLY:
            origin = "command line"
        elif name == "web.listen" and _is_told(settings, written, env):
            origin = f"{PREFIX}LISTEN"
        elif variable in env:
            origin = variable
        else:
            origin = settings.file.name if _is_written(written, name.split(".")) else "default"
        rows.append({"name": name, "value": value, "origin": origin})
    return rows


def _is_told(settings: Settings, written: Mapping[str, Any], env: Mapping[str, str]) -> bool:
    """Whether the variable says another address than the file; `up` always sets it for its children."""
    known = _table(written.get("web", {}), settings.file, "web").get("listen", WebSettings().listen)
    return bool(env.get(f"{PREFIX}LISTEN")) and settings.web.listen != known


def flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """`a.b` → value, for tables that have something in them."""
    rows: list[tuple[str, Any]] = []
    for key, item in value.items():
        name = f"{prefix}{key}"
        rows += flat(item, f"{name}.") if isinstance(item, dict) and item else [(name, item)]
    return rows


def _is_written(written: Any, keys: list[str]) -> bool:
    for key in keys:
        if not isinstance(written, dict) or key not in written:
            return False
        written = written[key]
    return True


def _hide(value: Any) -> Any:
    """A masked SecretStr says its stars; here it says one word, and an empty one stays empty."""
    if isinstance(value, dict):
        return {key: _hide(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_hide(item) for item in value]
    if not isinstance(value, str):
        return value
    return HIDDEN if value == "**********" else _USERINFO.sub(rf"\1{HIDDEN}@", value)


def _path(env: Mapping[str, str], name: str) -> Path | None:
    return Path(env[PREFIX + name]) if env.get(PREFIX + name) else None


def _read(file: Path, *, must_exist: bool) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        if must_exist:
            raise Invalid("there is no such file", where=str(file), next_step="gitmedic init DIR") from None
        return {}
    except PermissionError:
        raise Invalid(
            "only its owner may read it", where=str(file), next_step="run this as the user who owns the data directory"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"not TOML: {error}", where=str(file), next_step=_NEXT) from None
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"cannot be read: {error}", where=str(file), next_step=_NEXT) from None


def _table(value: Any, file: Path, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Invalid(f"{name} must be a table, not {value!r:.60}", where=str(file), next_step=_NEXT)
    return value


def _refuse_strangers(written: Mapping[str, Any], file: Path, env: Mapping[str, str]) -> None:
    """What pydantic would pass over in silence: a variable of no section, a key that is not the file's."""
    for name in sorted(_GIVEN_ONLY & set(written)):
        raise Invalid(f"{name}: there is no such setting", where=str(file), next_step=_NEXT)
    for name in env:
        head, nested, _ = name.removeprefix(PREFIX).partition("__")
        if name.startswith(PREFIX) and nested and head.lower() not in Settings.model_fields:
            known = ", ".join(sorted(Settings.model_fields))
            raise Invalid(
                f"there is no section {head.lower()!r}; known: {known}",
                where=f"environment {name}",
                next_step=_NEXT,
            )


def _invalid(
    error: ValidationError, file: Path, written: Mapping[str, Any], env: Mapping[str, str], listen: str | None
) -> Invalid:
    """The first problem in words: where, which key, which value, what was expected."""
    first = error.errors()[0]
    loc = first["loc"]
    key = ".".join(str(part) for part in loc)
    where = _origin(tuple(str(part) for part in loc), file, env, listen)
    expected = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return Invalid(f"{key}: there is no such setting", where=where, next_step=_NEXT)
    if first["type"] == "missing":
        return Invalid(f"{key} is missing", where=where, next_step=_NEXT)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    value = _value(loc, written, env, listen, where)
    return Invalid(f"{key} is {value}: {expected}{more}", where=where, next_step=_NEXT)


def _origin(loc: tuple[str, ...], file: Path, env: Mapping[str, str], listen: str | None) -> str:
    if loc == ("web", "listen") and (listen or env.get(f"{PREFIX}LISTEN")):
        return "--listen" if listen else f"environment {PREFIX}LISTEN"
    for length in range(len(loc), 0, -1):
        name = PREFIX + "__".join(loc[:length]).upper()
        if name in env:
            return f"environment {name}"
    return str(file)


def _value(loc: tuple[int | str, ...], written: Any, env: Mapping[str, str], listen: str | None, where: str) -> str:
    """The refused value in quotes; never one that may hold a password."""
    if loc[:2] == ("database", "url") or {"headers", "password", "token"} & set(map(str, loc)):
        return HIDDEN
    if where == "--listen":
        return repr(listen)
    if where.startswith("environment "):
        return _USERINFO.sub(rf"\1{HIDDEN}@", repr(env[where.removeprefix("environment ")]))[:80]
    for part in loc:
        try:
            written = written[part]
        except (KeyError, IndexError, TypeError):
            return "not right"
    return _USERINFO.sub(rf"\1{HIDDEN}@", repr(written))[:80]
