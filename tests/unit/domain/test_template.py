"""A prompt file can only say words; one that does more, or not even that, is refused when its revision is read."""

from pathlib import Path

import pytest

from receiver.domain.prompt import read_prompts, shown_playbooks
from receiver.domain.template import MOST_CHARACTERS, render, version_of
from receiver.errors import Invalid
from receiver.testing import World
from tests.integration.planner.asking import Rules
from tests.unit.domain.planning import CATALOG
from tests.unit.test_pipeline import FILES, alert

SHIPPED = (Path(__file__).parents[3] / "prompts" / "plan.j2").read_text()
HOSTILE = [
    "{% set x = 1 %}",  # first, since it is harmless where the check is missing
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ playbooks.__init__.__globals__ }}",
    "{{ playbooks[0]['__class__'] }}",
    "{{ lookup('pipe', 'id') }}",
    "{{ range(9) }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ ('a' * 9000000000) }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ '%9000000000d' % 1 }}",
    "{{ '{:>9000000000}'.format(1) }}",
    "{% include '/etc/passwd' %}",
    "{% extends 'x' %}",
    "{% import 'os' as os %}",
    "{% from 'os' import popen %}",
    "{% macro m() %}x{% endmacro %}",
    "{{ playbooks | attr('__class__') }}",
    "{{ playbooks | map('attr', '__class__') }}",
    "{{ self }}{{ self.__init__ }}",
    "{% for a in playbooks %}{% for b in playbooks %}{% for c in playbooks %}x{% endfor %}{% endfor %}{% endfor %}",
]
WRONG = [
    ("{% for x in %}", "line 1"),
    ("\n{{ nothing }}", "'nothing' is undefined"),
    ("{{ playbooks[0].nope }}", "nope"),
    ("{% if %}", "line 1"),
    ("{{ playbooks | shout }}", "shout"),
    ("{{ 1 + 'a' }}", "does not render"),
]


def test_the_shipped_prompt_is_good_and_names_every_playbook() -> None:
    assert read_prompts({"prompts/plan.j2": SHIPPED.encode(), "prompts/README.md": b"{{"}) == {"plan.j2": SHIPPED}
    text = render("plan.j2", SHIPPED, {"playbooks": shown_playbooks(CATALOG)})
    assert all(one.id in text for one in CATALOG) and "keep=C:1d|C:7d" in text and "{" not in text
    assert "none is feasible" in render("plan.j2", SHIPPED, {"playbooks": []})
    assert len(version_of(SHIPPED)) == 12 and version_of(SHIPPED) != version_of(SHIPPED + " ")


@pytest.mark.parametrize("text", HOSTILE)
def test_a_prompt_that_does_more_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match=r"prompts/plan\.j2"):
        read_prompts({"prompts/plan.j2": text.encode()})


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_a_prompt_with_an_error_is_refused_where_it_is(text: str, said: str) -> None:
    with pytest.raises(Invalid) as error:
        read_prompts({"prompts/plan.j2": text.encode()})
    assert said in error.value.message and error.value.where == "prompts/plan.j2" and error.value.next_step


def test_a_prompt_has_an_end() -> None:
    with pytest.raises(Invalid, match="more than"):
        render(
            "plan.j2", "{% for x in playbooks %}" + "y" * 1000 + "{% endfor %}", {"playbooks": range(MOST_CHARACTERS)}
        )


@pytest.mark.anyio
async def test_a_revision_with_a_bad_prompt_is_not_read() -> None:
    world = World({**FILES, "prompts/plan.j2": b"{{ cycler.__init__ }}"}, Rules())
    world.fire(alert())
    with pytest.raises(Invalid, match=r"prompts/plan\.j2"):
        await world.settle()
