"""`gitmedic approve` and `gitmedic reject`: a person's word at a terminal (rule S9).

Decides nothing by itself: what is approved is shown, its digest is typed, and `receiver.doors` does the rest,
as it does for the pages.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from receiver.cli.cases import resolve
from receiver.cli.command import clean, command, line, lines, run_async, say, show
from receiver.cli.open import existing, office
from receiver.errors import Refused

if TYPE_CHECKING:
    from receiver.domain.case import Proposed

Sign = Annotated[
    Path | None,
    typer.Option("--sign", metavar="KEY", help="Sign with this key, or this public key of an agent."),
]
Given = Annotated[Path | None, typer.Option("--signature", metavar="FILE", help="A signature made elsewhere.")]
Text = Annotated[bool, typer.Option("--text", help="Only print what is signed.")]
Id = Annotated[str, typer.Argument(metavar="CASE", help="Number or id, as `gitmedic case list` shows it.")]
SHORT = 12


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @command(app, "approve")
    def approve(case: Id, sign: Sign = None, signature: Given = None, text: Text = False) -> None:
        """Approve the proposal of a case, and merge it once that is enough. Asks for its short digest.

        From risk high it takes an ssh signature by a key that policy.yml names for you: made here with `--sign KEY`,
        or elsewhere over what `--text` prints, with: ssh-keygen -Y sign -n gitmedic-approval -f KEY
        """
        run_async(_print_text(case) if text else _approve(case, sign, signature))

    @command(app, "reject")
    def reject(case: Id, why: Annotated[str, typer.Option("--why", help="Written on the proposal.")] = "") -> None:
        """Close the proposal of a case; nothing will run."""
        run_async(_reject(case, why))


async def _print_text(case: str) -> None:
    async with office() as opened:
        case = await resolve(opened.store.archive, case)
        text = await opened.doors.to_sign(case)
    show({"schema": 1, "text": text}, lambda: lines(text.splitlines()))


async def _approve(case: str, sign: Path | None, signature: Path | None) -> None:
    from receiver.cli.people import at_terminal, typed

    doing = f"approving case {case}"
    found = existing()
    async with office() as opened:
        person = at_terminal(await opened.doors.policy(), found, doing)
        case = await resolve(opened.store.archive, case)
        proposed = await _proposed(opened, case, doing)
        _say_all(proposed)
        typed(proposed.proposal.sha256[:SHORT], doing)
        signed = await _signature(opened, case, sign, signature)
        data = await opened.doors.approve(
            case, head_sha=proposed.proposal.head_sha, person=person, via="terminal", signature=signed
        )
    show(data, lambda: line(f"case {case}: approved by {person.name}"))
    say(f"next: gitmedic case watch {case}")


async def _signature(opened: Any, case: str, sign: Path | None, given: Path | None) -> str:
    """Made here by ssh-keygen, which asks for the passphrase itself, or read from a file."""
    if given is not None:
        return _read(given)
    if sign is None:
        return ""
    from receiver.adapters.signature.sshsig import signed_by
    from receiver.domain.quorum import NAMESPACE

    return signed_by(sign, await opened.doors.to_sign(case), NAMESPACE)


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")[:20_000]
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(
            f"reading the signature {str(file)!r}: {error}", next_step="name the file that ssh-keygen wrote"
        ) from None


async def _reject(case: str, why: str) -> None:
    from receiver.cli.people import at_terminal

    async with office() as opened:
        person = at_terminal(await opened.doors.policy(), existing(), f"rejecting case {case}")
        case = await resolve(opened.store.archive, case)
        data = await opened.doors.reject(case, person=person, via="terminal", why=why)
    show(data, lambda: line(f"case {case}: rejected by {person.name}"))


async def _proposed(opened: Any, case: str, doing: str) -> Proposed:
    from receiver.domain.case import Proposed

    stored = await opened.store.archive.stored(case)
    if isinstance(stored, Proposed):
        return stored
    raise Refused(
        f"{doing}: it is {stored.kind if stored else 'unknown'}, no open proposal",
        next_step=f"gitmedic case show {case}" if stored else "gitmedic case list",
        reason="not_proposed" if stored else "unknown_case",
    )


def _say_all(case: Proposed) -> None:
    """What the person is about to approve, in full."""
    run, last = case.runfile, case.rehearsals[-1].result
    about = f"{case.alert.name} on {case.entity.name if case.entity else 'nothing known'}" if case.alert else ""
    for name, value in (
        ("alert", about or f"none: dispatched by {case.requested_by}"),
        ("playbook", f"{run.playbook}, risk {case.risk}"),
        ("targets", ", ".join(run.targets)),
        *((f"  {name}", str(value)) for name, value in run.params.items()),
        ("reason", run.reason),
        ("why", case.plan.why),
        ("dry run", f"{last.status}, {len(last.changes)} would change, {len(last.not_previewable)} unknown"),
        *(("  change", change) for change in last.changes),
        ("expires", f"{run.expires_at:%Y-%m-%d %H:%M} UTC"),
        ("page", case.proposal.url),
    ):  # fmt: skip
        say(f"{name:<10} {clean(value)}")
