"""No text of a file is an order to the terminal, in messages, tables and sentences."""

import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from stepladder.cli.errors import Commands
from stepladder.display.table import table
from stepladder.display.terminal import plain, warn
from stepladder.display.visible import CONTROLS, DIRECTIONS, visible

ORDERS = {chr(code) for code in CONTROLS | DIRECTIONS}


@given(st.text())
def test_text_is_shown_and_does_nothing(text):
    shown = visible(text)
    assert not ORDERS & set(shown)
    assert shown == text or ORDERS & set(text)


def test_what_is_no_unicode_can_be_printed():
    assert visible("a\udcffb") == "a?b"


def test_everything_that_is_printed_goes_through_it():
    text = "a\x1b[2Jb\x9bc\u202ed\n"
    shown = "a\\x1b[2Jb\\x9bc\\u202ed\n"
    assert plain(text).plain == shown and warn(text).plain == f"warning: {shown}"
    assert table(["x"], [[text]]).rows == ((shown,),)
    app = typer.Typer(cls=Commands)
    app.callback()(lambda: None)

    @app.command()
    def fail() -> None:
        raise ValueError(text)

    assert f"stepladder: {shown}" in CliRunner().invoke(app, ["fail"]).output
