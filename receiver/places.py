"""The repositories that take run files, each with the forge around it, and which one is meant.

Decides that a proposal is only ever dealt with in the repository that it was made in, by name and by the forge's own
number of it: what is asked of a place that is not there any more is refused with what helps, and asked of no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from receiver.domain.forge import Account, bot_account
from receiver.domain.place import Routing, called, key_of
from receiver.domain.proposal import Proposal
from receiver.errors import Refused
from receiver.ports import Branches, Forge, Hosting, ReviewDesk

#: the repository of what cannot be reached
_NOWHERE = "nowhere"


@dataclass(frozen=True)
class Place:
    """One repository that takes run files."""

    branches: Branches
    forge: Forge
    hosting: Hosting
    review: ReviewDesk
    name: str = ""  #: in the settings; empty: the catalog's own repository
    repository: str = "local"  #: the forge's own number of it
    base: str = "main"  #: its protected branch
    prefix: str = ""  #: the folder of it in which run files lie
    bot: Account = field(default_factory=bot_account)  #: our own account there

    @property
    def key(self) -> str:
        """The repository among all of ours."""
        return key_of(self.name, self.repository)

    @property
    def is_open(self) -> bool:
        """Whether it answers at all."""
        return self.repository != _NOWHERE


@dataclass(frozen=True)
class Places:
    """All of them, and which takes what."""

    main: Place  #: the catalog's own repository
    others: Mapping[str, Place] = field(default_factory=dict)
    routing: Routing = field(default_factory=Routing)

    @property
    def all(self) -> tuple[Place, ...]:
        """The catalog's first."""
        return (self.main, *self.others.values())

    def named(self, name: str) -> Place:
        """By the settings' name; one that is not there refuses whatever it is asked."""
        if not name:
            return self.main
        return self.others.get(name) or gone(name, _not_there(name))

    def of(self, proposal: Proposal) -> Place:
        """Where this one was made."""
        place = self.named(proposal.place)
        if proposal.repository and place.is_open and place.repository != proposal.repository:
            return gone(proposal.place, _another(proposal, place))
        return place

    def of_sites(self, sites: Iterable[str]) -> Place:
        """Where a run on these sites is proposed."""
        sites = sorted(set(sites))
        names = self.routing.places_of(sites)
        if len(names) != 1:
            raise Refused(
                f"proposing one run for the sites {', '.join(sites)}: their runs belong to "
                f"{' and '.join(called(name) for name in names)}",
                next_step="dispatch it once for each",
                reason="place",
            )
        return self.named(names[0])


def gone(name: str, why: Refused) -> Place:
    """What stands where a place cannot be reached: it refuses everything, and nothing goes anywhere else."""
    refuses: Any = _Refuses(why)
    return Place(
        branches=refuses, forge=refuses, hosting=refuses, review=refuses, name=name, repository=_NOWHERE,
    )  # fmt: skip


class _Refuses:
    """Every role of a place at once."""

    name = _NOWHERE

    def __init__(self, why: Refused) -> None:
        self._why = why

    def __getattr__(self, name: str) -> Any:
        async def refuse(*_: object, **__: object) -> NoReturn:
            raise Refused(self._why.message, next_step=self._why.next_step, reason=self._why.reason)

        return refuse


def _not_there(name: str) -> Refused:
    return Refused(
        f"asking about a proposal in place {name!r}: the settings name no such place any more",
        next_step=f"write [places.{name}] into gitmedic.toml again until what is proposed there is decided, or let it "
        "expire",
        reason="place",
    )


def _another(proposal: Proposal, place: Place) -> Refused:
    return Refused(
        f"asking about pull request {proposal.number} of repository {proposal.repository}: {called(proposal.place)} is "
        f"repository {place.repository} now",
        next_step="connect the repository that it was made in again, or let it expire",
        reason="place",
    )
