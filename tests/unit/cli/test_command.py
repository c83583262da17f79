"""What every command shares: options in both places, data and talk apart, errors as a sentence and a code."""

import json

import pytest
import typer
from typer.testing import CliRunner

from receiver.cli import command as shared
from receiver.cli.app import app as whole
from receiver.cli.exits import MEANING, Code, SettingsInvalid, code_of
from receiver.errors import Broken, Conflict, Invalid, Refused, Retry, Unavailable


@pytest.fixture(autouse=True)
def _forgotten():
    token = shared._given.set(shared.Given())
    yield
    shared._given.reset(token)


def _app(work):
    app = typer.Typer()
    app.callback()(shared.remember)
    inner = shared.group("inner", "A group.")
    app.add_typer(inner)
    shared.command(app, "act")(work)
    shared.command(inner, "act")(work)
    return app


@pytest.mark.parametrize(
    "arguments",
    [
        ["--data-dir", "/d", "--json", "act"],
        ["act", "--data-dir", "/d", "--json"],
        ["--data-dir", "/other", "act", "--data-dir", "/d", "--json"],
        ["inner", "act", "--json", "--data-dir", "/d"],
        ["inner", "--json", "--data-dir", "/d", "act"],
    ],
)
def test_shared_options_work_before_and_after_the_command(arguments):
    def act():
        shared.show({"data_dir": str(shared.given().data_dir)}, lambda: shared.line("text"))

    result = CliRunner().invoke(_app(act), arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"data_dir": "/d"}


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (Refused("doing x: no", next_step="gitmedic y"), 5, "gitmedic: doing x: no\nnext: gitmedic y\n"),
        (Refused("x", reason="second_owner"), 7, "gitmedic: x\n"),
        (Refused("x", reason="listen"), 3, "gitmedic: x\n"),
        (SettingsInvalid(Invalid("bad", where="f", next_step="gitmedic config check")), 3, "gitmedic: f: bad\n"),
        (Invalid("bad", where="f"), 2, "gitmedic: f: bad\n"),
        (Conflict("x"), 5, "gitmedic: x\n"),
        (Unavailable("x"), 4, "gitmedic: x\n"),
        (Retry("x"), 4, "gitmedic: x\n"),
        (Broken("x"), 1, "gitmedic: x\n"),
        (KeyError("x"), 1, "gitmedic: a bug: KeyError: 'x'\n"),
        (ConnectionRefusedError("x"), 4, "gitmedic: x\n"),
        (TimeoutError("x"), 124, "gitmedic: x\n"),
        (ExceptionGroup("g", [Unavailable("x")]), 4, "gitmedic: x\n"),
    ],
)
def test_an_error_is_a_sentence_on_standard_error_and_a_code(error, code, words):
    def act():
        raise error

    result = CliRunner().invoke(_app(act), ["act"])
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.startswith(words)
    assert "Traceback" not in result.stderr


def test_a_traceback_only_with_vv():
    def act():
        raise Refused("x")

    assert "Traceback" in CliRunner().invoke(_app(act), ["act", "-vv"]).stderr


def test_a_command_may_give_its_own_code():
    assert CliRunner().invoke(_app(lambda: 6), ["act"]).exit_code == 6


def test_outside_text_cannot_move_the_terminal(capsys):
    shared.table(("a",), [["\x1b[2Jevil\u202e [bold]x[/bold]"]])
    shared.field("name", "\x1b]0;t\x07x\ny")
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert "[bold]x[/bold]" in said


def test_every_code_has_a_meaning_and_timeouts_and_signals_theirs():
    assert set(MEANING) == set(Code)
    assert code_of(TimeoutError()) == 124
    assert (Code.INTERRUPTED, Code.TERMINATED) == (130, 143)


def _all(command, path=()):
    inner = getattr(command, "commands", None)
    return [(path, command)] if inner is None else [one for name in inner for one in _all(inner[name], (*path, name))]


EXPECTED = (
    "init up serve work doctor approve reject dispatch lock unlock pause resume link version case.list case.show"
    " case.watch run.show run.logs run.cancel catalog.list catalog.show catalog.lint revision.show revision.diff"
    " revision.accept alert.test alert.replay config.show config.check config.schema token.create token.list"
    " token.revoke"
)


def test_every_command_is_there_and_has_the_shared_options_help_and_codes():
    found = {".".join(path): one for path, one in _all(typer.main.get_command(whole))}
    assert set(EXPECTED.split()) <= set(found)
    for name, one in found.items():
        options = {option for item in one.params for option in item.opts}
        assert {"--data-dir", "--config", "--json", "-v"} <= options, name
        assert one.help, name
        assert "130 interrupted" in one.epilog, name
        for item in one.params:
            assert item.help or item.param_type_name == "argument", (name, item.name)
