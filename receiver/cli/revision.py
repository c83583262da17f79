"""`gitmedic revision`: what is in force, what is not yet, and putting it in force (rule S4).

Decides that acceptance at a terminal is a person's word over the digest of exactly this change. Where policy.yml lets
several people approve as far as anybody may, it takes two of them; where a forge's reviews are counted, none.
"""

from __future__ import annotations

import typer

from receiver.cli.command import clean, command, field, group, line, lines, run_async, say, show
from receiver.cli.decide import SHORT
from receiver.cli.open import existing, office
from receiver.errors import Refused


def register(app: typer.Typer) -> None:
    """Add the commands."""
    revision = group("revision", "The revision of playbooks, inventory, prompts and policy in force.")
    app.add_typer(revision)

    @command(revision, "show")
    def show_revision() -> None:
        """Which commit is in force, and how many are not yet."""
        run_async(_show())

    @command(revision, "diff")
    def diff() -> None:
        """What would change if the newest commit were put in force."""
        run_async(_diff())

    @command(revision, "accept")
    def accept() -> None:
        """Put the newest commit in force. Asks for the short digest of the change."""
        run_async(_accept())


async def _show() -> None:
    async with office() as opened:
        adopted, tip = await opened.repo.adopted(), await opened.repo.tip()
        pending = await opened.repo.pending(adopted)
    data = {
        "schema": 1, "adopted": adopted, "tip": tip,
        "pending": [one.model_dump(mode="json") for one in pending],
    }  # fmt: skip

    def text() -> None:
        field("in force", adopted)
        field("newest", tip)
        for one in pending:
            field("not yet", f"{one.commit[:12]} {one.subject} ({one.author})")

    show(data, text)
    if pending:
        say(f"{len(pending)} commits not adopted; next: gitmedic revision diff")


async def _diff() -> None:
    async with office() as opened:
        old, new = await opened.repo.adopted(), await opened.repo.tip()
        text, digest = await opened.repo.diff(old, new), await opened.repo.digest(old, new)
    data = {"schema": 1, "old": old, "new": new, "digest": digest, "diff": text}
    show(data, lambda: lines(clean(row, 4000) for row in text.splitlines()))
    say(f"digest {digest[:SHORT]}; next: gitmedic revision accept" if text else "nothing to adopt")


async def _accept() -> None:
    from receiver.cli.people import at_terminal, typed

    async with office() as opened:
        old, new = await opened.repo.adopted(), await opened.repo.tip()
        doing = f"putting {new[:12]} in force"
        pending = await opened.repo.pending(old)
        if not pending:
            raise Refused(f"{doing}: nothing in it needs adoption", reason="nothing_pending")
        policy = await opened.doors.policy()
        person = at_terminal(policy, existing(), doing)
        await opened.repo.revision(new)  # what cannot be read is not put in force
        digest = await opened.repo.digest(old, new)
        for one in pending:
            say(f"  {one.commit[:12]} {clean(one.subject)} ({clean(one.author)})")
        say(f"from {old[:12]} to {new[:12]}; all of it: gitmedic revision diff")
        typed(digest[:SHORT], doing)
        lacking = await opened.doors.accept_revision(old=old, new=new, digest=digest, person=person, via="terminal")
    data = {"schema": 1, "adopted": old if lacking else new, "old": old, "new": new, "digest": digest}
    show(data | {"lacking": lacking}, lambda: line(lacking or f"{new} is in force"))
