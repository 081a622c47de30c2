"""What a climb leaves behind, and what an edit makes Snakemake do again."""

import json
import math
import shlex

import numpy as np
import pandas as pd
import pytest

from stepladder.schema.execution import EngineOptions

VARIANTS = {"dense-baseline", "dense-tst", "moe-baseline", "moe-tst"}
DEPENDANTS = ["all", "collect", "compare", "fit", "fit", "fit", "metrics", "price", "report", "signal"]


@pytest.fixture
def ladder(climbed):
    """The smoke ladder's file, put back after the test."""
    text = climbed.ladder.read_text()
    yield climbed.ladder
    climbed.ladder.write_text(text)


def test_everything_is_there(climbed):
    assert (climbed.results / "report.pdf").read_bytes().startswith(b"%PDF")
    runs = pd.read_parquet(climbed.results / "runs.parquet")
    assert len(runs) == 16 and set(runs.variant) == VARIANTS
    assert runs.loss.between(1, math.log(256)).all(), "held-out loss is better than guessing"
    assert (runs.flops == runs.planned_flops).all(), "what was planned is what was run"
    assert runs.mfu_median.between(0, 1, inclusive="neither").all(), "low where other work shares the cores"
    comparison = json.loads((climbed.results / "comparison.json").read_text())
    assert comparison


def test_runs_are_scored_on_tasks(climbed):
    runs = pd.read_parquet(climbed.results / "runs.parquet")
    for task in ("calls", "docstrings"):
        assert (runs[f"task_{task}_items"] == 50).all()
        assert runs[f"task_{task}_bits_per_byte"].between(1, 8).all(), "better than guessing bytes"
        assert runs[f"task_{task}_accuracy"].between(0, 1).all()
    mean = (runs.task_calls_bits_per_byte + runs.task_docstrings_bits_per_byte) / 2
    assert np.allclose(runs.macro_python_bits_per_byte, mean)


def test_recipes_are_matched_in_flops(climbed):
    runs = pd.read_parquet(climbed.results / "runs.parquet")
    for _, group in runs.groupby(["architecture", "rung", "seed"]):
        assert group.flops.nunique() == 1


def test_the_switch_of_tst_is_in_the_steps(climbed):
    steps = pd.read_parquet(climbed.results / "steps.parquet")
    assert set(steps[steps.variant == "dense-tst"].phase) == {"superposed", "next_token"}
    assert set(steps[steps.variant == "dense-baseline"].phase) == {"next_token"}


def test_a_second_call_runs_nothing(climbed):
    assert "Nothing to be done" in climbed.snakemake()


def test_plan_prints_the_price_and_trains_nothing(climbed):
    text = climbed.snakemake("plan")
    assert "accelerator-hours" in text and "16 runs" in text
    assert "rule train" not in text


def test_a_comment_replans_nothing(climbed, ladder):
    ladder.write_text("# a remark\n" + ladder.read_text().replace("budgets:", "# another\nbudgets:"))
    assert climbed.planned() == []


def test_one_rungs_rate_replans_that_rung_and_its_dependants(climbed, ladder):
    ladder.write_text(ladder.read_text().replace("{depth: 3}", "{depth: 3, set: {learning_rate: 0.001}}"))
    expected = [f"{variant}/d3/0.25x/seed0" for variant in VARIANTS]
    assert climbed.planned() == sorted([*expected, "evaluate", *DEPENDANTS])


def test_where_runs_execute_retrains_nothing_and_reaches_them(climbed, ladder):
    """A rung's own options go before the ladder's; what is the default is not said."""
    text = ladder.read_text().replace("  checkpoint_seconds: 30\n", "  compile: never\n  memory_mb: 900\n")
    ladder.write_text(text.replace("{depth: 3}", "{depth: 3, execution: {sharding: none, threads: 2}}"))
    assert not [job for job in climbed.planned() if "/" in job]
    shown = climbed.snakemake("--dry-run", "--forceall", "--printshellcmds", "--quiet", "host", "progress")
    commands = [shlex.split(line) for line in shown.splitlines() if "stepladder train " in line]
    given = [word.removeprefix("--engine=") for words in commands for word in words if "--engine=" in word]
    found = [EngineOptions.from_text(text) for text in given]
    assert found.count(EngineOptions(compile="never", sharding="none")) == 4
    assert found.count(EngineOptions(compile="never")) == len(found) - 4 == 12


