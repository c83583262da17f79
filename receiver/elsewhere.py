"""`[places.<name>]`: repositories beside the catalog's that take run files, and the sites whose runs they take.

Decides that a site belongs to one place, that at most one place takes all sites that nobody names, and that a
repository is named once. Refuses what would leave two repositories with a say about one site.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

from receiver.adapters.forge.settings import ForgeSettings
from receiver.adapters.repo.settings import BRANCH, FOLDER
from receiver.domain.place import Routing

NAME = r"^[a-z0-9][a-z0-9-]{0,39}$"
#: of the list of sites: those that no other place names
OTHERS = "*"


class PlaceSettings(BaseModel):
    """A repository that takes the run files of some sites."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sites: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = Field(
        (), description='sites whose runs are proposed there; none, or `["*"]`: all that no other place names'
    )
    base: Annotated[str, Field(pattern=BRANCH, max_length=100)] = Field("main", description="its protected branch")
    prefix: Annotated[str, Field(pattern=FOLDER, max_length=100)] = Field(
        "", description="the folder of it in which run files lie; empty: its root"
    )
    url: str = Field(
        "", description="where an executor on another machine fetches it, as `repo.url`; when no forge has it"
    )
    forge: ForgeSettings = Field(
        ForgeSettings(),
        description="where its pull requests are reviewed, as `[forge]`; `gitmedic forge connect --place`",
    )

    @property
    def takes_others(self) -> bool:
        """Whether it takes what no other place names."""
        return not self.sites or OTHERS in self.sites


def check_places(catalog: ForgeSettings, places: Mapping[str, PlaceSettings]) -> None:
    """Raise `ValueError` where two places would take one site, or two of them are one repository."""
    takers: dict[str, str] = {}
    for name, place in places.items():
        for site in {OTHERS} if place.takes_others else place.sites:
            if takers.setdefault(site, name) != name:
                what = "all sites that no other names" if site == OTHERS else f"site {site!r}"
                raise ValueError(
                    f"places {takers[site]!r} and {name!r} both take {what}: a site's runs go to one of them"
                )
        if OTHERS in place.sites and len(place.sites) > 1:
            raise ValueError(f'place {name!r}: `"*"` stands alone: it takes all sites that no other place names')
    known = {_address(catalog): "the catalog's repository"} if catalog.is_remote else {}
    for name, place in places.items():
        there = known.setdefault(_address(place.forge), f"place {name!r}") if place.forge.is_remote else ""
        if there not in ("", f"place {name!r}"):
            raise ValueError(f"place {name!r} is {place.forge.url}, which is {there}: name a repository once")


def _checked(places: dict[str, PlaceSettings], info: ValidationInfo) -> dict[str, PlaceSettings]:
    """Beside the catalog's forge, which is read before them."""
    check_places(info.data.get("forge", ForgeSettings()) if info.data else ForgeSettings(), places)
    return places


Name = Annotated[str, Field(pattern=NAME)]
PlacesSettings = Annotated[dict[Name, PlaceSettings], AfterValidator(_checked)]


def routing_of(places: Mapping[str, PlaceSettings]) -> Routing:
    """Which site's runs go where."""
    named = {site: name for name, place in places.items() if not place.takes_others for site in place.sites}
    return Routing(named=named, rest=next((name for name, place in places.items() if place.takes_others), ""))


def realm_of(catalog: ForgeSettings, places: Mapping[str, PlaceSettings], name: str) -> str:
    """The name by which policy.yml knows the accounts of a place's forge: its kind, or with its host as well where
    another server of that kind is used. Numbers and logins are each server's own."""
    forge = places[name].forge
    servers = {
        one.host.lower() for one in (catalog, *(place.forge for place in places.values())) if one.kind == forge.kind
    }
    is_catalogs = (forge.kind, forge.host.lower()) == (catalog.kind, catalog.host.lower())
    return forge.kind if len(servers) == 1 or is_catalogs else f"{forge.kind}:{forge.host.lower().partition('://')[2]}"


def _address(forge: ForgeSettings) -> str:
    """Forges tell neither the host's nor the repository's letters apart."""
    return forge.url.lower()
