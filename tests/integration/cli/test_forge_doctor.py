"""What `gitmedic doctor` says of a forge: each row with what to do, and no question hides another."""

from __future__ import annotations

import re
from datetime import timedelta

import psycopg
import pytest

from tests.fix_connect import TOKEN, Homestead, Homesteads
from tests.forges import gitwork
from tests.forges.state import Protection

KINDS = ["github", "gitea", "gitlab"]


@pytest.fixture
def home(homesteads: Homesteads) -> Homestead:
    made = homesteads("gitea")
    made.connected()
    return made


def red(rows: dict[str, list[dict[str, str]]], what: str) -> str:
    """The words of its one bad row, which says what to do."""
    (row,) = [one for one in rows[what] if one["status"] == "bad"]
    assert row["fix"]
    return f"{row['found']} -> {row['fix']}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_forge_has_no_red_row(homesteads: Homesteads, kind: str):
    home = homesteads(kind)
    login = "ada"
    home.change_policy("    approves: medium", f'    forges: {{{kind}: "{login}"}}\n    approves: medium')
    home.connected()
    home.repository.protection["main"] = Protection(
        required_reviews=1, admins_bypass=False, dismiss_stale=True, more={"classic": False}
    )
    rows = home.doctor()
    assert [row for found in rows.values() for row in found if row["status"] == "bad"] == []
    assert rows["forge: account"][0]["found"].startswith("gitmedic-bot (")
    assert "every 20 s" in rows["forge: webhook"][0]["found"]
    assert rows["forge: people"][0]["status"] == rows["forge: clock"][0]["status"] == "ok"
    assert "never looked at" in rows["forge: base"][0]["found"]


def test_without_a_forge_there_is_one_row(homesteads: Homesteads):
    assert homesteads("gitea").doctor()["forge"][0]["found"] == "gitmedic's own pages"


def test_a_token_that_was_taken_back(home: Homestead):
    home.state.expire(TOKEN)
    rows = home.doctor()
    for what in ("account", "rights", "protection", "base", "webhook"):
        rows_of = rows.get(f"forge: {what}", [])
        assert rows_of == [] or "cannot be asked" not in rows_of[0]["found"] or rows_of[0]["status"] == "bad"
    assert "gitmedic forge connect" in red(rows, "forge: account")
    assert rows["forge: clock"][0]["status"] == "ok"


def test_a_forge_that_is_away(home: Homestead):
    home.server.faults.add(".*", ".*", "lost before the effect", times=200)
    rows = home.doctor()
    assert "cannot be asked" in red(rows, "forge: account") and "cannot be asked" in red(rows, "forge: base")


def test_a_repository_that_was_renamed(home: Homestead):
    home.state.rename(home.repository, "renamed")
    assert "gitmedic forge connect" in red(home.doctor(), "forge: rights")


def test_another_repository_at_the_same_address(home: Homestead):
    home.state.rename(home.repository, "old")
    home.state.moved.clear()
    home.add("ops", "infra", files={"x": b"x"})
    assert "was connected" in red(home.doctor(), "forge: repository")


def test_rights_that_were_taken_or_given(home: Homestead):
    bot = home.people["gitmedic-bot"].id
    home.repository.rights[bot] = "read"
    assert "may not write" in red(home.doctor(), "forge: rights")
    home.repository.rights[bot] = "admin"
    assert home.doctor()["forge: rights"][0]["status"] == "warn"


def test_a_weak_base_is_as_bad_as_policy_yml_says(homesteads: Homesteads):
    home = homesteads("gitea")
    home.connected()
    rows = home.doctor()
    assert rows["forge: branch main"][0]["status"] == "warn"  # one person decides alone
    assert "id:NUMBER" in rows["forge: people"][0]["fix"]
    assert home.run("forge", "disconnect").returncode == 0
    home.change_policy("approvals:\n", "approvals:\n  posture: strict\n")
    home.connected()
    assert "not protected" in red(home.doctor(), "forge: branch main")


def test_a_token_that_ends_soon(homesteads: Homesteads):
    home = homesteads("github")
    home.connected()
    soon = home.state.now() + timedelta(days=3)
    usual = type(home.state).headers

    def headers(request):
        return usual(home.state, request) | {
            "github-authentication-token-expiration": soon.strftime("%Y-%m-%d %H:%M:%S UTC")
        }

    home.state.headers = headers  # type: ignore[method-assign]
    (row,) = home.doctor()["forge: token"]
    assert row["status"] == "warn" and f"{soon:%Y-%m-%d}" in row["found"]


def test_a_webhook_that_never_rang(home: Homestead):
    home.repository.rights[home.people["gitmedic-bot"].id] = "admin"
    home.connected("--allow-admin", "--hook-url", "http://127.0.0.1:9")
    rows = home.doctor()
    assert "ALLOWED_HOST_LIST" in rows["forge: deliveries"][0]["fix"]
    assert any("not reached from here" in row["found"] for row in rows["forge: webhook"])
    with psycopg.connect(home.database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO forge_deliveries (forge, repository, id, event) VALUES ('gitea', %s, 'd1', 'push')",
            (str(home.repository.id),),
        )
    home.repository.hooks[0].active = False
    rows = home.doctor()
    assert re.fullmatch(r"the last came \d+ s ago", rows["forge: deliveries"][0]["found"])
    assert "off" in red(rows, "forge: webhook")
    home.repository.hooks.clear()
    assert "none leads to /hooks/gitea/" in red(home.doctor(), "forge: webhook")


def test_a_mirror_that_the_settings_forgot(home: Homestead):
    (home.data_dir / "gitmedic.toml").write_text("")
    assert "the settings name no forge" in red(home.doctor(), "forge")
    assert home.run("forge", "disconnect").returncode == 0
    assert home.doctor()["forge"][0]["status"] == "ok"
    assert "url" not in gitwork.git(home.bare, "config", "--get-regexp", "remote.forge", check=False)
