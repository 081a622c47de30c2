"""Best sizes on a surface of loss, along what runs really cost."""

import numpy as np
import pandas as pd
import pytest
from grids import best_of, grid_table, with_head
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from stepladder.decision.fit_size_laws import fit_size_laws
from stepladder.decision.surface import CostCurve, Surface
from stepladder.schema.analysis import AnalysisConfig

ONE = np.ones(1)
CONFIG = AnalysisConfig(baseline="dense-baseline", bootstrap_draws=100)


@settings(max_examples=40, deadline=None)
@given(
    st.floats(0.15, 0.6), st.floats(0.15, 0.6), st.floats(50, 5000), st.floats(50, 5000),
    st.tuples(st.floats(0, 10), st.floats(0, 10)), st.booleans(), st.floats(15, 22),
)  # fmt: skip
def test_best_sizes_are_those_of_a_search(
    alpha: float, beta: float, A: float, B: float, extra: tuple[float, float], rises: bool, decades: float
) -> None:
    """Against a numerical minimum along C = c(N) N D; and FLOPs for the loss there are C again."""
    cost = CostCurve(np.array([6.0, *extra]), rises, 1e8)
    surface = Surface(1.7 * ONE, A * ONE, B * ONE, alpha * ONE, beta * ONE, cost)
    C = 10.0**decades * ONE
    N, D = surface.best(C)
    assert cost(N) * N * D == pytest.approx(C)

    def loss(log_n: float) -> float:
        n = np.exp(log_n) * ONE
        return float(surface.loss(n, surface.tokens_of(C, n))[0])

    at = float(np.log(N)[0])
    searched = minimize_scalar(loss, bounds=(at - 8, at + 8), method="bounded", options={"xatol": 1e-8})
    assert loss(at) <= searched.fun + 1e-12
    assert surface.flops_for(surface.loss(N, D)) == pytest.approx(C, rel=1e-6)
    assert surface.tokens_for(surface.loss(N, D), N) == pytest.approx(D, rel=1e-6)
    assert surface.parameters_for(surface.loss(N, D), D) == pytest.approx(N, rel=1e-6)
    assert np.isinf(surface.flops_for(1.6 * ONE))[0], "below the floor"


@pytest.mark.parametrize("power", [-1, 0, 1])
def test_costs_are_followed_beyond_the_runs(power: int) -> None:
    """A head that weighs less in larger models; none; and N that counts it, so that C/(N D) rises."""

    def ratio(N: np.ndarray) -> np.ndarray:
        return 6 * (with_head(N) / 6) ** -power

    N = np.geomspace(1e7, 1e9, 6)
    curve = CostCurve.of(pd.DataFrame({"parameters": N, "tokens": 1e9, "flops": ratio(N) * N * 1e9}))
    far = np.array([1e7, 1e8, 1e10, 1e11])
    assert curve(far) == pytest.approx(ratio(far), rel=1e-6)
    step = np.log(ratio(1.001 * far) / ratio(far)) / np.log(1.001)
    assert curve.slope(far) == pytest.approx(step, abs=1e-3)


def test_where_no_size_is_best() -> None:
    """A law without a term of data wants all FLOPs for size; one without a term of size none."""
    cost = CostCurve(np.array([6.0, 0.0, 0.0]), False, 1e8)
    A, B = np.array([400.0, 0.0, np.nan]), np.array([0.0, 400.0, 400.0])
    half = np.full(3, 0.3)
    N, D = Surface(np.full(3, 1.7), A, B, half, half, cost).best(np.full(3, 1e20))
    assert list(N[:2]) == [np.inf, 0.0] and list(D[:2]) == [0.0, np.inf] and np.isnan([N[2], D[2]]).all()


def test_a_large_vocabulary_moves_no_optimum() -> None:
    """Runs without noise of a ladder whose head costs more than its smallest models: both ways agree with a
    search at every budget and ten times beyond, and nobody is told that the surface is of another form."""
    runs = grid_table({"dense-baseline": 1.0}, seeds=1, off=0.6, cost=with_head)
    found = fit_size_laws(runs, CONFIG.model_copy(update={"target_flops": 1e20}))
    assert len(found.optima) == 6 and not found.warnings
    for row in found.optima:
        assert row.parameters_joint.value == pytest.approx(best_of(row.flops), rel=1e-3)
        assert row.parameters.value == pytest.approx(best_of(row.flops), rel=0.1)
