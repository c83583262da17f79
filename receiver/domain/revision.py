"""The adopted revision (rule S4): catalog, inventory and policy of one commit, read together."""

from __future__ import annotations

from datetime import datetime

from receiver.domain.collection import Collections
from receiver.domain.inventory import Inventory
from receiver.domain.playbook import Catalog
from receiver.domain.policyfile import Policy
from receiver.domain.record import Record


class Revision(Record):
    """What is in force."""

    commit: str
    catalog: Catalog
    inventory: Inventory
    policy: Policy
    collections: Collections = Collections()
    prompts: dict[str, str] = {}  #: file name below `prompts/` → template


class Pending(Record):
    """One commit of the base branch whose content is not in force yet."""

    commit: str
    subject: str
    author: str  #: as the commit says, which anybody may write
    at: datetime
    paths: tuple[str, ...]  #: at most twenty
    more_paths: int = 0
