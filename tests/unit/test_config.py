"""Settings: where each value comes from, what is refused and in which words, and what is never shown."""

import asyncio
from pathlib import Path

import pytest

from receiver import config
from receiver.elsewhere import realm_of, routing_of
from receiver.errors import Invalid


def _load(folder: Path, text: str = "", environment: dict[str, str] | None = None, **given: object):
    (folder / "gitmedic.toml").write_text(text)
    return config.load(folder, environment=environment or {}, **given)


def test_an_empty_directory_has_working_defaults(tmp_path):
    settings = config.load(tmp_path, environment={})
    assert settings.web.listen == "127.0.0.1:8090"
    assert settings.embedded
    assert settings.repo.path == tmp_path / "ops.git"
    assert settings.data_dir == tmp_path


def test_command_line_over_environment_over_file_over_default(tmp_path):
    text = "[web]\nlisten = '127.0.0.1:1'\nhosts = ['a']\n[worker]\nconcurrency = 9\n"
    assert _load(tmp_path, text).web.listen == "127.0.0.1:1"
    nested = {"GITMEDIC_WEB__LISTEN": "127.0.0.1:2"}
    assert _load(tmp_path, text, nested).web.listen == "127.0.0.1:2"
    short = nested | {"GITMEDIC_LISTEN": "127.0.0.1:3"}
    assert _load(tmp_path, text, short).web.listen == "127.0.0.1:3"
    settings = _load(tmp_path, text, short, listen="127.0.0.1:4")
    assert settings.web.listen == "127.0.0.1:4"
    assert settings.web.hosts == ("a",)
    assert settings.worker.concurrency == 9


def test_the_directory_and_the_file_can_be_named_by_variables(tmp_path):
    file = tmp_path / "other.toml"
    file.write_text("[log]\nlevel = 'debug'\n")
    env = {"GITMEDIC_DATA_DIR": str(tmp_path), "GITMEDIC_CONFIG": str(file)}
    settings = config.load(environment=env)
    assert (settings.data_dir, settings.file, settings.log.level) == (tmp_path, file, "debug")


def test_lists_come_from_a_variable_as_json(tmp_path):
    assert _load(tmp_path, "", {"GITMEDIC_WEB__HOSTS": '["ops.lan"]'}).web.hosts == ("ops.lan",)
    with pytest.raises(Invalid, match=r"environment: .*web"):
        _load(tmp_path, "", {"GITMEDIC_WEB__HOSTS": "ops.lan"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[web]\nlisten = '8090'\n", r"gitmedic\.toml: web\.listen is '8090': expected HOST:PORT"),
        ("[web]\nlisten = '::1:80'\n", "in brackets"),
        ("[web]\nlisten = 'h:0'\n", "expected HOST:PORT"),
        ("[web]\npublic_url = 'ops.lan'\n", "expected http://HOST"),
        ("[web]\nlissen = 'x'\n", r"web\.lissen: there is no such setting"),
        ("[policy]\nmode = 'propose'\n", "policy: there is no such setting"),
        ("data_dir = '/elsewhere'\n", "data_dir: there is no such setting"),
        ("repo = 1\n", "repo must be a table, not 1"),
        ("[worker]\nconcurrency = 0\n[log]\nlevel = 'loud'\n", r"worker\.concurrency is 0: .*\(and 1 more\)"),
        ("[web\n", "not TOML"),
        ("[credentials.x]\nkind = 'token'\n", "exactly one of `file`, `command`, `sops` and `openbao`"),
        ("[credentials.'a/b']\nkind = 'token'\nfile = '/x'\n", "'a/b' is no name"),
        ("[credentials.x]\nkind = 'token'\nfile = '/x'\npassphrase_file = '/y'\n", "a token has no passphrase"),
    ],
)
def test_a_wrong_file_is_refused_by_name_key_and_value(tmp_path, text, message):
    with pytest.raises(Invalid, match=message) as caught:
        _load(tmp_path, text)
    assert caught.value.next_step == "gitmedic config check"
    assert str(tmp_path / "gitmedic.toml") in caught.value.message


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"GITMEDIC_WEB__LISTEN": "x"}, r"environment GITMEDIC_WEB__LISTEN: web\.listen is 'x'"),
        ({"GITMEDIC_LISTEN": "x"}, r"environment GITMEDIC_LISTEN: web\.listen is 'x'"),
        ({"GITMEDIC_WEBB__LISTEN": "x"}, "no section 'webb'"),
        ({"GITMEDIC_WEB__LISSEN": "x"}, r"environment GITMEDIC_WEB__LISSEN: web\.lissen: there is no such"),
        ({"GITMEDIC_LOG__LEVEL": "loud"}, r"environment GITMEDIC_LOG__LEVEL: log\.level is 'loud'"),
    ],
)
def test_a_wrong_variable_is_refused_by_name(tmp_path, environment, message):
    with pytest.raises(Invalid, match=message):
        _load(tmp_path, "", environment)


def test_a_wrong_listen_on_the_command_line_is_called_that(tmp_path):
    with pytest.raises(Invalid, match=r"--listen: web\.listen is 'x'"):
        _load(tmp_path, listen="x")


