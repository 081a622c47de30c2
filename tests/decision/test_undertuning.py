"""What a sweep tells of undertuned cells, and that laws and gains take it."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ladders import FLOPS, runs_table

from stepladder.decision.compare import compare
from stepladder.decision.fit import fit
from stepladder.decision.undertuning import LEAST, expected_excess, narrowed
from stepladder.record.learning_rates import Tuning
from stepladder.report.sections.tuning import undertuning_sentence
from stepladder.schema.analysis import AnalysisConfig
from stepladder.tuning.tune import Target, tune

CONFIG = AnalysisConfig(baseline="dense-baseline", bootstrap_draws=200, leave_one_out=False)
RULE, CURVATURE = 0.01, 0.05
SIZES = {"d2": 24.0, "d3": 32.0, "d4": 40.0, "d5": 48.0}
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)


def sweep(best: float, swept: tuple[str, ...] = ("d2", "d3"), noise: float = 1e-4, seeds: int = 3) -> Tuning:
    """Two variants whose loss is 2 + 0.05 ln(factor / best)^2, trained at factor 1."""
    generator = np.random.default_rng(0)
    variants = ("dense-baseline", "dense-idea")
    runs = [
        {
            "variant": variant, "rung": rung, "budget": "1x", "seed": seed, "factor": factor,
            "batch_factor": 1.0, "batch_sequences": 8, "base_rate": RULE, "rule_rate": RULE,
            "quantity": SIZES[rung],
            "loss": 2 + CURVATURE * math.log(factor / best) ** 2 + noise * generator.standard_normal(),
        }
        for variant in variants for rung in swept for factor in FACTORS for seed in range(seeds)
    ]  # fmt: skip
    targets = [Target(v, rung, "1x", SIZES[rung], RULE, RULE, False) for v in variants for rung in SIZES]
    return tune(pd.DataFrame(runs), targets, "d_model", 0.95, 4.0)


def test_the_cost_of_a_rate_by_hand() -> None:
    """At factor 1 with the best at 1.3 a run loses 0.05 ln(1.3)^2 nats of 2: 0.17 %."""
    found = expected_excess(sweep(1.3, noise=1e-6))
    assert set(found) == {f"dense-{v} at {rung}" for v in ("baseline", "idea") for rung in SIZES}
    assert found["dense-idea at d2"] == pytest.approx(CURVATURE * math.log(1.3) ** 2 / 2, rel=1e-3)
    assert narrowed(CONFIG, sweep(1.3)).misfit.by == pytest.approx(0.00172, rel=0.05)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.5, 2.0))
def test_it_only_ever_narrows_and_never_below_the_least(best: float) -> None:
    by = narrowed(CONFIG, sweep(best)).misfit.by
    expected = CURVATURE * math.log(best) ** 2 / 2
    assert LEAST <= by <= CONFIG.misfit.by
    assert by == pytest.approx(min(CONFIG.misfit.by, max(LEAST, expected)), rel=0.1)
    assert narrowed(CONFIG, sweep(best)).misfit.share == CONFIG.misfit.share


@pytest.mark.parametrize("best", [0.2, 6.0])
def test_a_best_rate_at_an_edge_is_no_evidence(best: float) -> None:
    assert expected_excess(sweep(best)) == {} and narrowed(CONFIG, sweep(best)) == CONFIG


def test_one_rung_is_none_nor_one_seed_of_three_rates() -> None:
    assert expected_excess(sweep(1.3, swept=("d2",))) == {}
    assert narrowed(CONFIG, None) == CONFIG


def test_noise_makes_it_say_less() -> None:
    """A best rate that is hardly known may be far from the one that was used."""
    quiet, loud = (expected_excess(sweep(1.0, noise=noise)) for noise in (1e-4, 1e-2))
    assert max(quiet.values()) < max(loud.values())


def test_intervals_of_gains_get_narrower() -> None:
    runs = runs_table({"dense-baseline": 1.0, "dense-idea": 1.1}, sigma=0.001, seeds=dict.fromkeys(FLOPS, 2))
    widths = []
    for config in (CONFIG, narrowed(CONFIG, sweep(1.1))):
        fits = {axis: fit(runs, axis, config) for axis in ("flops", "seconds")}
        low, high = compare(runs, fits, config).comparisons[0].gains["flops"].at_largest.interval
        widths.append(math.log(high / low))
    assert widths[1] < widths[0]
    assert fits["flops"].made_from.misfit.by == LEAST
    with pytest.raises(ValueError, match="misfit"):
        compare(runs, fits, CONFIG)


def test_the_report_says_it() -> None:
    told = undertuning_sentence(sweep(1.3), CONFIG)
    assert "cost at most 0.17 % of the loss" in told and "n = 8 cells" in told
    assert "undertuned by 0.17 %, where they are, instead of 0.50 %" in told
    assert "too little" in undertuning_sentence(sweep(6.0), CONFIG)
