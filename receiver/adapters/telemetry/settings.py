"""How gitmedic speaks of itself."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class LogSettings(BaseModel):
    """`[log]`: level and format of the log on standard error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: Literal["debug", "info", "warning", "error"] = "info"
    #: `auto` is `console` on a terminal and `json` elsewhere
    format: Literal["auto", "json", "console"] = "auto"
