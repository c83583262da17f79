"""What each process may know: the environment and the settings of the server, the planner and the executor.

Decides it from nothing: what is not named here does not reach a process (promise P9). One that was started by hand with
more in its environment begins again without it, so that nobody finds it in `/proc` either.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from receiver.adapters.embedder.settings import MemorySettings
from receiver.adapters.planner.settings import PlannerSettings
from receiver.config import Settings

_EVERYWHERE = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "NO_COLOR", "TERM",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "PYTHONDONTWRITEBYTECODE",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip
#: what only one of them may know: the planner pays the model, the executor is given credentials by systemd
_ONLY: dict[str, tuple[str, ...]] = {
    "plan": ("ANTHROPIC_API_KEY", "OPENAI_API_KEY"),
    "execute": ("CREDENTIALS_DIRECTORY",),
}
#: a unit of its own is given credentials of its own, and says by these where it runs
_OF_A_UNIT = (
    "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID", "PYTHONPATH",
    "VIRTUAL_ENV",
)  # fmt: skip
_AGAIN = "GITMEDIC_BEGUN_AGAIN"
_CREDENTIALS, _SOURCES = "GITMEDIC_CREDENTIALS", "GITMEDIC_SOURCES"


def environment(roles: str, settings: Settings, outer: Mapping[str, str]) -> dict[str, str]:
    """What a process of these roles (`serve`, `plan`, `execute`, some of them with a space) may know of `outer`."""
    names = roles.split()
    keys = [tier.key_env for tier in settings.planner.tiers.values()] if "plan" in names else []
    own = [name for role in names for name in _ONLY.get(role, ())]
    passed = {key: outer[key] for key in (*_EVERYWHERE, *own, *keys) if key in outer}
    strange = [_CREDENTIALS] if "execute" not in names else []
    if set(names) == {"execute"}:  # it asks no source, and their headers hold secrets
        strange.append(_SOURCES)
    ours = {key: value for key, value in outer.items() if key.startswith("GITMEDIC_")}
    return passed | {key: value for key, value in ours.items() if not key.upper().startswith(tuple(strange))}


def settings_of(roles: str, settings: Settings) -> Settings:
    """Without what another process alone has to read."""
    names = set(roles.split())
    mine = settings if "execute" in names else settings.without_credentials()
    if names == {"execute"}:
        quiet = tuple(source.model_copy(update={"headers": {}}) for source in mine.sources)
        return mine.model_copy(update={"sources": quiet, "planner": PlannerSettings(), "memory": MemorySettings()})
    if "plan" not in names:
        tiers = {
            name: tier.model_copy(update={"key_file": None, "key_env": ""}) for name, tier in mine.planner.tiers.items()
        }
        return mine.model_copy(update={"planner": mine.planner.model_copy(update={"tiers": tiers})})
    return mine


def shed(roles: str, settings: Settings) -> None:
    """Begin again without what is not ours, first of all; nothing happens when there is nothing."""
    kept = environment(roles, settings, os.environ)
    kept |= {name: os.environ[name] for name in _OF_A_UNIT if name in os.environ}
    # once: what a program before ours puts there each time anew would have no end
    if os.environ.pop(_AGAIN, None) is None and os.environ.keys() - kept.keys():
        kept[_AGAIN] = "1"
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], kept)  # noqa: S606 - ourselves, once more