def test_a_file_that_was_asked_for_must_be_there(tmp_path):
    with pytest.raises(Invalid, match="no such file"):
        config.load(tmp_path, tmp_path / "missing.toml", environment={})


def test_only_the_file_marks_a_demo(tmp_path):
    env = {"GITMEDIC_DEMO": "true", "GITMEDIC_FILE": "/x"}
    assert not _load(tmp_path, "", env).demo
    assert _load(tmp_path, "demo = true\n", env).demo


def test_a_database_password_is_never_shown(tmp_path):
    url = "postgresql://gitmedic:s3cret@localhost/gitmedic"
    settings = _load(tmp_path, f"[database]\nurl = '{url}'\n")
    assert settings.database.url.get_secret_value() == url
    assert config.shown(settings)["database"]["url"] == "postgresql://gitmedic:(hidden)@localhost/gitmedic"
    assert "s3cret" not in repr(settings)
    with pytest.raises(Invalid) as caught:
        _load(tmp_path, "[database]\nurl = 'mysql://root:s3cret@db'\n")
    assert "s3cret" not in caught.value.message


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "postgresql:///?host=/run/x&password=s3cret&dbname=g",
            "postgresql:///?host=/run/x&password=(hidden)&dbname=g",
        ),
        ("postgresql://g:s3cr@t@localhost/g", "postgresql://g:(hidden)@localhost/g"),
        ("postgresql://localhost/g?sslpassword=s3cret", "postgresql://localhost/g?sslpassword=(hidden)"),
    ],
)
def test_wherever_a_password_stands_it_is_hidden(tmp_path, url, shown):
    settings = _load(tmp_path, f"[database]\nurl = '{url}'\n")
    assert config.shown(settings)["database"]["url"] == shown
    (tmp_path / config.FILE).chmod(0o644)
    assert any("others can read" in error.message for error in config.problems(settings))


def test_a_password_in_a_source_is_hidden_too(tmp_path):
    settings = _load(tmp_path, "[[sources]]\nname = 'home'\nurl = 'http://me:s3cret@prometheus:9090'\n")
    rows = {row["name"]: row for row in config.explained(settings, {})}
    assert rows["sources"]["value"][0]["url"] == "http://me:(hidden)@prometheus:9090"


def test_each_value_says_where_it_comes_from(tmp_path):
    env = {"GITMEDIC_WORKER__CONCURRENCY": "8", "GITMEDIC_LISTEN": "127.0.0.1:9000"}
    settings = _load(tmp_path, "[log]\nlevel = 'debug'\n", env)
    origins = {row["name"]: row["origin"] for row in config.explained(settings, env)}
    assert origins["worker.concurrency"] == "GITMEDIC_WORKER__CONCURRENCY"
    assert origins["web.listen"] == "GITMEDIC_LISTEN"
    assert (origins["log.level"], origins["worker.poll_seconds"]) == (config.FILE, "default")
    assert origins["data_dir"] == "command line"


def test_headers_of_sources_are_never_shown(tmp_path):
    text = "[[sources]]\nname = 'home'\nurl = 'http://p'\nheaders = {Authorization = 'Bearer s3cret'}\n"
    settings = _load(tmp_path, text)
    assert config.shown(settings)["sources"][0]["headers"] == {"Authorization": "(hidden)"}
    settings.file.chmod(0o644)
    assert "a password or a header" in config.problems(settings)[0].message
    with pytest.raises(Invalid) as caught:
        _load(tmp_path, text.replace("'Bearer s3cret'", "['s3cret']"))
    assert "s3cret" not in caught.value.message


def test_two_sources_have_two_names(tmp_path):
    with pytest.raises(Invalid, match="two sources are named 'a'"):
        _load(tmp_path, "[[sources]]\nname = 'a'\n[[sources]]\nname = 'a'\n")


def test_secret_files_must_be_private(tmp_path):
    secret = tmp_path / "key"
    settings = _load(tmp_path, f"[credentials.ssh]\nkind = 'ssh_key'\nfile = '{secret}'\nhosts = ['web1']\n")
    assert "No such file" in config.problems(settings)[0].message
    secret.write_text("x")
    secret.chmod(0o640)
    found = config.problems(settings)[0]
    assert "others can read it (mode 0640)" in found.message
    assert found.next_step == f"chmod 600 {secret}"
    secret.chmod(0o600)
    assert config.problems(settings) == []
    assert settings.without_credentials().credentials == {}


def test_a_file_with_a_password_must_be_private(tmp_path):
    settings = _load(tmp_path, "[database]\nurl = 'postgresql://a:b@localhost/d'\n")
    settings.file.chmod(0o644)
    assert "a password or a header" in config.problems(settings)[0].message
    settings.file.chmod(0o600)
    assert config.problems(settings) == []


