"""What doctor says of the forge: who we are there, what we may do, whether it is heard, and how its base is protected.

Decides what is red: whatever lets no proposal be opened or none count. Changes nothing. A question that the forge does
not answer is a row that says so, and hides no other.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Literal

import httpx
import psycopg

from receiver.adapters.forge.remote import Dialect, Rights
from receiver.adapters.repo import mirror, upstream
from receiver.adapters.repo.branches import base_tip
from receiver.adapters.repo.process import Git
from receiver.adapters.repo.upstream import access_to
from receiver.config import Settings
from receiver.connecting import checks, words
from receiver.domain.finding import Finding
from receiver.domain.place import key_of
from receiver.domain.policyfile import Policy
from receiver.domain.quorum import person_of
from receiver.elsewhere import realm_of
from receiver.errors import GitmedicError, Refused
from receiver.forges import ForgeGit, remote_of, repository_of
from receiver.starter import dsn_for

_SKEW_SECONDS = 30.0
_SOON = timedelta(days=14)
#: so many intervals without a look are too many
_LATE = 5


async def forge(settings: Settings) -> list[Finding]:
    """All rows about the catalog's forge, one on the built-in one; then those of each place."""
    rows = await _catalogs(settings)
    for name in settings.places:
        rows += await _asked(f"place {name}", partial(_places, settings, name))
    return rows


async def _catalogs(settings: Settings) -> list[Finding]:
    follows = ""
    if settings.repo.path.is_dir():
        follows = await asyncio.to_thread(lambda: mirror.following(Git(settings.repo)))
    if not settings.forge.is_remote:
        if follows:
            found = f"the ops repository follows {follows}, and the settings name no forge"
            return [_row("bad", "forge", found, "gitmedic forge connect again, or gitmedic forge disconnect")]
        return [_row("ok", "forge", "gitmedic's own pages")]
    policy = (await checks.ours(settings, dsn_for(settings))).policy
    return await _of(settings, policy, follows, settings.forge.repository, settings.forge.kind)


async def _places(settings: Settings, name: str) -> list[Finding]:
    """The same of a place, and whether the sites are known whose runs it takes."""
    there, place, what = settings.at(name), settings.places[name], f"place {name}: sites"
    revision = await checks.revision(settings, dsn_for(settings))
    known = {host.site for host in revision.inventory.hosts.values()}
    unknown = [site for site in place.sites if site not in known] if not place.takes_others else []
    taken = "all that no other place names" if place.takes_others else ", ".join(place.sites)
    rows = [_row("ok", what, taken)]
    if unknown:
        found = f"no host of the inventory is of {', '.join(unknown)}; known: {', '.join(sorted(known))}"
        rows = [_row("warn", what, found, f"correct `sites` of [places.{name}], or `site` in the inventory")]
    if not there.forge.is_remote:
        return [*rows, _row("ok", f"place {name}", "gitmedic's own pages")]
    repository_of(there)
    follows = ""
    if there.repo.path.is_dir():
        follows = await asyncio.to_thread(lambda: mirror.following(Git(there.repo)))
    realm = realm_of(settings.forge, settings.places, name)
    told = await _of(there, revision.policy, follows, key_of(name, there.forge.repository), realm)
    return rows + [_renamed(row, name) for row in told]


def _renamed(row: Finding, name: str) -> Finding:
    fix = row.fix.replace("gitmedic forge connect", f"gitmedic forge connect --place {name}")
    return row.model_copy(update={"what": row.what.replace("forge", f"place {name}", 1), "fix": fix})


async def _of(settings: Settings, policy: Policy, follows: str, key: str, realm: str) -> list[Finding]:
    dialect = remote_of(settings, realm)
    assert dialect is not None  # noqa: S101 - it is remote
    rows: list[Finding] = []
    if follows != settings.forge.git_url:
        found = f"its copy here follows {follows or 'nobody'}, and the settings name {settings.forge.git_url}"
        rows.append(_row("bad", "forge: mirror", found, "gitmedic forge connect again"))
    try:
        questions: tuple[tuple[str, Callable[[], Awaitable[list[Finding]]]], ...] = (
            ("account", lambda: _account(settings, dialect, policy)),
            ("rights", lambda: _rights(settings, dialect)),
            ("protection", lambda: _protection(settings, dialect, policy)),
            ("base", lambda: _base(settings, dialect, key)),
            ("webhook", lambda: _webhook(settings, dialect, key)),
            ("clock", lambda: _clock(settings)),
        )
        for what, ask in questions:
            rows += await _asked(f"forge: {what}", ask)
    finally:
        await dialect.aclose()
    return [*rows, *_people(policy, realm)]


