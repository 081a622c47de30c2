"""Equal losses at equal steps: two one-sided tests at every rung."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ladders import FLOPS, runs_table
from pydantic import ValidationError
from scipy import stats

from stepladder.decision.cells import make_cells
from stepladder.decision.compare import compare
from stepladder.decision.comparison import PairComparison
from stepladder.decision.equivalence import equivalence
from stepladder.decision.fit import fit
from stepladder.decision.noise import measure_noise
from stepladder.report.sections.verdict import equivalence_table, headline, same_loss
from stepladder.schema.analysis import AnalysisConfig, VerdictRule

SEEDS = dict.fromkeys(FLOPS, 3)


def config_of(margin: float | str, **more: object) -> AnalysisConfig:
    return AnalysisConfig.model_validate(
        {
            "baseline": "dense-baseline",
            "bootstrap_draws": 100,
            "leave_one_out": False,
            "verdict": {"kind": "equivalent", "margin": margin},
        }
        | more
    )


def runs_of(off: dict[str, float], sigma: float = 0.001, seeds: dict[str, int] = SEEDS) -> pd.DataFrame:
    """Reference and a faster kernel whose log loss is off by so much at each rung."""
    runs = runs_table({"dense-baseline": 1.0, "dense-fast": 1.0}, sigma=sigma, seeds=seeds)
    mine = runs["variant"] == "dense-fast"
    shift = runs["rung"].map(off).fillna(0.0)
    runs.loc[mine, "loss"] *= np.exp(shift[mine])
    runs.loc[mine, "accelerator_seconds"] /= 1.3
    return runs


def verdict_of(runs: pd.DataFrame, config: AnalysisConfig) -> PairComparison:
    fits = {axis: fit(runs, axis, config) for axis in ("flops", "seconds")}
    return compare(runs, fits, config).comparisons[0]


def test_equal_losses_are_equivalent() -> None:
    found = verdict_of(runs_of({}), config_of("0.5 %"))
    assert (
        found.verdict == "equivalent"
        and found.because == "at all 4 rungs the loss differs by less than 0.5 %"
    )
    assert [row.label for row in found.equivalence.rungs] == list(FLOPS)
    assert all(row.speed == pytest.approx(1.3) for row in found.equivalence.rungs)


def test_a_difference_at_one_rung_is_not_averaged_away() -> None:
    found = verdict_of(runs_of({"d3": 0.02}), config_of(0.005))
    assert found.verdict == "not equivalent"
    assert found.because.startswith("at d3 the loss differs by +2") and "surely more than" in found.because
    better = verdict_of(runs_of({"d3": -0.02}), config_of(0.005))
    assert better.verdict == "not equivalent", "a lower loss is another loss, too"


def test_what_noise_hides_is_unknown() -> None:
    found = verdict_of(runs_of({}, sigma=0.01), config_of(0.001))
    assert found.verdict == "unknown" and found.because.startswith("not met: every difference of loss")


def test_a_rung_that_one_of_them_skipped_is_not_taken_for_equal() -> None:
    runs = runs_of({"d3": 0.02})
    skipped = runs[(runs["variant"] != "dense-fast") | (runs["rung"] != "d3")]
    found = verdict_of(skipped, config_of("0.5 %"))
    assert found.verdict == "unknown" and found.because == "not both ran d3"
    top = runs[(runs["variant"] != "dense-fast") | (runs["rung"] != "d5")]
    assert verdict_of(top, config_of("0.5 %")).verdict == "not equivalent", "d3 is enough against it"


def test_without_noise_nothing_is_known() -> None:
    found = verdict_of(runs_of({}, seeds=dict.fromkeys(FLOPS, 1)), config_of(0.001))
    assert found.verdict == "unknown" and "analysis.noise" in found.because
    stated = config_of(0.002, noise={"sd": 0.0002, "dof": 30})
    assert verdict_of(runs_of({}, sigma=0.0, seeds=dict.fromkeys(FLOPS, 1)), stated).verdict == "equivalent"


def test_the_interval_is_students() -> None:
    """By hand: one rung's difference, its standard error from stated noise, and t at alpha."""
    runs = runs_of({"d5": 0.001}, sigma=0.0, seeds=dict.fromkeys(FLOPS, 2))
    config = config_of(0.01, noise={"sd": 0.002, "dof": 1e6})
    cells = make_cells(runs.assign(loss=runs["loss"] * 1.0))
    noise = measure_noise(cells, stated=config.noise)
    found = equivalence(cells, noise, "dense-fast", "dense-baseline", config.verdict)
    top = found.rungs[-1]
    assert top.difference == pytest.approx(0.001)
    half = (top.interval[1] - top.interval[0]) / 2
    (sd,) = {round(float(value), 12) for value in noise.sd()[-1]}
    assert half == pytest.approx(stats.t.ppf(0.95, top.dof) * sd, rel=1e-6), "sd sqrt(1/2 + 1/2)"
    sure = (top.sure[1] - top.sure[0]) / 2
    assert sure == pytest.approx(stats.t.ppf(1 - 0.05 / 4, top.dof) * sd, rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.floats(-0.01, 0.01), st.floats(0.0005, 0.02))
def test_signs_and_margins_are_symmetric(off: float, margin: float) -> None:
    """The other way round the difference is the negative; a wider margin never turns `equivalent` away."""
    cells = make_cells(runs_of({"d4": off}))
    noise = measure_noise(cells)
    rule = VerdictRule(kind="equivalent", margin=margin)
    there = equivalence(cells, noise, "dense-fast", "dense-baseline", rule).rungs
    back = equivalence(cells, noise, "dense-baseline", "dense-fast", rule).rungs
    for one, other in zip(there, back, strict=True):
        assert one.difference == pytest.approx(-other.difference)
        assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]))
        assert one.speed == pytest.approx(1 / other.speed)
        assert one.sure[0] <= one.interval[0] and one.interval[1] <= one.sure[1]


def test_page_and_terminal_say_it() -> None:
    runs, config = runs_of({}), config_of("0.5 %")
    fits = {axis: fit(runs, axis, config) for axis in ("flops", "seconds")}
    found = compare(runs, fits, config)
    assert headline(found) == "Against dense-baseline: equivalent dense-fast."
    told = same_loss(found.comparisons[0], found.comparisons[0].equivalence)
    assert "90 % interval, n = 3 + 3 runs" in told and "margin ± 0.500 %" in told and "1.30" in told
    assert len(equivalence_table(found).rows) == 4


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"kind": "equivalent"}, "needs a margin"),
        ({"margin": 0.001}, "goes with kind: equivalent"),
        ({"kind": "equivalent", "margin": 0.001, "minimal_gain": 1.1}, "minimal_gain means nothing"),
        ({"kind": "equivalent", "margin": 0.001, "at": "target"}, "at means nothing"),
        ({"kind": "equivalent", "margin": "a lot"}, "margin"),
        ({"kind": "equivalent", "margin": "50 %"}, "from 1e-06 to 0.1"),
        ({"kind": "equivalent", "margin": -0.001}, "from 1e-06 to 0.1"),
    ],
)
def test_rules_that_contradict_themselves_are_refused(rule: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        VerdictRule.model_validate(rule)


def test_a_margin_is_a_share_or_per_cent() -> None:
    both = [VerdictRule(kind="equivalent", margin=margin).margin for margin in (0.001, "0.1 %", "0.1%")]
    assert both == pytest.approx([0.001] * 3)


def test_gates_do_not_go_with_it() -> None:
    with pytest.raises(ValidationError, match="gates look for gains"):
        config_of(0.001, gates=({"after": "d4"},))
