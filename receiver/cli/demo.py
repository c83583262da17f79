"""`gitmedic demo`: four real incidents in one directory that can be forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from receiver.cli.command import command, given, line, run_async, say, show, working

if TYPE_CHECKING:
    from receiver.demo.rig import Rig

Auto = Annotated[
    bool, typer.Option("--auto", help="Break, approve and wait by itself; exit 0 only if all end as named.")
]
Clean = Annotated[bool, typer.Option("--clean", help="Remove the demo: the one just played, or all that do not run.")]
Simulated = Annotated[
    bool, typer.Option("--simulated", help="Do not use Prometheus and Alertmanager, even if they are here.")
]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "demo")
    def demo(auto: Auto = False, clean: Clean = False, simulated: Simulated = False) -> int:
        """Try it: real files, a real process, real Ansible, git, Prometheus and Alertmanager."""
        from receiver.demo import rig

        if clean and not auto:
            removed = rig.clean(say)
            show({"removed": removed}, lambda: line(f"{removed} removed"))
            return 0
        if not auto:
            return int(run_async(_by_hand(simulated)))
        ended, place = run_async(_auto(simulated))
        if clean:
            rig.clean(say, only=place)
        return int(ended)


async def _auto(simulated: bool) -> tuple[int, Path]:
    from receiver.demo import cards, rig

    async with rig.running(simulated=simulated, say=say, cards=cards.told()) as running:
        with working("four incidents, side by side: some 30 seconds"):
            results = await cards.play_all(running)
    for result in results:
        show(result, lambda result=result: line(_text(result)))  # type: ignore[misc]
    good = [result["outcome"] == card.outcome for result, card in zip(results, cards.CARDS, strict=True)]
    if not all(good):
        say(f"not all ended as they should; the logs are in {running.place}")
    return (0 if all(good) else 1), running.place


def _text(result: dict[str, Any]) -> str:
    return f"{result['card']:<8} {result['outcome']:<10} {result['seconds']:>5} s  {result['case'] or ''}"


async def _by_hand(simulated: bool) -> int:
    import asyncio

    from receiver.demo import cards, rig
    from receiver.starter import os_user
    from receiver.wiring.process import stop_on_signals

    stop = stop_on_signals()
    async with rig.running(simulated=simulated, say=say, cards=cards.told()) as running:
        secret = await running.office.store.access.create_setup_link(os_user())
        link = f"{running.url}/setup?t={secret}"
        show({"url": link, "data_dir": str(running.settings.data_dir)}, lambda: _invite(link, running))
        asks = asyncio.create_task(cards.serve_asks(running))
        try:
            await _listen(running, stop)
        finally:
            asks.cancel()
            await asyncio.gather(asks, return_exceptions=True)
    say("the demo has ended; forget it with: gitmedic demo --clean")
    return 0


def _invite(link: str, running: Rig) -> None:
    from receiver.demo.cards import CARDS

    line(f"Open   {link}   (good once)")
    line("Break something there and watch its case appear; or here, by a number and Enter:")
    for number, card in enumerate(CARDS, 1):
        line(f"  {number}  {card.title}")
    line("Ctrl-C ends the demo.")


async def _listen(running: Rig, stop: Any) -> None:
    """Numbers from the terminal; without one, only the end is waited for."""
    import asyncio
    import sys

    from receiver.demo.cards import CARDS

    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue()
    is_terminal = sys.stdin.isatty() and not given().json
    if is_terminal:
        loop.add_reader(sys.stdin, lambda: lines.put_nowait(sys.stdin.readline()))
    try:
        while not stop.is_set():
            waits = [asyncio.create_task(lines.get()), asyncio.create_task(stop.wait())]
            done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            text = waits[0].result().strip() if waits[0] in done else ""
            if text.isdigit() and 1 <= int(text) <= len(CARDS):
                card = CARDS[int(text) - 1]
                await asyncio.to_thread(card.break_it, running.place)
                say(f"{card.title}: done; the alert {card.alert} comes in a few seconds")
            elif text:
                say(f"{text!r} is none of 1 to {len(CARDS)}")
    finally:
        if is_terminal:
            loop.remove_reader(sys.stdin)