async def _asked(what: str, ask: Callable[[], Awaitable[list[Finding]]]) -> list[Finding]:
    try:
        return await ask()
    except GitmedicError as error:
        step = error.next_step if isinstance(error, Refused) else "see whether this machine reaches it"
        return [_row("bad", what, f"cannot be asked: {error.message}", step)]
    except (httpx.HTTPError, OSError) as error:
        return [_row("bad", what, f"cannot be asked: {error or type(error).__name__}", "see whether it is reached")]


async def _account(settings: Settings, dialect: Dialect, policy: Policy) -> list[Finding]:
    account, what, known = await dialect.account(), "forge: account", settings.forge.account
    if account.id != known:
        found = f"the token is {account.login!r}'s ({account.id}), and {known} was connected"
        return [_row("bad", what, found, "gitmedic forge connect again, with that account's token")]
    person = person_of(policy, account)
    if person is not None:
        found = f"{account.login!r} is {person.name} in policy.yml: nobody approves their own pull request"
        return [_row("bad", what, found, "give gitmedic an account of its own: gitmedic forge connect")]
    return [_row("ok", what, f"{account.login} ({account.id}) at {settings.forge.url}")]


async def _rights(settings: Settings, dialect: Dialect) -> list[Finding]:
    rights, what, again = await dialect.rights(), "forge: rights", "gitmedic forge connect again"
    rows = [_row("bad", what, word, f"it takes {words.NEEDS[dialect.name]}") for word in rights.missing]
    if rights.repository != settings.forge.repository:
        found = f"{rights.full_name} is repository {rights.repository}, and {settings.forge.repository} was connected"
        rows.append(_row("bad", "forge: repository", found, "gitmedic forge disconnect, then connect again"))
    elif rights.full_name.lower() != settings.forge.path.lower():
        found = f"it is called {rights.full_name} now"
        rows.append(_row("bad", "forge: repository", found, f"{again}, with its address of now"))
    else:
        rows.append(_row("ok", "forge: repository", f"{rights.full_name} ({rights.repository})"))
    if rights.default_branch != settings.repo.base:
        found = f"its default branch is {rights.default_branch!r}, and repo.base is {settings.repo.base!r}"
        rows.append(_row("warn", "forge: base", found, "let both be the protected branch"))
    if rights.is_admin:
        found = "the account may administer the repository, more than gitmedic needs"
        rows.append(_row("warn", what, found, "give it the right to write and no more"))
    elif not rights.missing:
        rows.append(_row("ok", what, f"as needed{': ' + ', '.join(rights.scopes) if rights.scopes else ''}"))
    return [*rows, *_ends(rights)]


def _ends(rights: Rights) -> list[Finding]:
    if rights.expires_at is None:
        return []
    left, day = rights.expires_at - datetime.now(UTC), f"{rights.expires_at:%Y-%m-%d}"
    if left > _SOON:
        return [_row("ok", "forge: token", f"good until {day}")]
    status: Literal["bad", "warn"] = "bad" if left < timedelta() else "warn"
    return [_row(status, "forge: token", f"ends on {day}", "make a new one: gitmedic forge connect again")]


async def _protection(settings: Settings, dialect: Dialect, policy: Policy) -> list[Finding]:
    weak = words.weak(await dialect.posture(settings.repo.base))
    what, steps = f"forge: branch {settings.repo.base}", words.by_hand(dialect.name, settings.repo.base)
    if not weak:
        return [_row("ok", what, "protected, as far as can be seen")]
    status: Literal["bad", "warn"] = "bad" if policy.posture == "strict" else "warn"
    return [_row(status, what, f"{'; '.join(weak)} ({words.meaning(policy)})", steps[0])]


