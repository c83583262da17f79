"""What tests ask of the machine: in CI nothing that the project promises is passed over because it is missing."""

from __future__ import annotations

import pytest

from tests import machine


def test_a_machine_without_landlock_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "landlock_version", lambda: 0)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="landlock is not in this kernel"):
        machine.landlock()
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match=r"docs/howto/isolation\.md"):
        machine.landlock()
    monkeypatch.setattr(machine, "landlock_version", lambda: 1)
    machine.landlock()
