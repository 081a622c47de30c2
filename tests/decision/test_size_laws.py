"""laws.json: what is identified, N* and D* by two ways, the forecast of the largest budget, gains."""

import numpy as np
import pytest
from grids import ALPHA, BETA, BUDGETS, grid_table, lowest, optimum
from ladders import runs_table
from scipy.optimize import brentq

from stepladder.decision.fit_size_laws import fit_size_laws
from stepladder.decision.size_laws import SizeLaws
from stepladder.report.figures.profiles import curve, profiles_figure
from stepladder.report.figures.style import variant_styles
from stepladder.report.sections.size_laws import (
    forecasts_table,
    gains_table,
    laws_table,
    optima_table,
    reasons,
)
from stepladder.schema.analysis import AnalysisConfig

CONFIG = AnalysisConfig(baseline="dense-baseline", bootstrap_draws=100)
GAINS = {"dense-baseline": 1.0, "dense-idea": 1.2}


@pytest.fixture(scope="module")
def exact() -> SizeLaws:
    return fit_size_laws(grid_table(GAINS), CONFIG)


def test_both_ways_find_the_optimum(exact: SizeLaws) -> None:
    mine = [row for row in exact.optima if row.variant == "dense-baseline"]
    assert [row.trained for row in mine] == [True] * 5 + [False], "and one budget beyond"
    for row in mine:
        assert row.parameters_joint.value == pytest.approx(optimum(row.flops), rel=1e-4)
        assert row.parameters.value == pytest.approx(optimum(row.flops), rel=2e-3)
        assert row.tokens_joint.value == pytest.approx(row.flops / 6 / optimum(row.flops), rel=1e-4)
        assert abs(row.difference) < 2e-3


def test_the_parameters_are_the_laws_own(exact: SizeLaws) -> None:
    found = exact.chinchilla.fit.parameters
    assert found["alpha[dense-idea]"] == pytest.approx(ALPHA, abs=1e-4)
    assert found["beta[dense-baseline]"] == pytest.approx(BETA, abs=1e-4)
    assert found["E"] == pytest.approx(1.8, abs=1e-3) and exact.chinchilla.fit.draws is None


def test_gains(exact: SizeLaws) -> None:
    """1.2 at best sizes by construction; at equal N and D by solving for the reference's by hand."""
    row = exact.gains[0]
    assert row.flops == BUDGETS[-1] and row.frontier.value == pytest.approx(1.2, rel=1e-4)
    root, N, D = np.sqrt(1.2), row.parameters, row.tokens

    def loss(n: float, d: float) -> float:
        return 1.8 + 406 * n**-ALPHA + 410 * d**-BETA

    wanted = loss(root * N, root * D)
    tokens = brentq(lambda d: loss(N, d) - wanted, D, 10 * D)
    parameters = brentq(lambda n: loss(n, D) - wanted, N, 10 * N)
    assert row.at_equal_parameters.value == pytest.approx(tokens / D, rel=1e-3)
    assert row.at_equal_tokens.value == pytest.approx(parameters / N, rel=1e-3)


def test_the_largest_budget_is_foretold(exact: SizeLaws) -> None:
    rows = {(row.law, row.variant): row for row in exact.forecasts}
    assert len(rows) == 6
    for variant in GAINS:
        chinchilla = rows["chinchilla", variant]
        assert chinchilla.n == 14 and abs(chinchilla.loss_worst) < 1e-4
        assert abs(rows["isoflop", variant].parameters_error) < 5e-3
        assert rows["overtraining", variant].loss_error is not None


def test_the_forecast_does_not_see_the_largest_budget() -> None:
    runs = grid_table({"dense-baseline": 1.0})
    top = runs["budget"] == "1e19flops"
    moved = runs.assign(loss=runs["loss"].where(~top, runs["loss"] * 1.1))
    row = next(row for row in fit_size_laws(moved, CONFIG).forecasts if row.law == "chinchilla")
    assert row.loss_error == pytest.approx(1 / 1.1 - 1, abs=1e-4)


def test_intervals_hold_the_truth() -> None:
    """Of 6 tables with noise few miss: 95 % intervals of N* and gains."""
    inside = []
    for seed in range(6):
        found = fit_size_laws(grid_table(GAINS, sigma=0.002, seed=seed), CONFIG)
        row = next(row for row in found.optima if row.flops == BUDGETS[-1])
        for told in (row.parameters, row.parameters_joint):
            inside.append(told.interval[0] <= optimum(row.flops) <= told.interval[1])
        low, high = found.gains[0].frontier.interval
        inside.append(low <= 1.2 <= high)
    assert np.mean(inside) >= 0.75, "of 18"


