"""The one base of every value of the domain: frozen, and closed to unknown keys."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen value; unknown keys are an error, so that a typing slip never passes silently."""

    model_config = ConfigDict(frozen=True, extra="forbid")
