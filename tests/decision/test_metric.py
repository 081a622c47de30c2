"""The metric that decides: a column in place of the loss, its unit everywhere, the same text for all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ladders import E, runs_table

from stepladder.decision.by_metric import ByMetric, by_metric, metrics_of
from stepladder.decision.cells import make_cells
from stepladder.decision.compare import compare
from stepladder.decision.fit import fit
from stepladder.decision.metric import on_metric
from stepladder.report.sections.evidence import laws_table
from stepladder.report.sections.verdict import metric_sentence, metrics_sentence, metrics_table
from stepladder.schema.analysis import AnalysisConfig

CONFIG = AnalysisConfig(baseline="dense-baseline", bootstrap_draws=100, leave_one_out=False)
NATS_PER_BYTE = 0.3


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    """Candidate twice as efficient per token, but its tokens are of other bytes: by the byte it gains
    nothing. On `code` it is worse."""
    found = runs_table({"dense-baseline": 1.0, "dense-tst": 1.0}, sigma=0.001)
    by_byte = found["loss"] * NATS_PER_BYTE
    candidate = found["variant"] == "dense-tst"
    return found.assign(
        loss=found["loss"] * np.where(candidate, 0.9, 1.0),
        bits_per_byte=by_byte,
        bits_per_byte_code=by_byte * np.where(candidate, 1.05, 1.0),
        bits_per_byte_prose=by_byte,
        validation_code_bytes=1000,
        validation_prose_bytes=2000,
        validation_code_tokens=400,
        validation_prose_tokens=800,
    )


def gain(runs: pd.DataFrame, metric: str) -> float:
    config = CONFIG.model_copy(update={"metric": metric})
    table = on_metric(runs, metric)
    result = compare(table, {axis: fit(table, axis, config) for axis in config.verdict.axes}, config)
    assert result.metric == metric
    return result.comparisons[0].gains["flops"].rungs[-1].gain


def test_the_gain_is_that_of_the_metric(runs: pd.DataFrame) -> None:
    found = {name: gain(runs, name) for name in ("target_loss", "bits_per_byte", "domain:code")}
    assert found["target_loss"] > 1.5 and found["domain:code"] < 0.8
    assert found["bits_per_byte"] == pytest.approx(1, rel=0.02)


def test_laws_are_in_the_metrics_unit(runs: pd.DataFrame) -> None:
    config = CONFIG.model_copy(update={"metric": "bits_per_byte"})
    found = fit(on_metric(runs, "bits_per_byte"), "flops", config)
    assert pytest.approx(NATS_PER_BYTE * E, rel=0.1) == found.laws["dense-baseline"].parameters.E
    assert found.metric.unit == "bits/byte" and found.metric.label == "Held-out loss (bits/byte)"
    assert "E (bits/byte)" in [column.title for column in laws_table(found).columns]


def test_other_fits_are_refused(runs: pd.DataFrame) -> None:
    """A comparison by the byte of laws per token."""
    fits = {axis: fit(runs, axis, CONFIG) for axis in CONFIG.verdict.axes}
    config = CONFIG.model_copy(update={"metric": "bits_per_byte"})
    with pytest.raises(ValueError, match="metric target_loss, here bits_per_byte"):
        compare(on_metric(runs, "bits_per_byte"), fits, config)


def test_a_column_that_is_missing_is_named(runs: pd.DataFrame) -> None:
    said = r"no column bits_per_byte_law; .* bits_per_byte, bits_per_byte_code"
    with pytest.raises(ValueError, match=said):
        on_metric(runs, "domain:law")


def test_other_text_does_not_compare(runs: pd.DataFrame) -> None:
    cut = runs.assign(validation_prose_bytes=np.where(runs["variant"] == "dense-tst", 1500, 2000))
    with pytest.raises(ValueError, match=r"different text of prose .*raise data.max_validation_tokens"):
        on_metric(cut, "bits_per_byte")
    assert on_metric(cut, "target_loss") is cut
    assert len(on_metric(cut, "domain:code")) == len(cut), "its own text is the same"


@pytest.mark.parametrize("name", ["loss", "domain:", "domain:a b", "accuracy", "task:", "macro:a b"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(ValueError, match=r"no metric .*there are target_loss, bits_per_byte, domain:<name>"):
        AnalysisConfig(baseline="a", metric=name)


def test_page_one_says_what_loss_is(runs: pd.DataFrame) -> None:
    config = CONFIG.model_copy(update={"metric": "domain:code"})
    table = on_metric(runs, "domain:code")
    result = compare(table, {axis: fit(table, axis, config) for axis in config.verdict.axes}, config)
    assert "bits/byte of held-out text of the domain code" in metric_sentence(result)
    plain = result.model_copy(update={"metric": "target_loss"})
    assert metric_sentence(plain) == ""


def test_a_table_of_anyone_is_told_how_to_name_it(runs: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"no column bits_per_byte; .*leave --metric out"):
        on_metric(runs[["variant", "rung", "loss", "flops"]], "bits_per_byte")


def test_metrics_that_compare(runs: pd.DataFrame) -> None:
    every = ["target_loss", "bits_per_byte", "domain:code", "domain:prose"]
    assert metrics_of(runs) == every
    other_tokens = runs.assign(validation_prose_tokens=np.where(runs["variant"] == "dense-tst", 700, 800))
    assert metrics_of(other_tokens) == every[1:]
    one = runs.drop(columns=["validation_prose_bytes", "validation_prose_tokens"])
    assert metrics_of(one) == ["target_loss"], "by the byte it is the same times a constant"


def test_every_metric_is_judged_and_what_they_disagree_on_said(runs: pd.DataFrame, tmp_path: Path) -> None:
    found = by_metric(runs, CONFIG)
    assert [row.metric for row in found.verdicts] == ["bits_per_byte", "domain:code", "domain:prose"]
    assert found.rows_sha256 == make_cells(runs).rows_sha256 and found.draws == CONFIG.bootstrap_draws
    verdicts = {row.metric: row.verdict for row in found.verdicts}
    assert verdicts["domain:code"] == "reject" and verdicts["bits_per_byte"] != "reject"
    gains = {row.metric: row.gains["flops"].gain for row in found.verdicts}
    assert gains["domain:code"] == pytest.approx(gain(runs, "domain:code"))
    found.write(tmp_path / "metrics.json")
    assert ByMetric.read(tmp_path / "metrics.json") == found

    fits = {axis: fit(runs, axis, CONFIG) for axis in CONFIG.verdict.axes}
    deciding = compare(runs, fits, CONFIG)
    assert deciding.comparisons[0].verdict == "promote"
    said = metrics_sentence(found, deciding)
    assert said.startswith("Metrics disagree. dense-tst against dense-baseline: promote by target_loss")
    assert "reject by domain:code" in said
    shown = metrics_table(found, deciding)
    assert [row[1] for row in shown.rows] == ["target_loss (decides)", *verdicts]
    assert [row[-1] for row in shown.rows] == ["promote", *verdicts.values()]


def test_one_metric_has_no_table(runs: pd.DataFrame) -> None:
    one = runs.drop(columns=["validation_prose_bytes", "validation_prose_tokens"])
    found = by_metric(one, CONFIG)
    assert found.verdicts == () and metrics_table(found) is None


def test_a_metric_that_cannot_be_judged_stops_nothing(runs: pd.DataFrame) -> None:
    """Nor does a floor that is pinned in another metric's unit."""
    config = CONFIG.model_copy(update={"floor": 0.4, "metric": "bits_per_byte"})
    unscored = runs.assign(bits_per_byte_prose=np.where(runs["rung"] == "d2", np.nan, 1.0))
    found = by_metric(unscored, config)
    assert set(found.refused) == {"domain:prose"} and "d2/1x/seed0 has none" in found.refused["domain:prose"]
    gains = {row.metric: row.gains["flops"].gain for row in found.verdicts}
    assert gains["target_loss"] == pytest.approx(gain(runs, "target_loss"), rel=0.2)
    fits = {axis: fit(on_metric(runs, "bits_per_byte"), axis, config) for axis in config.verdict.axes}
    deciding = compare(on_metric(runs, "bits_per_byte"), fits, config)
    assert (
        "By domain:prose nothing is known: metric domain:prose: dense-baseline/d2/1x/seed0 has none"
        in metrics_sentence(found, deciding)
    )


