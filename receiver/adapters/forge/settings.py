"""How the built-in forge names itself and where people find its pages."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class LocalForgeSettings(BaseModel):
    """The forge without an account: the bare ops repository and our own review pages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bot: Annotated[str, Field(min_length=1)] = "gitmedic"  #: author of every pull request
    base: Annotated[str, Field(min_length=1)] = "main"  #: the protected branch
    #: `{number}` is replaced
    url_template: str = "http://127.0.0.1:8090/proposals/{number}"
    #: how often a merge follows a base branch that moves under it
    merge_tries: Annotated[int, Field(ge=1)] = 5
