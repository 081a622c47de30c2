"""The size of a top rung by the law of the others."""

import numpy as np
import pandas as pd
import pytest
from grids import ALPHA, BETA, best_of, grid_table, optimum, with_head

from stepladder.decision.choose_top import choose_top
from stepladder.record.top import TopRung
from stepladder.report.sections.top import predictions_table, top_sentence, written_before
from stepladder.schema.analysis import AnalysisConfig

CONFIG = AnalysisConfig(baseline="dense-baseline", bootstrap_draws=200)
SIZES = {depth: 1e5 * depth**3 for depth in range(1, 60)}
FLOPS = 1e20


def chosen(sigma: float = 0.0, seed: int = 0) -> TopRung:
    runs = grid_table({"dense-baseline": 1.0, "dense-idea": 1.2}, sigma=sigma, seed=seed)
    return choose_top(runs, SIZES, FLOPS, CONFIG, "digest")


def test_it_is_the_nearest_to_the_optimum() -> None:
    found = chosen()
    assert found.best_parameters == pytest.approx(optimum(FLOPS), rel=1e-4)
    assert found.best_tokens == pytest.approx(FLOPS / 6 / optimum(FLOPS), rel=1e-4)
    nearest = min(SIZES, key=lambda depth: abs(np.log(SIZES[depth] / optimum(FLOPS))))
    assert (found.depth, found.parameters) == (nearest, SIZES[nearest])


def test_costs_of_small_models_are_not_carried_to_the_top() -> None:
    """Small models pay three times 6 N D for a head of 128256 words, the top rung little more than once."""
    runs = grid_table({"dense-baseline": 1.0}, seeds=1, off=0.6, cost=with_head)
    found = choose_top(runs, SIZES, FLOPS, CONFIG, "digest")
    assert found.best_parameters == pytest.approx(best_of(FLOPS), rel=1e-3)
    bought = FLOPS / with_head(found.parameters) / found.parameters
    assert found.predictions[0].tokens == pytest.approx(bought, rel=1e-3)


def test_what_is_expected_is_the_surface_there() -> None:
    found = chosen()
    by_variant = {row.variant: row for row in found.predictions}
    N, D = found.parameters, FLOPS / 6 / found.parameters
    for variant, root in (("dense-baseline", 1.0), ("dense-idea", np.sqrt(1.2))):
        truth = 1.8 + 406 * (root * N) ** -ALPHA + 410 * (root * D) ** -BETA
        assert by_variant[variant].loss == pytest.approx(truth, rel=1e-4)
        assert by_variant[variant].tokens == pytest.approx(D, rel=1e-4)


def test_the_interval_is_that_of_a_run() -> None:
    """Seed noise of 0.3 %: of 12 choices nearly all expect what a run of 0.3 % noise comes to."""
    generator = np.random.default_rng(1)
    inside, widths = [], []
    for seed in range(12):
        found = chosen(sigma=0.003, seed=seed)
        row = found.predictions[0]
        N = found.parameters
        truth = 1.8 + 406 * N**-ALPHA + 410 * (FLOPS / 6 / N) ** -BETA
        came = truth * np.exp(0.003 * generator.standard_normal())
        inside.append(row.interval[0] <= came <= row.interval[1])
        widths.append(np.log(row.interval[1] / row.interval[0]))
    assert np.mean(inside) >= 0.8
    assert np.median(widths) > 2 * 1.96 * 0.003 * 0.8


@pytest.mark.parametrize("factor", [1 / 2.2, 2.2])
def test_an_optimum_that_is_none_of_the_sizes_is_refused(factor: float) -> None:
    """The end of the sizes would be trained as if the law had chosen it."""
    runs, other = grid_table({"dense-baseline": 1.0}), {1: optimum(FLOPS) * factor}
    with pytest.raises(ValueError, match=r"the top rung cannot be sized: by the law .* N\* is .*e\+"):
        choose_top(runs, other, FLOPS, CONFIG, "digest")
    assert choose_top(runs, {1: other[1] * factor**-0.2}, FLOPS, CONFIG, "digest").depth == 1


def test_runs_that_tell_no_law_are_refused() -> None:
    runs = grid_table({"dense-baseline": 1.0}, budgets=(1e18,), sizes=3)
    with pytest.raises(ValueError, match="the top rung cannot be sized, because the other runs tell no law"):
        choose_top(runs, SIZES, FLOPS, CONFIG, "digest")


def test_the_report_says_what_was_expected_and_what_came() -> None:
    found = chosen(sigma=0.001)
    told = top_sentence(found)
    assert f"Rung top has {found.depth} layers" in told and "140 other runs" in told
    row = found.predictions[0]
    came = pd.DataFrame(
        {
            "variant": [row.variant, row.variant],
            "rung": ["top", "top"],
            "loss": [row.loss * 1.001, row.loss * 1.001],
            "lineage_started": ["2100-01-01T00:00:00+00:00"] * 2,
        }
    )
    first, second = predictions_table(found, came).rows
    assert first[4:] == ("2", "−0.10 %", "✓") and second[3:] == ("—", "0", "—", "—")
    assert written_before(found, came).startswith("Its first run began after that")
    early = came.assign(lineage_started="2020-01-01T00:00:00+00:00")
    assert "it is no prediction" in written_before(found, early)
