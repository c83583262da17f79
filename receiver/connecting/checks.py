"""What is asked before anything changes: whose token it is, what it may do, which repository that is, what lies in it.

Refuses an account of a person (nobody approves their own pull request, so nothing could ever run), more rights than
gitmedic needs, less than it needs, a repository that is not the one that was meant, and a history that is not ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from receiver.adapters.forge.remote import Dialect, Hook, Rights
from receiver.adapters.forge.settings import ForgeSettings
from receiver.adapters.repo import moving
from receiver.adapters.repo.git import OpsRepository
from receiver.adapters.repo.moving import Relation
from receiver.adapters.repo.process import Git
from receiver.adapters.repo.upstream import Access
from receiver.config import Settings
from receiver.connecting import words
from receiver.connecting.wish import Wish
from receiver.domain.address import is_loopback
from receiver.domain.forge import Account
from receiver.domain.policyfile import Policy
from receiver.domain.quorum import person_of
from receiver.domain.revision import Revision
from receiver.errors import Refused

Say = Callable[[str], None]


@dataclass(frozen=True)
class Ours:
    """What is in force here."""

    adopted: str
    policy: Policy
    open_cases: Sequence[str]  #: with a proposal that people have not decided


async def ours(settings: Settings, dsn: str, place: str = "") -> Ours:
    """From the database and the ops repository as they are now; open proposals are those of one place."""
    if not settings.repo.path.is_dir():
        raise Refused(
            f"opening the ops repository {str(settings.repo.path)!r}: there is none",
            next_step="gitmedic init DIR",
            reason="data_dir",
        )
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        found = await connection.execute(
            "SELECT id::text FROM cases WHERE is_open AND proposal IS NOT NULL "
            "AND split_part(CASE WHEN strpos(repository, '/') > 0 THEN repository ELSE '' END, '/', 1) = %s",
            (place,),
        )
        cases = [one for (one,) in await found.fetchall()]
    in_force = await revision(settings, dsn)
    return Ours(in_force.commit, in_force.policy, cases)


async def revision(settings: Settings, dsn: str) -> Revision:
    """What is in force here."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        row = await (await connection.execute("SELECT commit FROM adoptions ORDER BY id DESC LIMIT 1")).fetchone()
    if row is None:
        raise Refused("reading the revision in force: there is none", next_step="gitmedic init DIR", reason="data_dir")

    async def adopted() -> str:
        return str(row[0])

    repo = OpsRepository(settings.repo, adopted)
    try:
        return await repo.revision(str(row[0]))
    finally:
        await repo.close()


def check_decided(own: Ours, doing: str) -> None:
    """Nobody's proposal is left behind on a forge that is looked at no more."""
    if own.open_cases:
        shown = ", ".join(one[:8] for one in own.open_cases[:5])
        raise Refused(
            f"{doing}: {len(own.open_cases)} cases have a proposal that is not over: {shown}",
            next_step="decide them first: gitmedic case list --state proposed",
            reason="open_proposals",
        )


@asynccontextmanager
async def advised(wish: Wish) -> AsyncIterator[None]:
    """What the forge refuses while it is being connected, with what helps then."""
    steps = {
        "token": f"make a new token as {words.GUIDES[wish.kind]} says, and run this again",
        "not_found": "see that the address is right and that the account was let in: "
        f"it needs {words.NEEDS[wish.kind]}",
        "forbidden": f"the token needs {words.NEEDS[wish.kind]}",
        "moved": "give the address that the browser shows for it now",
        "certificate": "name its certificate, or the authority that signed it: --ca-file FILE",
    }
    try:
        yield
    except Refused as error:
        if error.reason not in steps:
            raise
        told = f" ({error.next_step})" if error.reason == "moved" and "(to " in error.next_step else ""
        raise Refused(error.message + told, next_step=steps[error.reason], reason=error.reason) from None


def check_account(account: Account, policy: Policy, wish: Wish) -> None:
    """Refuse an account that people decide with, or that may be one."""
    called = words.CALLED[wish.kind]
    person = person_of(policy, account)
    if person is not None:
        raise Refused(
            f"the token is {account.login!r}'s, who is {person.name} in policy.yml: it must be an account that no "
            f"person uses, since whoever opens a pull request cannot approve it, on {called} or here",
            next_step=f"make a second account (or a bot) on {called} for gitmedic, as {words.GUIDES[wish.kind]} says",
            reason="own_account",
        )
    if account.is_bot or (wish.bot and wish.bot.lower() == account.login.lower()):
        return
    told = f", and --bot says {wish.bot!r}" if wish.bot else ""
    raise Refused(
        f"the token is {account.login!r}'s, and {called} does not say that this is a bot{told}: with your own account "
        "you could approve none of gitmedic's pull requests",
        next_step=f"if no person uses {account.login!r}, say so: --bot {account.login}; else make a second account",
        reason="own_account",
    )