def test_a_new_seed_replans_only_its_runs(climbed, ladder):
    ladder.write_text(ladder.read_text().replace("{depth: 3}", "{depth: 3, seeds: [0, 1]}"))
    expected = [f"{variant}/d3/0.25x/seed1" for variant in VARIANTS]
    assert climbed.planned() == sorted([*expected, "evaluate", *DEPENDANTS])


def test_thresholds_replan_the_analysis_only(climbed, ladder):
    ladder.write_text(ladder.read_text().replace("minimal_rungs: 3", "minimal_rungs: 2"))
    assert climbed.planned() == ["all", "compare", "fit", "fit", "fit", "metrics", "report", "signal"]


def test_a_dearer_ladder_is_stopped(climbed, ladder):
    ladder.write_text(
        ladder.read_text().replace("max_accelerator_hours: 0.1", "max_accelerator_hours: 0.001")
    )
    text = climbed.snakemake("--forceall", "--dry-run", check=False)
    assert "needs" in text and "max_accelerator_hours is 0.001" in text
    assert "Job stats" not in text


def test_a_broken_ladder_is_an_error_without_a_traceback(climbed, ladder):
    ladder.write_text(ladder.read_text().replace("budgets: [0.25]", "budget: [0.25]"))
    text = climbed.snakemake(check=False)
    assert "smoke.yaml, line" in text and "did you mean 'budgets'?" in text
    assert "Traceback" not in text


ONE = "results/smoke/runs/dense-tst/d2/0.25x/seed0/result.json"


def test_one_run_alone_can_be_planned_again(climbed):
    assert climbed.planned(ONE, "--force") == ["dense-tst/d2/0.25x/seed0"]


def test_one_run_with_its_dependants_can_be_planned_again(climbed):
    expected = ["dense-tst/d2/0.25x/seed0", "evaluate", *set(DEPENDANTS) - {"fit", "price"}, *["fit"] * 3]
    assert climbed.planned("--forcerun", ONE) == sorted(expected)


def test_one_run_alone_is_run_again_with_the_same_result(climbed):
    """README: `snakemake --force <result.json>`. Same spec, machine and threads: the same bits."""
    path = climbed.folder / ONE
    before = json.loads(path.read_text())
    climbed.snakemake(ONE, "--force")
    after = json.loads(path.read_text())
    assert after["losses"] == before["losses"]
    assert after["lineage"]["started"] != before["lineage"]["started"]


def test_snakemakes_own_report(climbed):
    """README: `snakemake --report report.html`."""
    climbed.snakemake("--report", "report.html")
    assert (climbed.folder / "report.html").stat().st_size > 1_000_000


def test_a_failed_job_is_told_of_once(climbed):
    """Without commands and stacks, which are Snakemake's; the report that failed is not there."""
    climbed.snakemake()  # an earlier test has a run done again: what follows from it would be made anew
    comparison = climbed.results / "comparison.json"
    good = comparison.read_text()
    comparison.write_text(good.replace('"baseline": "dense-baseline"', '"baseline": 3'))
    text = climbed.snakemake(check=False)
    assert text.count("comparison.json: changed since it was written") == 1
    assert not any(word in text for word in ("Traceback", "CalledProcessError", "set -euo"))
    assert not (climbed.results / "report.pdf").exists(), "an old one would pass for a new one"
    comparison.write_text(good)
    climbed.snakemake()
    assert climbed.planned() == []
