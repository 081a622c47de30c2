"""Whatever a file on the command line holds: the answer is a sentence that names it, never a traceback."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ladders import runs_table
from typer.testing import CliRunner

from stepladder.cli import app
from stepladder.cli.main import COMMANDS
from stepladder.record.fingerprint import run_fingerprint
from stepladder.schema.accelerators import accelerators
from stepladder.training.run import train as train_run

REPOSITORY = Path(__file__).parents[2]

KINDS = {
    "missing": None,
    "folder": ...,
    "empty": b"",
    "binary": bytes(range(256)) * 4,
    "list": b"[]",
    "number": b"3",
    "null": b"null",
    "object": b"{}",
    "truncated": b'{"runs": [{"id": "a", "flops": 1',
    "other version": b'{"schema_version": 999}',
    "UTF-16": '{"runs": "ä"}'.encode("utf-16"),
    "unreadable": "loop",
}
"""What is in the file; None if there is none, ... if it is a folder, "loop" if it is a link to itself, which
not even the owner of the machine can read."""

SHOWN_LINES = 12


def stepladder(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def place(path: Path, content) -> Path:
    """Make `path` hostile."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is ...:
        path.mkdir()
    elif content == "loop":
        path.symlink_to(path.name)
    elif content is not None:
        path.write_bytes(content)
    return path


def assert_a_sentence(done, *parts: object, codes=(1, 2)) -> None:
    """It failed, said why in few lines, and named what it is about."""
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code in codes and "Traceback" not in done.output, done.output
    said = done.output.strip().splitlines()
    assert 1 <= len(said) <= SHOWN_LINES, done.output
    assert "stepladder: " in done.output
    for part in parts:
        assert str(part) in done.output, done.output


