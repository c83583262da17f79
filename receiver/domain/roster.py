"""Changes of the inventory as files: one host more, one host less.

Decides that a new host gets a file of its own, so that nobody's comments are touched, and that a host is taken out by
its own lines. Refuses a name that is there already, and a removal after which another host would be another.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml

from receiver.domain.inventory import Inventory, is_read, read_inventory
from receiver.errors import Conflict, Invalid, Refused

#: what may be said of a new host here; all else is written in the work tree
_SAID = {"address": str, "port": int, "user": str, "site": str, "jump": list, "match": list}
_WORDS = {str: "text", int: "a whole number", list: "a list of texts"}


class Change(NamedTuple):
    """A file of the inventory, and what it says then; None: it goes."""

    path: str
    content: bytes | None


def enlisted(inventory: Inventory, name: str, said: Mapping[str, Any]) -> Change:
    """The file that adds this host. `said`: address, port, user, site, jump, match; nothing else is taken."""
    if name in inventory.hosts:
        raise Conflict(f"adding host {name!r:.80}: it is in the inventory already", next_step="gitmedic hosts list")
    unknown = sorted(set(said) - set(_SAID))
    if unknown:
        raise Invalid(f"adding host {name!r:.80}: {unknown[0]!r:.80} is not one of {', '.join(sorted(_SAID))}")
    for key, value in said.items():
        _check_kind(f"adding host {name!r:.80}", key, value)
    variables: dict[str, Any] = {"ansible_host": said.get("address") or name}
    variables |= {f"ansible_{key}": said[key] for key in ("port", "user") if said.get(key)}
    own: dict[str, Any] = {"site": said.get("site") or "home"}
    own |= {key: list(said[key]) for key in ("jump", "match") if said.get(key)}
    hosts: dict[str, Any] = {name: {**variables, "gitmedic": own}}
    change = Change(f"inventory/hosts/{name}.yml", _yaml(hosts))
    jumps = {hop: {"ansible_connection": inventory.hosts[hop].connection, "gitmedic": {"jump": [
        *inventory.hosts[hop].jump]}} for hop in own.get("jump", ()) if hop in inventory.hosts}  # fmt: skip
    read_inventory({change.path: _yaml(hosts | jumps)})
    return change


def _check_kind(doing: str, key: str, value: Any) -> None:
    """What the other side says may be of any kind; None says nothing."""
    kind = _SAID[key]
    fits = isinstance(value, kind) and not isinstance(value, bool)
    if kind is list and fits:
        fits = all(isinstance(one, str) for one in value)
    if value is not None and not fits:
        raise Invalid(
            f"{doing}: {key} is {value!r:.80}, and must be {_WORDS[kind]}", next_step="gitmedic hosts add --help"
        )


def _yaml(hosts: Mapping[str, Any]) -> bytes:
    return yaml.safe_dump({"all": {"hosts": dict(hosts)}}, sort_keys=False).encode()


def struck(files: Mapping[str, bytes], name: str) -> Change:
    """The file without this host; raises `Refused` where a person has to take it out by hand."""
    before = read_inventory(files)
    if name not in before.hosts:
        raise Refused(
            f"removing host {name!r}: it is not in the inventory",
            next_step="gitmedic hosts list", reason="unknown_host",
        )  # fmt: skip
    bearing = [host.name for host in before.hosts.values() if name in host.jump]
    if bearing:
        raise Refused(
            f"removing host {name!r}: {bearing[0]} is reached by way of it",
            next_step=f"change `jump` of {bearing[0]} first", reason="invalid",
        )  # fmt: skip
    read = [path for path in sorted(files) if is_read(path)]
    places = [path for path in read if _spans(files[path], name, path)]
    by_hand = Refused(
        f"removing host {name!r}: it stands in {' and '.join(places) or 'variables only'}",
        next_step="take it out by hand in the work tree", reason="by_hand",
    )  # fmt: skip
    if len(places) != 1 or len(_spans(files[places[0]], name, places[0])) != 1:
        raise by_hand
    path = places[0]
    first, last = _spans(files[path], name, path)[0]
    lines = files[path].decode().splitlines(keepends=True)
    change = Change(path, "".join(lines[:first] + lines[last:]).encode())
    if path == f"inventory/hosts/{name}.yml":
        change = Change(path, None)
    rest = {one: content for one, content in files.items() if one != path}
    try:
        after = read_inventory(rest if change.content is None else {**rest, path: change.content})
    except Invalid:
        raise by_hand from None
    _check_others(before, after, name)
    return change


def patch(files: Mapping[str, bytes], change: Change) -> str:
    """The change as `git apply` takes it."""
    old = files[change.path].decode() if change.path in files else ""
    new = change.content.decode() if change.content is not None else ""
    head = f"diff --git a/{change.path} b/{change.path}\n"
    if change.path not in files:
        head += "new file mode 100644\n"
    if change.content is None:
        head += "deleted file mode 100644\n"
    names = (
        f"a/{change.path}" if change.path in files else "/dev/null",
        f"b/{change.path}" if change.content is not None else "/dev/null",
    )
    body = difflib.unified_diff(old.splitlines(keepends=True), new.splitlines(keepends=True), *names)
    return head + "".join(part if part.endswith("\n") else f"{part}\n\\ No newline at end of file\n" for part in body)


def _spans(content: bytes, name: str, path: str) -> list[tuple[int, int]]:
    """Lines [first, last) of each place where a group's `hosts` has this name."""
    found: list[tuple[int, int]] = []

    def walk(node: yaml.Node | None, is_hosts: bool) -> None:
        if not isinstance(node, yaml.MappingNode):
            return
        for key, value in node.value:
            if is_hosts and key.value == name:
                # a block ends where the next one begins, whatever stands between
                last = value.end_mark.line + (1 if value.end_mark.column > key.start_mark.column else 0)
                found.append((key.start_mark.line, max(last, key.start_mark.line + 1)))
            elif not is_hosts:
                walk(value, key.value == "hosts")

    try:
        walk(yaml.compose(content.decode(), Loader=yaml.SafeLoader), False)
    except (yaml.YAMLError, ValueError) as error:
        raise Invalid(
            f"its lines cannot be told apart: {' '.join(str(error).split())[:200]}", where=path,
            next_step="take the host out by hand in the work tree",
        ) from error  # fmt: skip
    return found


def _check_others(before: Inventory, after: Inventory, name: str) -> None:
    kept = {one: host for one, host in before.hosts.items() if one != name}
    if kept != after.hosts:
        raise Refused(
            f"removing host {name!r}: other hosts would change, or it stands in other places, too",
            next_step="take it out by hand in the work tree", reason="by_hand",
        )  # fmt: skip
