"""`gitmedic forge connect --place`, `show` and `disconnect --place` as processes, and what doctor says of a place."""

from __future__ import annotations

import json
import tomllib

import psycopg

from tests.fix_connect import Homestead, Homesteads
from tests.forges import gitwork
from tests.forges.state import Protection

LAB = ("--place", "lab", "--site", "home")


def there(home: Homestead, name: str) -> str:
    return f"{home.state.url}/infra/{name}"


def test_an_empty_repository_becomes_a_place(homesteads: Homesteads):
    home = homesteads("gitea")
    before, ours, lab = home.settings, gitwork.refs(home.bare), home.add("infra", "lab")
    done = home.connect("--json", *LAB, "--prefix", "infra", url=there(home, "lab"))
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["place"], said["repository"], said["history"]) == ("lab", str(lab.id), "begun")
    # one commit that holds nothing of ours; the catalog's repository is as it was
    assert gitwork.git(lab.folder, "ls-tree", "-r", "--name-only", "main") == "README.md"
    copy = home.data_dir / "places" / "lab.git"
    assert home.base(copy) == home.base(lab.folder) and gitwork.refs(home.bare) == ours
    written = tomllib.loads(home.settings)["places"]["lab"]
    assert home.settings.startswith(before.rstrip("\n")) and "forge" not in tomllib.loads(home.settings)
    assert (written["sites"], written["prefix"]) == (["home"], "infra")
    assert (written["forge"]["kind"], written["forge"]["repository"]) == ("gitea", str(lab.id))
    # the same again changes nothing
    settings, refs = home.settings, gitwork.refs(lab.folder)
    assert json.loads(home.connect("--json", "--place", "lab", url=there(home, "lab")).stdout)["history"] == "there"
    assert (home.settings, gitwork.refs(lab.folder)) == (settings, refs)
    (shown,) = json.loads(home.run("forge", "show", "--json").stdout)["places"]
    assert (shown["place"], shown["sites"], shown["kind"]) == ("lab", ["home"], "gitea")
    assert home.run("config", "check").returncode == 0


def test_doctor_has_the_rows_of_each_place(homesteads: Homesteads):
    home = homesteads("gitea")
    login = "ada"
    home.change_policy("    approves: medium", f'    forges: {{gitea: "{login}"}}\n    approves: medium')
    lab = home.add("infra", "lab")
    assert home.connect("--place", "lab", "--site", "home", "--site", "lba", url=there(home, "lab")).returncode == 0
    lab.protection["main"] = Protection(required_reviews=1, admins_bypass=False, dismiss_stale=True)
    found = json.loads(home.run("doctor", "--json").stdout)["items"]
    rows = {row["what"]: row for row in found if row["what"].startswith("place lab")}
    assert "lba" in rows["place lab: sites"]["found"] and rows["place lab: sites"]["status"] == "warn"
    assert [row for row in rows.values() if row["status"] == "bad"] == []
    assert {"place lab: account", "place lab: base", "place lab: clock", "place lab: people"} <= set(rows)
    home.state.expire(home.token_file.read_text().strip())
    rows = {row["what"]: row for row in json.loads(home.run("doctor", "--json").stdout)["items"]}
    assert rows["place lab: account"]["status"] == "bad" and rows["forge"]["status"] == "ok"


def test_what_cannot_be_a_place_is_refused_before_anything_changes(homesteads: Homesteads):
    home = homesteads("gitea")
    home.connected()
    lab, attic = home.add("infra", "lab"), home.add("infra", "attic", files={"README.md": b"x"})
    gitwork.git(attic.folder, "update-ref", "refs/heads/other", home.base(attic.folder))
    gitwork.git(attic.folder, "update-ref", "-d", "refs/heads/main")
    assert home.connect(*LAB, url=there(home, "lab")).returncode == 0
    settings, refs = home.settings, gitwork.refs(lab.folder)
    for more, url, words in (
        (("--place", "attic", "--site", "home"), "attic", "both take site 'home'"),
        (("--place", "attic", "--site", "x"), "lab", "which is place 'lab': name a repository once"),
        (("--place", "attic", "--site", "x"), home.repository.name, "the catalog's repository: name a repository once"),
        (("--place", "La B"), "attic", "small letters"),
        (("--place", "attic", "--site", "x"), "attic", "no 'main'"),
        (("--site", "x"), "attic", "--place NAME"),
    ):
        address = f"{home.state.url}/{home.repository.full_name}" if url == home.repository.name else there(home, url)
        done = home.connect(*more, url=address)
        assert done.returncode != 0 and words in done.stderr, (words, done.stderr)
    assert (home.settings, gitwork.refs(lab.folder)) == (settings, refs)


def test_leaving_a_place(homesteads: Homesteads):
    home = homesteads("gitea")
    before, lab = home.settings, home.add("infra", "lab")
    lab.rights[home.people["gitmedic-bot"].id] = "admin"
    hooked = ("--allow-admin", "--hook-url", "https://gitmedic.example.org")
    assert home.connect(*LAB, *hooked, url=there(home, "lab")).returncode == 0
    (hook,) = lab.hooks
    secret = home.data_dir / "secrets" / "lab.forge-webhook"
    assert (
        hook.url == f"https://gitmedic.example.org/hooks/gitea/{lab.id}" and hook.secret == secret.read_text().strip()
    )
    case = "01939a00-1111-7000-8000-000000000002"
    with psycopg.connect(home.database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO cases (id, kind, body, role, is_open, proposal, repository) "
            "VALUES (%s, 'proposed', '{}', 'plan', true, 1, %s)", (case, f"lab/{lab.id}"),
        )  # fmt: skip
        refused = home.run("forge", "disconnect", "--place", "lab")
        assert refused.returncode != 0 and "a proposal that is not over" in refused.stderr and lab.hooks == [hook]
        connection.execute("UPDATE cases SET is_open = false")
    done = home.run("forge", "disconnect", "--place", "lab", "--json")
    assert json.loads(done.stdout)["hook_deleted"] is True and lab.hooks == []
    assert home.settings.rstrip("\n") == before.rstrip("\n") and (home.data_dir / "places" / "lab.git").is_dir()
    assert home.run("forge", "disconnect", "--place", "lab").returncode != 0
