"""Programs that only look, word for word: with exactly these words a task counts as reading.

Decides nothing by pattern. One word more, one less or a template in their place, and the task counts as a change.
"""

from __future__ import annotations

from typing import Any

READING: frozenset[tuple[str, ...]] = frozenset(
    {
        ("systemctl", "list-units", "--state=failed", "--plain", "--no-legend", "--no-pager"),
        ("ss", "-Hlntu"),
        ("vtysh", "-c", "show bgp neighbors json"),
        # nothing is downloaded, unpacked or locked: what an upgrade would do, by the lists that are there
        ("apt-get", "--simulate", "--quiet", "-o", "Debug::NoLocking=1", "upgrade"),
    }
)


def only_looks(arguments: Any) -> bool:
    """Whether these are the arguments of a `command` that is on the list, and no more than its words."""
    if not isinstance(arguments, dict) or set(arguments) != {"argv"} or not isinstance(arguments["argv"], list):
        return False
    return tuple(arguments["argv"]) in READING if all(isinstance(one, str) for one in arguments["argv"]) else False
