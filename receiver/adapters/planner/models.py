"""Real models, by their own clients: Claude over the Anthropic API, all others over the OpenAI chat API.

Decides what is sent: a bound on the answer, no retries of the client's own, the form of the answer by schema, and
nothing from the environment that would change where it goes. Refuses answers larger than a cap while they arrive.
The clients are imported when the first model is made: a receiver with rules alone never loads them.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import AsyncIterator, Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import structlog

from receiver.adapters.planner.model import Asked, Failed, Heard
from receiver.adapters.planner.settings import TierSettings
from receiver.domain.plan import Reason
from receiver.errors import Refused

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelResponse
    from pydantic_ai.models import Model as Client

log = structlog.get_logger()

MAX_TOKENS = 2048
#: thinking counts as output
_THINKING_TOKENS = 6144
#: of a whole answer; 2048 tokens are some 10 kB
MOST_BYTES = 512 << 10
_CONNECT_SECONDS = 5.0


class RealModel:
    """The Model protocol over a real client. `key` is asked each time: a rotated key works at once."""

    def __init__(self, settings: TierSettings, name: str, key: Callable[[], str]) -> None:
        self.name = name
        self._settings, self._key = settings, key
        self._made: tuple[str, Client, Any] | None = None

    async def ready(self) -> None:
        """In a thread: an import of seconds would hold up every lease of this worker."""
        await asyncio.to_thread(_load, self._settings.kind)

    async def ask(self, asked: Asked) -> Heard:
        """One request."""
        from pydantic_ai.direct import model_request
        from pydantic_ai.messages import ModelRequest, UserPromptPart

        client = await self._client()
        try:
            answer = await model_request(
                client,
                [ModelRequest(parts=[UserPromptPart(asked.question)], instructions=asked.instructions)],
                model_settings=self._model_settings(asked),
                model_request_parameters=_parameters(self._settings, asked),
            )
        except Exception as error:
            raise _failed(error) from error
        return self._heard(answer)

    def price(self, tokens_in: int, tokens_cached: int, tokens_out: int) -> float | None:
        """By the setting, else by the bundled list."""
        own = self._settings.price
        if own is not None:
            cached = own.input_usd if own.cached_usd is None else own.cached_usd
            fresh = max(tokens_in - tokens_cached, 0)
            return (fresh * own.input_usd + tokens_cached * cached + tokens_out * own.output_usd) / 1e6
        if self._settings.is_local:
            return 0.0
        return _listed(self._settings.kind, self.name, tokens_in, tokens_cached, tokens_out)

    async def aclose(self) -> None:
        """Close its connections."""
        if self._made is not None:
            _, _, http = self._made
            self._made = None
            await http.aclose()

    async def _client(self) -> Client:
        try:
            key = self._key()
        except Refused as error:
            raise Failed("auth", error.message) from error
        if self._made is not None and self._made[0] != key:
            await self.aclose()
        if self._made is None:
            http = _http(self._settings)
            self._made = (key, _make(self._settings, self.name, key, http), http)
        return self._made[1]

    def _model_settings(self, asked: Asked) -> Any:
        thinks = self._settings.thinking != "off"
        said: dict[str, Any] = {
            "max_tokens": _THINKING_TOKENS if thinks else MAX_TOKENS,
            "max_retries": 0,
            "framing_announcement": "never",  # what an alert says must not change what stands before it
        }
        if self._settings.is_local:
            return said | {"temperature": 0.0}
        said["thinking"] = self._settings.thinking if thinks else False
        if asked.cache:
            said["cache"] = {"messages": False}
        return said

    def _heard(self, answer: ModelResponse) -> Heard:
        usage = answer.usage
        cached, out = usage.cache_read_tokens, usage.output_tokens
        sent = usage.input_tokens
        details = answer.provider_details or {}
        refusal = None
        if answer.finish_reason == "content_filter" or details.get("refusal"):
            refusal = str(details.get("refusal_category") or details.get("refusal") or "refused")
        return Heard(
            text=_text(answer),
            is_cut=answer.finish_reason == "length",
            refusal=refusal,
            tokens_in=sent,
            tokens_cached=cached,
            tokens_out=out,
            cost_usd=self.price(sent, cached, out) or 0.0,
        )


def read_key(settings: TierSettings, check: Callable[[Any], None]) -> str:
    """The API key of a tier; `check` refuses a file that others can read. A local server may have none."""
    if settings.key_env:
        found = os.environ.get(settings.key_env, "")
        if not found:
            raise Refused(f"reading the key of a model: the variable {settings.key_env} is not set")
        return found
    if settings.key_file is None:
        return "none"
    check(settings.key_file)
    found = settings.key_file.read_text("utf-8").strip()
    if not found or not found.isascii() or not found.isprintable() or " " in found:
        raise Refused(f"reading the key of a model from {str(settings.key_file)!r}: it is not one line of ASCII")
    return found


@cache
def _load(kind: str) -> None:
    """The clients' modules, once."""
    own = "anthropic" if kind == "anthropic" else "openai"
    for name in ("genai_prices", "pydantic_ai.direct", f"pydantic_ai.models.{own}"):
        importlib.import_module(name)


def _http(settings: TierSettings) -> Any:
    """A client with a bound on the answer; a proxy of the environment is used for what is not local."""
    import httpx2

    verify: Any = True
    if settings.ca_file is not None:
        import ssl

        verify = ssl.create_default_context(cafile=str(settings.ca_file))
    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(settings.deadline, connect=_CONNECT_SECONDS),
        follow_redirects=False,
        trust_env=not settings.is_local,
        verify=verify,
        headers={"accept-encoding": "identity"},
        event_hooks={"response": [_bounded]},
    )