def check_rights(rights: Rights, forge: ForgeSettings, base: str, wish: Wish) -> None:
    """Refuse a repository that cannot be written to, is another one, or has another base; too few rights, too many."""
    doing = f"connecting {forge.url}"
    if rights.archived:
        raise Refused(f"{doing}: it is archived", next_step="unarchive it, or take another one", reason="archived")
    if rights.full_name.lower() != forge.path.lower():
        raise Refused(
            f"{doing}: it is called {rights.full_name!r} now",
            next_step=f"give its address of now: {forge.host}/{rights.full_name}",
            reason="moved",
        )
    if rights.missing:
        raise Refused(
            f"{doing}: {'; '.join(rights.missing)}",
            next_step=f"it takes {words.NEEDS[wish.kind]} ({words.GUIDES[wish.kind]})",
            reason="rights",
        )
    if rights.is_admin and not wish.allow_admin:
        raise Refused(
            f"{doing}: {rights.account.login!r} may administer it, which is more than gitmedic needs: whoever has its "
            "token could take the protection of the base away",
            next_step="give the account the right to write and no more, or accept it: --allow-admin",
            reason="admin",
        )
    if rights.default_branch and rights.default_branch != base:
        raise Refused(
            f"{doing}: its default branch is {rights.default_branch!r}, and ours is {base!r}",
            next_step=f"{_set_base(rights.default_branch, wish)} where that is the protected branch, or change the "
            "default branch on the forge",
            reason="base",
        )


def _set_base(branch: str, wish: Wish) -> str:
    return f"say --base {branch}" if wish.place else f'set [repo] base = "{branch}"'


def check_same(known: ForgeSettings, forge: ForgeSettings, rights: Rights | None = None, place: str = "") -> None:
    """Refuse to go from one forge to another in one step; the same repository under a new name is the same."""
    if not known.is_remote:
        return
    other = (known.kind, known.host) != (forge.kind, forge.host)
    if rights is not None and known.repository and known.repository != rights.repository:
        other = True
    if other:
        at = f"{known.url} (repository {known.repository})" if known.repository else known.url
        raise Refused(
            f"connecting {forge.url}: gitmedic is connected to {at}, which is another repository",
            next_step=f"gitmedic forge disconnect{f' --place {place}' if place else ''}, then connect again",
            reason="connected",
        )


async def look_at_history(settings: Settings, access: Access, adopted: str) -> Relation:
    """What lies in the repository's base branch, beside ours; `Refused` when it is not ours."""
    base, doing = settings.repo.base, f"connecting {access.url}"
    found = await asyncio.to_thread(lambda: moving.relation(Git(settings.repo), access, adopted))
    if found.kind == "no_base":
        raise Refused(
            f"{doing}: it has branches, and no {base!r}",
            next_step="set repo.base to the branch that is protected, or make that branch",
            reason="base",
        )
    if found.kind == "strange":
        raise Refused(
            f"{doing}: the histories differ: branch {base!r} there ({found.there[:12]}) does not have {adopted[:12]}, "
            "the revision in force here",
            next_step="connect an empty repository; or take its content into your work tree (git pull URL "
            f"{base} --allow-unrelated-histories), push that, gitmedic revision accept, and connect again",
            reason="histories",
        )
    return found


@dataclass(frozen=True)
class HookPlan:
    """How the forge will tell us."""

    address: str  #: empty: polling
    why: str  #: of polling
    there: Hook | None = None  #: one of this address already
    may_see: bool = False  #: this account administers webhooks


async def plan_hook(
    settings: Settings, forge: ForgeSettings, dialect: Dialect, wish: Wish, repository: str
) -> HookPlan:
    """A webhook where the forge can reach us, as far as can be told from the addresses."""
    origin = "" if wish.no_hook else (wish.hook_url or settings.web.public_url).rstrip("/")
    if not origin:
        said = "--no-hook" if wish.no_hook else "web.public_url is empty, so the forge has no address of ours"
        return HookPlan("", said)
    if not origin.startswith(("https://", "http://")):
        raise Refused(f"--hook-url {origin[:80]!r}: expected https://HOST", reason="invalid")
    if is_loopback(origin) and not is_loopback(forge.url):
        return HookPlan("", f"{origin} is this machine alone, and the forge is elsewhere")
    address = f"{origin}/hooks/{forge.kind}/{repository}"
    try:
        hooks = await dialect.hooks()
    except Refused as error:
        if error.reason not in ("not_found", "forbidden"):
            raise
        return HookPlan(address, "")
    return HookPlan(address, "", next((one for one in hooks if one.url == address), None), may_see=True)


def as_written(forge: ForgeSettings, rights: Rights, extra: dict[str, Any]) -> ForgeSettings:
    """The settings with what the forge said of itself."""
    told = {"repository": rights.repository, "account": rights.account.id, "login": rights.account.login}
    return forge.model_copy(update=told | extra)
