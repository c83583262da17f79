"""What is kept of a case and looked for, as pure functions; and the settings of an embedder."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.config import load, problems
from receiver.domain.entity import Entity
from receiver.domain.recall import Near, asked, clean_name, fused, seated, spoken, words
from receiver.errors import Invalid
from tests.contract.test_memory import alert


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("HostDiskFull", "hostdiskfull host disk full"),
        ("disk_full", "disk full"),
        ("KubeHTTPErrors", "kubehttperrors kube http errors"),
        ("NodeCPUHigh", "nodecpuhigh node cpu high"),
        ("Raid5Degraded", "raid5degraded raid5 degraded"),
        ("Fülle groß", "fulle gro"),
        ("high load", "high load"),
        ("", ""),
        ("磁盘", ""),
    ],
)
def test_a_name_falls_into_words(name: str, found: str) -> None:
    assert " ".join(words(name)) == found


def test_looked_for_are_words_of_three_letters_and_the_whole_entity() -> None:
    entity = Entity(kind="host", name="web-01.lan", host="web-01.lan", site="home")
    assert asked(alert("HostIsDown", job="poison"), entity) == ("hostisdown", "host", "down", "web01lan")
    assert all(word.isascii() and word.isalnum() for word in asked(alert("a'b | c:* & !(def) \u0000ghi"), entity))
    assert len(asked(alert(" ".join(f"w{n}xx" for n in range(500))), None)) <= 64


def test_an_embedder_is_told_names_only() -> None:
    assert spoken("HostDiskFull", "disk_cleanup") == "host disk full. disk cleanup"
    assert spoken("disk_full") == "disk full"


@pytest.mark.parametrize("text", ["a\nb", "\u202ex", "x" * 300, "{{ 1 }}", "\ufb01le"])
def test_a_name_is_one_line_of_name_characters(text: str) -> None:
    cleaned = clean_name(text)
    assert len(cleaned) <= 80 and cleaned.replace(" ", "").isalnum()
    assert clean_name(cleaned) == cleaned


def near(*ids: str, outcome: str = "fixed") -> list[Near]:
    return [Near(id=id, kind="case", outcome=outcome) for id in ids]


def test_what_several_lists_have_comes_first() -> None:
    ranked = fused([(1.0, near("a", "b", "c")), (1.0, near("c", "d")), (0.5, near("e"))])
    assert [one.id for one, _ in ranked] == ["c", "a", "b", "d", "e"]
    assert fused([]) == fused([(1.0, [])]) == []
    twice = fused([(1.0, near("a", "a", "b"))])
    assert twice[0][1] == pytest.approx(1 / 61) and twice[1][1] == pytest.approx(1 / 62)


def test_a_failure_takes_the_last_seat_only_when_none_sits() -> None:
    ranked = [(one, 1.0) for one in near(*"abcdef")]
    failed = (near("x", outcome="not_fixed")[0], 0.1)
    assert [one.id for one, _ in seated([*ranked, failed])] == ["a", "b", "c", "d", "x"]
    assert [one.id for one, _ in seated([failed, *ranked, failed])] == ["x", "a", "b", "c", "d"]
    assert len(seated(ranked)) == 5 and seated([]) == []


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"BASE_URL": "http://e/v1"}, "both `base_url` and `model`"),
        ({"MODEL": "m"}, "both `base_url` and `model`"),
        ({"BASE_URL": "ftp://e", "MODEL": "m"}, "expected http://HOST/v1"),
        ({"BASE_URL": "http://me:secret@e/v1", "MODEL": "m"}, "expected http://HOST/v1"),
        ({"BASE_URL": "http://e/v1", "MODEL": "m", "BATCH": "0"}, "greater than or equal to 1"),
        ({"BASE_URL": "http://e/v1", "MODEL": "m", "LEAST_SIMILARITY": "2"}, "less than or equal to 1"),
    ],
)
def test_a_wrong_embedder_is_refused_by_name(tmp_path: Path, variables: dict[str, str], message: str) -> None:
    with pytest.raises(Invalid, match=r"memory\.embedder") as caught:
        load(tmp_path, environment={f"GITMEDIC_MEMORY__EMBEDDER__{name}": text for name, text in variables.items()})
    assert message in caught.value.message and "secret" not in caught.value.message


def test_the_key_of_an_embedder_must_be_private(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("k")
    key.chmod(0o644)
    (tmp_path / "gitmedic.toml").write_text(
        f'[memory.embedder]\nbase_url = "http://e/v1"\nmodel = "m"\nkey_file = "{key}"\n'
    )
    (problem,) = problems(load(tmp_path, environment={}))
    assert "the key of the embedder" in problem.message
    key.chmod(0o600)
    assert problems(load(tmp_path, environment={})) == []
