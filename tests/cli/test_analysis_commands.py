"""The commands on plain tables, as a person types them."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from ladders import FLOPS, runs_table, with_task
from typer.testing import CliRunner

from stepladder.cli import app


def stepladder(*words, fails=False):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert (result.exit_code != 0) is fails, result.output
    return result.output


@pytest.fixture
def points(tmp_path):
    """Rows of Chinchilla's law, the columns named otherwise."""
    generator = np.random.default_rng(0)
    N = np.geomspace(5e7, 5e9, 40)
    D = N * np.exp(generator.uniform(np.log(5), np.log(200), 40))
    loss = (1.8172 + 482.01 * N**-0.3478 + 2085.43 * D**-0.3658) * np.exp(
        0.002 * generator.standard_normal(40)
    )
    path = tmp_path / "points.csv"
    pd.DataFrame({"N": N, "D": D, "val_loss": loss}).to_csv(path, index=False)
    return path


@pytest.fixture
def ladder(tmp_path):
    runs = runs_table({"dense-baseline": 1.0, "dense-tst": 1.3}, sigma=0.003)
    path = tmp_path / "runs.csv"
    names = {"accelerator_seconds": "seconds"}
    runs[["variant", "rung", "seed", "loss", "flops", *names]].rename(columns=names).to_csv(path, index=False)
    return path


COLUMNS = "loss=val_loss,parameters=N,tokens=D"


def test_fit_and_predict(points, tmp_path):
    out = tmp_path / "fit.json"
    words = [
        "--law",
        "chinchilla",
        "--columns",
        COLUMNS,
        "--bootstrap",
        100,
        "--drop-highest",
        2,
        "--out",
        out,
    ]
    shown = stepladder("fit", points, *words, "--plot", tmp_path / "fit.png")
    assert "alpha" in shown and "converged" in shown and (tmp_path / "fit.png").stat().st_size > 10_000
    found = json.loads(out.read_text())
    keys = {"parameters", "standard_errors", "intervals", "objective", "converged", "n", "starts", "seconds"}
    assert keys <= set(found) and found["n"] == 38 and found["converged"]
    assert found["parameters"]["alpha"] == pytest.approx(0.3478, abs=0.1)
    stepladder("predict", out, "--at", "parameters=7e9,tokens=1.4e11", "--out", tmp_path / "p.json")
    (row,) = json.loads((tmp_path / "p.json").read_text())
    assert row["run_interval"][0] < row["interval"][0] < row["predicted"] < row["interval"][1]
    assert "give tokens" in stepladder("predict", out, "--at", "parameters=7e9", fails=True)


def test_compare_and_next(ladder, tmp_path):
    out, law = tmp_path / "cmp.json", tmp_path / "flops.json"
    stepladder(
        "compare",
        ladder,
        "--baseline",
        "dense-baseline",
        "--candidate",
        "dense-tst",
        "--axis",
        "flops",
        "--out",
        out,
    )
    (found,) = json.loads(out.read_text())["comparisons"]
    assert found["candidate"] == "dense-tst" and set(found["gains"]) == {"flops"}
    settings = json.dumps({"baseline": "dense-baseline", "bootstrap_draws": 200})
    stepladder("fit", ladder, "--settings", settings, "--out", law)
    words = ["--hours", 0.5, "--baseline", "dense-baseline", "--candidate", "dense-tst", "--target", 1e14]
    assert "one rung up (new)" in stepladder("next", ladder, law, *words)


def test_a_ladders_laws_are_a_line_in_a_log_and_a_table_in_a_terminal(ladder, tmp_path, monkeypatch):
    words = ("fit", ladder, "--bootstrap", 100, "--out", tmp_path / "fit.json")
    rows = pd.read_csv(ladder)
    cells = len(rows[["variant", "rung"]].drop_duplicates())
    (line,) = stepladder(*words).splitlines()
    assert line.startswith("2 laws E + A (C / ") and line.endswith("95 % intervals from 100 draws")
    assert f" on FLOPs from {len(rows)} runs in {cells} cells; " in line
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich's word for "this is a terminal"
    shown = stepladder(*words)
    assert "fitting the laws of all variants" in shown
    assert "dense-tst" in shown and "A (nats/token)" in shown and line in shown


def test_laws_that_cannot_be_fitted_are_a_line_too(ladder, tmp_path):
    small = exported(ladder, tmp_path, lambda rows: rows[rows["rung"] == rows["rung"].iloc[0]])
    assert "no laws on FLOPs from " in stepladder("fit", small, "--bootstrap", 100, "--out", tmp_path / "f")


