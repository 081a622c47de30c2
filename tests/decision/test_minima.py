"""IsoFLOP profiles as rungs: the loss at the lowest point, seed by seed, and gains from them."""

import numpy as np
import pandas as pd
import pytest
from grids import BUDGETS, grid_table, lowest, optimum
from hypothesis import given, settings
from hypothesis import strategies as st
from ladders import runs_table

from stepladder.decision.cells import make_cells
from stepladder.decision.compare import compare
from stepladder.decision.fit import fit
from stepladder.decision.minima import LOWEST, take_minima
from stepladder.schema.analysis import AnalysisConfig

CONFIG = AnalysisConfig(baseline="dense-baseline", bootstrap_draws=200, leave_one_out=False)


@settings(max_examples=12, deadline=None)
@given(st.floats(0.5, 2.0), st.integers(5, 9), st.floats(1.3, 2.0))
def test_without_noise_it_is_the_surfaces_own(off: float, sizes: int, ratio: float) -> None:
    """Wherever the sizes lie about the optimum, or a little to one side of it."""
    cells = make_cells(grid_table({"dense-baseline": 1.0}, sizes=sizes, off=off, ratio=ratio))
    assert list(cells.table["label"]) == [f"{flops:g}flops".replace("e+", "e") for flops in BUDGETS]
    for flops, loss, size, tokens in zip(
        BUDGETS, cells.table["loss"], cells.table["n_parameters"], cells.table["tokens"], strict=True
    ):
        assert loss == pytest.approx(lowest(flops), rel=1e-5)
        assert size == pytest.approx(optimum(flops), rel=0.005)
        assert tokens == pytest.approx(flops / 6 / optimum(flops), rel=0.005)


def test_a_gain_is_that_of_best_sizes() -> None:
    """The same in FLOPs at every budget by construction, though the two are best at other sizes."""
    runs = grid_table({"dense-baseline": 1.0, "dense-idea": 1.2}, sigma=0.001)
    fits = {axis: fit(runs, axis, CONFIG) for axis in ("flops", "seconds")}
    found = compare(runs, fits, CONFIG)
    top = found.comparisons[0].gains["flops"].at_largest
    assert top.label == "1e19flops" and top.n == 2
    assert top.interval[0] < 1.2 < top.interval[1] < 1.3
    assert found.comparisons[0].verdict == "promote"
    assert found.n_runs == len(runs) and found.comparisons[0].next_runs is None


def test_seeds_scatter_as_their_curves_do() -> None:
    """By hand: the loss of a seed at the lowest point is a weighted sum of its runs; of k sizes around it the
    variance is that of a parabola's middle, (3 k² - 7) / (4 k (k² - 4) / 3) in place of 1."""
    k, sigma = 7, 0.002
    drawn = [
        np.log(make_cells(grid_table({"dense-baseline": 1.0}, sigma=sigma, sizes=k, seed=s)).runs["loss"])
        for s in range(60)
    ]
    deviation = np.array([values.to_numpy().reshape(len(BUDGETS), 2) for values in drawn])
    between = np.diff(deviation, axis=2).std() / np.sqrt(2) / sigma
    expected = np.sqrt(3 * (3 * k**2 - 7) / (4 * k * (k**2 - 4)))
    assert between == pytest.approx(expected, rel=0.12)


def test_other_runs_stay_as_they_are() -> None:
    plain = runs_table({"dense-baseline": 1.0}, sigma=0.001)
    assert take_minima(plain).runs is plain
    two = grid_table({"dense-baseline": 1.0}, sizes=2)
    assert LOWEST not in set(take_minima(two).runs["budget"]), "two sizes have no curve"
    both = make_cells(pd.concat([plain, grid_table({"dense-baseline": 1.0})], ignore_index=True))
    assert {"d2 1x", "1e17flops"} <= set(both.table["label"])


def test_cells_of_cells_are_the_same() -> None:
    cells = make_cells(grid_table({"dense-baseline": 1.0}, sigma=0.001))
    again = make_cells(cells.runs)
    assert again.table["loss"].tolist() == pytest.approx(cells.table["loss"].tolist())


def test_the_digest_is_of_all_runs() -> None:
    """Of those, too, that are too far from the lowest point to count."""
    runs = grid_table({"dense-baseline": 1.0}, ratio=2.2)
    changed = runs.assign(loss=runs["loss"].where(runs.index != 0, runs["loss"] * 1.001))
    assert make_cells(runs).rows_sha256 != make_cells(changed).rows_sha256
    assert make_cells(runs).rows_sha256 == make_cells(runs.sample(frac=1, random_state=0)).rows_sha256


def test_a_profile_without_a_lowest_point_is_named() -> None:
    runs = grid_table({"dense-baseline": 1.0, "dense-idea": 1.1})
    rises = (runs["variant"] == "dense-idea") & (runs["budget"] == "1e19flops")
    runs.loc[rises, "loss"] = 2.6 * runs.loc[rises, "parameters_active_non_embedding"] ** 0.01
    cells = make_cells(runs)
    assert len(cells.of("dense-baseline")) == 5 and len(cells.of("dense-idea")) == 4
    assert any("dense-idea at 1e19flops has no place on the ladder" in note for note in cells.notes)


def test_a_seed_with_too_few_sizes_is_refused() -> None:
    runs = grid_table({"dense-baseline": 1.0})
    few = runs[(runs["seed"] == 0) | (runs["depth"] < 2)]
    with pytest.raises(
        ValueError, match=r"dense-baseline at 1e17flops, seed 1: 2 sizes near the lowest loss"
    ):
        make_cells(few)


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("tokens", "the table has no tokens: name the columns"),
        ("flops", "the table has no flops: name the columns"),
    ],
)
def test_profiles_without_sizes_or_costs_are_refused(missing: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_cells(grid_table({"dense-baseline": 1.0}).drop(columns=missing))


def test_costs_are_not_taken_for_sizes() -> None:
    """A table of other tools without parameters has its cost in their place."""
    runs = grid_table({"dense-baseline": 1.0})
    with pytest.raises(ValueError, match="its rungs have 1 different parameters, and a profile needs 3"):
        make_cells(runs.assign(parameters_active_non_embedding=runs["flops"]))
