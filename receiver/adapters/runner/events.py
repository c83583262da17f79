"""ansible-runner's events as lines of a run; what a run would change, and what could not be previewed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from receiver.adapters.runner.clean import clean, diff_text
from receiver.domain.run import RunEvent, RunStats

_KINDS = {
    "playbook_on_play_start": "play",
    "playbook_on_task_start": "task",
    "playbook_on_handler_task_start": "task",
    "runner_on_ok": "ok",
    "runner_on_failed": "failed",
    "runner_on_skipped": "skipped",
    "runner_on_unreachable": "unreachable",
    "runner_item_on_ok": "item",
    "runner_item_on_failed": "item",
    "playbook_on_stats": "stats",
    "warning": "warning",
    "deprecated": "warning",
    "error": "error",
}
_NOT_PREVIEWABLE = ("check mode", "check_mode")
_STATS = ("ok", "changed", "failures", "skipped", "rescued", "ignored")


class Reader:
    """Turns one run's events into lines and sums."""

    def __init__(self, *, check: bool) -> None:
        self._check = check
        self._seq = 0
        self.changes: list[str] = []
        self.not_previewable: list[str] = []
        self.stats: dict[str, RunStats] = {}
        self.failure = ""
        self.said = ""  #: all that the first failure said
        self.failures: list[tuple[str, str, str]] = []  #: host, id of the task and words of each that failed
        self.preview_ends: dict[str, str] = {}  #: host → the task at which its dry run could not go on
        self.has_stats = False

    def read(self, event: dict[str, Any]) -> RunEvent | None:
        """The line of an event, None for those that nobody looks at."""
        kind = _KINDS.get(str(event.get("event")))
        data = event.get("event_data") or {}
        if kind is None:
            return None
        if kind == "stats":
            self._sum(data)
        said = data.get("res")
        result: dict[str, Any] = said if isinstance(said, dict) else {}
        host, task = clean(str(data.get("host", "")), 200), clean(str(data.get("task", "")), 300)
        if kind == "ok" and result.get("changed"):
            kind = "changed"
            self.changes.append(f"{host}: {task}")
        text = _text(kind, event, data, result)
        if kind in ("failed", "unreachable") and not data.get("ignore_errors"):
            # not cut here: half of a secret is not known as one
            said = f"{host} is unreachable: {text}" if kind == "unreachable" else f"{host}: {task}: {text}"
            self.failure = self.failure or said
            self.said = self.said or text
            self.failures.append((host, str(data.get("task_uuid", "")), said))
        line = RunEvent(
            seq=self._seq,
            at=datetime.now(UTC),
            kind=kind,
            host=host,
            task=task,
            text=text,
            diff=diff_text(result["diff"]) if result.get("diff") and "censored" not in result else "",
        )
        self._seq += 1
        return line

    def read_skips(self, lines: str) -> None:
        """What the callback noted: one JSON line per skipped task, with the reason; per change that no_log hides; and
        per task of a dry run that failed only because it uses what a skipped one would have found, which is no
        failure where the dry run of its host ended by it."""
        good = self._for_good() if self._check else []
        once = {host for host, counts in self.stats.items() if counts.failures == 1}
        ends = {(host, task) for host, task, _ in good if host in once}
        for line in lines.splitlines():
            noted = json.loads(line)
            host, task = clean(noted["host"], 200), clean(noted["task"], 300)
            if noted.get("changed"):
                self.changes.append(f"{host}: {task}")
            elif not self._check:
                continue
            elif "unknown" in noted:
                ended = (host, noted["id"]) in ends
                if ended:
                    self.preview_ends[host] = task
                what = f"{task}, and what follows it" if ended else task
                self.not_previewable.append(f"{host}: {what}: it uses {clean(noted['unknown'], 100)}")
            elif any(word in noted["msg"] for word in _NOT_PREVIEWABLE):
                self.not_previewable.append(f"{host}: {task}")
        if self.preview_ends:
            self.failure = next((said for host, _, said in good if host not in self.preview_ends), "")

    def _for_good(self) -> list[tuple[str, str, str]]:
        """The failures that ended something: neither ignored nor rescued, which came before."""
        left = {host: counts.rescued for host, counts in self.stats.items()}
        found = []
        for one in self.failures:
            left[one[0]] = left.get(one[0], 0) - 1
            if left[one[0]] < 0:
                found.append(one)
        return found

    def _sum(self, data: dict[str, Any]) -> None:
        self.has_stats = True
        for host in data.get("processed", {}):
            counts = {name: int(data.get(name, {}).get(host, 0)) for name in _STATS}
            self.stats[host] = RunStats(unreachable=int(data.get("dark", {}).get(host, 0)), **counts)
        self.failure = next((said for _, _, said in self._for_good()), "")


def _text(kind: str, event: dict[str, Any], data: dict[str, Any], result: dict[str, Any]) -> str:
    if "censored" in result:
        return "(hidden: no_log)"
    if kind == "play":
        return clean(str(data.get("name") or data.get("play") or ""))
    if kind in ("warning", "error"):
        return clean(str(event.get("stdout", "")))
    parts = [str(result[name]) for name in ("msg", "stderr", "reason", "skip_reason") if result.get(name)]
    if kind in ("ok", "changed") and isinstance(result.get("stdout"), str) and result["stdout"]:
        parts.append(result["stdout"])
    return clean("\n".join(dict.fromkeys(parts)))
