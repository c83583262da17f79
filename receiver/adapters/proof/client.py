"""The HTTP API of one Prometheus, read-only: https://prometheus.io/docs/prometheus/latest/querying/api/

Refuses redirects, answers larger than a cap, and answers with warnings; whatever is not a plain good answer is
`Unavailable` with what was asked.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import httpx

from receiver.adapters.proof.settings import SourceSettings
from receiver.domain.verdict import Row
from receiver.errors import Unavailable

_MAX_BYTES = 16 << 20


class PrometheusClient:
    """One source's API."""

    def __init__(self, settings: SourceSettings) -> None:
        self.settings = settings
        verify: Any = str(settings.ca_file) if settings.ca_file else True
        self._http = httpx.AsyncClient(
            headers=dict(settings.headers), timeout=settings.timeout_seconds, follow_redirects=False,
            trust_env=False, verify=verify,
        )  # fmt: skip

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def instant(self, promql: str) -> tuple[Row, ...]:
        """The rows of an instant vector now, without `__name__`."""
        data = await self._get("query", self.settings.url, "/api/v1/query", {"query": promql, "timeout": "5s"})
        if data.get("resultType") != "vector":
            raise Unavailable(f"querying {self.settings.name}: {promql!r:.80} gives a {data.get('resultType')}")
        return tuple(_row(one["metric"], one["value"][1]) for one in data["result"])

    async def range(self, promql: str, start: datetime, end: datetime, step: float) -> list[tuple[Row, list[float]]]:
        """Series with the times (epoch seconds) at which they had a value."""
        params = {
            "query": promql, "start": start.timestamp(), "end": end.timestamp(), "step": max(step, 0.1),
            "timeout": "5s",
        }  # fmt: skip
        data = await self._get("query", self.settings.url, "/api/v1/query_range", params)
        return [(_row(one["metric"], "0"), [float(at) for at, _ in one["values"]]) for one in data["result"]]

    async def rules(self) -> list[dict[str, Any]]:
        """Groups of alerting rules."""
        base = self.settings.rules_url or self.settings.url
        data = await self._get("rules", base, "/api/v1/rules", {"type": "alert"})
        return list(data["groups"])

    async def alerts(self) -> list[dict[str, Any]]:
        """Active alerts."""
        data = await self._get("alerts", self.settings.rules_url or self.settings.url, "/api/v1/alerts", {})
        return list(data["alerts"])

    async def silenced(self, labels: dict[str, str]) -> bool | None:
        """Whether Alertmanager suppresses this alert; None when no Alertmanager is configured."""
        base = self.settings.alertmanager_url
        if not base:
            return None
        found = await self._json("alerts of Alertmanager", f"{base.rstrip('/')}/api/v2/alerts", {})
        mine = [one for one in found if all(labels.get(k) == v for k, v in one["labels"].items())]
        return any(one["status"]["state"] == "suppressed" for one in mine)

    async def _get(self, what: str, base: str, path: str, params: dict[str, Any]) -> dict[str, Any]:
        found = await self._json(what, f"{base.rstrip('/')}{path}", params)
        if not isinstance(found, dict) or found.get("status") != "success" or found.get("warnings"):
            said = found.get("error") or found.get("warnings") if isinstance(found, dict) else "not an object"
            raise Unavailable(f"asking {self.settings.name} for {what}: {str(said)[:200]}")
        data: dict[str, Any] = found["data"]
        return data

    async def _json(self, what: str, url: str, params: dict[str, Any]) -> Any:
        doing = f"asking {self.settings.name} for {what} at {url}"
        try:
            async with self._http.stream("GET", url, params=params) as response:
                body = b""
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > _MAX_BYTES:
                        raise Unavailable(f"{doing}: the answer is larger than {_MAX_BYTES >> 20} MB")
                if response.status_code != 200:
                    raise Unavailable(f"{doing}: {response.status_code} {body[:200].decode(errors='replace')}")
            return httpx.Response(200, content=body).json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise Unavailable(f"{doing}: {type(error).__name__} {error}") from error


def _row(metric: dict[str, str], value: str) -> Row:
    return Row(labels={name: text for name, text in metric.items() if name != "__name__"}, value=float(value))