def test_what_is_not_identified_says_why() -> None:
    found = fit_size_laws(runs_table(GAINS, sigma=0.001), CONFIG)
    assert not found.identified and not found.optima and not found.gains
    told = " ".join(reasons(found))
    assert "Chinchilla's law: none, because " in told and "add a budget" in told
    assert "IsoFLOP profiles: none, because fewer than two budgets of FLOPs" in told
    assert laws_table(found) is None and optima_table(found) is None and gains_table(found) is None


def test_ways_that_disagree_are_warned_of(exact: SizeLaws) -> None:
    """Losses that the sizes at one end add to bend profiles and law differently."""
    assert not exact.warnings
    runs = grid_table({"dense-baseline": 1.0}, sigma=0.0002)
    small = runs["parameters_active_non_embedding"] < 0.5 * runs["flops"].map(optimum)
    bent = runs.assign(loss=runs["loss"].where(~small, runs["loss"] * 1.1))
    assert any("each outside the other's interval" in text for text in fit_size_laws(bent, CONFIG).warnings)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"drop": ["tokens"]}, "the table has no tokens: name the columns with --columns tokens=NAME"),
        ({"size": "flops"}, "the table has no parameters: name the columns"),
        ({"baseline": "dense-other"}, "no runs of dense-other; there are: dense-baseline, dense-idea"),
    ],
)
def test_what_cannot_be_fitted_is_refused(changes: dict, said: str) -> None:
    runs = grid_table(GAINS).drop(columns=changes.get("drop", []))
    if "size" in changes:
        runs = runs.assign(parameters_active_non_embedding=runs[changes["size"]])
    config = CONFIG.model_copy(update={"baseline": changes.get("baseline", "dense-baseline")})
    with pytest.raises(ValueError, match=said):
        fit_size_laws(runs, config)


def test_a_pinned_or_free_floor_is_kept() -> None:
    pinned = fit_size_laws(grid_table(GAINS), CONFIG.model_copy(update={"floor": 1.75}))
    assert pinned.chinchilla.fit.pinned == {"E": 1.75} and pinned.gains
    free = fit_size_laws(grid_table(GAINS), CONFIG.model_copy(update={"floor": "free"}))
    assert {"E[dense-baseline]", "E[dense-idea]"} <= set(free.chinchilla.fit.parameters)


def test_it_is_read_back_as_it_was(exact: SizeLaws, tmp_path) -> None:
    exact.write(tmp_path / "laws.json")
    assert SizeLaws.read(tmp_path / "laws.json") == exact


def test_tables_say_it(exact: SizeLaws) -> None:
    assert len(laws_table(exact).rows) == 6 and len(optima_table(exact).rows) == 12
    assert len(forecasts_table(exact).rows) == 6
    assert any("1.20 [1.20, 1.20]" in cell for cell in gains_table(exact).rows[0])


def test_the_figure_draws_every_profile(exact: SizeLaws) -> None:
    figure = profiles_figure(grid_table(GAINS), exact, variant_styles(list(GAINS)))
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == list(GAINS)
    fit = exact.isoflop["dense-baseline"].fit
    for flops, profile in zip(BUDGETS, fit.profiles, strict=True):
        assert curve(fit, profile, np.array([profile.parameters])) == pytest.approx(profile.loss)
        away = np.array([0.6, 1.7]) * optimum(flops)
        truth = 1.8 + 406 * away**-ALPHA + 410 * (flops / 6 / away) ** -BETA
        assert curve(fit, profile, away) == pytest.approx(truth, rel=1e-3)
        assert profile.loss == pytest.approx(lowest(flops), rel=1e-4)


def test_panels_share_one_unit(exact: SizeLaws) -> None:
    """Sizes of one variant just below a billion, of the other above: they share the axis."""
    runs = grid_table(GAINS)
    size = runs["parameters_active_non_embedding"]
    times = runs["variant"].map({"dense-baseline": 0.9, "dense-idea": 1.2}) * 1e9 / size.median()
    figure = profiles_figure(
        runs.assign(parameters_active_non_embedding=size * times), exact, variant_styles(list(GAINS))
    )
    one, other = (axes.lines[0].get_xdata() for axes in figure.axes[:2])
    assert other == pytest.approx(one * 1.2 / 0.9)