@pytest.fixture(scope="module")
def clone(tmp_path_factory, make_run, small_corpus) -> Path:
    """A folder like a clone, with good files beside which one is bad."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "configs").symlink_to(REPOSITORY / "configs")
    runs = runs_table({"dense-baseline": 1.0, "dense-tst": 1.3}, sigma=0.003)
    runs.to_parquet(folder / "runs.parquet")
    fit = ("fit", folder / "runs.parquet", "--bootstrap", 100, "--out", folder / "flops.json")
    assert stepladder(*fit).exit_code == 0
    spec = make_run(steps=2)
    spec = spec.model_copy(update={"code": run_fingerprint("dense", "baseline")})
    (folder / "spec.json").write_text(spec.to_json())
    ladder = REPOSITORY / "configs" / "ladders" / "smoke.yaml"
    hardware = REPOSITORY / "configs" / "hardware.yaml"
    assert stepladder("price", ladder, "--hardware", hardware, "--out", folder / "good.json").exit_code == 0
    sized = ladder.read_text().replace("budgets: [0.25]", "budgets: [0.25, 1]")
    assert "budgets: [0.25, 1]" in sized
    (folder / "sized.yaml").write_text(sized + "\ndesign: {kind: compute_optimal_top, flops: 1e13}\n")
    (folder / "mixed.yaml").write_text((REPOSITORY / "configs/ladders/laptop-swarm.yaml").read_text())
    shutil.copytree(small_corpus.parent, folder / "data")
    (folder / "words.jsonl").write_text('{"text": "the last word"}\n')
    train_run(spec, folder / "data" / "manifest.json", folder / "trained", device="cpu")
    words = '{"kind": "lambada", "path": "%s"}' % (folder / "words.jsonl")
    made = ("task", "own", words, folder / "data" / "manifest.json", "--out", folder / "own.json")
    assert stepladder(*made).exit_code == 0
    return folder


@pytest.fixture(autouse=True)
def inside(clone, monkeypatch) -> None:
    monkeypatch.chdir(clone)


SETTINGS = '{"baseline": "dense-baseline", "bootstrap_draws": 100}'
VARIANTS = ("--baseline", "dense-baseline", "--candidate", "dense-tst")
RUN = "dense-baseline/d1/0.25x/seed0"
"""The first of the smoke ladder."""

FIRST = "dense-baseline/d1/0.25x/lr0.5/seed0"
"""Of the sweep of smoke-sweep."""

TRAIN = ("--manifest", "data/manifest.json", "--out", "run/result.json")
ROLES = {
    "check": ("hostile.yaml", ("check", "hostile.yaml")),
    "price": ("hostile.yaml", ("price", "hostile.yaml", "--out", "o.json")),
    "price --hardware": (
        "hardware.yaml",
        ("price", "smoke", "--hardware", "hardware.yaml", "--out", "o.json"),
    ),
    "plan": ("hostile.json", ("plan", "hostile.json")),
    "train": ("hostile.json", ("train", "hostile.json", *TRAIN)),
    "train --manifest": (
        "hostile.json",
        ("train", "spec.json", "--manifest", "hostile.json", "--out", "run/result.json"),
    ),
    "train --machine": ("hostile.json", ("train", "spec.json", *TRAIN, "--machine", "hostile.json")),
    "train --fork": ("hostile.json", ("train", "spec.json", *TRAIN, "--fork", "hostile.json")),
    "collect": ("hostile.json", ("collect", "hostile.json", "--runs", "r.parquet", "--steps", "s.parquet")),
    "collect, a result": (
        f"runs/{RUN}/result.json",
        ("collect", "good.json", "--runs", "r.parquet", "--steps", "s.parquet"),
    ),
    "collect, scores": (
        "hostile.json",
        (
            *("collect", "good.json", "--runs", "r.parquet", "--steps", "s.parquet"),
            *("--evaluations", "hostile.json"),
        ),
    ),
    "task": (
        "hostile.jsonl",
        ("task", "t", '{"kind": "items", "path": "hostile.jsonl"}', "data/manifest.json", "--out", "t.json"),
    ),
    "task, the manifest": (
        "hostile.json",
        ("task", "t", '{"kind": "lambada", "path": "words.jsonl"}', "hostile.json", "--out", "t.json"),
    ),
    "task, a YAML": (
        "hostile.yaml",
        ("task", "t", '{"kind": "lm_eval", "path": "hostile.yaml"}', "data/manifest.json", "--out", "t.json"),
    ),
    "evaluate, the spec": ("x/spec.json", ("evaluate", "x", "--task", "own.json")),
    "evaluate, a task": (
        "hostile.json",
        ("evaluate", "trained", "--task", "hostile.json", "--manifest", "data/manifest.json"),
    ),
    "evaluate, its items": (
        "own.items.parquet",
        ("evaluate", "trained", "--task", "own.json", "--manifest", "data/manifest.json"),
    ),
    "evaluate-rung": ("hostile.json", ("evaluate-rung", "hostile.json", "d1", "--out", "o.json")),
    "sample": ("x/spec.json", ("sample", "x")),
    "report, the plan": (
        "results/x/plan.json",
        ("report", "smoke", "--results", "results/x", "--out", "report.pdf"),
    ),
    "export": ("hostile/spec.json", ("export", "hostile", "--out", "exported")),
    "export-data": ("hostile.json", ("export-data", "hostile.json", "--out", "exported")),
    "lineage": ("hostile.json", ("lineage", "hostile.json")),
    "lineage of a folder": ("x/result.json", ("lineage", "x")),
    "fit": ("hostile.csv", ("fit", "hostile.csv", "--out", "o.json")),
    "fit, Parquet": ("hostile.parquet", ("fit", "hostile.parquet", "--out", "o.json")),
    "fit of a formula": ("hostile.csv", ("fit", "hostile.csv", "--law", "compute", "--out", "o.json")),
    "fit of a frontier": ("hostile.tsv", ("fit", "hostile.tsv", "--law", "isoflop", "--out", "o.json")),
    "predict": ("hostile.json", ("predict", "hostile.json", "--at", "flops=1e21")),
    "compare": ("hostile.csv", ("compare", "hostile.csv", *VARIANTS, "--out", "o.json")),
    "compare, a sweep": (
        "hostile.json",
        ("compare", "runs.parquet", *VARIANTS, "--rates", "hostile.json", "--out", "o.json"),
    ),
    "fit, a sweep": ("hostile.json", ("fit", "runs.parquet", "--rates", "hostile.json", "--out", "o.json")),
    "metrics": (
        "hostile.csv",
        ("metrics", "hostile.csv", "--baseline", "dense-baseline", "--out", "o.json"),
    ),
    "metrics, a sweep": (
        "hostile.json",
        (
            *("metrics", "runs.parquet", "--baseline", "dense-baseline"),
            *("--rates", "hostile.json", "--out", "o.json"),
        ),
    ),
    "signal": ("hostile.csv", ("signal", "hostile.csv", "--out", "o.json", "--laws", "l.json")),
    "laws": ("hostile.csv", ("laws", "hostile.csv", "--baseline", "dense-baseline", "--out", "o.json")),
    "top, the plan": (
        "results/z/plan.json",
        ("top", "sized.yaml", "--results", "results/z", "--out", "o.json"),
    ),
    "swarm, the plan": (
        "results/m/plan.json",
        ("swarm", "mixed.yaml", "--results", "results/m", "--out", "o.json"),
    ),
    "coordinates": ("hostile.yaml", ("coordinates", "hostile.yaml", "--out", "o.json")),
    "compare, a fit": (
        "hostile.json",
        ("compare", "runs.parquet", "hostile.json", "--settings", SETTINGS, "--out", "o.json"),
    ),
    "next": ("hostile.csv", ("next", "hostile.csv", "flops.json", *VARIANTS, "--hours", 1)),
    "next, the fit": ("hostile.json", ("next", "runs.parquet", "hostile.json", *VARIANTS, "--hours", 1)),
    "tune, a result": (
        f"results/x/runs/{FIRST}/result.json",
        ("tune", "smoke-sweep", "--results", "results/x", "--out", "o.json"),
    ),
    "preregister, the plan": (
        "results/y/plan.json",
        ("preregister", "smoke", "--results", "results/y", "--out", "o.json"),
    ),
}
"""Command and what its file is: the file, and the words."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("role", ROLES)
def test_a_hostile_file(clone, role, kind):
    file, words = ROLES[role]
    place(clone / file, KINDS[kind])
    assert_a_sentence(stepladder(*words), file)


