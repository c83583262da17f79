"""`[[sources]]`: where alerts come from, and who may speak for whom."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ProbeRule(BaseModel):
    """One comparison that a `probe` source evaluates itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alert: str
    expr: str
    for_seconds: float = 1
    labels: dict[str, str] = {}


class SourceSettings(BaseModel):
    """One source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: also the last part of its webhook's path
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$")
    #: `prometheus` proves, `probe` evaluates a metrics page itself, `webhook` can never be confirmed
    kind: Literal["prometheus", "probe", "webhook"] = "prometheus"
    #: of the query API, or of a probe's metrics page
    url: str = ""
    #: of the rules API, when it is elsewhere
    rules_url: str = ""
    #: of Alertmanager, for silences
    alertmanager_url: str = ""
    headers: dict[str, str] = {}
    ca_file: Path | None = None
    timeout_seconds: float = 5
    #: which job may speak for what (rule S3): `self` its own host, `guests` also what runs on it, `any` anything
    jobs: dict[str, Literal["self", "guests", "any"]] = {}
    #: replica labels, dropped before the identity of an alert is computed
    drop_labels: tuple[str, ...] = ()
    #: of a probe
    rules: tuple[ProbeRule, ...] = ()
    interval_seconds: float = 1
