"""The table `[forge]` of gitmedic.toml as text."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import receiver
from receiver.connecting.tomlfile import with_table, without_table, write
from receiver.errors import Refused

EXAMPLE = (Path(receiver.__file__).parent / "gitmedic.example.toml").read_text()
VALUES = {"kind": "gitea", "url": 'https://git.lan/o/"r"', "poll_seconds": 20.0}
TEXTS = [
    "",
    '[web]\nlisten = "127.0.0.1:1"',
    EXAMPLE,
    "# only a comment\n\n",
    "[web]\n\n[[sources]]\nname='a'\n# end\n",
]


@pytest.mark.parametrize("text", TEXTS)
def test_there_and_back(text: str) -> None:
    made = with_table(text, VALUES)
    assert tomllib.loads(made) == tomllib.loads(text) | {"forge": VALUES}
    assert made.startswith(text.rstrip("\n"))
    assert with_table(made, VALUES) == made
    assert without_table(made).rstrip("\n") == text.rstrip("\n")


def test_what_a_person_wrote_beside_stays() -> None:
    text = "[forge] # mine\n# slow\nwrite_seconds = 3.0\nkind = 'github'\n\n# of the log\n[log]\nlevel = 'info'\n"
    made = with_table(text, VALUES)
    assert '# slow\nwrite_seconds = 3.0\nkind = "gitea"\n' in made and "\n\n# of the log\n[log]" in made
    assert without_table(made) == "\n# of the log\n[log]\nlevel = 'info'\n"


@pytest.mark.parametrize(
    "text", ["forge = {kind = 'local'}\n", "forge.kind = 'local'\n", "[forge]\nurl = '''\na\n'''\n"]
)
def test_another_way_to_write_it_is_left_to_people(text: str) -> None:
    with pytest.raises(Refused) as caught:
        with_table(text, VALUES)
    assert 'kind = "gitea"' in caught.value.next_step


def test_a_file_that_is_none() -> None:
    with pytest.raises(Refused, match="reading the settings file"):
        with_table("[web\n", VALUES)


def test_the_mode_and_the_place_behind_a_link_stay(tmp_path: Path) -> None:
    (tmp_path / "real.toml").write_text("a = 1\n")
    (tmp_path / "real.toml").chmod(0o640)
    (tmp_path / "link.toml").symlink_to("real.toml")
    write(tmp_path / "link.toml", "b = 2\n")
    assert (tmp_path / "link.toml").is_symlink() and (tmp_path / "real.toml").read_text() == "b = 2\n"
    assert (tmp_path / "real.toml").stat().st_mode & 0o777 == 0o640
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link.toml", "real.toml"]


LAB = ("places", "lab")


@pytest.mark.parametrize("text", TEXTS)
def test_a_place_there_and_back(text: str) -> None:
    made = with_table(with_table(text, {"sites": ("lab", "at\\tic")}, LAB), VALUES, (*LAB, "forge"))
    wanted = {"places": {"lab": {"sites": ["lab", "at\\tic"], "forge": VALUES}}}
    assert tomllib.loads(made) == tomllib.loads(text) | wanted
    assert with_table(made, VALUES, (*LAB, "forge")) == made
    assert without_table(made, LAB).rstrip("\n") == text.rstrip("\n")


def test_other_places_and_the_catalogs_forge_stay() -> None:
    attic = "[ places . attic ] # old\nsites = ['attic']\n\n[places.attic.forge]\nkind = 'local'\n"
    text = f"[forge]\nkind = 'local'\n\n{attic}"
    made = with_table(text, {"sites": ("lab",)}, LAB)
    assert without_table(made, LAB) == text
    assert tomllib.loads(without_table(made, ("places", "attic"))) == {
        "forge": {"kind": "local"}, "places": {"lab": {"sites": ["lab"]}},
    }  # fmt: skip
    assert with_table(made, {"prefix": "infra"}, ("places", "attic")).count("[ places . attic ] # old\nsites") == 1


@pytest.mark.parametrize("text", ["places.lab.sites = ['x']\n", "[places]\nlab = {sites = ['x']}\n"])
def test_a_place_written_in_another_way_is_left_to_people(text: str) -> None:
    with pytest.raises(Refused) as caught:
        with_table(text, {"sites": ("lab",)}, LAB)
    assert '[places.lab] sites = ["lab"]' in caught.value.next_step
    with pytest.raises(Refused, match="not edited"):
        without_table(text, LAB)
