"""Signatures of webhooks: GitHub's, Gitea's, both of GitLab's; and what is none."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from starlette.datastructures import Headers

from receiver.web.hooks.signed import is_signed, is_usable, may_be_signed

BODY, NOW = b'{"repository": {"id": 42}}', 1_800_000_000.0
HEX = hmac.new(b"secret", BODY, hashlib.sha256).hexdigest()
KEY = b"k" * 32
WHSEC = "whsec_" + base64.b64encode(KEY).decode()


def held(kind: str, secret: str = "secret", body: bytes = BODY, now: float = NOW, **headers: str) -> bool:
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    given = Headers(raw=raw)
    held = is_signed(kind, secret, given, body, now)
    # what is refused before the body is read would be refused after it too
    assert may_be_signed(kind, secret, given) or not held
    return held


def signature(body: bytes = BODY, stamp: float = NOW, id: str = "msg-1", key: bytes = KEY) -> dict[str, str]:
    digest = hmac.new(key, f"{id}.{stamp:.0f}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook_id": id, "webhook_timestamp": f"{stamp:.0f}",
        "webhook_signature": "v1," + base64.b64encode(digest).decode(),
    }  # fmt: skip


def test_the_signature_that_github_documents() -> None:
    """The example of https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries."""
    wanted = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert held("github", "It's a Secret to Everybody", b"Hello, World!", x_hub_signature_256=wanted)


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"x_hub_signature_256": ""}, {"x_hub_signature_256": "sha256="}, {"x_hub_signature_256": HEX},
        {"x_hub_signature_256": f"sha1={HEX}"}, {"x_hub_signature_256": f"sha256={HEX[:-1]}"},
        {"x_hub_signature_256": f"sha256={HEX.upper()}"}, {"x_hub_signature_256": "sha256=é\xff"},
        {"x_hub_signature": "sha1=" + hmac.new(b"secret", BODY, hashlib.sha1).hexdigest()},
        {"x_gitea_signature": HEX}, {"x_gitlab_token": "secret"},
    ],
)  # fmt: skip
def test_what_is_no_signature_of_github(headers: dict[str, str]) -> None:
    assert not held("github", **headers)


def test_another_body_or_secret() -> None:
    for kind, header in (("github", "x_hub_signature_256"), ("gitea", "x_hub_signature_256")):
        assert held(kind, **{header: f"sha256={HEX}"})
        assert not held(kind, body=BODY + b" ", **{header: f"sha256={HEX}"})
        assert not held(kind, "other", **{header: f"sha256={HEX}"})


def test_gitea_sends_several_and_each_must_be_right() -> None:
    both = {"x_hub_signature_256": f"sha256={HEX}", "x_gitea_signature": HEX, "x_forgejo_signature": HEX}
    assert held("gitea", **both)
    assert held("gitea", x_gitea_signature=HEX)
    for name in both:
        assert not held("gitea", **(both | {name: "sha256="}))
        assert not held("gitea", **(both | {name: ""}))
        assert not held("gitea", **(both | {name: f"sha256={'0' * 64}"}))


def test_without_a_secret_gitea_signs_with_nothing() -> None:
    empty = hmac.new(b"", BODY, hashlib.sha256).hexdigest()
    assert not held("gitea", x_hub_signature_256="sha256=", x_gitea_signature="")
    assert not held("gitea", x_gitea_signature=empty)
    assert not is_usable("gitea", "")


def test_gitlab_sends_the_secret_itself() -> None:
    assert held("gitlab", x_gitlab_token="secret")
    for wrong in ("", "Secret", "secret ", "sécret", "\xff"):
        assert not held("gitlab", x_gitlab_token=wrong)
    assert not held("gitlab", "", x_gitlab_token="")
    assert not held("gitlab", x_hub_signature_256=f"sha256={HEX}")


def test_gitlab_signs_where_the_secret_is_one_that_signs() -> None:
    assert held("gitlab", WHSEC, **signature())
    assert not held("gitlab", WHSEC, x_gitlab_token=WHSEC)
    assert not held("gitlab", WHSEC, body=BODY + b" ", **signature())
    assert not held("gitlab", WHSEC, **(signature() | {"webhook_id": "msg-2"}))
    assert not held("gitlab", WHSEC, **signature(key=b"other" * 6))


def test_one_signature_of_several_is_enough_while_secrets_change() -> None:
    old = signature(key=b"old" * 10)["webhook_signature"]
    given = signature()
    assert held("gitlab", WHSEC, **(given | {"webhook_signature": f"{old} {given['webhook_signature']}"}))
    flood = " ".join([old] * 5000 + [given["webhook_signature"]])
    assert not held("gitlab", WHSEC, **(given | {"webhook_signature": flood}))


def test_the_moment_is_near_and_part_of_what_is_signed() -> None:
    for away in (-300, 300):
        assert held("gitlab", WHSEC, **signature(stamp=NOW + away))
    for away in (-301, 301, -600, 600):
        assert not held("gitlab", WHSEC, **signature(stamp=NOW + away))
    assert not held("gitlab", WHSEC, **(signature(stamp=NOW - 600) | {"webhook_timestamp": f"{NOW:.0f}"}))
    for odd in ("", "-1", "１８", "1e9", "9" * 400, "nan"):
        assert not held("gitlab", WHSEC, **(signature() | {"webhook_timestamp": odd.encode("utf-8").decode("latin-1")}))


@pytest.mark.parametrize("secret", ["whsec_", "whsec_é", "whsec_$$$"])
def test_a_secret_that_cannot_sign_is_none(secret: str) -> None:
    assert not is_usable("gitlab", secret)
    assert is_usable("gitlab", WHSEC)
    assert is_usable("github", secret)
