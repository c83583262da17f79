"""A person's own pull request that brings a run file: may it become a case? One row per question, pure.

What passes meets the same guard, dry run and approval as any other run. What does not is said on the pull request, and
nothing touches a host: a dry run is execution, so it happens only for people whom policy.yml lets dispatch (rule S5).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import sha256

from receiver.domain.forge import PullRequest
from receiver.domain.landing import Brought, Trees
from receiver.domain.place import Routing
from receiver.domain.playbook import check_params
from receiver.domain.policyfile import Person
from receiver.domain.proposal import Proposal
from receiver.domain.quorum import actors, person_of
from receiver.domain.record import Record
from receiver.domain.revision import Revision
from receiver.domain.runfile import RunFile, path_of, read_runfile
from receiver.domain.table import NotHere, Row
from receiver.errors import Invalid

#: a person's run file may wait so long for its reviewers
LONGEST = timedelta(days=7)


class Given(Record):
    """What is known about one such pull request."""

    now: datetime  #: the database's clock
    pull: PullRequest
    base: str
    prefix: str = ""  #: the folder of the repository in which run files lie
    brought: Brought
    revision: Revision  #: in force
    runfile: RunFile | None = None
    unreadable: str = ""  #: why there is no run file
    trees: Trees | None = None  #: of its playbook, in force
    targets_digest: str = ""  #: of its targets, as they resolve now
    is_known: bool = False  #: a case or a run of this id was there before
    place: str = ""  #: the settings' name of the repository that it is in; empty: the catalog's own
    routing: Routing = Routing()  #: which place takes which site's runs

    @property
    def author(self) -> Person | None:
        """The person of the policy who opened it."""
        return person_of(self.revision.policy, self.pull.author)

    @property
    def run(self) -> RunFile:
        """The run file, where there is one."""
        assert self.runfile is not None, "a row about the run file was asked without it"  # noqa: S101
        return self.runfile


def brings_a_run(brought: Brought) -> bool:
    """Whether a pull request is about a run file at all."""
    return any("runs" in path.split("/")[:-1] for _, _, path in brought.changes)


def is_here(given: Given) -> str | None:
    """From this repository, into the base; forks bring nothing."""
    pull = given.pull
    if not pull.same_repository:
        return "its branch lies in another repository"
    return None if pull.base_ref == given.base else f"its base is {pull.base_ref!r}, not {given.base!r}"


def is_one_file(given: Given) -> str | None:
    """One new plain file and nothing else."""
    if given.brought.content is None or len(given.brought.changes) != 1:
        shown = ", ".join(" ".join(change) for change in given.brought.changes[:3])
        return f"it does not add one run file and nothing else: {shown}"
    return None


def is_readable(given: Given) -> str | None:
    """Read strictly, at the place that its id says."""
    if given.runfile is None:
        return given.unreadable or "there is no run file to read"
    path, run = given.brought.path or "", given.runfile.run
    days = range(-1, LONGEST.days + 1)
    if path not in [path_of(run, given.now - timedelta(days=by), given.prefix) for by in days]:
        return f"{path} is not where a run file of these days lies: {path_of(run, given.now, given.prefix)}"
    return None


def is_new(given: Given) -> str | None:
    """A run id is used once."""
    return f"run or case id of {given.run.run} was used before: write a new file" if given.is_known else None


def is_in_catalog(given: Given) -> str | None:
    """A vetted playbook with parameters that fit, on hosts of the inventory."""
    run = given.run
    playbook = given.revision.catalog.playbooks.get(run.playbook)
    if playbook is None:
        return f"playbook {run.playbook!r} is not in the catalog in force"
    try:
        check_params(playbook, run.params)
    except Invalid as error:
        return error.message
    named = run.params.get(playbook.targets.param)
    wanted = tuple(str(name) for name in (named if isinstance(named, list) else [named]))
    if run.targets != wanted:
        return f"its targets {list(run.targets)!r:.80} are not what its parameters say"
    unknown = next((name for name in run.targets if name not in given.revision.inventory.hosts), None)
    return f"host {unknown!r} is not in the inventory" if unknown is not None else None


def is_in_its_place(given: Given) -> str | None:
    """By the settings of now."""
    hosts = given.revision.inventory.hosts
    return given.routing.misplaced((hosts[name].site for name in given.run.targets if name in hosts), given.place)


def is_pinned(given: Given) -> str | None:
    """It stands on what is in force now."""
    run, trees = given.run, given.trees
    if trees is None or (trees.playbook, trees.roles, trees.collections) != (
        run.pins.playbook, run.pins.roles, run.pins.collections,
    ):  # fmt: skip
        return "it pins another state of its playbook, roles or collections than the one in force"
    if given.targets_digest != run.pins.targets:
        return "it pins other addresses or variables of its targets than those in force"
    return None


def is_in_time(given: Given) -> str | None:
    """It has an end, and not too late a one."""
    if given.run.expires_at <= given.now:
        return f"it expired at {given.run.expires_at:%Y-%m-%d %H:%M} UTC"
    if given.run.expires_at > given.now + LONGEST:
        return f"it would be valid for more than {LONGEST.days} days"
    return None


def is_of_its_author(given: Given) -> str | None:
    """Who asks is who opened it, by the policy in force."""
    author = given.author
    if author is None:
        return NotHere(f"{given.pull.author.login} is nobody in policy.yml")
    return None if given.run.requested_by in actors(author) else f"it says {given.run.requested_by!r} asked for it"


def dispatches(given: Given) -> str | None:
    """Rule S5: a dry run touches hosts."""
    author = given.author
    if author is not None and author.dispatches:
        return None
    return f"{given.pull.author.login} may not dispatch, so it is not rehearsed and cannot run"


def proposal_of(given: Given) -> Proposal:
    """The proposal that it is already."""
    content, pull, run = given.brought.content or b"", given.pull, given.run
    return Proposal(
        run_id=run.run,
        path=given.brought.path or "",
        branch=pull.head_ref,
        sha256=sha256(content).hexdigest(),
        head_sha=pull.head_sha,
        base_sha=given.brought.base_sha or "",
        number=pull.number,
        url=pull.url,
        expires_at=run.expires_at,
        author=pull.author,
        place=given.place,
        repository=pull.repository,
    )


def read_given(brought: Brought) -> tuple[RunFile | None, str]:
    """The run file, or why there is none."""
    if brought.content is None or brought.path is None:
        return None, ""
    try:
        return read_runfile(brought.content, brought.path), ""
    except Invalid as error:
        return None, error.message


#: what can be said without touching anything; those before `new` need no readable file
BEFORE: tuple[Row[Given], ...] = (
    Row("here", "Does it come from this repository, into the base?", is_here, ("forge",)),
    Row("one_file", "Does it add one run file and nothing else?", is_one_file, ("git",)),
    Row("readable", "Does it read as a run file, in its place?", is_readable, ("git",)),
)
AFTER: tuple[Row[Given], ...] = (
    Row("new", "Is its run id new?", is_new, ("database",)),
    Row("catalog", "Are playbook, parameters and targets known?", is_in_catalog, ("git",)),
    Row("place", "Do its targets' runs belong to this repository?", is_in_its_place, ("git",)),
    Row("pinned", "Does it stand on what is in force?", is_pinned, ("git",)),
    Row("in_time", "Does it expire, and not too late?", is_in_time, ("clock",)),
    Row("author", "Did its author ask for it?", is_of_its_author, ("forge",)),
    Row("dispatches", "May its author dispatch?", dispatches, ("forge",)),
)
