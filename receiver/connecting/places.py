"""Connecting a place beside the catalog's repository, and leaving it again.

Decides that such a repository takes run files and nothing else: it is taken as it is, or begun with one commit when it
is empty; the catalog's history never goes there. Refuses to leave proposals behind, a site that another place takes,
and a repository that is a place already.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from typing import Any

from pydantic import ValidationError

from receiver.adapters.forge.realm import in_realm
from receiver.adapters.repo import branches, claims, mirror, moving, objects, upstream
from receiver.adapters.repo.creation import become_mirror, begin_base, create_mirror
from receiver.adapters.repo.process import Git
from receiver.adapters.repo.upstream import Access, access_to
from receiver.config import Settings
from receiver.connecting import acts, checks, tomlfile
from receiver.connecting.acts import Connected
from receiver.connecting.checks import Say
from receiver.connecting.wish import Wish, secret_of, wished
from receiver.elsewhere import NAME, PlaceSettings, check_places, realm_of
from receiver.errors import Refused
from receiver.forges import ForgeGit, dialect_of
from receiver.starter import database


async def connect(settings: Settings, wish: Wish, say: Say) -> Connected:
    """Check everything, then let runs of these sites be proposed there. The same again is harmless."""
    if settings.demo:
        raise Refused("connecting a place: this is a demo", next_step="gitmedic init DIR", reason="data_dir")
    name, known = wish.place, settings.places.get(wish.place, PlaceSettings())
    place = _wished(settings, known, wish)
    settings = _with(settings, name, place)
    forge = wished(settings.at(name), wish)
    beside = _with(settings, name, place.model_copy(update={"forge": forge}))
    realm = realm_of(settings.forge, beside.places, name)
    checks.check_same(known.forge, forge, place=name)
    secret, text = secret_of(forge, wish), _text(settings)
    tomlfile.check_writable(settings.file)
    _rewritten(text, wish, place, {})
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(database(settings))
        own = await checks.ours(settings, dsn, name)
        dialect = in_realm(dialect_of(forge, place.base, secret), realm)
        stack.push_async_callback(dialect.aclose)
        await stack.enter_async_context(checks.advised(wish))
        account = await dialect.account()
        checks.check_account(account, own.policy, wish)
        say(f"the token is {account.login!r}'s, number {account.id}")
        rights = await dialect.rights()
        if not (wish.base or name in _named(text)):
            place = place.model_copy(update={"base": rights.default_branch or place.base})
        checks.check_rights(rights, forge, place.base, wish)
        checks.check_same(known.forge, forge, rights, name)
        if (known.forge.kind, known.forge.repository) != (forge.kind, rights.repository):
            checks.check_decided(own, f"connecting {forge.url} as place {name!r}")
        say(f"the repository is {rights.full_name}, number {rights.repository}")
        forge = checks.as_written(forge, rights, {})
        there = _with(settings, name, place.model_copy(update={"forge": forge})).at(name)
        access = await access_to(ForgeGit(forge, dialect))
        is_empty = await asyncio.to_thread(_look, settings, access, place.base)
        plan = await checks.plan_hook(settings, forge, dialect, wish, rights.repository)
        # from here on things change
        history, carried = await asyncio.to_thread(_move, there, access, is_empty, name)
        _told(there, access, history, carried, say)
        acts.keep_typed(settings, wish, say)
        forge, steps = await acts.listen(there, forge, dialect, plan, say, name)
        forge = forge.model_copy(update={"poll_seconds": acts.interval(known.forge, plan, steps)})
        tomlfile.write(settings.file, _rewritten(text, wish, place, acts.written(forge)))
        say(f"[places.{name}] is written to {settings.file}")
        said = Connected(
            kind=forge.kind, url=forge.url, repository=forge.repository, account=forge.account, login=forge.login,
            place=name, history=history, claims=carried, pending=0, poll_seconds=forge.poll_seconds,
            webhook="" if steps or not plan.address else plan.address,
        )  # fmt: skip
        return await acts.judged(there, said, dialect, own, steps, realm)


async def disconnect(settings: Settings, name: str, say: Say) -> dict[str, Any]:
    """Its sites' runs go to the catalog's repository again, or to the place that takes all others."""
    if name not in settings.places:
        raise Refused(
            f"disconnecting place {name!r}: the settings name no such place",
            next_step="gitmedic forge show lists them",
            reason="place",
        )
    there = settings.at(name)
    fresh = tomlfile.without_table(_text(settings), ("places", name))
    tomlfile.check_writable(settings.file)
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(database(settings))
        checks.check_decided(await checks.ours(settings, dsn, name), f"disconnecting place {name!r}")
        fetched = hook_deleted = False
        if there.forge.is_remote and there.repo.path.exists():
            fetched, hook_deleted = await acts.take_leave(there, say)
        tomlfile.write(settings.file, fresh)
        say(f"[places.{name}] is taken out of {settings.file}; its run files and claims stay in {there.repo.path}")
    return {"schema": 1, "disconnected": there.forge.url, "fetched": fetched, "hook_deleted": hook_deleted}


def _wished(settings: Settings, known: PlaceSettings, wish: Wish) -> PlaceSettings:
    """The place as it would be written, but for its forge."""
    said = known.model_dump(exclude={"forge"}) | {"forge": known.forge}
    said |= {"sites": wish.sites} if wish.sites else {}
    said |= {"prefix": wish.prefix} if wish.prefix is not None else {}
    said |= {"base": wish.base} if wish.base else {}
    try:
        return PlaceSettings.model_validate(said)
    except ValidationError as error:
        raise _refused(wish.place, str(error.errors(include_input=False)[0]["msg"])) from None


def _with(settings: Settings, name: str, place: PlaceSettings) -> Settings:
    """The settings with this place; `Refused` where they would not be read again."""
    places = {**settings.places, name: place}
    if not re.fullmatch(NAME, name):
        raise _refused(name, "a name has small letters, digits and dashes")
    try:
        check_places(settings.forge, places)
    except ValueError as error:
        raise _refused(name, str(error)) from None
    return settings.model_copy(update={"places": places})


def _refused(name: str, why: str) -> Refused:
    return Refused(f"connecting place {name!r:.60}: {why}", next_step="gitmedic forge connect --help", reason="invalid")


def _text(settings: Settings) -> str:
    return settings.file.read_text("utf-8") if settings.file.exists() else ""


def _named(text: str) -> dict[str, Any]:
    """The places that the file has."""
    found: dict[str, Any] = tomlfile.tables(text).get("places", {})
    return found


def _rewritten(text: str, wish: Wish, place: PlaceSettings, forge: dict[str, tomlfile.Value]) -> str:
    """The settings file with this place in it: nothing that is as it would be without it."""
    table, values = ("places", wish.place), dict[str, tomlfile.Value]()
    if wish.sites or wish.place not in _named(text):
        values["sites"] = place.sites or ("*",)
    values |= {"base": place.base} if wish.base or place.base != PlaceSettings().base else {}
    values |= {"prefix": place.prefix} if wish.prefix is not None else {}
    return tomlfile.with_table(tomlfile.with_table(text, values, table), forge, (*table, "forge"))


def _look(settings: Settings, access: Access, base: str) -> bool:
    """Whether there is nothing in it; `Refused` where there is, and no such base."""
    heads = upstream.listed(Git(settings.repo), access, "refs/heads/*", doing="looking at the forge's branches")
    if heads and f"refs/heads/{base}" not in heads:
        raise Refused(
            f"connecting {access.url}: it has branches, and no {base!r}",
            next_step="name the protected branch: --base BRANCH",
            reason="base",
        )
    return not heads


def _move(there: Settings, access: Access, is_empty: bool, name: str) -> tuple[str, int]:
    """Its repository here follows the forge's from now on; claims of before go along. What became of the history."""
    path, base, ours = there.repo.path, there.repo.base, there.repo
    if not path.exists():
        create_mirror(path, access.url, base)
    git, history, carried = Git(ours), "there", 0
    tip = objects.commit_of(git, f"refs/heads/{base}")
    if is_empty:
        history = "begun" if tip is None else "pushed"
        if tip is None:
            words = {"README.md": f"# {name}\n\nRun files of gitmedic.\n".encode()}
            begin_base(path, words, f"{ours.author_name} <{ours.author_email}>", base)
        moving.push_base(git, access, "")
    if tip is not None and mirror.following(git) != access.url:
        carried = claims.carry(git, access)
        if not is_empty and moving.relation(git, access, tip).ours:
            history = "kept"
            branches.transaction(git, f"update {moving.BEFORE}/{tip} {tip}")
    become_mirror(path, access.url, base)
    moving.bring(git, access)
    return history, carried


def _told(there: Settings, access: Access, history: str, carried: int, say: Say) -> None:
    base = there.repo.base
    say({
        "begun": f"it is empty: branch {base!r} begins there with one commit",
        "pushed": f"it is empty: the run files of before are pushed to branch {base!r} there",
        "kept": f"the run files of before are kept in {there.repo.path} alone",
        "there": f"it is taken as it is, from branch {base!r}",
    }[history])  # fmt: skip
    if carried:
        say(f"{carried} claims of past runs are carried there, so that nothing runs twice")
    say(f"{there.repo.path} follows {access.url} from now on")
