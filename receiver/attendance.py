"""Roll call of the executors: whether each site of the inventory has one that lives, and who is told when not.

Decides only whom to ask about. A person is told once when a site loses its last executor, and once when it is back.
"""

from __future__ import annotations

from receiver.ports import Notifier, Outage, Repo, Sites


async def roll_call(repo: Repo, sites: Sites, notifier: Notifier) -> None:
    """Look after every site that has hosts; what waits there for an executor says so by itself."""
    revision = await repo.revision(await repo.adopted())
    names = {host.site for host in revision.inventory.hosts.values()}
    for outage in await sites.look(names):
        subject = f"site {outage.site} has an executor again" if outage.is_over else said(outage)
        text = "what waited there goes on" if outage.is_over else f"nothing runs there until one is back: {COMMAND}"
        await notifier.tell(subject, text.format(outage.site))


#: what brings an executor back
COMMAND = "gitmedic work --role execute --site {}"


def said(outage: Outage) -> str:
    """One sentence about an outage."""
    return f"no executor for site {outage.site!r} since {outage.since:%Y-%m-%d %H:%M} UTC"
