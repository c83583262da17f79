"""A forge whose accounts go by another name than its kind.

Decides nothing of a pull request. Where two servers of one kind are used, number 3 of the one is somebody else than
number 3 of the other: accounts of the second carry a name of their own, under which policy.yml may know them.
"""

from __future__ import annotations

from typing import Any

from receiver.adapters.forge.remote import Dialect, Rights
from receiver.domain.forge import Account, Opening, PullRequest


def in_realm(dialect: Dialect, realm: str) -> Dialect:
    """The same forge; its accounts by that name."""
    if realm == dialect.name:
        return dialect
    known: Any = _InRealm(dialect, realm)
    named: Dialect = known
    return named


class _InRealm:
    def __init__(self, dialect: Dialect, realm: str) -> None:
        self._dialect, self._realm = dialect, realm

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dialect, name)

    async def create(self, opening: Opening) -> PullRequest:
        return self._pull(await self._dialect.create(opening))

    async def find(self, branch: str) -> PullRequest | None:
        found = await self._dialect.find(branch)
        return self._pull(found) if found is not None else None

    async def read(self, number: int) -> PullRequest:
        return self._pull(await self._dialect.read(number))

    async def account(self) -> Account:
        return self._known(await self._dialect.account())

    async def rights(self) -> Rights:
        rights = await self._dialect.rights()
        return rights.model_copy(update={"account": self._known(rights.account)})

    def _known(self, account: Account) -> Account:
        return account.model_copy(update={"forge": self._realm})

    def _pull(self, pull: PullRequest) -> PullRequest:
        said = {name: getattr(pull, name) for name in ("author", "merged_by", "closed_by", "pushed_by")}
        known = {name: self._known(account) for name, account in said.items() if account is not None}
        reviews = tuple(one.model_copy(update={"by": self._known(one.by)}) for one in pull.reviews)
        return pull.model_copy(update={**known, "reviews": reviews})
