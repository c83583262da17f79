"""A token travels over plain http on this machine only: what merely looks like it is not it."""

import pytest

from receiver.adapters.forge.settings import ForgeSettings
from receiver.adapters.repo.upstream import check_address
from receiver.domain.address import is_loopback
from receiver.errors import Refused


@pytest.mark.parametrize(
    "url", ["http://localhost:3000/x", "http://127.0.0.1/x", "http://127.9.9.9", "http://[::1]:80/"]
)
def test_this_machine(url: str) -> None:
    assert is_loopback(url)


@pytest.mark.parametrize("url", [
    "http://127.evil.example/o/r", "http://127.0.0.1.evil.example/o/r", "http://localhost.evil.example/o/r",
    "http://10.0.0.1/o/r", "http://0.0.0.0/o/r",
])  # fmt: skip
def test_what_only_looks_like_it(url: str) -> None:
    assert not is_loopback(url)
    with pytest.raises(ValueError, match="plain http"):
        ForgeSettings(kind="gitea", url=url, token_file="t")  # type: ignore[arg-type]
    with pytest.raises(Refused, match="not used"):
        check_address(url)
