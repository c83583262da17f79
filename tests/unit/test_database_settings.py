"""A database on another machine is spoken to with a checked certificate, or knowingly without."""

import pytest

from receiver import config
from receiver.adapters.store.settings import unsafe_host
from receiver.errors import Invalid

FAR = "postgresql://gitmedic:geheim@db.example.org/gitmedic"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("", ""),
        ("postgresql:///gitmedic", ""),
        ("postgresql:///gitmedic?host=/run/postgresql", ""),
        ("postgresql://u@localhost/gitmedic", ""),
        ("postgresql://u:p%40@127.0.0.1:5433/gitmedic?sslmode=disable", ""),
        ("postgresql://u@[::1]:5432/gitmedic", ""),
        (FAR, "db.example.org"),
        (f"{FAR}?sslmode=require", "db.example.org"),
        (f"{FAR}?sslmode=verify-ca", "db.example.org"),
        (f"{FAR}?sslmode=verify-full", ""),
        (f"{FAR}?sslmode=verify-full&sslmode=disable", "db.example.org"),
        ("postgresql://u@127.0.0.1,db2.example.org/x", "db2.example.org"),
        ("postgresql://u@localhost/x?hostaddr=192.0.2.7", "192.0.2.7"),
        ("postgresql:///x?host=db.example.org", "db.example.org"),
        ("postgresql:///x?service=elsewhere", "service elsewhere"),
        ("postgresql://u@localhost.example.org/x", "localhost.example.org"),
        ("postgresql://u@[2001:db8::1]/x", "2001:db8::1"),
    ],
)
def test_whom_an_address_trusts_without_proof(url: str, host: str) -> None:
    assert unsafe_host(url) == host


def test_a_database_on_another_machine_needs_a_checked_certificate(tmp_path) -> None:
    with pytest.raises(Invalid, match=r"'db\.example\.org' is another machine") as caught:
        config.load(tmp_path, environment={"GITMEDIC_DATABASE__URL": FAR})
    assert "geheim" not in caught.value.message and "database.insecure = true" in caught.value.message
    safe = config.load(tmp_path, environment={"GITMEDIC_DATABASE__URL": f"{FAR}?sslmode=verify-full"})
    assert safe.database.unsafe_host == ""


def test_who_says_insecure_is_shown_as_such(tmp_path) -> None:
    (tmp_path / "gitmedic.toml").write_text(f'[database]\nurl = "{FAR}"\ninsecure = true\n')
    found = config.load(tmp_path, environment={})
    assert found.database.unsafe_host == "db.example.org"