async def _base(settings: Settings, dialect: Dialect, key: str) -> list[Finding]:
    """Where the base stands there and here, and when it was looked at last."""
    access, ref = await access_to(ForgeGit(settings.forge, dialect)), f"refs/heads/{settings.repo.base}"

    def look() -> tuple[str, str]:
        git = Git(settings.repo)
        return upstream.listed(git, access, ref, doing="looking at the base branch").get(ref, ""), base_tip(git)

    there, here = await asyncio.to_thread(look)
    row = await _one(settings, "SELECT since, now() AS now FROM forge_polls WHERE repository = %s", key)
    since = row[0] if row else None
    age = (row[1] - since).total_seconds() if row and since else None
    every = settings.forge.poll_seconds
    said = "never looked at" if age is None else f"looked at {age:.0f} s ago"
    is_late = age is None or age > max(_LATE * every, 60)
    where = f"{here[:12]} here and there" if there == here else f"{there[:12] or 'gone'} there, {here[:12]} here"
    found = f"{where}; {said}, every {every:g} s"
    fix = "gitmedic up fetches it" if is_late else ""
    return [_row("warn" if is_late else "ok", "forge: base", found, fix)]


async def _webhook(settings: Settings, dialect: Dialect, key: str) -> list[Finding]:
    what, file, every = "forge: webhook", settings.forge.webhook_secret_file, settings.forge.poll_seconds
    if file is None:
        return [_row("ok", what, f"none: the forge is asked every {every:g} s")]
    rows = []
    path = f"/hooks/{settings.forge.kind}/{settings.forge.repository}"
    again = "gitmedic forge connect again, or make it by hand as that prints"
    try:
        hooks = [one for one in await dialect.hooks() if one.url.endswith(path)]
    except Refused as error:
        if error.reason not in ("forbidden", "not_found"):
            raise
        rows.append(_row("ok", what, "cannot be seen with this token, which is as it should be"))
    else:
        if not hooks:
            rows.append(_row("bad", what, f"none leads to {path}", again))
        for one in hooks:
            fix = "" if one.active else "switch it on there; it is switched off when it fails too often"
            rows.append(_row("ok" if one.active else "bad", what, f"{one.url}{'' if one.active else ': off'}", fix))
            rows += await _reached(one.url)
    row = await _one(
        settings,
        "SELECT max(received_at), now() FROM forge_deliveries WHERE repository = %s",
        key,
    )
    last = row[0] if row else None
    if row is None or last is None:
        hint = ""
        if settings.forge.kind == "gitea":
            hint = "; Gitea calls no private address unless app.ini has [webhook] ALLOWED_HOST_LIST = external,HOST"
        rows.append(_row("warn", "forge: deliveries", "none has arrived", f"send a test delivery from there{hint}"))
    else:
        rows.append(_row("ok", "forge: deliveries", f"the last came {(row[1] - last).total_seconds():.0f} s ago"))
    return rows


async def _reached(url: str) -> list[Finding]:
    """From here, where the way is seldom longer than from the forge; any answer will do."""
    try:
        async with httpx.AsyncClient(timeout=5, trust_env=False, verify=False) as client:  # noqa: S501 - no secret goes
            await client.get(url)
    except (httpx.HTTPError, OSError) as error:
        found = f"{url} is not reached from here: {error or type(error).__name__}"
        return [_row("warn", "forge: webhook", found, "start gitmedic up, or correct web.public_url and connect again")]
    return []


async def _clock(settings: Settings) -> list[Finding]:
    """By the forge's own Date; asked without the token, since any answer has one."""
    file = settings.forge.ca_file
    verify: Any = ssl.create_default_context(cafile=str(file)) if file else True
    if file:
        verify.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    async with httpx.AsyncClient(timeout=10, trust_env=False, verify=verify) as client:
        answer = await client.get(f"{settings.forge.api}/user")
    try:
        theirs = parsedate_to_datetime(answer.headers.get("date", ""))
    except ValueError:
        return []
    skew = abs((datetime.now(UTC) - theirs).total_seconds())
    is_far = skew > _SKEW_SECONDS
    fix = "let both keep time by NTP" if is_far else ""
    return [_row("bad" if is_far else "ok", "forge: clock", f"{skew:.0f} s from ours", fix)]


def _people(policy: Policy, realm: str) -> list[Finding]:
    names = words.unmapped(policy, realm)
    if not names:
        return [_row("ok", "forge: people", f"all {len(policy.people)} have an account there")]
    found = f"whose word there counts for nobody: {', '.join(names)}"
    return [_row("warn", "forge: people", found, " · ".join(words.mapping(names, realm)))]


async def _one(settings: Settings, query: Any, key: str) -> Any:
    async with await psycopg.AsyncConnection.connect(dsn_for(settings), connect_timeout=3) as connection:
        return await (await connection.execute(query, (key,))).fetchone()


def _row(status: Literal["ok", "warn", "bad"], what: str, found: str, fix: str = "") -> Finding:
    return Finding(status=status, what=what, found=found, fix=fix)
