"""--help teaches: an example that can be typed, what is read and written, a meaning for every option."""

from __future__ import annotations

import inspect
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from stepladder.cli import app
from stepladder.cli.main import COMMANDS

REPOSITORY = Path(__file__).parents[2]
ALL = {name: command for commands in COMMANDS.values() for name, command in commands.items()}

HEAVY = ("torch", "pandas", "scipy", "matplotlib", "numpy", "pyarrow", "typst")


def test_commands_stand_under_headings():
    shown = CliRunner().invoke(app, ["--help"]).output
    wanted = [
        text
        for heading, names in COMMANDS.items()
        for text in (f" {heading} ", *(f"│ {name} " for name in names))
    ]
    places = [shown.index(text) for text in wanted]
    assert places == sorted(places)


@pytest.mark.parametrize("name", ALL)
def test_a_command_explains_itself(name):
    words = inspect.getdoc(ALL[name])
    paragraphs = [" ".join(part.split()) for part in words.split("\n\n")]
    assert "\n" not in words.split("\n\n")[0], "the summary is one line, or --help breaks it"
    assert any(part.startswith("Reads ") for part in paragraphs)
    examples = [part for part in paragraphs if part.startswith("Example: ")]
    assert len(examples) == 1 and examples[0].startswith(f"Example: stepladder {name} ")
    command = typer.main.get_command(app).commands[name]
    command.make_context(name, shlex.split(examples[0])[3:])  # parses, or raises
    for parameter in command.params:
        assert parameter.help, f"--{parameter.name} has no meaning"


@pytest.mark.parametrize(
    "words", [["--help"], ["fit", "--help"], ["plan", "plan.json"], ["plan", "smoke", "--no-power"]]
)
def test_starting_is_quick(tmp_path, words):
    """Nothing heavy is imported for help or a plan."""
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs")
    if words[-1] == "plan.json":
        out = tmp_path / "plan.json"
        done = CliRunner().invoke(
            app, ["price", str(REPOSITORY / "configs/ladders/smoke.yaml"), "--out", str(out)]
        )
        assert done.exit_code == 0, done.output
    code = (
        "import sys; from stepladder.cli import app\n"
        f"try: app({words!r})\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"assert not (loaded := set({HEAVY!r}) & set(sys.modules)), loaded"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