def test_by_variant_with_a_common_floor(ladder, tmp_path):
    out = tmp_path / "fit.json"
    stepladder(
        "fit",
        ladder,
        "--law",
        "compute",
        "--by",
        "variant",
        "--share",
        "E",
        "--cluster",
        "rung,seed",
        "--out",
        out,
    )
    found = json.loads(out.read_text())
    assert set(found["parameters"]) == {
        "E",
        *(f"{p}[dense-{r}]" for p in ("A", "alpha") for r in ("baseline", "tst")),
    }
    assert "name one with --variant" in stepladder("predict", out, "--at", "flops=1e13", fails=True)
    stepladder("predict", out, "--at", "flops=1e13", "--variant", "dense-tst")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--law", "nope"], "no law 'nope'"),
        (["--law", "compute", "--columns", COLUMNS], "no column 'flops'"),
        (["--law", "chinchilla"], "did you mean val_loss"),
        (["--law", "chinchilla", "--columns", COLUMNS, "--pin", "E"], "NAME=NUMBER"),
        (["--law", "chinchilla", "--columns", COLUMNS, "--pin", "Q=1"], "no parameter Q"),
        (["--law", "chinchilla", "--columns", COLUMNS, "--norm", "l1"], "--norm l1"),
        (["--settings", '{"baseline": "x", "confidence": 2}'], "confidence = 2"),
        (["--settings", '{"baseline": "x"}'], "no cost axis"),
    ],
)
def test_errors_are_for_people(points, tmp_path, words, message):
    shown = stepladder("fit", points, *words, "--out", tmp_path / "fit.json", fails=True)
    assert message in shown and "Traceback" not in shown
    assert not (tmp_path / "fit.json").exists()


def exported(ladder, tmp_path, change):
    """The ladder's table, changed."""
    path = tmp_path / "exported.csv"
    change(pd.read_csv(ladder)).to_csv(path, index=False)
    return path


def test_axes_that_are_missing_are_left_out_and_that_is_said(ladder, tmp_path):
    """But not where they are asked for."""
    table = exported(ladder, tmp_path, lambda rows: rows.drop(columns="seconds"))
    out = tmp_path / "o.json"
    words = ("--baseline", "dense-baseline", "--settings", '{"bootstrap_draws": 100}', "--out", out)
    assert f"warning: {table} has no seconds: only flops counted" in stepladder("compare", table, *words)
    found = json.loads(out.read_text())
    assert set(found["comparisons"][0]["gains"]) == {"flops"} and "no seconds" in found["warnings"][-1]
    assert "no such cost" in stepladder("compare", table, *words, "--axis", "seconds", fails=True)
    tokens = exported(ladder, tmp_path, lambda rows: rows.rename(columns={"flops": "tokens"}))
    said = stepladder("fit", tokens, "--bootstrap", 100, "--out", out)
    assert "has no flops: only seconds counted" in said and json.loads(out.read_text())["axis"] == "seconds"
    assert "no such cost" in stepladder("fit", tokens, "--axis", "flops", "--out", out, fails=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop(columns="seconds"), "needs accelerator_seconds|no seconds|seconds"),
        (lambda rows: rows.drop(columns="flops"), "flops"),
    ],
)
def test_next_needs_flops_and_seconds(ladder, tmp_path, change, message):
    law = tmp_path / "flops.json"
    stepladder("fit", ladder, "--bootstrap", 100, "--out", law)
    table = exported(ladder, tmp_path, change)
    words = ("--hours", 1, "--baseline", "dense-baseline", "--candidate", "dense-tst", "--target", 1e14)
    assert re.search(message, stepladder("next", table, law, *words, fails=True))


@pytest.mark.parametrize("file", ["runs.csv", "runs.parquet"])
def test_signal_and_laws_of_tasks(tmp_path, file):
    """Of a ladder's table and of anyone's, which say the same."""
    runs = with_task(
        runs_table({"dense-baseline": 1.0, "dense-tst": 1.3}, 0.003, seeds=dict.fromkeys(FLOPS, 2))
    )
    tasks = [name for name in runs if name.startswith("task_")]
    if file.endswith("csv"):
        runs[["variant", "rung", "seed", "loss", "flops", *tasks]].to_csv(tmp_path / file, index=False)
    else:
        runs.to_parquet(tmp_path / file)
    out, laws = tmp_path / "new" / "signal.json", tmp_path / "task_laws.json"
    settings = '{"bootstrap_draws": 100}'
    assert stepladder("signal", tmp_path / file, "--settings", settings, "--out", out, "--laws", laws) == ""
    found, fitted = json.loads(out.read_text()), json.loads(laws.read_text())
    assert found["metric"] == "target_loss" and len(found["signals"]) == 5 * 4 and found["draws"] == 100
    (quiz,) = fitted["tasks"]
    assert quiz["reason"] is None and len(quiz["forecasts"]) == 2
    assert quiz["first"]["parameters"]["E"]["value"] == pytest.approx(0.7, abs=0.1)


def test_signal_of_a_table_without_tasks(ladder, tmp_path):
    stepladder("signal", ladder, "--out", tmp_path / "signal.json", "--laws", tmp_path / "task_laws.json")
    found = json.loads((tmp_path / "signal.json").read_text())
    assert {row["metric"] for row in found["signals"]} == {"target_loss"}
    assert json.loads((tmp_path / "task_laws.json").read_text())["tasks"] == []


def test_scores_of_tasks_are_numbers(ladder, tmp_path):
    rows = pd.read_csv(ladder).assign(task_quiz_accuracy="high")
    rows.to_csv(ladder, index=False)
    said = stepladder("signal", ladder, "--out", tmp_path / "signal.json", fails=True)
    assert "runs.csv: task_quiz_accuracy holds 'high': give scores of tasks as numbers" in said
    assert not (tmp_path / "signal.json").exists()
