"""Against scipy.stats, which takes too long to import for the commands."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from stepladder.laws import distributions as own

SHARE, DOF = st.floats(1e-6, 1 - 1e-6), st.integers(1, 500)


@given(SHARE, DOF, DOF, st.floats(-20, 20))
def test_quantiles_and_tails_are_scipys(p, dof, below, x):
    assert own.t_quantile(p, dof) == stats.t.ppf(p, dof)
    assert own.t_share(x, dof) == stats.t.cdf(x, dof)
    assert own.f_quantile(p, dof, below) == pytest.approx(stats.f.ppf(p, dof, below), rel=1e-9)
    assert own.normal_quantile(p) == stats.norm.ppf(p)
    assert own.normal_share(x) == stats.norm.cdf(x)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=12))
def test_kendalls_tau_counts_ties_as_scipy_does(pairs):
    x, y = np.array(pairs, dtype=float).T
    assert own.kendall_tau(x, y) == pytest.approx(stats.kendalltau(x, y).statistic, nan_ok=True)
