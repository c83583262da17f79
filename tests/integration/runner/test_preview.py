"""Dry runs of roles that were never written for check mode, by a real Ansible."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from receiver.adapters.runner.events import Reader
from tests.integration.runner.test_runner import Bench

PROBE = """
- name: Look
  ansible.builtin.uri:
    url: http://127.0.0.1:1/
  register: looked
"""
COMMAND = """
- name: Look
  ansible.builtin.command:
    argv: ["true"]
  register: looked
"""
WRITE = """
- name: Write
  ansible.builtin.copy:
    dest: /nowhere/file
    content: "{{ looked.json.version }}"
    mode: "0600"
"""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "tasks",
    [
        PROBE + WRITE,
        PROBE + "- name: Write\n  ansible.builtin.debug: {msg: hello}\n  when: looked.status == 200\n",
        COMMAND + "- name: Write\n  ansible.builtin.set_fact: {found: '{{ looked.stdout_lines[0] }}'}\n",
        COMMAND + "- name: Write\n  ansible.builtin.debug: {msg: '{{ (looked.stdout | from_json).id }}'}\n",
    ],
    ids=["argument", "condition", "fact", "filter"],
)
async def test_what_uses_a_skipped_register_is_not_previewable(bench: Bench, tasks: str) -> None:
    result = await bench.run(bench.job(tasks + "- name: Later\n  ansible.builtin.ping:\n", mode="check"))
    assert result.status == "successful", result.why
    assert result.preview_ends == ("here: Write",)
    assert result.not_previewable == ("here: Look", "here: Write, and what follows it: it uses looked")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "tasks",
    [
        PROBE + "- name: Write\n  ansible.builtin.debug: {msg: '{{ mistyped.stdout }}'}\n",
        PROBE + "- name: Write\n  ansible.builtin.fail: {msg: 'looked at it: no'}\n",
        COMMAND.replace("register: looked", "check_mode: false\n  register: looked")
        + "- name: Write\n  ansible.builtin.debug: {msg: '{{ looked.mistyped }}'}\n",
    ],
    ids=["another name", "a real failure", "not skipped"],
)
async def test_a_real_failure_still_ends_it(bench: Bench, tasks: str) -> None:
    result = await bench.run(bench.job(tasks, mode="check"))
    assert result.status == "failed" and "here: Write" in result.why and result.preview_ends == ()


GONE = "- name: Later\n  ansible.builtin.fail: {msg: the disk is gone}\n"
RESCUED = "- name: Try\n  block:\n{}  rescue:\n  - name: Go on\n    ansible.builtin.ping:\n"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "tasks",
    [
        PROBE + WRITE + "  ignore_errors: true\n" + GONE,
        PROBE + RESCUED.format(textwrap.indent(WRITE, "  ")) + GONE,
        PROBE + RESCUED.format(textwrap.indent(WRITE, "  ")) + GONE.replace("Later", "Write"),
    ],
    ids=["ignored", "rescued", "rescued, by the same name"],
)
async def test_what_was_ignored_or_rescued_excuses_nothing_later(bench: Bench, tasks: str) -> None:
    result = await bench.run(bench.job(tasks, mode="check"))
    assert result.status == "failed" and "the disk is gone" in result.why, result
    assert result.preview_ends == ()
    assert result.not_previewable == ("here: Look", "here: Write: it uses looked")


@pytest.mark.anyio
async def test_what_was_rescued_before_is_no_end(bench: Bench) -> None:
    tasks = PROBE + RESCUED.format(textwrap.indent(GONE, "  ")) + WRITE
    result = await bench.run(bench.job(tasks, mode="check"))
    assert result.status == "successful" and result.preview_ends == ("here: Write",), result


@pytest.mark.anyio
async def test_only_a_dry_run_is_excused(bench: Bench) -> None:
    skipped = PROBE.replace("register: looked", "check_mode: true\n  register: looked")
    result = await bench.run(bench.job(skipped + WRITE))
    assert result.status == "failed" and result.preview_ends == ()


def test_unreachable_is_called_so() -> None:
    reader = Reader(check=True)
    line = reader.read(
        {
            "event": "runner_on_unreachable",
            "event_data": {"host": "gone", "task": "Ping", "res": {"msg": "Connection timed out", "unreachable": True}},
        }
    )
    assert line is not None and line.kind == "unreachable"
    assert reader.failure == "gone is unreachable: Connection timed out"
