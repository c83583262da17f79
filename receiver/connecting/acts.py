"""Connecting and disconnecting, step by step, each said in one line.

Decides the order: everything is checked, then history and claims go to the forge, then the ops repository follows it,
and the settings are written last: whatever is interrupted before that is done again by the same command. Secrets are
written whole, readable by their owner alone, and said nowhere.
"""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from receiver.adapters.forge.remote import Dialect
from receiver.adapters.forge.settings import ForgeSettings
from receiver.adapters.repo import adoption, claims, mirror, moving
from receiver.adapters.repo.creation import become_mirror, become_own
from receiver.adapters.repo.process import Git
from receiver.adapters.repo.upstream import Access, access_to
from receiver.config import Settings
from receiver.connecting import checks, tomlfile, words
from receiver.connecting.checks import HookPlan, Ours, Say
from receiver.connecting.wish import TOKEN, WEBHOOK, Wish, secret_of, secret_path, wished
from receiver.domain.record import Record
from receiver.errors import GitmedicError, Refused
from receiver.forges import ForgeGit, dialect_of, remote_of
from receiver.starter import database

#: without a webhook, the forge is asked more often than as a net below one
_POLLING, _BESIDE_HOOKS = 20.0, 60.0


class Connected(Record):
    """What `gitmedic forge connect` found and made."""

    kind: str
    url: str
    repository: str
    account: str
    login: str
    place: str = ""  #: the settings' name of it; empty: the catalog's repository
    history: str  #: `pushed`, `there`, `kept` or, of a place, `begun`
    claims: int  #: carried to the forge
    pending: int  #: commits there that are not adopted
    webhook: str  #: its address; empty: polling
    poll_seconds: float
    posture: str = ""  #: what policy.yml makes of a weakness
    weaknesses: tuple[str, ...] = ()
    unmapped: tuple[str, ...] = ()
    by_hand: tuple[str, ...] = ()  #: what people still have to do on the forge, in words


async def connect(settings: Settings, wish: Wish, say: Say) -> Connected:
    """Check everything, then move to the forge. The same again is harmless."""
    if settings.demo:
        raise Refused("connecting a forge: this is a demo", next_step="gitmedic init DIR", reason="data_dir")
    forge, before = wished(settings, wish), settings.forge
    checks.check_same(before, forge)
    secret = secret_of(forge, wish)
    text = settings.file.read_text("utf-8") if settings.file.exists() else ""
    tomlfile.check_writable(settings.file)
    tomlfile.with_table(text, written(forge))
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(database(settings))
        own = await checks.ours(settings, dsn)
        dialect = dialect_of(forge, settings.repo.base, secret)
        stack.push_async_callback(dialect.aclose)
        await stack.enter_async_context(checks.advised(wish))
        account = await dialect.account()
        checks.check_account(account, own.policy, wish)
        say(f"the token is {account.login!r}'s, number {account.id}")
        rights = await dialect.rights()
        checks.check_rights(rights, forge, settings.repo.base, wish)
        checks.check_same(before, forge, rights)
        if (before.kind, before.repository) != (forge.kind, rights.repository):
            checks.check_decided(own, f"connecting {forge.url}")
        say(f"the repository is {rights.full_name}, number {rights.repository}")
        forge = checks.as_written(forge, rights, {})
        access = await access_to(ForgeGit(forge, dialect))
        relation = await checks.look_at_history(settings, access, own.adopted)
        plan = await checks.plan_hook(settings, forge, dialect, wish, rights.repository)
        # from here on things change
        history, carried = await _move(settings, access, relation, say)
        keep_typed(settings, wish, say)
        forge, hook_steps = await listen(settings, forge, dialect, plan, say)
        forge = forge.model_copy(update={"poll_seconds": interval(before, plan, hook_steps)})
        tomlfile.write(settings.file, tomlfile.with_table(text, written(forge)))
        say(f"[forge] is written to {settings.file}")
        pending = await asyncio.to_thread(lambda: len(adoption.pending(Git(settings.repo), own.adopted)))
        said = Connected(
            kind=forge.kind, url=forge.url, repository=forge.repository, account=forge.account, login=forge.login,
            history=history, claims=carried, pending=pending, poll_seconds=forge.poll_seconds,
            webhook="" if hook_steps or not plan.address else plan.address,
        )  # fmt: skip
        return await judged(settings, said, dialect, own, hook_steps)


