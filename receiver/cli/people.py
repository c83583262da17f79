"""Who sits at the terminal, and whether they may decide there (rule S9).

Decides that a word at a terminal needs a terminal, an OS user who owns the data directory, and that user's
name in policy.yml. Refuses where a run could type it: on machines whose runs are not isolated.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from receiver.errors import Refused

if TYPE_CHECKING:
    from receiver.config import Settings
    from receiver.domain.policyfile import Person, Policy


def at_terminal(policy: Policy, settings: Settings, doing: str) -> Person:
    """The person behind this terminal, who may give their word here."""
    from receiver.starter import os_user

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Refused(
            f"{doing}: a person's word needs a terminal, and this is none",
            next_step="run it at a terminal, or decide on the page of the proposal",
            reason="not_a_terminal",
        )
    if policy.isolation_none_allowed and not settings.demo:
        site = policy.isolation_none_allowed[0]
        raise Refused(
            f"{doing}: runs at site {site!r} may go without isolation, so a terminal proves nobody",
            next_step="decide on the page of the proposal: gitmedic link",
            reason="not_isolated",
        )
    name = os_user()
    person = next((person for person in policy.people if name in person.os), None)
    if person is None:
        raise Refused(
            f"{doing}: OS user {name!r} is nobody in policy.yml",
            next_step=f"add `os: [{name}]` to a person of `people` in policy.yml, and have that merged",
            reason="unknown_person",
        )
    return person


def typed(expected: str, doing: str) -> None:
    """Ask for the short digest; anything else is a no."""
    sys.stderr.write(f"type {expected} to go on: ")
    sys.stderr.flush()
    said = sys.stdin.readline().strip()
    if said != expected:
        raise Refused(
            f"{doing}: {said!r:.40} was typed, not {expected}; nothing was done",
            next_step="read it again, then give the command again",
            reason="not_typed",
        )


def named(policy: Policy, name: str) -> Person:
    """A person of policy.yml by name; without a name, the one whose OS user asks."""
    from receiver.starter import os_user

    wanted = name or os_user()
    for person in policy.people:
        if wanted == person.name or (not name and wanted in person.os):
            return person
    known = ", ".join(person.name for person in policy.people) or "nobody"
    raise Refused(
        f"looking for {wanted!r} in policy.yml: `people` has {known}",
        next_step="gitmedic link NAME, or add the person to policy.yml",
        reason="unknown_person",
    )
