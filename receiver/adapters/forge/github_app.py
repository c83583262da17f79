"""Who we are on GitHub: the account of a token, or an App that asks for a token every hour.

Decides that an App's key signs for ten minutes at most, by the forge's clock where ours is wrong, and that a token is
used until five minutes before its end. Refuses a key that is none.

https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app
"""

from __future__ import annotations

import asyncio
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import quote

import httpx
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from receiver.adapters.forge.client import Answer, ForgeClient
from receiver.adapters.forge.github_words import account_of
from receiver.adapters.forge.settings import ForgeSettings
from receiver.domain.forge import Account
from receiver.errors import Refused, Unavailable

#: as the client shows itself, in both roles
HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
#: what an installation needs, by GitHub's names of permissions
NEEDED = {"contents": "write", "pull_requests": "write", "statuses": "write", "metadata": "read"}
_RANK = ("", "read", "write", "admin")
_EARLY_SECONDS = 300.0
_SIGNED_SECONDS = 540
_WRONG_CLOCK_SECONDS = 30.0


class Identity(Protocol):
    """How requests are authorized, and as whom."""

    async def token(self) -> str:
        """A token that is good now."""

    async def account(self) -> Account:
        """Whose it is."""

    async def lacking(self) -> tuple[str, ...]:
        """What it lacks, in words; a plain token does not say."""

    def scopes(self, headers: Mapping[str, str]) -> tuple[str, ...] | None:
        """Those that an answer's headers list; None where tokens of this kind have none."""

    async def aclose(self) -> None:
        """Close its own connections."""


class Token:
    """A personal token: classic or fine-grained."""

    def __init__(self, secret: str, client: ForgeClient) -> None:
        self._secret, self._client = secret.strip(), client

    async def token(self) -> str:
        """The same for ever."""
        return self._secret

    async def account(self) -> Account:
        """Whose it is."""
        return account_of(await self._client.get("user", doing="asking GitHub whose the token is"))

    async def lacking(self) -> tuple[str, ...]:
        """Only its owner's rights can be seen."""
        return ()

    def scopes(self, headers: Mapping[str, str]) -> tuple[str, ...] | None:
        """A classic token's; a classic one without any has an empty list, a fine-grained one has none to list."""
        listed = tuple(one.strip() for one in headers.get("x-oauth-scopes", "").split(",") if one.strip())
        return listed if listed or self._secret.startswith("ghp_") else None

    async def aclose(self) -> None:
        """It has no connections of its own."""


class AppTokens:
    """Tokens of one installation of an App."""

    def __init__(self, settings: ForgeSettings, pem: str, transport: httpx.AsyncBaseTransport | None) -> None:
        self._settings, self._key = settings, _key(pem)
        self._client = ForgeClient(settings, self._signed, headers=HEADERS, transport=transport)
        self._ahead = 0.0  #: seconds that the forge's clock is before ours
        self._kept: tuple[str, float, dict[str, str]] | None = None
        self._asking = asyncio.Lock()

    async def token(self) -> str:
        """The one that we have, or a new one."""
        async with self._asking:
            if self._kept is None or self._now() > self._kept[1] - _EARLY_SECONDS:
                self._kept = await self._ask()
            return self._kept[0]

    async def account(self) -> Account:
        """The bot that stands behind the App."""
        app = await self._once("GET", "app", "asking GitHub which App this is")
        login = quote(f"{app['slug']}[bot]", safe="")
        return account_of(await self._once("GET", f"users/{login}", "asking GitHub for the App's account"))

    async def lacking(self) -> tuple[str, ...]:
        """By what the installation was granted."""
        await self.token()
        assert self._kept is not None  # noqa: S101 - it was just asked for
        granted = self._kept[2]
        return tuple(
            f"the App's installation lacks the permission {name}: {level}"
            for name, level in NEEDED.items()
            if _RANK.index(granted.get(name, "") if granted.get(name) in _RANK else "") < _RANK.index(level)
        )

    def scopes(self, headers: Mapping[str, str]) -> tuple[str, ...] | None:
        """An installation has permissions instead."""
        return None

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    # --- inside

    async def _ask(self) -> tuple[str, float, dict[str, str]]:
        place = f"app/installations/{quote(self._settings.app_installation, safe='')}/access_tokens"
        said = await self._once("POST", place, "asking GitHub for a token of the App's installation")
        try:
            until = datetime.fromisoformat(said["expires_at"]).timestamp()
            return str(said["token"]), until, dict(said.get("permissions") or {})
        except (KeyError, TypeError, ValueError):
            raise Unavailable("asking GitHub for a token of the App's installation: the answer holds none") from None

    async def _once(self, method: str, path: str, doing: str) -> Any:
        """Once more by the forge's clock, where ours made it refuse the signature."""
        answer = await self._send(method, path, doing)
        if answer.status == 401 and self._follow(answer):
            answer = await self._send(method, path, doing)
        if answer.status >= 300:
            raise self._client.error(answer, doing)
        return answer.body

    async def _send(self, method: str, path: str, doing: str) -> Answer:
        if method == "GET":
            return await self._client.answer(path, doing=doing, fine=frozenset({401}))
        return await self._client.write(method, path, None, doing=doing, fine=frozenset({401}))

    def _follow(self, answer: Answer) -> bool:
        """Whether the forge's clock differs from the one that we signed by."""
        try:
            theirs = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
        except (ValueError, TypeError):
            return False
        ahead = theirs - time.time()
        if abs(ahead - self._ahead) < _WRONG_CLOCK_SECONDS:
            return False
        self._ahead = ahead
        return True

    def _now(self) -> float:
        return time.time() + self._ahead

    async def _signed(self) -> Mapping[str, str]:
        now = int(self._now())
        # a minute back: their clock may be a little behind ours
        claims = {"iat": now - 60, "exp": now + _SIGNED_SECONDS, "iss": self._settings.app_id}
        return {"Authorization": f"Bearer {_jwt(claims, self._key)}"}


def _key(pem: str) -> rsa.RSAPrivateKey:
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError) as error:
        raise Refused(
            f"reading the App's private key: {type(error).__name__}: it is no PEM key without a password",
            next_step="download a key on the App's page, and name the file as forge.app_key_file",
        ) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise Refused("reading the App's private key: GitHub gives RSA keys, and this is none")
    return key


def _jwt(claims: Mapping[str, Any], key: rsa.RSAPrivateKey) -> str:
    """RFC 7519 with RS256 (RFC 7518)."""
    head = _part({"alg": "RS256", "typ": "JWT"})
    text = f"{head}.{_part(claims)}"
    signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{text}.{_encoded(signature)}"


def _part(value: Mapping[str, Any]) -> str:
    return _encoded(json.dumps(value, separators=(",", ":")).encode())


def _encoded(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()
