"""The law's fit: exact on exact data, no worse than an independent optimiser, honest about its limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from stepladder.laws.compute_law import compute_loss
from stepladder.laws.design import make_design
from stepladder.laws.forms import compute
from stepladder.laws.joint import fit_laws
from stepladder.laws.solve import Robust
from stepladder.laws.starts import search, search_nearby

COST = np.tile([4.4e10, 2.9e11, 1.06e12, 3.0e12], 4)
VARIANT = np.repeat(np.arange(4), 4)
ALPHA = np.array([0.25, 0.22, 0.28, 0.26])
SCALE = np.array([0.8, 0.85, 0.7, 0.75])


def exact(E=1.0):
    return np.log(E + SCALE[VARIANT] * (COST / 1e12) ** -ALPHA[VARIANT])


@pytest.mark.parametrize("floor", ["shared", "free", 1.0])
def test_exact_data_give_back_their_law(floor):
    fits = fit_laws(COST, exact()[None], VARIANT, floor, 1e-3)
    assert fits.converged.all()
    np.testing.assert_allclose(fits.E[0], 1.0, rtol=1e-6)
    np.testing.assert_allclose(fits.alpha[0], ALPHA, rtol=1e-6)
    np.testing.assert_allclose(fits.A[0] * (1e12 / fits.unit) ** -ALPHA, SCALE, rtol=1e-6)


@pytest.mark.parametrize("delta", [1e-3, 1e-2, 1.0])
def test_no_worse_than_a_plain_multi_start(delta):
    """Differential test: Nelder-Mead and L-BFGS from a grid, on the same objective written out plainly."""
    log_loss = exact() + 0.01 * np.random.default_rng(3).standard_normal(16)
    fits = fit_laws(COST, log_loss[None], VARIANT, "shared", delta)
    x = np.log(COST / fits.unit)

    def objective(theta):
        a, log_alpha, e = theta[:4], theta[4:8], theta[8]
        predicted = np.logaddexp(e, a[VARIANT] - np.exp(log_alpha)[VARIANT] * x)
        return Robust(delta)(predicted - log_loss)[0].sum()

    best = np.inf
    for E in (0.3, 0.7, 1.0, 1.2):
        start = np.concatenate([np.full(4, np.log(0.8)), np.full(4, np.log(0.25)), [np.log(E)]])
        for method, options in (
            ("L-BFGS-B", {"ftol": 1e-15, "gtol": 1e-12}),
            ("Nelder-Mead", {"maxiter": 20000}),
        ):
            start = minimize(objective, start, method=method, options=options).x
        best = min(best, objective(start))
    assert fits.objective[0] <= best * (1 + 1e-9)


def test_replicates_are_fitted_like_single_problems():
    noisy = exact() + 0.01 * np.random.default_rng(1).standard_normal((5, 16))
    together = fit_laws(COST, noisy, VARIANT, "shared", 0.01)
    for i in range(5):
        alone = fit_laws(COST, noisy[i][None], VARIANT, "shared", 0.01)
        np.testing.assert_allclose(together.objective[i], alone.objective[0], rtol=1e-9)
        np.testing.assert_allclose(together.alpha[i], alone.alpha[0], rtol=1e-5)


@given(factor=st.floats(1e-6, 1e9))
@settings(max_examples=10, deadline=None)
def test_the_unit_of_cost_does_not_matter(factor):
    noisy = (exact() + 0.01 * np.random.default_rng(2).standard_normal(16))[None]
    one = fit_laws(COST, noisy, VARIANT, "shared", 0.01)
    other = fit_laws(COST * factor, noisy, VARIANT, "shared", 0.01)
    np.testing.assert_allclose(other.predict(COST[:4] * factor), one.predict(COST[:4]), rtol=1e-6)


def dense(cost, variant, floor):
    """The same problem for the generic solver, which knows nothing of arrows."""
    pinned = {} if isinstance(floor, str) else {"E": floor}
    names = [str(v) for v in range(variant.max() + 1)]
    return make_design(
        compute("cost"), {"cost": cost}, variant, names, ["E"] if floor == "shared" else [], pinned
    )


def ragged(seed, variants=5):
    """Random laws on random costs, of which each variant has another number; noise of the size of delta."""
    generator = np.random.default_rng(seed)
    variant = np.repeat(np.arange(variants), generator.integers(5, 12, variants))
    cost = np.exp(generator.uniform(np.log(1e17), np.log(1e21), len(variant)))
    A, alpha = generator.uniform(0.5, 1.5, variants), generator.uniform(0.1, 0.4, variants)
    loss = compute_loss(1.5, A[variant], alpha[variant], cost, 1e19)
    return cost, variant, np.log(loss) + 0.008 * generator.standard_normal((6, len(variant)))


@pytest.mark.parametrize("floor", ["shared", "free", 1.4])
@pytest.mark.parametrize("seed", range(4))
def test_the_arrow_ends_where_the_dense_solver_does(seed, floor):
    """Point estimate and replicates against the generic solver: optima within 1e-9, or lower."""
    cost, variant, log_loss = ragged(seed)
    fits = fit_laws(cost, log_loss[:1], variant, floor, 0.01)
    design, robust = dense(cost, variant, floor), Robust(0.01)
    point = search(design, log_loss[0], robust, 1024)
    assert fits.converged.all() and fits.objective[0] <= point.objective * (1 + 1e-9)
    if floor != "free":  # where a thousand joint starts may miss one variant's optimum
        assert fits.objective[0] == pytest.approx(point.objective, rel=1e-9)
    drawn = fit_laws(cost, log_loss, variant, floor, 0.01, near=fits)
    theirs = search_nearby(design, log_loss, robust, point.theta)
    assert (drawn.objective <= theirs.objective * (1 + 1e-9)).all()


def rungs(seed, noise):
    """Three rungs, four variants, 64 replicates: many have several optima, some none but at infinity."""
    generator = np.random.default_rng(seed)
    cost, variant = np.tile(np.geomspace(1e18, 4e19, 3), 4), np.repeat(np.arange(4), 3)
    A, alpha = generator.uniform(0.5, 1.5, 4), generator.uniform(0.1, 0.3, 4)
    loss = compute_loss(1.5, A[variant], alpha[variant], cost, 1e19)
    return cost, variant, np.log(loss) + noise * generator.standard_normal((64, len(cost)))


@pytest.mark.parametrize(
    ("seed", "noise"), [(5, 0.03), (7, 0.03), (9, 0.03), (11, 0.03), (12, 0.03), (15, 0.01)]
)
def test_no_replicate_of_a_small_ladder_misses_what_the_dense_solver_finds(seed, noise):
    """Sets in some of whose replicates other starts end lower."""
    cost, variant, log_loss = rungs(seed, noise)
    point = fit_laws(cost, log_loss[:1], variant, "shared", 0.01)
    drawn = fit_laws(cost, log_loss, variant, "shared", 0.01, near=point)
    design = dense(cost, variant, "shared")
    A, alpha = point.A[0] * point.unit ** point.alpha[0], point.alpha[0]
    theta = design.solver(np.concatenate([point.E[0, :1], A, alpha]))
    theirs = search_nearby(design, log_loss, Robust(0.01), theta)
    # Where a variant's law is a step, the search towards it ends nowhere in particular.
    above = np.where(drawn.converged, 1e-9, 1e-6)
    assert (drawn.objective <= theirs.objective * (1 + above)).all()
    assert drawn.starts in (1, 9) and drawn.converged.mean() > 0.8


def test_the_objective_is_that_of_the_laws_returned():
    cost, variant, log_loss = ragged(0)
    fits = fit_laws(cost, log_loss, variant, "shared", 0.01)
    predicted = np.log(fits.predict(cost)[:, variant, np.arange(len(cost))])
    np.testing.assert_allclose(Robust(0.01)(predicted - log_loss)[0].sum(axis=1), fits.objective, rtol=1e-9)
    np.testing.assert_array_equal(fits.predict_variant(2, cost), fits.predict(cost)[:, 2])
    law = compute("flops")
    values = {"E": 1.5, "A": 900.0, "alpha": 0.15}
    np.testing.assert_allclose(
        compute_loss(**values, cost=cost), law.loss(values, {"flops": cost}), rtol=1e-12
    )


def test_two_rungs_are_refused():
    keep = np.isin(COST, [4.4e10, 2.9e11])
    with pytest.raises(ValueError, match="add rungs, or pin"):
        fit_laws(COST[keep], exact()[keep][None], VARIANT[keep], "shared", 0.01)


def test_huber_by_hand():
    np.testing.assert_allclose(Robust(1.0)(np.array([0.0, 0.5, -1.0, 3.0]))[0], [0, 0.125, 0.5, 2.5])