async def disconnect(settings: Settings, say: Say) -> dict[str, Any]:
    """Back to our own pages, with everything that came from the forge."""
    forge = settings.forge
    if not forge.is_remote:
        follows = await asyncio.to_thread(lambda: mirror.following(Git(settings.repo)))
        if not follows:
            say("no forge is connected: pull requests are reviewed on gitmedic's own pages")
            return {"schema": 1, "disconnected": "", "fetched": False, "hook_deleted": False}
    text = settings.file.read_text("utf-8") if settings.file.exists() else ""
    fresh = tomlfile.without_table(text)
    tomlfile.check_writable(settings.file)
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(database(settings))
        checks.check_decided(await checks.ours(settings, dsn), "disconnecting the forge")
        fetched = hook_deleted = False
        if forge.is_remote:
            fetched, hook_deleted = await take_leave(settings, say)
        await asyncio.to_thread(become_own, settings.repo.path, settings.repo.base)
        say(f"{settings.repo.path} is the ops repository again: people push to it")
        tomlfile.write(settings.file, fresh)
        say(f"[forge] is taken out of {settings.file}")
    return {"schema": 1, "disconnected": forge.url, "fetched": fetched, "hook_deleted": hook_deleted}


def keep_typed(settings: Settings, wish: Wish, say: Say) -> None:
    """A token that was typed."""
    if wish.typed:
        path = secret_path(settings, TOKEN, wish.place)
        keep_secret(path, wish.typed)
        say(f"the token lies in {path}")


def keep_secret(path: Path, secret: str) -> None:
    """In a folder of its own, for nobody but its owner."""
    owner = path.parent.parent.stat()
    if not path.parent.is_dir():
        path.parent.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(path.parent, owner.st_uid, owner.st_gid)
    path.parent.chmod(0o700)
    tomlfile.keep(path, f"{secret}\n".encode(), mode=0o600, owner=owner)


# --- steps


async def _move(settings: Settings, access: Access, relation: moving.Relation, say: Say) -> tuple[str, int]:
    """History and claims to the forge; from then on the ops repository follows it."""

    def act() -> tuple[str, int, str]:
        git, pushes = Git(settings.repo), relation.kind in ("empty", "behind")
        if pushes:
            moving.push_base(git, access, relation.there)
        carried = claims.carry(git, access)
        kept = "" if pushes else moving.keep_base(git, relation.there)
        become_mirror(settings.repo.path, access.url, settings.repo.base)
        moving.bring(git, access)
        return ("pushed" if pushes else "kept" if kept else "there"), carried, kept

    history, carried, kept = await asyncio.to_thread(act)
    if history == "pushed":
        say(f"our history is pushed there ({relation.ours or 'all of its'} commits)")
    elif kept:
        say(f"{relation.ours} commits of ours are not there; they are kept here as {kept}")
    else:
        say("our history is there already")
    if carried:
        say(f"{carried} claims of past runs are carried there, so that nothing runs twice")
    say(f"{settings.repo.path} follows {access.url} from now on")
    return history, carried


async def listen(
    settings: Settings, forge: ForgeSettings, dialect: Dialect, plan: HookPlan, say: Say, place: str = ""
) -> tuple[ForgeSettings, list[str]]:
    """The webhook, or what a person must enter for one."""
    if not plan.address:
        say(f"no webhook ({plan.why}): the forge is asked every {_POLLING:g} s")
        return forge, []
    file = settings.forge.webhook_secret_file or secret_path(settings, WEBHOOK, place)
    forge, known = forge.model_copy(update={"webhook_secret_file": file}), file.exists()
    if plan.there is not None and plan.there.active and known:
        say(f"the webhook to {plan.address} is there already")
        return forge, []
    secret = file.read_text("utf-8").strip() if known else secrets.token_hex(32)
    if not known:
        keep_secret(file, secret)
    why = "the account may make none"
    if plan.may_see:
        try:
            if plan.there is not None:
                await dialect.drop_hook(plan.there.id)
            await _make_hook(forge, dialect, plan.address, secret, file)
        except GitmedicError as error:
            why = f"{error.message}{f'; {error.next_step}' if isinstance(error, Refused) else ''}"
        else:
            say(f"the webhook to {plan.address} is made; its secret lies in {file}")
            return forge, []
    say(f"no webhook is made ({why}): enter it by hand, until then the forge is asked every {_POLLING:g} s")
    return forge, words.hook_by_hand(forge.kind, plan.address, file)


