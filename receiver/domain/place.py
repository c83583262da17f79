"""Where run files go: which repository takes the runs of which site.

Decides that a site belongs to one place, and that what nobody names goes to the catalog's own repository unless a
place takes all others. Places are known by the settings' name for them; the empty name is the catalog's repository.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from receiver.domain.record import Record


class Routing(Record):
    """The settings' word on where a site's runs are proposed."""

    named: Mapping[str, str] = {}  #: site → name of its place
    rest: str = ""  #: where all other sites' runs go

    def place_of(self, site: str) -> str:
        """The name of this site's place."""
        return self.named.get(site, self.rest)

    def places_of(self, sites: Iterable[str]) -> tuple[str, ...]:
        """The names of the places of these sites; of no site, where all others go."""
        return tuple(sorted({self.place_of(site) for site in sites} or {self.rest}))

    def misplaced(self, sites: Iterable[str], place: str) -> str | None:
        """Why a run on these sites has nothing to do in this place; None where it belongs there.

        A repository has a say only about the sites that the settings give to it: who may merge there may not run
        anything anywhere else.
        """
        known = sorted(set(sites))
        wanted = self.places_of(known)
        if wanted == (place,):
            return None
        meant = " and ".join(called(name) for name in wanted)
        return f"runs of site {', '.join(known)} belong to {meant}, and this one is in {called(place)}"


def key_of(place: str, repository: str) -> str:
    """One name for a repository among all of ours: two forges may both call one of theirs number 7."""
    return f"{place}/{repository}" if place else repository


def called(place: str) -> str:
    """A place in words."""
    return f"place {place!r}" if place else "the catalog's repository"
