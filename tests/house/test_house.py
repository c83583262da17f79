"""The house: the map is true, rooms have names and openings, files and functions stay small, the lock is a lock."""

from __future__ import annotations

import ast
import re
import tomllib
from hashlib import sha256
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "receiver"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
BENCH = sorted((ROOT / "bench").glob("[a-z]*.py"))
#: what is larger, and why
LARGE_FILES = {
    "config.py": "one settings model with its errors in words",
    "supervisor.py": "one process tree with all its ends",
    "adapters/repo/branches.py": "proposal and merge are one story",
    "adapters/forge/local.py": "the two-step merge and its healing belong together",
}
LARGE_FUNCTIONS = {"advance": "one line per kind of case", "judge": "one step per row of the table"}
NO_NAMES = {"utils", "util", "helpers", "common", "manager", "base", "handler", "handlers", "service_base", "misc"}
PROMISES = [f"P{n}" for n in range(1, 9)] + ["P10"]
RULES = [f"S{n}" for n in range(1, 8)] + ["S9", "S14", "S22"]


def inside(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else path.relative_to(ROOT).as_posix()


def rooms() -> list[str]:
    table = (PACKAGE / "README.md").read_text().split("## Rooms")[1].split("## ")[0]
    return re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)


def test_every_module_is_in_a_room_of_the_map() -> None:
    named = rooms()
    lost = [inside(path) for path in MODULES if not any(inside(path).startswith(room) for room in named)]
    assert lost == []


def test_every_room_of_the_map_is_there() -> None:
    assert [room for room in rooms() if not (PACKAGE / room).exists()] == []


def test_the_paths_in_where_to_change_what_are_there() -> None:
    part = (PACKAGE / "README.md").read_text().split("## Where to change what")[1].split("## ")[0]
    paths = re.findall(r"`([a-z_]+/[a-z_/.]*)`", part)
    assert len(paths) >= 9
    assert [path for path in paths if not (PACKAGE / path).exists()] == []


@pytest.mark.parametrize("path", [*MODULES, *BENCH], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_opens_with_what_it_decides(path: Path) -> None:
    assert path.stem not in NO_NAMES
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "a module opens with a docstring"


@pytest.mark.parametrize("path", [*MODULES, *BENCH], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    lines = text.count("\n")
    assert lines <= (480 if inside(path) in LARGE_FILES else 400)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name not in LARGE_FUNCTIONS:
            length = (node.end_lineno or 0) - node.lineno + 1
            nested = any(isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) for inner in node.body)
            assert length <= (90 if nested else 60), f"{node.name} has {length} lines"


def test_the_lock_has_hashes_and_no_address() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    pinned = re.findall(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==[^\n]*", text, re.MULTILINE)
    blocks = re.split(r"\n(?=[A-Za-z0-9])", text)
    assert len(pinned) > 60
    assert [block[:40] for block in blocks if "==" in block.split("\n")[0] and "--hash=sha256:" not in block] == []
    names = {name.lower().replace("_", "-") for name in pinned}
    wanted = re.findall(r'^    "([a-zA-Z0-9-]+)', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    dependencies = {name.lower() for name in wanted if not name.startswith("receiver")}
    assert {"fastapi", "psycopg", "ansible-runner", "pytest"} <= names & dependencies


def test_every_promise_and_rule_names_a_test_that_exists() -> None:
    text = (ROOT / "docs" / "promises.md").read_text()
    rows = re.findall(r"^\| (P\d+|S\d+) \|.*$", text, re.MULTILINE)
    assert set(PROMISES + RULES) <= set(rows)
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert len(named) >= len(PROMISES + RULES)
    for file, name in named:
        tree = ast.parse((ROOT / file).read_text())
        found = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert name in found, f"{file}::{name} does not exist"


def methods_of(path: Path, *, ports_only: bool = False) -> dict[str, set[str]]:
    """Class → the names of its methods."""
    return {
        node.name: {one.name for one in node.body if isinstance(one, ast.AsyncFunctionDef | ast.FunctionDef)}
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
        and (not ports_only or any(getattr(base, "id", "") == "Protocol" for base in node.bases))
    }


PORTS = {
    name: methods
    for path in sorted((PACKAGE / "ports").glob("*.py"))
    for name, methods in methods_of(path, ports_only=True).items()
}


def test_every_guard_is_still_where_it_is_taken_out() -> None:
    files = sorted((ROOT / "tests" / "guards").glob("*.toml"))
    guards = [guard for file in files for guard in tomllib.loads(file.read_text())["guard"]]
    assert [one["old"][:60] for one in guards if one["old"] not in (ROOT / one["file"]).read_text()] == []
    assert {one["rule"] for one in guards} >= {*PROMISES, *RULES}


def test_ports_stay_small() -> None:
    shown = {"Archive": 7, "Runs": 7, "Access": 4, "Desk": 5}
    for name, methods in PORTS.items():
        assert len(methods) <= shown.get(name, 5), f"{name} has {len(methods)} methods"


def test_every_port_has_a_contract_suite() -> None:
    text = "\n".join(path.read_text() for path in sorted((ROOT / "tests" / "contract").glob("test_*.py")))
    assert len(PORTS) >= 20
    assert [name for name in PORTS if not re.search(rf"\b{name}\b", text)] == []


def test_every_port_has_a_fake() -> None:
    fakes = [own for path in (PACKAGE / "testing").glob("*.py") for own in methods_of(path).values()]
    assert [name for name, methods in PORTS.items() if not any(methods <= own for own in fakes)] == []


def test_vendored_files_are_what_they_were() -> None:
    folder = PACKAGE / "web" / "static" / "vendor"
    lines = [line.split("  ") for line in (folder / "SHA256SUMS").read_text().splitlines()]
    listed = {name: digest for digest, name in lines}
    found = {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.name != "SHA256SUMS"}
    assert found == listed
    assert any("LICENSE" in name for name in listed)


def test_no_word_of_registries() -> None:
    for path in [*PACKAGE.rglob("*.py"), *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "setup/prepare.py"]:
        text = path.read_text()
        assert not re.search(r"pypi\.org|files\.pythonhosted|deb\.debian\.org", text), path
