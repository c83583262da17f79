"""What the executor needs to run anything; nobody else reads this.

Decides what a credential may be, where it may come from, and that it is good for the named hosts only.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

#: in a credential's `hosts`: every host of the inventory
EVERY_HOST = "*"
#: names become file names, and words of `--vault-id`
NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}", re.ASCII)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RunnerSettings(_Section):
    """`[runner]`: where runs live while they run, and how they are shut in."""

    #: runs work below it, one directory each, removed afterwards; empty = `<data-dir>/scratch`
    scratch: Path | None = None
    #: host keys that are believed, in OpenSSH's format; empty = `<data-dir>/known_hosts`
    known_hosts: Path | None = None
    #: holds `ansible_collections`, of which runs get what `collections.lock` pins; empty = this program's environment
    collections: Path | None = None
    #: authorities whose certificates runs believe beside the system's; empty = `<data-dir>/ca.pem`, where it is there
    ca_file: Path | None = None
    #: the sandbox program; a name is looked up on PATH
    bwrap: str = "bwrap"
    #: this rung of isolation or nothing: netns, bwrap or landlock; empty = the strongest that works here
    rung: Literal["", "netns", "bwrap", "landlock"] = ""


class SopsSettings(_Section):
    """A value in a file that sops encrypted."""

    file: Path = Field(description="the encrypted file")
    key: str = Field(description="where it stands in it, as in `proxmox.token`")
    age_key_file: Path | None = Field(None, description="age key that opens it; empty: as sops finds one by itself")

    @field_validator("key")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", value, re.ASCII):
            raise ValueError("expected names with dots between them, as in proxmox.token")
        return value


class OpenBaoSettings(_Section):
    """A value in the KV engine, version 2, of OpenBao or Vault."""

    address: str = Field(description="`https://HOST:PORT`")
    path: str = Field(description="path of the secret below the mount")
    key: str = Field(description="which of its values")
    token_file: Path = Field(description="file with the token; readable by gitmedic alone")
    mount: str = Field("secret", description="where the KV engine is mounted")
    namespace: str = Field("", description="namespace, where there is one")
    ca_file: Path | None = Field(None, description="certificates that are believed; empty: the system's")

    @field_validator("address")
    @classmethod
    def _encrypted(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
            raise ValueError("expected https://HOST:PORT; http only on loopback")
        if not parts.hostname or parts.query or parts.fragment or parts.username or parts.path.strip("/"):
            raise ValueError("expected https://HOST:PORT and nothing else")
        return value.rstrip("/")

    @field_validator("path", "mount")
    @classmethod
    def _inside(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*", value, re.ASCII) or ".." in value.split("/"):
            raise ValueError("expected names with slashes between them")
        return value


class CredentialSettings(_Section):
    """One credential of the executor: what it is, where it lies, and the hosts it is good for."""

    kind: Literal["ssh_key", "ssh_ca", "token", "password", "become", "vault"] = Field(
        description="ssh_key, ssh_ca (signs a key made for each run), token, password, become (sudo's), vault"
    )
    file: Path | None = Field(None, description="where it lies; readable by gitmedic alone")
    command: tuple[str, ...] = Field((), description="or: a program and its arguments that prints it")
    sops: SopsSettings | None = Field(None, description="or: a value in a file that sops encrypted")
    openbao: OpenBaoSettings | None = Field(None, description="or: a value in OpenBao or Vault")
    passphrase_file: Path | None = Field(None, description="SSH: file with the key's passphrase")
    passphrase_command: tuple[str, ...] = Field((), description="SSH: or a program that prints the passphrase")
    principals: tuple[str, ...] = Field((), description="ssh_ca: names in the certificate; empty: the hosts' users")
    vault_id: str = Field("default", description="vault: the id that its files carry")
    hosts: tuple[str, ...] = Field((), description='inventory hosts that may see it; empty: none; `["*"]`: all')

    @property
    def is_ssh(self) -> bool:
        """Whether it opens SSH connections; the others are given to the play."""
        return self.kind in ("ssh_key", "ssh_ca")

    def allows(self, host: str) -> bool:
        """Whether this host may see it."""
        return EVERY_HOST in self.hosts or host in self.hosts

    @model_validator(mode="after")
    def _one_origin(self) -> CredentialSettings:
        origins = (self.file is not None, bool(self.command), self.sops is not None, self.openbao is not None)
        if sum(origins) != 1:
            raise ValueError("say exactly one of `file`, `command`, `sops` and `openbao`")
        if self.passphrase_file is not None and self.passphrase_command:
            raise ValueError("say one of `passphrase_file` and `passphrase_command`")
        if not self.is_ssh and (self.passphrase_file is not None or self.passphrase_command):
            raise ValueError(f"a {self.kind} has no passphrase")
        if self.principals and self.kind != "ssh_ca":
            raise ValueError("`principals` belong to kind ssh_ca")
        if not all(re.fullmatch(r"[A-Za-z0-9_.@-]{1,64}", one, re.ASCII) for one in self.principals):
            raise ValueError("principals are plain names")
        if not NAME.fullmatch(self.vault_id):
            raise ValueError("a vault id has small letters, digits, dashes and underscores")
        return self


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
