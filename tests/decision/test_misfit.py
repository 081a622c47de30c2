"""Misfit: what residuals say of rungs that lie off their law."""

import numpy as np
import pytest
from ladders import FLOPS, runs_table

from stepladder.decision.fit import fit
from stepladder.decision.misfit import GRID, Residuals, View
from stepladder.laws.distributions import normal_share
from stepladder.schema.analysis import AnalysisConfig, MisfitPrior

BASELINE, IDEA = "dense-baseline", "dense-tst"
CONFIG = AnalysisConfig(baseline=BASELINE, bootstrap_draws=400, leave_one_out=False, holdout_rungs=0)
SIX = FLOPS | {"d6": 9e12, "d7": 3e13}


def off(rung: str, by: float, variant: str = IDEA):
    """Two variants of six rungs, one cell of which loses more than it should."""
    runs = runs_table({BASELINE: 1.0, IDEA: 1.2}, sigma=0.0005, rungs=SIX, seeds=dict.fromkeys(SIX, 2))
    there = (runs["rung"] == rung) & (runs["variant"] == variant)
    return runs.assign(loss=runs["loss"].where(~there, runs["loss"] * np.exp(by)))


def width(found, variant=IDEA):
    low, high = found.laws[variant].intervals.alpha
    return high - low


def test_a_sound_ladder_has_little_misfit_and_a_scattered_one_more():
    sound = fit(off("d3", 0.0), "flops", CONFIG)
    runs = off("d3", 0.0)
    step = runs["rung"].map({rung: i for i, rung in enumerate(SIX)})
    bad = runs.assign(loss=runs["loss"] * np.exp(0.004 * np.cos(2.5 * step + (runs["variant"] == IDEA))))
    scattered = fit(bad, "flops", CONFIG)
    assert sound.misfit.sd_log_loss < 0.001 < scattered.misfit.sd_log_loss < 0.01
    assert sound.misfit.interval[0] <= sound.misfit.sd_log_loss <= sound.misfit.interval[1]
    assert width(scattered) > 2 * width(sound)


@pytest.mark.parametrize("rung", ["d3", "d4", "d5", "d6"])
def test_a_cell_that_sticks_out_is_put_back_on_the_law(rung):
    """One per cent too high in the middle: the law of all others stands, and the cell is named."""
    clean, found = fit(off(rung, 0.0), "flops", CONFIG), fit(off(rung, 0.01), "flops", CONFIG)
    for name in (BASELINE, IDEA):
        assert found.laws[name].parameters.alpha == pytest.approx(clean.laws[name].parameters.alpha, rel=0.05)
    excess = {(name, cell.rung): cell.excess for name, law in found.laws.items() for cell in law.cells}
    assert excess.pop((IDEA, rung)) == pytest.approx(0.01, rel=0.3)
    assert not any(excess.values())


def test_what_is_too_good_is_not_undertuned():
    found = fit(off("d4", -0.01), "flops", CONFIG)
    assert not any(cell.excess for cell in found.laws[IDEA].cells if cell.rung == "d4")
    assert found.misfit.sd_log_loss > 0.001


def test_a_held_out_rung_may_come_out_undertuned_and_not_the_reverse():
    """What a prediction expects of undertuning is on the side of higher losses."""
    prior = MisfitPrior(exactly=0.0, share=0.5, by=0.02)
    config = CONFIG.model_copy(update={"holdout_rungs": 1, "misfit": prior})
    (row, *_) = fit(off("d3", 0.0), "flops", config).held_out.predictions
    low, high = np.log(np.array(row.interval) / row.predicted)
    assert high > 2 * -low


def test_large_ladders_are_judged_cell_by_cell_to_the_same_end(monkeypatch):
    together = fit(off("d4", 0.01), "flops", CONFIG)
    monkeypatch.setattr("stepladder.decision.misfit.MANY_CELLS", 1)
    alone = fit(off("d4", 0.01), "flops", CONFIG)
    (one,), (other,) = (
        [cell.excess for cell in found.laws[IDEA].cells if cell.rung == "d4"] for found in (together, alone)
    )
    assert other == pytest.approx(one, rel=0.3)
    assert width(alone) == pytest.approx(width(together), rel=0.6)


def test_the_prior_can_be_stated_away():
    exact = {"exactly": 0.0, "share": 0.0}
    config = CONFIG.model_copy(update={"misfit": MisfitPrior.model_validate(exact)})
    runs = off("d3", 0.0)
    narrow, wide = fit(runs, "flops", config), fit(runs, "flops", CONFIG)
    assert narrow.misfit.sd_log_loss == 0 and narrow.misfit.interval is None
    assert width(narrow) < width(wide)


def test_the_likelihood_is_that_of_a_normal():
    """Against the density of the residuals' free part, written out, without and with one undertuned cell."""
    generator = np.random.default_rng(0)
    slopes = np.stack([np.ones(6), np.arange(6.0)], 1)
    residual, covariance = 0.01 * generator.standard_normal(6), np.diag(np.linspace(1, 2, 6)) * 1e-5
    residuals = Residuals.of(np.arange(6), residual, slopes)
    assert residuals.free.shape == (6, 4)
    np.testing.assert_allclose(residuals.free.T @ slopes, 0, atol=1e-12)
    view = View.of(residuals, covariance)
    for share in (0.0, 0.2):
        prior = MisfitPrior(share=share, by=0.02)
        expected = []
        for tau in GRID:
            K = residuals.free

            def density(extra, K=K, tau=tau):
                V = K.T @ (covariance + tau**2 * np.eye(6) + extra) @ K
                r = K.T @ residual
                return np.exp(-0.5 * (np.linalg.slogdet(V)[1] + r @ np.linalg.solve(V, r)))

            plain, total = density(0), 0.0
            total = np.log(plain)
            for m in range(6):
                e = np.zeros(6)
                e[m] = 1
                V = K.T @ (covariance + tau**2 * np.eye(6)) @ K
                k = K.T @ e
                power, pull = k @ np.linalg.solve(V, k), k @ np.linalg.solve(V, K.T @ residual)
                mean, sd = pull / (power + 0.02**-2), (power + 0.02**-2) ** -0.5
                odds = 2 * float(normal_share(mean / sd)) * density(0.02**2 * np.outer(e, e)) / plain
                total += np.log(1 - share + share * odds)
            expected.append(total)
        np.testing.assert_allclose(view.log_likelihood(GRID, prior), expected, rtol=1e-6)