class TooLarge(Exception):
    """An answer above `MOST_BYTES`."""


async def _bounded(response: Any) -> None:
    import httpx2

    whole = response.stream

    class Bounded(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            seen = 0
            async for piece in whole:
                seen += len(piece)
                if seen > MOST_BYTES:
                    raise TooLarge
                yield piece

        async def aclose(self) -> None:
            await whole.aclose()

    response.stream = Bounded()


def _make(settings: TierSettings, name: str, key: str, http: Any) -> Client:
    """The client's own model object; each address is said, so that no variable of the environment decides it."""
    if settings.kind == "anthropic":
        from anthropic import AsyncAnthropic
        from pydantic_ai.models.anthropic import AnthropicModel
        from pydantic_ai.providers.anthropic import AnthropicProvider

        claude = AsyncAnthropic(api_key=key, base_url=settings.url, max_retries=0, http_client=http)
        return AnthropicModel(name, provider=AnthropicProvider(anthropic_client=claude))
    from openai import AsyncAzureOpenAI, AsyncOpenAI
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.profiles.openai import OpenAIModelProfile
    from pydantic_ai.providers.openai import OpenAIProvider

    client: AsyncOpenAI
    if settings.kind == "azure":
        client = AsyncAzureOpenAI(
            api_key=key, azure_endpoint=settings.url, azure_deployment=name, max_retries=0, http_client=http,
            api_version=settings.api_version or "2024-10-21",
        )  # fmt: skip
    else:
        client = AsyncOpenAI(api_key=key, base_url=settings.url, max_retries=0, http_client=http)
    profile = None
    if settings.is_local:
        from pydantic_ai.profiles import InlineDefsJsonSchemaTransformer

        profile = OpenAIModelProfile(
            supports_json_schema_output=True,
            json_schema_transformer=InlineDefsJsonSchemaTransformer,
            openai_chat_supports_max_completion_tokens=False,
        )
    return OpenAIChatModel(name, provider=OpenAIProvider(openai_client=client), profile=profile)


def _parameters(settings: TierSettings, asked: Asked) -> Any:
    from pydantic_ai.models import ModelRequestParameters
    from pydantic_ai.output import OutputObjectDefinition
    from pydantic_ai.tools import ToolDefinition

    if settings.mode == "tool":
        tool = ToolDefinition(
            name="decide", description="Give the decision.", parameters_json_schema=asked.form, kind="output"
        )
        return ModelRequestParameters(output_mode="tool", output_tools=[tool], allow_text_output=True)
    form = OutputObjectDefinition(json_schema=asked.form, name="decision", strict=True)
    return ModelRequestParameters(output_mode=settings.mode, output_object=form)


def _text(answer: ModelResponse) -> str:
    from pydantic_ai.messages import TextPart, ToolCallPart

    calls = [part for part in answer.parts if isinstance(part, ToolCallPart) and part.tool_name == "decide"]
    if calls:
        return calls[0].args_as_json_str()
    return "".join(part.content for part in answer.parts if isinstance(part, TextPart))


def _listed(provider: str, name: str, tokens_in: int, tokens_cached: int, tokens_out: int) -> float | None:
    from genai_prices import Usage, calc_price

    usage = Usage(input_tokens=tokens_in, cache_read_tokens=tokens_cached, output_tokens=tokens_out)
    try:
        return float(calc_price(usage, name, provider_id=provider).total_price)
    except (LookupError, ValueError):
        return None


def _failed(error: BaseException) -> Failed:
    """A word and a sentence of ours; what the server said is not repeated, for it may quote the key."""
    if _has_cause(error, TooLarge):
        return Failed("schema", f"its answer is larger than {MOST_BYTES >> 10} kB")
    from pydantic_ai import exceptions as said

    status = getattr(error, "status_code", None)
    at = f" (HTTP {status})" if status else ""
    words: list[tuple[type[BaseException] | tuple[type[BaseException], ...], Reason, str]] = [
        ((said.ModelRequestTimeout, said.ModelTimeoutError, TimeoutError), "timeout", "it did not answer in time"),
        ((said.ModelRateLimitError, said.ModelQuotaExceededError), "rate_limit", "its limit or its credit is used up"),
        (said.ModelAuthenticationError, "auth", "its key is not accepted"),
        (said.ModelNotFoundError, "not_found", "there is no such model, or it is no model server"),
        (said.ModelContextWindowExceededError, "budget", "the question is too long for it"),
        (said.ModelOverloadedError, "unavailable", "it is overloaded"),
        (said.ModelServerError, "unavailable", "its server failed"),
        (said.ModelConnectionError, "unavailable", f"it cannot be reached: {_root(error)}"),
        (said.ModelRequestRejectedError, "unavailable", "it does not take the request"),
        (said.ModelAPIError, "unavailable", "its server answered with an error"),
        (said.ContentFilterError, "refusal", "it refused"),
        (said.UnexpectedModelBehavior, "schema", "its answer is none of its API"),
    ]
    for kinds, reason, why in words:
        if isinstance(error, kinds):
            return Failed(reason, why + at)
    log.warning("a model's client failed", error=type(error).__name__, root=_root(error))
    return Failed("unavailable", f"its client failed: {type(error).__name__}")


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in found:
        found.append(following)
        following = following.__cause__ or following.__context__
    return found


def _has_cause(error: BaseException, kind: type[BaseException]) -> bool:
    return any(isinstance(one, kind) for one in _chain(error))


def _root(error: BaseException) -> str:
    """The name of what was first: `ConnectError`, `SSLCertVerificationError`."""
    names = [type(one).__name__ for one in _chain(error)]
    return next((name for name in reversed(names) if name.startswith(("SSL", "Connect", "gai"))), names[-1])