@pytest.mark.parametrize(
    ("listen", "local"),
    [
        ("127.0.0.1:8090", "http://127.0.0.1:8090"),
        ("0.0.0.0:81", "http://127.0.0.1:81"),
        ("[::]:81", "http://[::1]:81"),
        ("ops.lan:81", "http://ops.lan:81"),
    ],
)
def test_an_address_for_people_and_one_for_this_machine(tmp_path, listen, local):
    web = _load(tmp_path, "[web]\npublic_url = 'https://ops.example/'\n", listen=listen).web
    assert (web.local_url, web.url) == (local, "https://ops.example")


def test_the_public_address_is_a_name_of_the_server(tmp_path):
    text = "[web]\nhosts = ['a', 'Ops.lan']\npublic_url = 'https://Ops.lan:8443/x/'\n"
    assert _load(tmp_path, text).web.names == ("a", "ops.lan", "127.0.0.1")
    assert _load(tmp_path, "[web]\npublic_url = 'https://ops.lan'\n").web.names == ("127.0.0.1", "ops.lan")
    assert _load(tmp_path, "").web.names == ("127.0.0.1",)


LAB = "[places.lab]\nsites = ['lab']\n"
ATTIC = "[places.attic]\nsites = ['attic']\n"
FAR = "[{}forge]\nkind = 'gitea'\nurl = 'https://git.home/{}'\nrepository = '7'\ntoken_file = '/nowhere'\n"


def test_a_place_takes_the_runs_of_its_sites(tmp_path):
    settings = _load(tmp_path, f"[repo]\nprefix = 'ops'\nauthor_name = 'Robo'\n{LAB}prefix = 'infra'\nbase = 'live'\n")
    there = settings.at("lab").repo
    assert (there.path, there.prefix, there.base) == (tmp_path / "places" / "lab.git", "infra", "live")
    assert there.author_name == "Robo" and settings.at("") is settings
    routing = routing_of(settings.places)
    assert [routing.place_of(site) for site in ("lab", "home")] == ["lab", ""]


@pytest.mark.parametrize("sites", ["", "sites = ['*']\n"])
def test_a_place_can_take_all_that_no_other_names(tmp_path, sites):
    routing = routing_of(_load(tmp_path, f"[places.runs]\n{sites}{LAB}").places)
    assert [routing.place_of(site) for site in ("lab", "home", "attic")] == ["lab", "runs", "runs"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAB + ATTIC.replace("'attic'", "'attic', 'lab'"), "places 'lab' and 'attic' both take site 'lab'"),
        ("[places.a]\n[places.b]\nsites = ['*']\n", "places 'a' and 'b' both take all sites that no other names"),
        ("[places.a]\nsites = ['*', 'lab']\n", "stands alone"),
        ("[places.'La b']\n", "places.La b"),
        ("[places.lab]\nsite = 'lab'\n", r"places\.lab\.site: there is no such setting"),
        (FAR.format("", "a/ops") + LAB + FAR.format("places.lab.", "A/Ops"), "which is the catalog's repository"),
        (LAB + FAR.format("places.lab.", "a/b") + ATTIC + FAR.format("places.attic.", "a/b"), "which is place 'lab'"),
    ],
)
def test_two_places_with_one_say_are_refused(tmp_path, text, message):
    with pytest.raises(Invalid, match=message):
        _load(tmp_path, text)


def test_the_secrets_of_a_place_are_checked_as_any(tmp_path):
    token = tmp_path / "token"
    token.write_text("x")
    token.chmod(0o644)
    text = LAB + FAR.format("places.lab.", "a/b").replace("/nowhere", str(token))
    settings = _load(tmp_path, text)
    (problem,) = config.problems(settings)
    assert "the token of the forge of place 'lab'" in problem.message and "others can read" in problem.message
    rows = {row["name"]: row for row in config.explained(settings, {})}
    assert rows["places.lab.forge.url"]["origin"] == "gitmedic.toml"


def test_accounts_of_a_second_server_of_a_kind_go_by_a_name_of_their_own(tmp_path):
    other = FAR.format("places.attic.", "x/y").replace("git.home", "Git.attic:3000")
    text = LAB + FAR.format("places.lab.", "a/b") + ATTIC
    alone = _load(tmp_path, text)
    assert realm_of(alone.forge, alone.places, "lab") == "gitea"
    both = _load(tmp_path, text + other)
    names = [realm_of(both.forge, both.places, name) for name in ("lab", "attic")]
    assert names == ["gitea:git.home", "gitea:git.attic:3000"]
    catalogs = _load(tmp_path, FAR.format("", "infra/ops") + text + other)
    names = [realm_of(catalogs.forge, catalogs.places, name) for name in ("lab", "attic")]
    assert names == ["gitea", "gitea:git.attic:3000"]


def test_a_credential_for_no_host_is_shown_by_doctor(tmp_path):
    from receiver import doctor

    (tmp_path / "key").write_text("x")
    (tmp_path / "key").chmod(0o600)
    text = "[credentials.%s]\nkind = 'token'\nfile = '" + str(tmp_path / "key") + "'\n%s"
    settings = _load(tmp_path, text % ("none", "") + text % ("some", "hosts = ['*']\n"))
    rows = asyncio.run(doctor.files(settings))
    assert [row.what for row in rows if "no run gets it" in row.found] == ["credential 'none'"]
