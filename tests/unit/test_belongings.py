"""What each process may know, in its environment and in its settings."""

import pytest

from receiver import belongings, config

OUTER = {
    "PATH": "/bin", "AWS_SECRET": "x", "ANTHROPIC_API_KEY": "k", "MY_KEY": "m", "CREDENTIALS_DIRECTORY": "/run/c",
    "GITMEDIC_CREDENTIALS__SSH__FILE": "/key", "GITMEDIC_SOURCES": "[]",
    "GITMEDIC_DATABASE__URL": "postgresql:///x",
}  # fmt: skip
TEXT = """
[[sources]]
name = "prom"
url = "http://127.0.0.1:9090"
headers = { Authorization = "Bearer geheim" }
[credentials.ssh]
kind = "ssh_key"
file = "/key"
[planner.tiers.claude]
kind = "anthropic"
model = "claude-x"
key_env = "MY_KEY"
"""


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "gitmedic.toml").write_text(TEXT)
    return config.load(tmp_path, environment={})


@pytest.mark.parametrize(
    ("roles", "secrets"),
    [
        ("serve", {"GITMEDIC_SOURCES"}),
        ("plan", {"GITMEDIC_SOURCES", "ANTHROPIC_API_KEY", "MY_KEY"}),
        ("execute", {"CREDENTIALS_DIRECTORY", "GITMEDIC_CREDENTIALS__SSH__FILE"}),
        (
            "plan execute",
            {"GITMEDIC_SOURCES", "ANTHROPIC_API_KEY", "MY_KEY", "CREDENTIALS_DIRECTORY",
             "GITMEDIC_CREDENTIALS__SSH__FILE"},
        ),
    ],
)  # fmt: skip
def test_the_environment_of_a_process_is_made_from_nothing(settings, roles, secrets) -> None:
    assert set(belongings.environment(roles, settings, OUTER)) == {"PATH", "GITMEDIC_DATABASE__URL"} | secrets


def test_the_settings_of_a_process_hold_no_other_ones_secrets(settings) -> None:
    serve, plan, execute, both = (
        belongings.settings_of(roles, settings) for roles in ("serve", "plan", "execute", "plan execute")
    )
    assert [one.credentials == {} for one in (serve, plan, execute, both)] == [True, True, False, False]
    assert [dict(one.sources[0].headers) == {} for one in (serve, plan, execute, both)] == [False, False, True, False]
    assert serve.planner.tiers["claude"].key_env == "" and execute.planner.tiers == {}
    assert plan.planner.tiers["claude"].key_env == both.planner.tiers["claude"].key_env == "MY_KEY"


def test_nothing_begins_again_that_has_nothing_to_shed(settings, monkeypatch) -> None:
    begun: list[dict[str, str]] = []
    monkeypatch.setattr(belongings.os, "execve", lambda program, argv, kept: begun.append(kept))
    monkeypatch.setattr(belongings.os, "environ", {"PATH": "/bin", "GITMEDIC_LOG__LEVEL": "debug", "PYTHONPATH": "/p"})
    belongings.shed("execute", settings)
    assert begun == []
    monkeypatch.setattr(belongings.os, "environ", OUTER | {"NOTIFY_SOCKET": "/s"})
    belongings.shed("serve", settings)
    assert set(begun[0]) == {
        "PATH",
        "GITMEDIC_DATABASE__URL",
        "GITMEDIC_SOURCES",
        "NOTIFY_SOCKET",
        "CREDENTIALS_DIRECTORY",
        "GITMEDIC_BEGUN_AGAIN",
    }
    # what a program before ours puts there each time anew has an end
    monkeypatch.setattr(belongings.os, "environ", begun[0] | {"PUT_BY_A_WRAPPER": "x"})
    belongings.shed("serve", settings)
    assert len(begun) == 1 and "GITMEDIC_BEGUN_AGAIN" not in belongings.os.environ