async def _make_hook(forge: ForgeSettings, dialect: Dialect, address: str, secret: str, file: Path) -> None:
    """With a secret that signs, where GitLab can do that; older ones send it along."""
    if forge.kind == "gitlab" and not secret.startswith("whsec_"):
        signing = "whsec_" + base64.b64encode(bytes.fromhex(secret) if _is_hex(secret) else secret.encode()).decode()
        try:
            await dialect.make_hook(address, signing)
        except Refused as error:
            if error.reason != "signing":
                raise
        else:
            keep_secret(file, signing)
            return
    await dialect.make_hook(address, secret)


def _is_hex(text: str) -> bool:
    try:
        return len(bytes.fromhex(text)) >= 16
    except ValueError:
        return False


async def judged(
    settings: Settings, said: Connected, dialect: Dialect, own: Ours, hook_steps: list[str], realm: str = ""
) -> Connected:
    """How the base is protected now, and what people still have to do."""
    posture, realm = await dialect.posture(settings.repo.base), realm or said.kind
    names = words.unmapped(own.policy, realm)
    steps = [f"webhook: {'; '.join(hook_steps)}"] if hook_steps else []
    steps += words.by_hand(said.kind, settings.repo.base) + words.mapping(names, realm)
    meaning = words.meaning(own.policy)
    update: dict[str, Any] = {
        "posture": meaning,
        "weaknesses": words.weak(posture),
        "unmapped": tuple(names),
        "by_hand": tuple(steps),
    }
    return said.model_copy(update=update)


async def take_leave(settings: Settings, say: Say) -> tuple[bool, bool]:
    """The last fetch and the end of the webhook; a forge that is gone keeps nobody."""
    fetched = hook_deleted = False
    try:
        dialect = remote_of(settings)
        assert dialect is not None  # noqa: S101 - it is remote
    except GitmedicError as error:
        say(f"what the forge has since the last fetch is not taken along: {error.message}")
        return False, False
    try:
        access = await access_to(ForgeGit(settings.forge, dialect))
        await asyncio.to_thread(lambda: moving.bring(Git(settings.repo), access))
        fetched = True
        say("the base branch is fetched a last time")
    except GitmedicError as error:
        say(f"what the forge has since the last fetch is not taken along: {error.message}")
    try:
        path = f"/hooks/{settings.forge.kind}/{settings.forge.repository}"
        for hook in [one for one in await dialect.hooks() if one.url.endswith(path)] if fetched else []:
            await dialect.drop_hook(hook.id)
            hook_deleted = True
            say(f"the webhook to {hook.url} is deleted")
    except GitmedicError:
        say("a webhook on the forge, if there is one, is yours to delete: this account may not")
    finally:
        await dialect.aclose()
    return fetched, hook_deleted


def interval(before: ForgeSettings, plan: HookPlan, hook_steps: list[str]) -> float:
    """What a person chose stays."""
    if before.is_remote and before.poll_seconds not in (_POLLING, _BESIDE_HOOKS):
        return before.poll_seconds
    return _BESIDE_HOOKS if plan.address and not hook_steps else _POLLING


def written(forge: ForgeSettings) -> dict[str, tomlfile.Value]:
    """What is written: nothing that is as it would be without it, but for the interval, which is shown."""
    names = (
        "kind", "url", "api_url", "repository", "account", "login", "token_file", "app_id", "app_installation",
        "app_key_file", "webhook_secret_file", "ca_file",
    )  # fmt: skip
    found: dict[str, tomlfile.Value] = {name: str(value) for name in names if (value := getattr(forge, name))}
    return found | {"poll_seconds": forge.poll_seconds}


def typed(wish: Wish, token: str) -> Wish:
    """The wish with what was typed at the terminal."""
    return replace(wish, typed=token.strip())
