"""The starter: the first person, the instance id, and who asks."""

import json
import os
import shutil

import pytest

from receiver import starter
from receiver.domain.outcome import Risk
from receiver.domain.policyfile import read_policy
from receiver.errors import Conflict, GitmedicError


@pytest.fixture
def no_example(tmp_path, monkeypatch):
    monkeypatch.setattr(starter, "_root", lambda: tmp_path)


@pytest.mark.usefixtures("no_example")
def test_the_first_person_decides_alone_up_to_medium():
    policy = read_policy(starter.first_policy("ada"))
    [person] = policy.people
    assert (person.name, person.os, person.session) == ("ada", ("ada",), ("ada",))
    assert (person.approves, person.dispatches, policy.solo) == (Risk.MEDIUM, True, "ada")


@pytest.mark.usefixtures("no_example")
@pytest.mark.parametrize("name", ["o'brien", "yes", "12", "a: b", "ünal"])
def test_any_name_of_an_os_user_stays_text(name):
    assert read_policy(starter.first_policy(name)).people[0].name == name


def test_people_of_the_example_are_not_people_here(tmp_path, monkeypatch):
    (tmp_path / "policy.example.yml").write_text(
        "# top\nmode: propose\npeople:\n  # nobody\n  - name: eve\n    os: [eve]\n# kept\napprovals: {solo: eve}\n"
        "limits:\n  open_proposals: 1\n"
    )
    monkeypatch.setattr(starter, "_root", lambda: tmp_path)
    text = starter.first_policy("ada")
    policy = read_policy(text)
    assert [person.name for person in policy.people] == ["ada"]
    assert policy.limits.open_proposals == 1
    assert b"# top" in text
    assert b"# kept" in text


def test_an_instance_keeps_its_id(tmp_path):
    first = starter.instance_id(tmp_path)
    assert starter.instance_id(tmp_path) == first
    assert oct((tmp_path / "instance").stat().st_mode)[-3:] == "600"


def test_a_copied_or_restored_directory_is_another_instance(tmp_path):
    (tmp_path / "a").mkdir()
    first = starter.instance_id(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    second = starter.instance_id(tmp_path / "b")
    assert second != first
    assert starter.instance_id(tmp_path / "b") == second
    assert starter.instance_id(tmp_path / "a") == first
    restored = tmp_path / "restored"
    shutil.copy(tmp_path / "a" / "instance", restored)
    restored.replace(tmp_path / "a" / "instance")
    assert starter.instance_id(tmp_path / "a") not in (first, second)


@pytest.mark.parametrize("broken", ["", "{}", "[]", "no json", json.dumps({"id": "x", "device": 1, "inode": 2})])
def test_a_broken_instance_file_is_a_new_instance(tmp_path, broken):
    (tmp_path / "instance").write_text(broken)
    assert starter.instance_id(tmp_path) != "x"


def test_under_sudo_the_person_behind_it_asks(monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setenv("SUDO_UID", "65534")
    assert starter.os_user() == "nobody"
    monkeypatch.setenv("SUDO_UID", "59999")
    assert starter.os_user() == "uid59999"
    for odd in ("", "x", "-1", "٣"):
        monkeypatch.setenv("SUDO_UID", odd)
        assert starter.os_user() == "root"
    monkeypatch.setattr(os, "getuid", lambda: 65534)
    monkeypatch.setenv("SUDO_UID", "0")
    assert starter.os_user() == "nobody"


def test_settings_are_never_written_over(tmp_path):
    starter.prepare(tmp_path)
    assert oct((tmp_path / "gitmedic.toml").stat().st_mode)[-3:] == "600"
    (tmp_path / "gitmedic.toml").write_text("# mine\n")
    starter.prepare(tmp_path)
    assert (tmp_path / "gitmedic.toml").read_text() == "# mine\n"


def test_the_example_settings_say_only_what_is_a_setting(tmp_path):
    """Every commented setting, taken in, is accepted."""
    import re

    from receiver import config

    starter.prepare(tmp_path)
    text = (tmp_path / "gitmedic.toml").read_text()
    assert config.load(tmp_path, environment={}).sources == ()
    setting = re.compile(r"^# (?=\[|\w+ = )", re.MULTILINE)
    (tmp_path / "gitmedic.toml").write_text(setting.sub("", text))
    settings = config.load(tmp_path, environment={})
    assert [source.name for source in settings.sources] == ["home"]
    assert "ssh" in settings.credentials
    assert settings.web.public_url == "https://gitmedic.lan"


@pytest.mark.parametrize("where", ["full", "file"])
def test_nothing_is_written_over(tmp_path, where):
    import asyncio

    from receiver import config

    folder = tmp_path / "tree"
    if where == "full":
        folder.mkdir()
        (folder / "x").touch()
    else:
        folder.touch()
    settings = config.load(tmp_path / "data", environment={})
    with pytest.raises(Conflict, match="something is there already"):
        asyncio.run(starter.init(settings, folder))
    assert not (tmp_path / "data").exists()


def test_the_work_tree_does_not_swallow_the_data_directory(tmp_path):
    import asyncio

    from receiver import config

    settings = config.load(tmp_path / "tree" / "data", environment={})
    with pytest.raises(GitmedicError, match="lies in it"):
        asyncio.run(starter.init(settings, tmp_path / "tree"))
