"""An App of GitHub: a key that signs for minutes, tokens for an hour, and a clock that may be wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from receiver.adapters.forge.github import GitHub
from receiver.domain.forge import Account, Opening
from receiver.errors import Refused, Unavailable
from tests.contract.places import settings_of
from tests.forges.github import App, GitHubDouble
from tests.forges.server import ForgeServer
from tests.forges.state import User

pytestmark = pytest.mark.anyio
GRANTED = {"contents": "write", "pull_requests": "write", "statuses": "write", "metadata": "read"}
TOKENS = "/access_tokens$"


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, password: bytes | None = None) -> str:
    locked = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked
    ).decode()  # fmt: skip


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class ByItsClock(httpx.AsyncHTTPTransport):
    """The forge's Date is the one of the forge's clock."""

    def __init__(self, forge: GitHubDouble) -> None:
        super().__init__()
        self.forge = forge

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await super().handle_async_request(request)
        answer.headers["date"] = format_datetime(self.forge.now(), usegmt=True)
        return answer


class Installed:
    """A double with an App that is installed in its one repository."""

    def __init__(self, server: ForgeServer, forge: GitHubDouble, key: rsa.RSAPrivateKey) -> None:
        self.forge, self.faults = forge, server.faults
        self.user: User = forge.add_user("gitmedic[bot]", is_bot=True)
        self.app: App = forge.add_app(key.public_key(), self.user, dict(GRANTED))
        self.repository = forge.add_repository(
            "ops", "infra", rights={self.user.id: "write"}, files={"README.md": b"ops\n"}
        )
        self.key = key

    def speaks(self, **more: Any) -> GitHub:
        said = {
            "app_id": str(self.app.id), "app_installation": str(self.app.installation), "app_key_file": "/nowhere",
        } | {name: str(value) for name, value in more.items() if name != "secret"}  # fmt: skip
        settings = settings_of(self.forge, self.repository, self.user, **said)
        return GitHub(settings, "main", secret=more.get("secret", pem(self.key)), transport=ByItsClock(self.forge))


@pytest.fixture
def installed(tmp_path: Path, key: rsa.RSAPrivateKey) -> Iterator[Installed]:
    with ForgeServer(GitHubDouble(tmp_path / "forge")) as server:
        assert isinstance(server.state, GitHubDouble)
        yield Installed(server, server.state, key)
        assert server.spec is not None
        assert server.spec.violations == []


async def test_an_app_opens_as_its_bot(installed: Installed):
    dialect = installed.speaks()
    bot = Account(forge="github", id=str(installed.user.id), login="gitmedic[bot]", is_bot=True)
    assert await dialect.account() == bot
    user, token = await dialect.login()
    assert (user, token) == ("x-access-token", installed.app.given[0])
    head = installed.forge.push(installed.user, installed.repository, "one", {"x": b"x"})
    pull = await dialect.create(Opening(branch="one", head_sha=head, base="main", title="T", body=""))
    assert (pull.author, pull.pushed_by) == (bot, None)
    assert len(installed.app.given) == 1
    rights = await dialect.rights()
    assert (rights.account, rights.may_push, rights.scopes, rights.missing) == (bot, True, (), ())
    await dialect.aclose()


async def test_a_token_is_used_until_five_minutes_before_its_end(installed: Installed, monkeypatch: pytest.MonkeyPatch):
    dialect, real = installed.speaks(), time.time
    for minutes, given in ((0, 1), (30, 1), (54, 1), (56, 2), (100, 2), (112, 3)):
        # both clocks go on together
        installed.forge.ahead = timedelta(minutes=minutes)
        monkeypatch.setattr(time, "time", lambda minutes=minutes: real() + 60 * minutes)
        await dialect.login()
        assert len(installed.app.given) == given, minutes
    await dialect.aclose()


@pytest.mark.parametrize("minutes", [-180, -7, 12, 180])
async def test_a_clock_that_is_wrong_is_put_right_by_the_forges(installed: Installed, minutes: int):
    installed.forge.ahead = timedelta(minutes=minutes)
    dialect = installed.speaks()
    await dialect.login()
    await dialect.login()
    assert await dialect.account()
    assert [one.status for one in installed.faults.requests("POST", TOKENS)] == [401, 201]
    await dialect.aclose()


async def test_a_key_that_is_not_the_apps(installed: Installed):
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    dialect = installed.speaks(secret=pem(other))
    with pytest.raises(Refused) as caught:
        await dialect.login()
    assert caught.value.reason == "token"
    assert len(installed.faults.requests("POST", TOKENS)) == 1, "with a right clock there is no second try"
    await dialect.aclose()


async def test_an_installation_that_is_not_there(installed: Installed):
    dialect = installed.speaks(app_installation=7)
    with pytest.raises(Refused) as caught:
        await dialect.rights()
    assert caught.value.reason == "not_found"
    await dialect.aclose()


@pytest.mark.parametrize(
    "secret",
    [
        "", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        pem(ec.generate_private_key(ec.SECP256R1())),
        pem(rsa.generate_private_key(public_exponent=65537, key_size=2048), b"password"),
    ],
    ids=["empty", "words", "broken", "elliptic", "locked"],
)  # fmt: skip
async def test_a_key_that_is_none(installed: Installed, secret: str):
    with pytest.raises(Refused, match="private key") as caught:
        installed.speaks(secret=secret)
    assert "BEGIN" not in str(caught.value)


async def test_what_the_installation_lacks(installed: Installed):
    installed.app.permissions.update({"pull_requests": "read", "contents": "admin"})
    del installed.app.permissions["statuses"]
    dialect = installed.speaks()
    assert (await dialect.rights()).missing == (
        "the App's installation lacks the permission pull_requests: write",
        "the App's installation lacks the permission statuses: write",
    )
    await dialect.aclose()


async def test_neither_token_nor_signature_is_in_a_word(installed: Installed):
    dialect = installed.speaks()
    _, token = await dialect.login()
    installed.forge.expire(token)
    with pytest.raises(Refused) as caught:
        await dialect.find("one")
    assert token not in repr(caught.value)
    installed.faults.add("POST", TOKENS, "lost after the effect")
    with pytest.raises(Unavailable) as lost:
        await installed.speaks().login()
    assert "Bearer" not in repr(lost.value)
    await dialect.aclose()
