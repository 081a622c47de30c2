"""Published fits, reproduced from the points that docs/laws.md works through."""

from pathlib import Path

import pytest

from stepladder.laws.forms import LAWS
from stepladder.laws.table_fit import Options, fit_table
from stepladder.laws.tables import drop_highest, read_table

POINTS = Path(__file__).parents[2] / "docs/examples/chinchilla_figure4.csv"

PUBLISHED = {
    # Besiroglu et al. 2024 (arXiv 2404.10102): standard error of 4,000 bootstraps, 95 % interval.
    "E": (0.0257, (1.769, 1.871)),
    "A": (124.5, (285, 744)),
    "B": (1293.3, (1042, 5810)),
    "alpha": (0.0154, (0.317, 0.373)),
    "beta": (0.0206, (0.331, 0.415)),
}


@pytest.fixture(scope="module")
def found():
    table = drop_highest(read_table(POINTS), 5)
    return fit_table(table, LAWS["chinchilla"](), Options(draws=4000))


def test_the_optimum_is_no_premature_stop(found):
    assert found.n == 240 and found.converged
    assert found.objective <= 1.0182741e-3
    assert found.starts_agreeing == found.starts_polished


@pytest.mark.parametrize("name", PUBLISHED)
def test_estimates_and_errors_are_those_published(found, name):
    error, (low, high) = PUBLISHED[name]
    assert low < found.parameters[name] < high
    assert found.standard_errors[name] == pytest.approx(error, rel=0.15)
    for ours, published in zip(found.intervals[name], (low, high), strict=True):
        assert ours == pytest.approx(published, rel=0.1)


def test_allocation_is_the_one_published(found):
    """a = 0.513 with a standard error of 0.020."""
    assert found.allocation.a == pytest.approx(0.513, abs=0.005)
    assert found.allocation.standard_errors.a == pytest.approx(0.020, rel=0.15)