def test_every_command_is_met():
    """Those without a file of their own have tests of their own below."""
    met = {words[0] for _, words in ROLES.values()}
    every = {name for commands in COMMANDS.values() for name in commands}
    assert every - met == {"data", "calibrate", "status", "mfu", "power", "design", "gate"}


def test_json_too_deep_to_read(clone):
    (clone / "deep.json").write_text("[" * 100_000)
    assert_a_sentence(stepladder("plan", "deep.json"), "deep.json")


@pytest.mark.parametrize("name", ["smoke", "laptop"])
def test_what_a_ladder_does_not_have(name):
    """No rung to size, no mixture to find, no parametrization to check: a sentence that says what to add."""
    sized = ("top", name, "--results", f"results/{name}", "--out", "o.json")
    assert_a_sentence(stepladder(*sized), f"{name}.yaml", "compute_optimal_top")
    mixed = ("swarm", name, "--results", f"results/{name}", "--out", "o.json")
    assert_a_sentence(stepladder(*mixed), f"{name}.yaml", "mixture_swarm")
    checked = ("coordinates", name, "--out", "o.json")
    assert_a_sentence(stepladder(*checked), f"{name}.yaml", "optimizer.parametrization")


@pytest.mark.parametrize("kind", KINDS)
def test_status_survives(clone, kind):
    """A plan or a result that cannot be read is as none: it is made again."""
    place(clone / "results/smoke/plan.json", KINDS[kind])
    place(clone / f"results/smoke/runs/{RUN}/result.json", KINDS[kind])
    done = stepladder("status", "smoke", "--json")
    assert done.exit_code == 0, done.exception
    assert json.loads(done.output)["total"]["counts"]["done"] == 0


