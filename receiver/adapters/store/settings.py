"""How the store is reached, and what a worker takes from its queue.

Refuses a database beyond this machine without `sslmode=verify-full`: what travels there decides what is run. Only
`database.insecure`, named for what it is, lets it pass.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator

#: a worker's name is a label and a word of messages; a site's stands in inventories, too
WORKER, SITE = r"^([A-Za-z0-9][A-Za-z0-9._@-]*)?$", r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
_PORT = re.compile(r":\d*$")


def _database(value: SecretStr) -> SecretStr:
    url = value.get_secret_value()
    if url and not url.startswith(("postgresql://", "postgres://")):
        raise ValueError("expected postgresql://USER@HOST/NAME, or nothing for the built-in one")
    return value


def _is_here(host: str) -> bool:
    """A socket's folder, `localhost` or a loopback address."""
    if host.startswith(("/", "@")) or host in ("", "localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _hosts(url: str) -> list[str]:
    """Every host that libpq could try for this address."""
    parts = urlsplit(url)
    asked = parse_qs(parts.query, keep_blank_values=True)
    named = [one for key in ("host", "hostaddr") for value in asked.get(key, []) for one in value.split(",")]
    authority = parts.netloc.rpartition("@")[2]
    named += [_PORT.sub("", one).strip("[]") for one in authority.split(",")]
    # a service file may name any host
    named += [f"service {name}" for name in asked.get("service", [])]
    return [unquote(host).lower() for host in named]


def unsafe_host(url: str) -> str:
    """The first host beyond this machine that would be spoken to without a checked certificate; empty: none."""
    if not url:
        return ""
    modes = parse_qs(urlsplit(url).query).get("sslmode", ["prefer"])
    far = next((host for host in _hosts(url) if not _is_here(host)), "")
    return "" if set(modes) == {"verify-full"} else far


class DatabaseSettings(BaseModel):
    """The store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: stands before the address, which is judged by it
    insecure: bool = Field(
        False,
        description="lets a database on another machine be spoken to without `sslmode=verify-full`: whoever is on the "
        "way can read everything and approve anything",
    )
    url: Annotated[SecretStr, AfterValidator(_database)] = Field(
        SecretStr(""), description="`postgresql://…`; empty: the built-in PostgreSQL in the data directory"
    )

    @field_validator("url")
    @classmethod
    def _is_safe(cls, url: SecretStr, info: ValidationInfo) -> SecretStr:
        host = unsafe_host(url.get_secret_value())
        if host and not info.data.get("insecure"):
            raise ValueError(
                f"{host!r} is another machine, and sslmode is not verify-full: add "
                "?sslmode=verify-full&sslrootcert=/path/ca.pem, or say database.insecure = true and mean it"
            )
        return url

    @property
    def unsafe_host(self) -> str:
        """The host that is spoken to without a checked certificate; empty: none."""
        return unsafe_host(self.url.get_secret_value())


class WorkerSettings(BaseModel):
    """How much is done at once, and for whom."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=WORKER, max_length=100)] = Field(
        "", description="its name, which one process has at a time; empty: made of machine, roles and sites; `--name`"
    )
    sites: tuple[Annotated[str, Field(pattern=SITE, max_length=60)], ...] = Field(
        (), description="whose hosts this executor runs on; empty: every site that no other one names; `--site`"
    )
    concurrency: int = Field(4, ge=1, le=64, description="cases that one worker advances at once")
    poll_seconds: float = Field(0.2, gt=0, le=60, description="how often it looks when nothing wakes it")
    lease_seconds: float = Field(30, ge=1, le=600, description="how long a dead worker's case waits for another one")