def test_what_a_gate_decided_is_no_disagreement(runs: pd.DataFrame) -> None:
    found = by_metric(runs, CONFIG)
    deciding = compare(runs, {axis: fit(runs, axis, CONFIG) for axis in CONFIG.verdict.axes}, CONFIG)
    (pair,) = deciding.comparisons
    gated = deciding.model_copy(update={"comparisons": (pair.model_copy(update={"gate": "d4"}),)})
    assert "disagree" in metrics_sentence(found, deciding) and metrics_sentence(found, gated) == ""


@pytest.fixture(scope="module")
def scored(runs: pd.DataFrame) -> pd.DataFrame:
    """The same runs with a task on which the candidate is worse, and a suite."""
    candidate = runs["variant"] == "dense-tst"
    bits = runs["bits_per_byte"] * np.where(candidate, 1.05, 1.0)
    errors = {"task_calls_bits_per_byte_error": 0.1, "task_calls_accuracy": 0.3}
    return runs.assign(task_calls_bits_per_byte=bits, macro_all_bits_per_byte=bits, **errors)


def test_tasks_and_suites_are_metrics(scored: pd.DataFrame) -> None:
    assert metrics_of(scored)[-2:] == ["task:calls", "macro:all"]
    assert gain(scored, "task:calls") == pytest.approx(gain(scored, "macro:all"))
    assert gain(scored, "task:calls") < 0.8


def test_a_run_without_scores_is_named(scored: pd.DataFrame) -> None:
    part = scored.assign(task_calls_bits_per_byte=scored["task_calls_bits_per_byte"].where(scored.index != 3))
    with pytest.raises(ValueError, match=f"metric task:calls: {scored['id'][3]} has none"):
        on_metric(part, "task:calls")


def test_a_task_that_is_not_there_is_refused_with_those_that_are(scored: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"no column task_lines_bits_per_byte; .*task_calls_bits_per_byte"):
        on_metric(scored, "task:lines")
