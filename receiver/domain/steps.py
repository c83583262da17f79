"""A run over several hosts, one after the other (rule S19): its steps, what is asked between two, what they add up to.

Decides what may be said after a stop or a crash: which hosts are done, which one is not known, which were never
touched. Nothing is done again: a step that was begun is never begun a second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from receiver.domain.outcome import Verdict
from receiver.domain.playbook import Playbook
from receiver.domain.proof import Check
from receiver.domain.record import Record
from receiver.domain.run import RunResult
from receiver.domain.table import Row

_MOST_TEXT = 200_000
#: between the record of a step and its process, and from its end until nothing of it is left
_TO_BEGIN_AND_END = 60


class Step(Record):
    """One child process of a run, with the hosts that it sees."""

    number: int
    hosts: tuple[str, ...]
    begun_at: datetime
    result: RunResult | None = None  #: None: it has not ended, or nobody knows how
    instance: str = ""  #: of the executor that began it


class Between(Record):
    """What is known before the next step."""

    last: Step
    checks: tuple[Check, ...]  #: the playbook's verify queries for the hosts of the last step, newer than its end
    paused: str | None = None


def went_well(between: Between) -> str | None:
    """Stop at the first failure."""
    result = between.last.result
    if result is None:
        return f"how it went on {_names(between.last.hosts)} is not known"
    return None if result.status == "successful" else f"{_names(between.last.hosts)}: {result.status}: {result.why}"


def is_proved(between: Between) -> str | None:
    """A green run proves nothing, and no data is no success."""
    if not between.checks:
        return "the playbook has no verify query"
    bad = next((check for check in between.checks if check.verdict is not Verdict.RESOLVED), None)
    return bad.why if bad is not None else None


def is_on(between: Between) -> str | None:
    """A pause holds between two hosts as well."""
    return between.paused if between.paused else None


BETWEEN: tuple[Row[Between], ...] = (
    Row("went_well", "Did the host before go well?", went_well, ("database",)),
    Row("in_the_way", "Is nothing paused?", is_on, ("database",), None),
    Row("proved", "Is it proved that the host before is well?", is_proved, ("source",), None),
)


def batches(playbook: Playbook, targets: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The hosts of each step. What only reads need not go one by one."""
    size = max(1, playbook.targets.serial) if playbook.effect == "change" else max(1, len(targets))
    return tuple(tuple(targets[first : first + size]) for first in range(0, len(targets), size))


def summed(results: Sequence[RunResult], hosts: Sequence[tuple[str, ...]], *, why: str = "") -> RunResult:
    """One result of the steps that were made, in order; `why` says what kept the next one from beginning."""
    if len(hosts) == 1 and not why:
        return results[0]
    last = results[-1]
    well = [names for names, one in zip(hosts, results, strict=False) if one.status == "successful"]
    unproved = list(well.pop()) if why and well and last.status == "successful" else []
    done = [name for names in well for name in names]
    left = [name for names in hosts[len(results) :] for name in names]
    status = last.status
    if status == "successful" and left:
        status = "failed"
    said = [why or last.why] if status != "successful" else []
    if status != "successful" and len(hosts) > 1:
        said = [f"stopped at {_names(hosts[len(results) - 1])}" + (f": {said[0]}" if said[0] else "")]
        said += [f"done: {_names(done)}"] if done else []
        said += [f"changed, and not proved: {_names(unproved)}"] if unproved else []
        said += [f"not touched: {_names(left)}"] if left else []
    return last.model_copy(
        update={
            "status": status,
            "rc": last.rc if status == last.status else None,
            "why": "; ".join(said),
            "stats": {host: stats for one in results for host, stats in one.stats.items()},
            "changes": tuple(change for one in results for change in one.changes),
            "not_previewable": tuple(task for one in results for task in one.not_previewable),
            "output": "\n".join(one.output for one in results if one.output)[:_MOST_TEXT],
            "diff": "\n".join(one.diff for one in results if one.diff)[:_MOST_TEXT],
            "started_at": results[0].started_at,
        }
    )


def may_live_until(steps: Sequence[Step], seconds: int, gone: str | None) -> datetime | None:
    """Until when a process of a run whose executor fell silent may still be at work; None: there is none.

    An executor that is only cut off goes on, and ends what takes longer than the playbook's `seconds`; `gone`: the
    data directory of which it is known that nothing is at work there.
    """
    begun = [step.begun_at for step in steps if step.result is None and step.instance != gone]
    return max(begun) + timedelta(seconds=seconds + _TO_BEGIN_AND_END) if begun else None


def picked_up(steps: Sequence[Step], hosts: Sequence[tuple[str, ...]], now: datetime) -> RunResult:
    """What can be said of a run whose executor died: its end where every word is there, else what is known."""
    results = [step.result for step in steps if step.result is not None]
    is_all_told = bool(steps) and len(results) == len(steps)
    if is_all_told and (len(steps) == len(hosts) or results[-1].status != "successful"):
        return summed(results, hosts)
    done = [name for step in steps if step.result is not None for name in step.hosts]
    unknown = [name for step in steps if step.result is None for name in step.hosts]
    left = [name for names in hosts[len(steps) :] for name in names]
    if not steps:
        why = "the executor died before its first process: nothing was touched, unless this database was restored since"
    elif unknown:
        why = f"the executor died in the middle of the run on {_names(unknown)}; what it did there is not known"
    else:
        why = f"the executor died between two hosts, after {_names(done)}"
    said = [why] + ([f"done: {_names(done)}"] if done and unknown else [])
    said += [f"not touched: {_names(left)}"] if left and steps else []
    return RunResult(
        status="interrupted",
        why="; ".join(said),
        stats={host: stats for one in results for host, stats in one.stats.items()},
        changes=tuple(change for one in results for change in one.changes),
        started_at=steps[0].begun_at if steps else now,
        ended_at=now,
    )


def _names(hosts: Sequence[str]) -> str:
    return ", ".join(hosts)
