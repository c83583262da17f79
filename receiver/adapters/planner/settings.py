"""`[planner]`: which models may choose a playbook, in which order, and what they may cost. Without it: rules alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Task = Literal["plan", "diagnose", "ask", "reflect"]
FAST = "claude-haiku-5-5"
STRONG = "claude-sonnet-5-5"
_LOCAL_SECONDS, _CLOUD_SECONDS = 8.0, 30.0
_HOMES = {"anthropic": "https://api.anthropic.com", "openai": "https://api.openai.com/v1"}


def _address(value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username):
        raise ValueError("expected http://HOST or https://HOST with a path, and no user or password in it")
    return value.rstrip("/")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PriceSettings(_Section):
    """What a model costs, in USD for a million tokens; over the bundled price list."""

    input_usd: float = Field(ge=0, description="of what is sent")
    output_usd: float = Field(ge=0, description="of what comes back")
    cached_usd: float | None = Field(None, ge=0, description="of what is read from the cache; empty: as sent")


class TierSettings(_Section):
    """One model that may be asked."""

    kind: Literal["local", "anthropic", "openai", "azure"] = Field(
        description="`local`: any server with an OpenAI-compatible API (Ollama, LM Studio, llama.cpp, vLLM, LiteLLM)"
    )
    model: str = Field("", max_length=200, description=f"its name there; of `anthropic`: {FAST}, of `strong` {STRONG}")
    models: dict[Task, str] = Field({}, description="another one for a task: plan, diagnose, ask, reflect")
    base_url: Annotated[str, AfterValidator(_address)] = Field(
        "", description="where it answers; needed for `local` and `azure`"
    )
    api_version: str = Field("", description="of `azure`")
    key_file: Path | None = Field(
        None, description="file with the API key, readable by gitmedic alone; no line beside it"
    )
    key_env: str = Field(
        "", pattern=r"^([A-Za-z_][A-Za-z0-9_]{0,60})?$", description="or: the variable that holds the API key"
    )
    ca_file: Path | None = Field(None, description="certificate authority of the endpoint, when it is a private one")
    deadline_seconds: float | None = Field(
        None, gt=0, le=300, description="for the whole attempt, its one retry included; 8 for `local`, else 30"
    )
    mode: Literal["native", "prompted", "tool"] = Field(
        "native", description="how the answer's form is asked for: by schema, by words, or as a tool that is not forced"
    )
    thinking: Literal["off", "low", "medium"] = Field(
        "off", description="how much it may think first; that is paid for"
    )
    price: PriceSettings | None = Field(None, description="when the bundled price list does not know the model")

    @property
    def is_local(self) -> bool:
        """Whether it costs nothing and gets the short list."""
        return self.kind == "local"

    @property
    def deadline(self) -> float:
        """Seconds for the whole attempt."""
        return self.deadline_seconds or (_LOCAL_SECONDS if self.is_local else _CLOUD_SECONDS)

    @property
    def url(self) -> str:
        """Where it answers; nothing in the environment changes that."""
        return self.base_url or _HOMES.get(self.kind, "")

    @model_validator(mode="after")
    def _whole(self) -> TierSettings:
        if self.kind in ("local", "azure") and not self.base_url:
            raise ValueError(f"kind {self.kind} needs `base_url`")
        if self.kind != "anthropic" and not self.model:
            raise ValueError(f"kind {self.kind} needs `model`")
        if self.key_file is not None and self.key_env:
            raise ValueError("say one of `key_file` and `key_env`")
        if self.kind != "local" and self.key_file is None and not self.key_env:
            raise ValueError(f"kind {self.kind} needs `key_file` or `key_env`")
        return self


class BudgetSettings(_Section):
    """What models may cost; over it the next cheaper tier decides, and the case says so."""

    usd_per_day: float = Field(1.0, ge=0, description="from midnight UTC, over all planners; 0: nothing that costs")
    usd_per_case: float = Field(0.10, ge=0, description="over all attempts of one case")
    tokens_per_request: int = Field(60_000, ge=1000, lt=100_000, description="above 100000 some models cost five times")


class RoutingSettings(_Section):
    """Who is asked first."""

    strong: str = Field("", description="the tier for critical, new and doubtful cases; empty: `strong`, else the last")
    unsure_below: float = Field(0.6, ge=0, le=1, description="a lighter tier less sure than this is not believed")
    proven: int = Field(
        3, ge=0, description="so many remembered fixes and no failure: the rule decides alone; 0: never"
    )
    first_to_strong: bool = Field(True, description="whether an alert name without a remembered case is new")


class PlannerSettings(_Section):
    """Models beside the rules. The rules are always there, and last."""

    order: tuple[str, ...] = Field((), description="tiers by name, the first asked first; empty: as they are written")
    tiers: dict[str, TierSettings] = Field({}, description="none: the rules decide alone, and no model is asked")
    routing: RoutingSettings = RoutingSettings()
    budget: BudgetSettings = BudgetSettings()
    consensus: dict[Literal["low", "medium", "high"], int] = Field(
        {}, description="how many tiers must agree on a playbook of this risk, 1 or 2; else a person decides"
    )
    spotlight: Literal["delimit", "datamark", "base64"] = Field(
        "delimit", description="how outside text is marked for a model"
    )
    storm_seconds: float = Field(
        300, ge=0, le=3600, description="so long one answer stands for the same alert, entity and facts"
    )

    @property
    def names(self) -> tuple[str, ...]:
        """The models' tiers, first to last."""
        return tuple(name for name in self.order if name != "rules") or tuple(self.tiers)

    @property
    def strong(self) -> str:
        """The strongest tier; empty when there is none."""
        last = self.names[-1] if self.names else ""
        return self.routing.strong or ("strong" if "strong" in self.names else last)

    def model_of(self, tier: str, task: Task = "plan") -> str:
        """The model's name for a task."""
        found = self.tiers[tier]
        return found.models.get(task) or found.model or (STRONG if tier == "strong" else FAST)

    @model_validator(mode="after")
    def _known(self) -> PlannerSettings:
        unknown = [name for name in (*self.names, *filter(None, [self.routing.strong])) if name not in self.tiers]
        if unknown:
            raise ValueError(f"there is no tier {unknown[0]!r}; there are {', '.join(self.tiers) or 'none'} and rules")
        if "rules" in self.tiers or "rules" in self.order[:-1]:
            raise ValueError("`rules` is always the last tier")
        wrong = [risk for risk, count in self.consensus.items() if count not in (1, 2)]
        if wrong:
            raise ValueError(f"consensus.{wrong[0]}: 1 or 2 tiers")
        return self
