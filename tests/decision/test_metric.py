"""The metric that decides: a column in place of the loss, its unit everywhere, the same text for all."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from ladders import E, runs_table

from stepladder.decision.compare import compare
from stepladder.decision.fit import fit
from stepladder.decision.metric import on_metric
from stepladder.report.sections.evidence import laws_table
from stepladder.report.sections.verdict import metric_sentence
from stepladder.schema.analysis import AnalysisConfig

CONFIG = AnalysisConfig(baseline="dense-baseline", bootstrap_draws=200, leave_one_out=False)
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
        validation_code_bytes=1000,
        validation_prose_bytes=2000,
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
    said = r"no column bits_per_byte_prose; .* bits_per_byte, bits_per_byte_code"
    with pytest.raises(ValueError, match=said):
        on_metric(runs, "domain:prose")


def test_other_text_does_not_compare(runs: pd.DataFrame) -> None:
    cut = runs.assign(validation_prose_bytes=np.where(runs["variant"] == "dense-tst", 1500, 2000))
    with pytest.raises(ValueError, match=r"different text of prose .*raise data.max_validation_tokens"):
        on_metric(cut, "bits_per_byte")
    assert on_metric(cut, "target_loss") is cut
    assert len(on_metric(cut, "domain:code")) == len(cut), "its own text is the same"


@pytest.mark.parametrize("name", ["loss", "domain:", "domain:a b", "accuracy", "task:x"])
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
