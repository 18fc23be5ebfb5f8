"""The fields of `Settings` are the options of a command."""

from dataclasses import fields

import pytest
import typer

from kooler.seq2seq.flags import with_settings
from kooler.seq2seq.settings import Settings


@pytest.fixture
def run():
    """Runs a command with arguments; returns what it was given."""
    app = typer.Typer(rich_markup_mode=None)
    seen = {}

    @app.command()
    @with_settings
    def command(name: str = "nobody", **given):
        seen.update(name=name, given=given)

    def run(*arguments):
        typer.main.get_command(app).main(list(arguments), "x", standalone_mode=False)
        return seen

    return run


def test_only_what_the_user_set_is_given(run):
    assert run() == {"name": "nobody", "given": {}}
    assert run("--name", "me", "--learning-rate", "0.5", "--layers", "3") == {
        "name": "me",
        "given": {"learning_rate": 0.5, "layers": 3},
    }


def test_switches_have_two_sides(run):
    assert run("--copy-prior")["given"] == {"copy_prior": True}
    assert run("--no-copy-prior")["given"] == {"copy_prior": False}


def test_every_field_is_an_option_that_settings_understand(run):
    texts = {str: None, tuple: "mid,l2r", bool: None, int: "7", float: "0.5", type(None): "8"}
    for entry in fields(Settings):
        flag = "--" + entry.name.replace("_", "-")
        value = texts[type(entry.default)] or entry.default
        arguments = [flag] if isinstance(value, bool) else [flag, value]

        given = run(*arguments)["given"]

        assert list(given) == [entry.name]
        if entry.name not in ("vocabulary_size", "leaky"):  # 7 is too small; needs two streams
            assert getattr(Settings(**given), entry.name) is not None


def test_the_help_shows_meaning_choices_and_default(run, capsys):
    run("--help")

    text = " ".join(capsys.readouterr().out.split())
    assert "--size tiny|small|base Size of the network: tiny (4 layers, width 128, 2." in text
    assert "--learning-rate NUMBER Highest learning rate. [default: 0.001]" in text
    assert "--orders l2r,r2l,mid" in text
    assert "--minutes NUMBER Stop after this many minutes of training." in text
