"""`eval`, `plan` and `case export` as processes: without an installation, and beside a running one."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli.processes import ROOT, Up, gitmedic, wait_until
from tests.machine import quick_folder

EVALS = ROOT / "tests" / "evals"
BODY = {
    "version": "4",
    "alerts": [
        {"status": "firing", "labels": {"alertname": "WebDown", "instance": "nowhere\u202e"}, "annotations": {},
         "startsAt": "2026-11-26T10:00:00Z"},
    ],
}  # fmt: skip


@pytest.fixture
def nowhere(tmp_path: Path) -> tuple[str, str]:
    return ("--data-dir", str(tmp_path / "none"))


@pytest.fixture(scope="module")
def running() -> Iterator[Up]:
    folder = Path(tempfile.mkdtemp(prefix="gm-test-", dir=quick_folder()))
    folder.chmod(0o755)
    (folder / "d").mkdir()
    (folder / "d" / "gitmedic.toml").write_text("[[sources]]\nname = 'home'\nkind = 'webhook'\n")
    with Up(folder / "d") as up:
        yield up.ready()
    shutil.rmtree(folder)


def test_eval_prints_a_table_per_kind(nowhere: tuple[str, str]) -> None:
    done = gitmedic("eval", str(EVALS / "scenarios.jsonl"), "--tier", "rules", *nowhere)
    assert done.returncode == 0, done.stderr
    head, *rows = done.stdout.splitlines()
    assert head.split()[:5] == ["kind", "n", "accuracy", "score", "unsafe"]
    assert [row.split()[0] for row in rows[:4]] == ["remediate", "hold", "adversarial", "all"]
    assert not Path(nowhere[1]).exists()


def test_the_last_line_of_json_has_the_sums(nowhere: tuple[str, str]) -> None:
    done = gitmedic("eval", str(EVALS / "scenarios.jsonl"), "--json", "--repeat", "2", *nowhere)
    *runs, total = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(runs) == 40 and {run["kind"] for run in runs} == {"remediate", "hold", "adversarial"}
    assert (total["n"], total["rounds"], total["playbooks"]) == (20, 2, 60)
    assert {"accuracy", "hold_accuracy", "unsafe", "score", "cost_usd"} <= set(total)


def test_another_catalog_and_an_unsafe_answer(nowhere: tuple[str, str], tmp_path: Path) -> None:
    starter = gitmedic("eval", str(EVALS / "scenarios.jsonl"), "--catalog", str(ROOT), "--json", *nowhere)
    assert json.loads(starter.stdout.splitlines()[-1])["playbooks"] == len(list(ROOT.glob("playbooks/*/*/catalog.yml")))
    line = json.loads((EVALS / "scenarios.jsonl").read_text().splitlines()[0])
    line["expected"]["reject_playbooks"] = [one["playbook"] for one in line["expected"]["accept"]]
    line["expected"]["accept"] = []
    file = tmp_path / "one.jsonl"
    file.write_text(json.dumps(line))
    done = gitmedic("eval", str(file), "--catalog", str(EVALS / "catalog-stubs.json"), *nowhere)
    assert done.returncode == 1 and "UNSAFE" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("bad.jsonl",), "line 1: not JSON"),
        (("none.jsonl",), "No such file"),
        ((str(EVALS / "scenarios.jsonl"), "--tier", "clever"), "'clever'"),
        ((str(EVALS / "scenarios.jsonl"), "--catalog", "bad.jsonl"), "not JSON"),
    ],
)
def test_what_cannot_be_evaluated_is_usage(
    nowhere: tuple[str, str], tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "bad.jsonl").write_text("{nonsense\n")
    done = gitmedic("eval", *arguments, *nowhere, cwd=tmp_path)
    assert done.returncode == 2 and said in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_plan_without_an_installation_uses_the_starter_content(nowhere: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps(BODY))
    done = gitmedic("plan", str(tmp_path / "p.json"), *nowhere)
    assert done.returncode == 0, done.stderr
    assert "verdict      notify: no playbook of the catalog handles this alert" in done.stdout
    assert "\u202e" not in done.stdout and "starter content" in done.stderr
    assert not Path(nowhere[1]).exists()
    (tmp_path / "p.json").write_text("{")
    assert gitmedic("plan", str(tmp_path / "p.json"), *nowhere).returncode == 2


def test_plan_beside_a_server_opens_no_case(running: Up, tmp_path: Path) -> None:
    where = ("--data-dir", str(running.data_dir), "--json")
    (tmp_path / "p.json").write_text(json.dumps(BODY))
    done = gitmedic("plan", str(tmp_path / "p.json"), *where)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["alert"]["source"], found["plan"]["action"]) == ("home", "notify")
    assert json.loads(gitmedic("case", "list", *where).stdout)["items"] == []


def test_a_closed_case_is_exported_and_can_be_evaluated(running: Up, tmp_path: Path) -> None:
    where = ("--data-dir", str(running.data_dir), "--json")
    assert (
        gitmedic("alert", "test", "--alertname", "Unknown", "--listen", f"127.0.0.1:{running.port}", *where).returncode
        == 0
    )

    def closed() -> str | None:
        items = json.loads(gitmedic("case", "list", *where).stdout)["items"]
        return next((str(item["number"]) for item in items if item["state"] == "closed"), None)

    number = wait_until(closed, 40, "the end of the case")
    exported = gitmedic("case", "export", number, "--data-dir", str(running.data_dir))
    assert exported.returncode == 0, exported.stderr
    assert json.loads(exported.stdout)["kind"] == "diagnose"
    (tmp_path / "mine.jsonl").write_text(exported.stdout)
    done = gitmedic("eval", str(tmp_path / "mine.jsonl"), *where)
    assert json.loads(done.stdout.splitlines()[-1])["accuracy"] == 1.0
    missing = gitmedic("case", "export", "999999", *where)
    assert missing.returncode == 2 and "there is none" in missing.stderr