def test_status_of_no_ladder():
    assert_a_sentence(stepladder("status", "nowhere"), "no ladder 'nowhere'", "smoke")


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "binary", "list"])
def test_mfu_of_no_results(clone, kind):
    place(clone / "hostile", KINDS[kind])
    assert_a_sentence(stepladder("mfu", "hostile"), "hostile has no runs/")


def test_mfu_of_a_broken_log(clone):
    place(clone / "m/runs/a/events.jsonl", b'{"event": "end", "time": \n')
    done = stepladder("mfu", "m")
    assert done.exit_code == 0 and "m/runs/a/events.jsonl: not a record, left out: line 1" in done.output


def test_mfu_leaves_out_a_log_that_cannot_be_read(clone):
    place(clone / "n/runs/a/events.jsonl", KINDS["folder"])
    done = stepladder("mfu", "n")
    assert done.exit_code == 0 and "n/runs/a/events.jsonl: " in done.output and ", left out" in done.output


@pytest.mark.parametrize("peak", ["fast", None, True, [1e11], -1.0, 0, 1e40])
def test_no_machine_has_such_a_peak(clone, peak):
    measured = {"name": "cpu", "threads": 1, "source": "measured", "peaks": {"fp32": peak}}
    (clone / "machine.json").write_text(json.dumps(measured))
    done = stepladder("train", "spec.json", *TRAIN, "--machine", "machine.json")
    assert_a_sentence(
        done, "machine.json: peaks.fp32 = ", "from 1e+09 to 1e+17", "stepladder calibrate --out"
    )
    (clone / "machine.json").write_text(json.dumps(measured | {"peaks": peak}))
    assert_a_sentence(stepladder("train", "spec.json", *TRAIN, "--machine", "machine.json"), "peaks = ")


TEXT = {"kind": "text", "domains": {"web": ["hostile.jsonl"]}}
DATA = {"source": TEXT, "tokenizer": {"kind": "byte"}, "validation_fraction": 0.2}


NO_TEXT = ("missing", "folder", "binary", "UTF-16", "unreadable")


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_text(clone, kind):
    """Any UTF-8 is text, of which there is too little here."""
    place(clone / "hostile.jsonl", KINDS[kind])
    named = "hostile.jsonl" if kind in NO_TEXT else "domain 'web'"
    assert_a_sentence(stepladder("data", json.dumps(DATA), "--out", "new/manifest.json"), named)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "JSON object"),
        ("[]", "JSON object"),
        ("{}", "source, tokenizer, validation_fraction"),
        (json.dumps(DATA | {"source": {}}), "kind"),
        (json.dumps(DATA | {"source": {"kind": "nope"}}), "'nope'"),
        (json.dumps(DATA | {"tokenizer": 3}), "tokenizer = 3"),
        (json.dumps(DATA | {"validation_fraction": "x"}), "validation_fraction = 'x'"),
        (json.dumps(DATA | {"validation_fraction": 2}), "validation_fraction = 2"),
        (json.dumps(DATA | {"degenerate": "dorp"}), "count, drop"),
    ],
)
def test_hostile_settings(given, said):
    assert_a_sentence(stepladder("data", given, "--out", "new/manifest.json"), "SETTINGS", said)


@pytest.mark.parametrize("settings", ["", "[]", "3", '{"baseline": ', '{"seed": "x"}', '{"huber": 1}'])
@pytest.mark.parametrize("command", ["fit", "compare", "next", "signal"])
def test_hostile_analysis_settings(command, settings):
    words = {
        "fit": ("runs.parquet", "--out", "o.json"),
        "compare": ("runs.parquet", *VARIANTS, "--out", "o.json"),
        "next": ("runs.parquet", "flops.json", *VARIANTS, "--hours", 1),
        "signal": ("runs.parquet", "--out", "o.json"),
    }[command]
    assert_a_sentence(stepladder(command, *words, "--settings", settings), "settings")


