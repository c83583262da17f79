"""`[forge]`: where proposals are reviewed. Without it: on our own pages, over the bare ops repository."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from receiver.domain.address import is_loopback

Kind = Literal["local", "github", "gitea", "gitlab"]


class LocalForgeSettings(BaseModel):
    """The forge without an account: the bare ops repository and our own review pages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bot: Annotated[str, Field(min_length=1)] = "gitmedic"  #: author of every pull request
    base: Annotated[str, Field(min_length=1)] = "main"  #: the protected branch
    repository: Annotated[str, Field(min_length=1)] = "local"  #: our name of it among those of this forge
    #: `{number}` is replaced
    url_template: str = "http://127.0.0.1:8090/proposals/{number}"
    #: how often a merge follows a base branch that moves under it
    merge_tries: Annotated[int, Field(ge=1)] = 5


def _address(value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username):
        raise ValueError("expected https://HOST/OWNER/REPOSITORY, without a user or a password in it")
    return value.rstrip("/").removesuffix(".git")


class ForgeSettings(BaseModel):
    """Where proposals are reviewed; written by `gitmedic forge connect`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind = Field("local", description="`local`: the built-in review pages; `gitea` is Forgejo as well")
    url: Annotated[str, AfterValidator(_address)] = Field(
        "", description="the repository as a browser opens it, `https://HOST/OWNER/REPOSITORY`"
    )
    api_url: Annotated[str, AfterValidator(_address)] = Field(
        "", description="the REST API; empty: worked out from `url`"
    )
    repository: str = Field("", max_length=40, description="the forge's own number of the repository")
    account: str = Field("", max_length=40, description="the forge's own number of gitmedic's account there")
    login: str = Field("", max_length=100, description="name of that account")
    token_file: Path | None = Field(None, description="file with its token, readable by gitmedic alone")
    app_id: str = Field("", max_length=40, description="GitHub App, in the place of a token: its id")
    app_installation: str = Field("", max_length=40, description="and its installation's id")
    app_key_file: Path | None = Field(None, description="and its private key (PEM), readable by gitmedic alone")
    webhook_secret_file: Path | None = Field(
        None, description="file with the webhook's secret; without it every webhook is refused, and polling does all"
    )
    ca_file: Path | None = Field(None, description="certificate, or its authority, of a private forge: pinned")
    poll_seconds: float = Field(60.0, ge=1, le=3600, description="how often the forge is asked what webhooks lost")
    timeout_seconds: float = Field(20.0, gt=0, le=120, description="for one request")
    write_seconds: float = Field(
        1.0, ge=0, le=60, description="least time between two writes, as forges ask of their clients"
    )

    @property
    def is_remote(self) -> bool:
        """Whether pull requests live elsewhere."""
        return self.kind != "local"

    @property
    def host(self) -> str:
        """Scheme and host, without the path."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def path(self) -> str:
        """Owner and name of the repository; groups and subgroups of GitLab included."""
        return urlsplit(self.url).path.strip("/")

    @property
    def api(self) -> str:
        """Where its REST API answers."""
        if self.api_url:
            return self.api_url
        if self.kind == "github":
            return "https://api.github.com" if self.host == "https://github.com" else f"{self.host}/api/v3"
        return f"{self.host}/api/{'v4' if self.kind == 'gitlab' else 'v1'}"

    @property
    def git_url(self) -> str:
        """What git fetches from and pushes to; no secret is part of it."""
        return f"{self.url}.git"

    @model_validator(mode="after")
    def _whole(self) -> ForgeSettings:
        if not self.is_remote:
            return self
        if len([part for part in self.path.split("/") if part]) < 2:
            raise ValueError("url: expected https://HOST/OWNER/REPOSITORY")
        is_app = bool(self.app_id and self.app_key_file and self.app_installation)
        if self.kind != "github" and (self.app_id or self.app_key_file or self.app_installation):
            raise ValueError("app_id, app_installation and app_key_file are GitHub's alone")
        if is_app == (self.token_file is not None):
            raise ValueError("say either `token_file`, or all of `app_id`, `app_installation` and `app_key_file`")
        for name in ("url", "api"):
            address = getattr(self, name)
            if address.startswith("http://") and not is_loopback(address):
                raise ValueError(f"{name}: a token never travels over plain http:// (loopback excepted)")
        return self
