"""No test reaches a real model by accident: no key of one is in the environment, and only loopback is asked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from receiver.adapters.planner import models

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_KEYS = ("ANTHROPIC_", "OPENAI_", "AZURE_", "OLLAMA_", "GITMEDIC_PLANNER")

for _name in [name for name in os.environ if name.startswith(_KEYS)]:
    del os.environ[_name]  # before any test, and for every process that a test starts


@pytest.fixture(autouse=True)
def no_real_models(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A client for anything but loopback is an error of the test."""
    made = models._http

    def only_loopback(settings: Any) -> Any:
        host = urlsplit(settings.url).hostname
        assert host in LOOPBACK, f"a test would have asked {host}"
        return made(settings)

    monkeypatch.setattr(models, "_http", only_loopback)
    yield