WRITERS = {
    "price": ("price", "smoke", "--out"),
    "price --table": ("price", "smoke", "--out", "o.json", "--table"),
    "price --pdf": ("price", "smoke", "--out", "o.json", "--pdf"),
    "calibrate": ("calibrate", "--out"),
    "collect": ("collect", "good.json", "--runs", "r.parquet", "--steps"),
    "report": ("report", "smoke", "--results", "results/x", "--out"),
    "fit": ("fit", "runs.parquet", "--out"),
    "fit --plot": ("fit", "runs.parquet", "--law", "compute", "--out", "o.json", "--plot"),
    "predict": ("predict", "flops.json", "--at", "flops=1e12", "--variant", "dense-tst", "--out"),
    "compare": ("compare", "runs.parquet", *VARIANTS, "--out"),
    "next": ("next", "runs.parquet", "flops.json", *VARIANTS, "--hours", 1, "--out"),
    "signal": ("signal", "runs.parquet", "--out"),
    "signal --laws": ("signal", "runs.parquet", "--out", "o.json", "--laws"),
    "tune": ("tune", "smoke-sweep", "--results", "results/x", "--out"),
    "preregister": ("preregister", "smoke", "--results", "results/y", "--out"),
    "train": ("train", "spec.json", "--manifest", "data/manifest.json", "--out"),
    "data": ("data", json.dumps(DATA), "--out"),
    "export": ("export", "no-run", "--out"),
    "export-data": ("export-data", "data/manifest.json", "--out"),
}
NAMED = {"train": "result.json", "data": "manifest.json"}
"""Commands whose output has a fixed name."""


@pytest.mark.parametrize(
    ("writer", "folder"),
    [(writer, folder) for writer in WRITERS for folder in ("blocked", "spec.json")]
    + [(writer, "/proc/1") for writer in ("price", "predict", "next")],
)
def test_output_that_cannot_be_written(clone, writer, folder):
    """A folder, below a file, and what only the system knows; the others are told before any work is done."""
    target = f"{folder}/{NAMED.get(writer, 'out.json')}"
    if folder == "blocked":
        (clone / target).mkdir(parents=True, exist_ok=True)
    assert_a_sentence(stepladder(*WRITERS[writer], target), target)


