"""Folders and files of any name: the workflow runs with them, and nothing in a name is executed."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

NAME = 'o\'dd "na me" $(touch owned) `touch owned` {run} & ; *'
"""What shells, Snakemake and globs would make something of."""

LADDER = """\
name: tiny
question: "Do names matter? $(touch owned) {run} o'dd"
rungs: [{depth: 1}]
architectures: {dense: {}}
recipes: {baseline: {}, tst: {bag_size: 2, superposed_fraction: 0.5}}
budgets: [{steps: 2}]
shape: {sequence_length: 16, d_model: {per_layer: 8}, d_head: 8}
optimizer:
  learning_rate: {default: {rule: constant, value: 1e-2}}
  batch: {rule: constant, sequences: 2}
data:
  source: {kind: text, domains: {web: [%s]}}
  tokenizer: {kind: byte}
  validation_fraction: 0.5
  domain_weights: {web: 1.0}
execution: {compile: never, checkpoint_seconds: 7.5}
plan: {flops_per_second: 1e10, max_accelerator_hours: 1}
analysis: {baseline: dense-baseline}
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """A clone in a folder of that name, with a ladder, a text and a Python in such folders, too."""
    folder = tmp_path_factory.mktemp("hostile") / NAME
    folder.mkdir()
    for name in ("Snakefile", "workflow", "configs", "profiles"):
        source = REPOSITORY / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    text = folder / "text [1] {run} o'dd $(touch owned)"
    text.mkdir()
    for i in range(8):
        (text / f"{i}.txt").write_text(f"number {i} " * 50)
    pattern = str(text).replace("[", "[[]").replace("*", "[*]") + "/*.txt"
    quoted = "'" + pattern.replace("'", "''") + "'"
    (folder / "lad der's $(touch owned) {run}.yaml").write_text(LADDER % quoted)
    bin_ = folder / "py thon" / "bin"
    bin_.mkdir(parents=True)
    prefix = Path(sys.prefix)
    shutil.copy(prefix / "pyvenv.cfg", bin_.parent)
    (bin_.parent / "lib").symlink_to(prefix / "lib")
    (bin_ / "python").symlink_to(sys.executable)
    (bin_ / "stepladder").write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m stepladder.cli "$@"\n'
    )
    (bin_ / "stepladder").chmod(0o755)
    return folder


def snakemake(clone: Path, *arguments: str) -> str:
    """Run it from the hostile Python; returns all it printed."""
    words = [clone / "py thon/bin/python", "-m", "snakemake", *arguments]
    words += ["--config", "ladder=lad der's $(touch owned) {run}.yaml"]
    done = subprocess.run(words, cwd=clone, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def assert_nothing_was_executed(clone: Path) -> None:
    assert not list(clone.rglob("owned")) and not list(clone.parent.glob("owned"))


def test_every_command_is_quoted(clone):
    """What `--dry-run` shows splits into the words that were meant."""
    shown = ("--dry-run", "--printshellcmds", "--quiet", "host", "progress")
    printed = snakemake(clone, "all", "preregister", "plan", *shown)
    commands = [
        line.partition("Shell command: ")[2]
        for line in printed.splitlines()
        if "Shell command: stepladder " in line
    ]
    rules = {command.split()[1] for command in commands}
    assert rules == {
        "price",
        "power",
        "plan",
        "data",
        "calibrate",
        "train",
        "collect",
        "fit",
        "compare",
        "metrics",
        "signal",
        "report",
        "preregister",
    }
    for command in commands:
        words = shlex.split(command)
        for word in words:
            assert not any(sign in word for sign in "&;`") or word.startswith("{"), command
        if words[1] in ("price", "report", "preregister"):
            assert words[2] == "lad der's $(touch owned) {run}.yaml"
        if words[1] == "train":
            assert [word for word in words if word.startswith("--engine")] == [
                '--engine={"compile":"never","checkpoint_seconds":7.5}'
            ]
            assert "--machine=results/machine.json" in words and "--fork=" in words
        if words[1] == "compare":
            assert "--record=" in words


def test_the_workflow_runs_in_hostile_folders(clone):
    """For real: price, data and a run."""
    run = "results/tiny/runs/dense-tst/d1/2steps/seed0/result.json"
    snakemake(clone, "results/tiny/plan.pdf", run)
    assert (clone / run).is_file()
    assert_nothing_was_executed(clone)
