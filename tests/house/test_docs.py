"""The docs' own examples are read by the code they describe, and their links lead somewhere."""

from __future__ import annotations

import re
import textwrap
import tomllib
from pathlib import Path

import pytest

from receiver.adapters.embedder.settings import MemorySettings
from receiver.adapters.planner.settings import PlannerSettings
from receiver.adapters.proof.settings import SourceSettings
from receiver.config import load
from receiver.domain.inventory import read_inventory
from receiver.domain.playbook import read_playbook
from receiver.elsewhere import PlaceSettings
from receiver.forges import RepoGit

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "receiver" / "README.md"])


def block(page: str, start: str) -> str:
    """The indented block that begins with a line."""
    lines = (ROOT / "docs" / "howto" / page).read_text().split("\n")
    first = next(number for number, line in enumerate(lines) if line.strip() == start)
    indent = len(lines[first]) - len(lines[first].lstrip())
    kept = []
    for line in lines[first:]:
        if line.strip() and len(line) - len(line.lstrip()) < indent:
            break
        kept.append(line)
    return textwrap.dedent("\n".join(kept))


def test_the_example_of_a_source() -> None:
    text = block("connect-alertmanager.md", "[[sources]]")
    (source,) = tomllib.loads(text)["sources"]
    assert SourceSettings.model_validate(source).jobs["cadvisor"] == "guests"


def test_the_settings_of_an_executor_elsewhere(tmp_path: Path) -> None:
    text = (
        (ROOT / "docs" / "howto" / "sites.md").read_text().split("## 3. The executor")[1].split("Only this machine")[0]
    )
    (tmp_path / "gitmedic.toml").write_text(textwrap.dedent(text[text.index("    [database]") :]))
    found = load(tmp_path, environment={})
    assert found.worker.sites == ("lab",) and not found.database.unsafe_host and RepoGit(found.repo).url


def test_the_example_of_a_place() -> None:
    (place,) = tomllib.loads(block("several-repositories.md", "[places.lab]"))["places"].values()
    assert PlaceSettings.model_validate(place).sites == ("lab", "attic")


def test_the_examples_of_models() -> None:
    page = (ROOT / "docs" / "howto" / "models.md").read_text()
    examples = re.findall(r"(?:^    .*\n|^\n(?=    ))+", page, re.MULTILINE)
    read = [PlannerSettings.model_validate(tomllib.loads(textwrap.dedent(one))["planner"]) for one in examples]
    assert [one.names for one in read] == [("fast",), ("local", "fast", "strong")]


def test_the_example_of_an_embedder() -> None:
    (section,) = tomllib.loads(block("memory.md", "[memory.embedder]")).values()
    assert MemorySettings.model_validate(section).embedder.model == "nomic-embed-text"


def test_the_example_of_a_host() -> None:
    hosts = read_inventory({"inventory/hosts.yml": block("add-a-host.md", "all:").encode()}).hosts
    assert hosts["web1"].match and hosts["web1"].variables["gitmedic_facts"]["cleanup.path"]


def test_the_example_of_a_playbook() -> None:
    files = {
        "playbook.yml": block("write-a-playbook.md", "- name: Restart a service").encode(),
        "catalog.yml": block("write-a-playbook.md", "schema: 1").encode(),
    }
    assert read_playbook("playbooks/host/restart", files).id == "host_restart"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_errors_in_troubleshooting_are_said_by_the_code() -> None:
    """The quoted words of each first column, between the values that change."""
    code = "\n".join(path.read_text() for kind in ("*.py", "*.html") for path in (ROOT / "receiver").rglob(kind))
    rows = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)
    quoted = [piece.strip(" '") for row in rows for span in re.findall(r"`([^`]+)`", row) for piece in span.split("…")]
    pieces = [piece for piece in quoted if len(piece) > 8 and not piece.startswith(("gitmedic", "/"))]
    assert len(pieces) > 15
    assert [piece for piece in pieces if piece not in code] == []
