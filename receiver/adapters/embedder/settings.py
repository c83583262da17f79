"""`[memory]`: what is recalled by meaning, and who says what means the same. Without an embedder recall is by words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


def _address(value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username):
        raise ValueError("expected http://HOST/v1 or https://HOST/v1; a key lies in key_file")
    return value.rstrip("/")


class EmbedderSettings(BaseModel):
    """Any endpoint that speaks OpenAI's `/v1/embeddings`: Ollama, LM Studio, llama.cpp, vLLM, LiteLLM, OpenAI."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: up to and with `/v1`; empty: no embedder, recall is by words alone
    base_url: Annotated[str, AfterValidator(_address)] = ""
    #: as the endpoint calls it
    model: str = Field("", max_length=200)
    #: sent as a bearer token; readable by gitmedic alone
    key_file: Path | None = None
    #: of one request in the background; a recall waits one second at most
    timeout_seconds: float = Field(5.0, gt=0, le=120)
    #: texts in one request
    batch: int = Field(64, ge=1, le=2048)
    #: put before what is looked for, as some models want it (`search_query: `, `query: `)
    query_prefix: str = Field("", max_length=200)
    #: put before what is kept (`search_document: `, `passage: `)
    document_prefix: str = Field("", max_length=200)
    #: cosine below which nothing is near
    least_similarity: float = Field(0.25, ge=-1, le=1)
    #: use the proxy that the environment names
    use_proxy: bool = False

    @model_validator(mode="after")
    def _whole(self) -> EmbedderSettings:
        if bool(self.base_url) != bool(self.model):
            raise ValueError("say both `base_url` and `model`, or neither")
        return self


class MemorySettings(BaseModel):
    """What is remembered of closed cases."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    embedder: EmbedderSettings = EmbedderSettings()
