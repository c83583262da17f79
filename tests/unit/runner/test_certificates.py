"""Which authorities a run believes: the operator's beside the system's, wherever the system has them."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from receiver.adapters.runner import certificates
from receiver.adapters.runner.seen import seen_environment
from receiver.errors import Refused

NOWHERE = ssl.DefaultVerifyPaths(None, None, "SSL_CERT_FILE", "/no/cert.pem", "SSL_CERT_DIR", "/no/certs")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with no authorities, and an operator with one."""
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: NOWHERE)
    monkeypatch.setattr(certificates, "_BUNDLES", (str(tmp_path / "bundle.crt"),))
    (tmp_path / "ca.pem").write_text("own")
    (tmp_path / "run").mkdir()
    return tmp_path


def bundle(place: Path) -> str:
    certificates.provide_authorities(None, place, place / "run")
    return (place / "run" / "ca.pem").read_text()


def test_the_file_of_a_distribution_is_found_where_python_knows_none(place: Path) -> None:
    assert bundle(place) == "own"
    (place / "bundle.crt").write_text("the system's")
    assert bundle(place) == "the system's\nown"


def test_a_folder_of_the_system_is_read_once_for_each(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = place / "certs"
    folder.mkdir()
    for name in ("one", "two"):
        (folder / f"{name}.pem").write_text(name)
        (folder / f"{name}.0").symlink_to(f"{name}.pem")
    (folder / "one.1").symlink_to("one.pem")
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: NOWHERE._replace(capath=str(folder)))
    assert bundle(place) == "one\ntwo\nown"


def test_openssls_own_file_comes_first(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "bundle.crt").write_text("of the distribution")
    (place / "own.crt").write_text("OpenSSL's")
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: NOWHERE._replace(cafile=str(place / "own.crt")))
    assert bundle(place) == "OpenSSL's\nown"


def test_without_a_file_of_the_operators_nothing_is_written(place: Path) -> None:
    (place / "ca.pem").unlink()
    certificates.provide_authorities(None, place, place / "run")
    assert list((place / "run").iterdir()) == [] and seen_environment(place / "run") == {}
    with pytest.raises(Refused, match=r"/no/such\.pem"):
        certificates.provide_authorities(Path("/no/such.pem"), place, place / "run")
