"""Exit codes, which scripts rely on: which end of a command has which number."""

from __future__ import annotations

from enum import IntEnum

from receiver.errors import GitmedicError, Invalid, Refused, Retry


class Code(IntEnum):
    """The numbers, and what each means."""

    OK = 0
    FAILED = 1
    USAGE = 2
    CONFIG = 3
    UNREACHABLE = 4
    REFUSED = 5
    NOT_VERIFIED = 6
    LOCKED = 7
    TIMEOUT = 124
    INTERRUPTED = 130
    TERMINATED = 143


MEANING = {
    Code.OK: "done",
    Code.FAILED: "a run or a check failed, or a bug of gitmedic (the message says which)",
    Code.USAGE: "the command line was not understood, or names something that is not there",
    Code.CONFIG: "a setting is wrong, or the data directory or the address cannot be used",
    Code.UNREACHABLE: "the database, the server or a source did not answer, or did not let us in",
    Code.REFUSED: "refused: by policy, by a limit, or because somebody else was first",
    Code.NOT_VERIFIED: "the run ended, and the alert's own expression does not prove the fix",
    Code.LOCKED: "somebody else holds it: a host's lock, or the data directory",
    Code.TIMEOUT: "it did not end in the time that was given",
    Code.INTERRUPTED: "interrupted (Ctrl-C); `up` has ended cleanly",
    Code.TERMINATED: "ended by SIGTERM; `up` has ended cleanly",
}

EPILOG = "Exit codes: " + " · ".join(
    f"{code.value} {text}"
    for code, text in {
        Code.OK: "done",
        Code.FAILED: "failed run or check",
        Code.USAGE: "usage",
        Code.CONFIG: "settings",
        Code.UNREACHABLE: "not reachable",
        Code.REFUSED: "refused by policy",
        Code.NOT_VERIFIED: "not verified",
        Code.LOCKED: "locked",
        Code.TIMEOUT: "timeout",
        Code.INTERRUPTED: "interrupted",
        Code.TERMINATED: "terminated",
    }.items()
)

_BY_REASON = {
    "second_owner": Code.LOCKED,
    "locked": Code.LOCKED,
    "name_taken": Code.LOCKED,
    "seat_lost": Code.LOCKED,
    **dict.fromkeys(
        ("listen", "config", "data_dir", "not_enterable", "newer_data", "newer_database", "older_database",
         "changed_migration", "initdb", "postgres", "instance"),
        Code.CONFIG,
    ),
    **dict.fromkeys(
        ("invalid", "scope", "filter", "cursor", "unknown_case", "unknown_playbook", "unknown_run", "unknown_schedule",
         "unknown_host",
         "not_a_terminal"),
        Code.USAGE,
    ),
    "child": Code.FAILED,
    "settings": Code.CONFIG,
}  # fmt: skip


class SettingsInvalid(Invalid):
    """The settings cannot be used: exit code 3, wherever the reading took place."""

    def __init__(self, cause: Invalid) -> None:
        super().__init__(cause.message, next_step=cause.next_step)
        self.reason = "settings"


def is_database(error: BaseException) -> bool:
    """Whether a driver's own error came through; told by its module, since the driver is slow to import."""
    passing = {"OperationalError", "PoolTimeout", "PoolClosed"}
    known = type(error).__module__.startswith("psycopg")
    return known and any(kind.__name__ in passing for kind in type(error).__mro__)


def code_of(error: BaseException) -> Code:
    """The number for an error that ended a command."""
    if isinstance(error, Refused):
        return _BY_REASON.get(error.reason, Code.REFUSED)
    if isinstance(error, TimeoutError):
        return Code.TIMEOUT
    if (
        is_database(error)
        or isinstance(error, Retry)
        or (isinstance(error, OSError) and not isinstance(error, GitmedicError))
    ):
        return Code.UNREACHABLE
    return Code.FAILED
