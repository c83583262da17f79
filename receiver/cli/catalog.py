"""`gitmedic catalog`: which playbooks are vetted, what they may do, and what keeps others out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from receiver.cli.command import command, field, group, lines, run_async, say, show, table
from receiver.cli.exits import Code
from receiver.cli.open import office
from receiver.errors import Invalid, Refused


def register(app: typer.Typer) -> None:
    """Add the commands."""
    catalog = group("catalog", "The vetted playbooks.")
    app.add_typer(catalog)

    @command(catalog, "list")
    def list_playbooks() -> None:
        """The playbooks in force, and what kept others out."""
        run_async(_list())

    @command(catalog, "show")
    def show_playbook(playbook: Annotated[str, typer.Argument(help="Its id.")]) -> None:
        """Everything that catalog.yml says of one playbook."""
        run_async(_show(playbook))

    @command(catalog, "lint")
    def lint(
        folder: Annotated[Path, typer.Argument(metavar="DIR", help="A work tree or a part of it.")] = Path(),
    ) -> int:
        """Check playbooks, inventory and policy of a work tree as if they were to be put in force."""
        return int(_lint(folder))

    @command(catalog, "lock")
    def lock(
        folder: Annotated[Path, typer.Argument(metavar="DIR", help="A work tree or a part of it.")] = Path(),
        place: Annotated[
            Path | None,
            typer.Option(
                "--from", metavar="DIR", help="Holds `ansible_collections`; else as [runner] collections says."
            ),
        ] = None,
    ) -> None:
        """Write collections.lock: the collections that its playbooks use, as they are installed here."""
        _lock(folder, place)


async def _list() -> None:
    async with office() as opened:
        commit = await opened.repo.adopted()
        catalog = (await opened.repo.revision(commit)).catalog
    items = [one.model_dump(mode="json") for one in catalog.playbooks.values()]
    columns = ("id", "effect", "risk", "title", "use_when")
    rows = [[one[column] for column in columns] for one in items]
    data = {"items": items, "next": None, "revision": commit, "problems": list(catalog.problems)}
    show(data, lambda: table(columns, rows))
    for problem in catalog.problems:
        say(f"left out: {problem}")


async def _show(name: str) -> None:
    async with office() as opened:
        catalog = (await opened.repo.revision(await opened.repo.adopted())).catalog
    known = catalog.playbooks.get(name)
    if known is None:
        raise Refused(
            f"showing playbook {name!r}: it is not in the adopted catalog",
            next_step="gitmedic catalog list", reason="unknown_playbook",
        )  # fmt: skip
    data: dict[str, Any] = known.model_dump(mode="json")

    def text() -> None:
        for key, value in data.items():
            if value not in (None, "", [], {}):
                field(key, value)

    show(data, text)


def _lint(folder: Path) -> Code:
    root = _root(folder)
    problems = [*_catalog_problems(root), *_other_problems(root)]
    show(
        {"schema": 1, "folder": str(root), "problems": problems},
        lambda: lines(problems),
    )
    if not problems:
        say(f"{root}: nothing to say against it")
    return Code.FAILED if problems else Code.OK


def _lock(folder: Path, place: Path | None) -> None:
    from receiver.adapters.runner.collections import installed_in, lock_of
    from receiver.cli.open import settings
    from receiver.domain.collection import LOCK, read_collections, write_collections
    from receiver.domain.playbook import read_catalog

    root = _root(folder)
    file = root / LOCK
    before = read_collections(file.read_bytes() if file.is_file() else None)
    used = {name for one in read_catalog(_files(root, "playbooks")).playbooks.values() for name in one.collections}
    # what a role names is not read here: whatever is pinned already stays so
    source = installed_in(place.expanduser().absolute() if place else settings().runner.collections)
    found = lock_of(source, sorted(used | set(before.collections)))
    if found != before:
        file.write_bytes(write_collections(found))
    items = [{"name": name, **one.model_dump(mode="json")} for name, one in sorted(found.collections.items())]
    rows = [[one["name"], one["version"], one["sha256"][:12]] for one in items]
    show(
        {"schema": 1, "file": str(file), "changed": found != before, "collections": items},
        lambda: table(("collection", "version", "sha256"), rows),
    )
    say(f"{file}: {'written; it takes effect when it is merged' if found != before else 'as it was'}")


def _root(folder: Path) -> Path:
    """The work tree that holds this folder."""
    start = folder.expanduser().absolute()
    for place in (start, *start.parents):
        if (place / "playbooks").is_dir():
            return place
    raise Refused(
        f"checking {str(start)!r}: there is no folder `playbooks` in it or above it",
        next_step="gitmedic catalog lint DIR, with your work tree", reason="invalid",
    )  # fmt: skip


def _files(root: Path, name: str) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted((root / name).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def _catalog_problems(root: Path) -> list[str]:
    from receiver.domain.playbook import read_catalog

    return list(read_catalog(_files(root, "playbooks")).problems)


def _other_problems(root: Path) -> list[str]:
    from receiver.domain.inventory import read_inventory
    from receiver.domain.policyfile import read_policy

    problems = []
    try:
        read_inventory(_files(root, "inventory"))
    except Invalid as error:
        problems.append(error.message)
    try:
        if (root / "policy.yml").is_file():
            read_policy((root / "policy.yml").read_bytes())
    except Invalid as error:
        problems.append(error.message)
    return problems