@contextmanager
def full_disk() -> Iterator[None]:
    """No file takes a byte."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


LATE = {
    "calibrate": "takes seconds to measure",
    "export": "writes a new folder only: tests/evaluation/test_hugging_face.py",
    "export-data": "writes a new folder only",
    "collect": "needs results of a whole ladder: tests/record/test_collect.py",
    "report": "likewise: tests/report/test_report.py",
    "tune": "likewise",
    "preregister": "likewise",
}
"""Writers that write nothing here, because they are told before that something else is missing."""


@pytest.mark.parametrize("writer", [name for name in WRITERS if name not in LATE])
def test_a_full_disk(clone, writer):
    """What was there stays, and nothing half-written is left beside it."""
    folder = clone / "full" / writer.replace(" ", "")
    target = place(folder / NAMED.get(writer, "out.json"), b"the old one")
    words = [word if word != "o.json" else f"{folder}/o.json" for word in WRITERS[writer]]
    if writer.endswith("plot"):
        target = target.rename(target.with_suffix(".png"))
    if writer == "data":
        place(clone / "hostile.jsonl", b'{"text": "some words"}\n' * 50)
    with full_disk():
        done = stepladder(*words, target)
    assert_a_sentence(done, "File too large", folder.name)
    assert target.read_bytes() == b"the old one"
    assert not [
        path for path in folder.iterdir() if path.is_file() and path != target and path.stat().st_size
    ]


@pytest.mark.parametrize("device", ["/dev/full", "/dev/null"])
def test_a_device_is_written_to_as_it_is(clone, device):
    """And not replaced by a file, which the owner of the machine could do."""
    done = stepladder(*WRITERS["price"], device)
    assert Path(device).is_char_device()
    if device == "/dev/full":
        assert_a_sentence(done, "/dev/full: No space left on device")
    else:
        assert done.exit_code == 0


def test_standard_output_on_a_full_disk(clone):
    """No traceback, neither from Typer, nor from the command, nor from Python as it ends."""
    for words in ([], ["--help"], ["plan", "--help"], ["check", "smoke"], ["plan", "good.json"], ["status"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "stepladder.cli", *words],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
            )
        assert done.returncode == 1 and "Traceback" not in done.stderr and "Exception" not in done.stderr
        assert done.stderr == "stepladder: standard output: No space left on device\n", done.stderr


OUTSIDE = {
    "check": ("check", "smoke"),
    "price": ("price", "smoke", "--out", "o.json"),
    "price --hardware": ("price", str(REPOSITORY / "configs/ladders/smoke.yaml"), "--out", "o.json"),
    "status": ("status", "smoke"),
    "report": ("report", "smoke", "--results", "results/smoke", "--out", "report.pdf"),
    "tune": ("tune", "smoke-sweep", "--results", "results/smoke-sweep", "--out", "o.json"),
    "preregister": ("preregister", "smoke", "--results", "results/smoke", "--out", "o.json"),
}
"""Commands that look for files of the clone."""


@pytest.mark.parametrize("command", OUTSIDE)
def test_outside_the_clone(tmp_path, monkeypatch, command):
    """It says so, and where to go."""
    monkeypatch.chdir(tmp_path)
    accelerators.cache_clear()
    assert_a_sentence(stepladder(*OUTSIDE[command]), "configs", "go to the folder that has", "the clone")
    assert not [*tmp_path.iterdir()]


@settings(max_examples=60)
@given(content=st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
@pytest.mark.parametrize("role", ["plan", "predict", "next, the fit", "lineage", "fit", "train", "check"])
def test_any_bytes(clone, role, content):
    file, words = ROLES[role]
    place(clone / file, content)
    assert_a_sentence(stepladder(*words), file)


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=40)
@given(value=VALUES)
@pytest.mark.parametrize(
    "role", ["plan", "predict", "compare, a fit", "lineage", "train --machine", "collect"]
)
def test_any_json(clone, role, value):
    file, words = ROLES[role]
    place(clone / file, json.dumps(value).encode())
    assert_a_sentence(stepladder(*words), file)


@pytest.mark.parametrize("length", [1, 100, 1000, -2])
@pytest.mark.parametrize("role", ["next, the fit", "predict", "compare, a fit"])
def test_a_truncated_fit(clone, role, length):
    file, words = ROLES[role]
    place(clone / file, (clone / "flops.json").read_bytes()[:length])
    assert_a_sentence(stepladder(*words), file)


def test_being_told_to_stop_is_no_error(clone, monkeypatch):
    """Exit status 75 of a run that saved a checkpoint passes."""

    def stopped(*_, **__):
        raise SystemExit(75)

    monkeypatch.setattr("stepladder.training.run.train", stopped)
    assert stepladder("train", "spec.json", *TRAIN).exit_code == 75


def test_a_bug_keeps_its_traceback(clone, monkeypatch):
    def broken(*_, **__):
        raise KeyError("a bug")

    monkeypatch.setattr("stepladder.training.run.train", broken)
    assert isinstance(stepladder("train", "spec.json", *TRAIN).exception, KeyError)


def test_where_an_error_came_from_can_be_asked_for(monkeypatch):
    monkeypatch.setenv("STEPLADDER_TRACEBACK", "1")
    assert "find_ladder" in stepladder("check", "nowhere").output
