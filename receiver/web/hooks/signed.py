"""Whether a webhook is from whoever knows the secret. Bytes are compared, in constant time.

Decides by the forge that the address names, never by a header that says which forge it is. Refuses an empty
signature, sha1, and with GitLab's signing scheme a moment more than five minutes away.
https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
https://docs.gitlab.com/user/project/integrations/webhooks/ (secret token, signing token)
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

#: GitLab's own mark of a secret that signs in the place of being sent along
SIGNS = "whsec_"
_WINDOW_SECONDS = 300
_MOST_SIGNATURES = 8


def is_usable(kind: str, secret: str) -> bool:
    """Whether anything can be checked with this secret."""
    return bool(_key(secret)) if kind == "gitlab" and secret.startswith(SIGNS) else bool(secret)


def may_be_signed(kind: str, secret: str, headers: Mapping[str, str]) -> bool:
    """What can be told before the body is read; where the secret itself is sent, that is all."""
    if kind != "gitlab":
        return bool(_hexes(kind, headers))
    if secret.startswith(SIGNS):
        return bool(headers.get("webhook-signature"))
    return _same(headers.get("x-gitlab-token", ""), secret.encode())


def is_signed(kind: str, secret: str, headers: Mapping[str, str], body: bytes, now: float) -> bool:
    """Whether exactly this body was signed with the secret."""
    if kind == "gitlab" and secret.startswith(SIGNS):
        return _signed(secret, headers, body, now)
    if kind == "gitlab":
        return _same(headers.get("x-gitlab-token", ""), secret.encode())
    wanted = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode()
    # each one that is there must be right: nobody chooses the one that is looked at
    return all([_same(given, wanted) for given in _hexes(kind, headers)] or [False])


def _hexes(kind: str, headers: Mapping[str, str]) -> list[str]:
    """Every signature that this forge sends, without its prefix; none when one of them is empty."""
    names = ["x-hub-signature-256"]
    if kind == "gitea":
        names += ["x-gitea-signature", "x-forgejo-signature"]
    given = [(name, headers[name]) for name in names if name in headers]
    found = [value if name != names[0] else value.partition("sha256=")[2] for name, value in given]
    return found if all(found) else []


def _signed(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> bool:
    """`v1,<base64>` of id, moment and body, one for each secret that is in use."""
    stamp = headers.get("webhook-timestamp", "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12) or abs(now - int(stamp)) > _WINDOW_SECONDS:
        return False
    signed = b".".join((_bytes(headers.get("webhook-id", "")), stamp.encode(), body))
    wanted = b"v1," + base64.b64encode(hmac.new(_key(secret), signed, hashlib.sha256).digest())
    given = headers.get("webhook-signature", "").split(" ")[:_MOST_SIGNATURES]
    return any([_same(one, wanted) for one in given])


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(SIGNS), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _same(given: str, wanted: bytes) -> bool:
    """As bytes: the comparison of strings refuses anything but ASCII, loudly."""
    return bool(wanted) and hmac.compare_digest(_bytes(given), wanted)


def _bytes(header: str) -> bytes:
    """What was sent: header values are decoded as latin-1, which loses nothing."""
    return header.encode("latin-1", "replace")
