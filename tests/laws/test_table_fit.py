"""One law on anyone's table: exact on exact data, no worse than scipy, refusing what cannot be told."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from stepladder.laws.bootstrap import bca_interval, forget_untold
from stepladder.laws.design import make_design
from stepladder.laws.forms import LAWS
from stepladder.laws.identify import NotIdentified
from stepladder.laws.large import LargeTable
from stepladder.laws.solve import Robust, Solution, derivatives, objective, slopes, solve
from stepladder.laws.starts import DISTINCT, search, search_again, search_nearby
from stepladder.laws.table_fit import Options, fit_table, inputs_of

TRUE = {
    "compute": {"E": 1.7, "A": 1500.0, "alpha": 0.16},
    "chinchilla": {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658},
    "overtraining": {"E": 1.82, "a": 800.0, "b": 2400.0, "eta": 0.178},
    "sparsity": {
        "E": 0.94,
        "A": 300.0,
        "B": 900.0,
        "c": 0.46,
        "d": 17.0,
        "alpha": 0.36,
        "beta": 0.34,
        "lambda": -0.17,
        "delta": 0.16,
        "gamma": 0.16,
    },
}


def grid(noise: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Sizes x token multipliers x active shares, without a loss."""
    rows = [
        (n, m * n, f)
        for n in np.geomspace(3e7, 1e10, 7)
        for m in (5.0, 20.0, 60.0, 200.0)
        for f in (1.0, 0.5, 0.25, 0.1)
    ]
    table = pd.DataFrame(rows, columns=["parameters", "tokens", "active_fraction"])
    return table.assign(flops=6 * table["parameters"] * table["tokens"])


def exact(name: str) -> pd.DataFrame:
    table = grid() if name == "sparsity" else grid().query("active_fraction == 1").reset_index(drop=True)
    return table.assign(loss=LAWS[name]().loss(TRUE[name], inputs_of(LAWS[name](), table)))


def noisy(name: str, sigma: float, seed: int = 0) -> pd.DataFrame:
    table = exact(name)
    return table.assign(
        loss=table["loss"] * np.exp(sigma * np.random.default_rng(seed).standard_normal(len(table)))
    )


@pytest.mark.parametrize("name", LAWS)
def test_exact_data_give_back_every_law(name):
    found = fit_table(exact(name), LAWS[name](), Options(draws=0))
    assert found.converged
    for key, value in TRUE[name].items():
        assert found.parameters[key] == pytest.approx(value, rel=1e-6), key


def test_variants_with_a_floor_in_common():
    one, other = exact("chinchilla"), exact("chinchilla")
    other["loss"] = LAWS["chinchilla"]().loss(
        TRUE["chinchilla"] | {"A": 400.0, "beta": 0.38}, inputs_of(LAWS["chinchilla"](), other)
    )
    table = pd.concat([one.assign(variant="dense"), other.assign(variant="moe")], ignore_index=True)
    found = fit_table(table, LAWS["chinchilla"](), Options(by="variant", shared=("E",), draws=0)).parameters
    assert found["E"] == pytest.approx(1.8172, rel=1e-6)
    assert found["A[moe]"] == pytest.approx(400, rel=1e-5) and found["A[dense]"] == pytest.approx(
        482.01, rel=1e-5
    )
    assert found["beta[moe]"] == pytest.approx(0.38, rel=1e-6) and len(found) == 9


def test_what_is_pinned_stays_and_the_rest_follows():
    pinned = {"E": 1.8172, "alpha": 0.3478}
    found = fit_table(exact("chinchilla"), LAWS["chinchilla"](), Options(pinned=pinned, draws=0))
    assert set(found.parameters) == {"A", "B", "beta"}
    assert found.parameters["A"] == pytest.approx(482.01, rel=1e-6)
    assert found.parameters["B"] == pytest.approx(2085.43, rel=1e-6)


@pytest.mark.parametrize("norm", ["huber", "log_cosh", "squared"])
@pytest.mark.parametrize("name", LAWS)
def test_derivatives_are_those_of_the_objective(name, norm):
    """Gradient and curvature against central differences of the objective, somewhere off the optimum."""
    table = noisy(name, 0.01)
    law = LAWS[name]()
    design = make_design(law, inputs_of(law, table))
    y, robust = np.log(table["loss"].to_numpy()), Robust(0.02, norm, 0.7)
    theta = search(design, y, robust, 64).theta + 0.01 * np.random.default_rng(1).standard_normal(
        len(design.names)
    )
    gradient, newton, _ = derivatives(design, y[None], theta[None], robust, np.ones((1, len(y))))
    step = 1e-5

    def slope(at):
        moves = np.eye(len(theta)) * step
        high, low = (objective(design, y, at + sign * moves, robust) for sign in (1, -1))
        return (high - low) / (2 * step)

    np.testing.assert_allclose(gradient[0], slope(theta), rtol=1e-5, atol=1e-9)
    if norm != "huber":  # whose second derivative jumps
        moved = [(slope(theta + m) - slope(theta - m)) / (2 * step) for m in np.eye(len(theta)) * step]
        np.testing.assert_allclose(newton[0], moved, rtol=2e-3, atol=2e-4 * np.abs(newton).max())
    np.testing.assert_allclose(
        slopes(design, design.predict_shares(theta[None])[1])[0].T @ np.ones(len(theta)),
        (design.predict((theta + step)[None])[0] - design.predict((theta - step)[None])[0]) / (2 * step),
        rtol=1e-5,
        atol=1e-8,
    )


@pytest.mark.parametrize("seed", range(3))
def test_no_worse_than_a_plain_multi_start(seed):
    """The objective written out plainly, by L-BFGS-B from 48 points; residuals far beyond delta."""
    table = noisy("chinchilla", 0.01, seed)
    n, d, y = (np.log(table[key].to_numpy()) for key in ("parameters", "tokens", "loss"))

    def plain(theta):
        e, a, b, alpha, beta = theta
        r = np.logaddexp(np.logaddexp(e, a - alpha * n), b - beta * d) - y
        return 1e3 * np.where(abs(r) <= 1e-3, 0.5 * r * r, 1e-3 * (abs(r) - 5e-4)).sum()

    starts = itertools.product((0, 0.7), (2, 8), (2, 8), (0.2, 0.5, 0.9), (0.3, 0.7))
    best = (
        min(minimize(plain, s, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-10}).fun for s in starts)
        / 1e3
    )
    found = fit_table(table, LAWS["chinchilla"](), Options(draws=0))
    assert found.objective <= best * (1 + 1e-9)


def test_a_weight_is_a_number_of_copies():
    table = noisy("chinchilla", 0.01)
    law, robust = LAWS["chinchilla"](), Robust(0.01)
    counts = np.random.default_rng(0).integers(0, 4, len(table))
    design = make_design(law, inputs_of(law, table))
    y = np.log(table["loss"].to_numpy())
    start = search(design, y, robust, 64).theta[None]
    weighted = solve(design, y, start, robust, counts.astype(float))
    copies = table.loc[np.repeat(table.index, counts)].reset_index(drop=True)
    copied = fit_table(copies, law, Options(robust=robust, draws=0))
    assert weighted.objective[0] == pytest.approx(copied.objective, rel=1e-9)
    found = dict(zip(design.names, design.natural(weighted.theta)[0], strict=True))
    assert found == pytest.approx(copied.parameters, rel=1e-4)


def test_bootstrap_and_delta_method_tell_the_same_story():
    table = noisy("chinchilla", 0.003)
    found = fit_table(table, LAWS["chinchilla"](), Options(robust=Robust(norm="squared"), draws=600))
    for name in ("E", "alpha", "beta"):
        ratio = found.standard_errors[name] / found.standard_errors_delta[name]
        assert 0.7 < ratio < 1.4, (name, ratio)
        low, high = found.intervals[name]
        assert low < found.parameters[name] < high
    assert found.bootstrap.converged > 0.99 and not found.warnings


def small(rows, noise, seed):
    """So many cells of a grid of sizes and tokens, with noise: as few runs as people have."""
    generator = np.random.default_rng(seed)
    side = int(np.ceil(np.sqrt(rows)))
    cells = list(itertools.product(np.geomspace(5e7, 1e9, side), np.geomspace(1e9, 2e10, side)))
    table = pd.DataFrame(cells, columns=["parameters", "tokens"])
    table = table.iloc[np.sort(generator.permutation(len(table))[:rows])].reset_index(drop=True)
    loss = LAWS["chinchilla"]().loss(TRUE["chinchilla"], table)
    return table.assign(loss=loss * np.exp(noise * generator.standard_normal(rows)))


@pytest.mark.parametrize(("rows", "seed"), [(10, 11), (12, 12), (16, 14), (20, 10)])
def test_refits_of_small_tables_converge(rows, seed):
    found = fit_table(small(rows, 0.01, seed), LAWS["chinchilla"](), Options(draws=200))
    assert found.bootstrap.converged >= 0.99
    assert not any("bootstrap fits converged" in said for said in found.warnings)


@pytest.mark.parametrize("above", [1e-12, 1e-9, 1e-6, 1e-3, 0.3])
def test_a_floor_just_above_its_bound_stops_nothing(above):
    """Where the floor is below zero, E belongs at its bound; a step that wants it lower yet must not carry
    the others along."""
    table = exact("chinchilla").assign(
        loss=lambda t: 400 * t["parameters"] ** -0.2 + 900 * t["tokens"] ** -0.25 - 1.0
    )
    design = make_design(LAWS["chinchilla"](), inputs_of(LAWS["chinchilla"](), table))
    y = np.log(table["loss"].to_numpy()) + 0.01 * np.random.default_rng(3).standard_normal(len(table))
    best = search(design, y, Robust())
    assert best.converged and best.theta[0] == design.low[0]
    found = solve(design, y, best.theta[None] + [above, 0.02, -0.02, 0.001, -0.001], Robust())
    assert found.converged[0] and found.objective[0] == pytest.approx(best.objective, rel=1e-9)


def test_a_replicate_that_got_lost_is_searched_again():
    table, law = noisy("chinchilla", 0.003), LAWS["chinchilla"]()
    design, y = make_design(law, inputs_of(law, table)), np.log(table["loss"].to_numpy())
    weight = np.random.default_rng(0).multinomial(len(y), np.full(len(y), 1 / len(y)), size=3).astype(float)
    good = search_nearby(design, y, Robust(), search(design, y, Robust()).theta[None], weight)
    lost = Solution(good.theta.copy(), good.objective.copy(), good.converged.copy())
    lost.theta[1], lost.objective[1], lost.converged[1] = 0.5, 9.0, False
    found = search_again(design, y, Robust(), weight, lost)
    assert found.converged.all()
    np.testing.assert_allclose(found.objective, good.objective, rtol=1e-9)
    np.testing.assert_array_equal(found.theta[[0, 2]], good.theta[[0, 2]])


def test_clusters_are_drawn_as_wholes():
    """Every row twice: on their own the copies look like evidence, as clusters they do not."""
    table = noisy("compute", 0.005)
    table = pd.concat([table.assign(rung=table.index)] * 2, ignore_index=True)
    alone = fit_table(table, LAWS["compute"](), Options(draws=300))
    whole = fit_table(table, LAWS["compute"](), Options(draws=300, clusters=("rung",)))
    assert whole.bootstrap.clusters == alone.bootstrap.clusters / 2
    ratio = whole.standard_errors["alpha"] / alone.standard_errors["alpha"]
    assert 1.2 < ratio < 1.7, "sqrt(2)"
    delta = whole.standard_errors_delta["alpha"] / alone.standard_errors_delta["alpha"]
    assert delta == pytest.approx(np.sqrt(2), rel=0.05)


def test_bca_without_bias_or_acceleration_is_the_percentile_interval():
    draws = np.linspace(-3, 3, 2001)
    left_out = np.array([-1.0, 1.0, -2.0, 2.0])
    low, high = bca_interval(draws, 0.0, left_out, 0.9)
    np.testing.assert_allclose([low, high], np.quantile(draws, [0.05, 0.95]), atol=1e-9)
    shifted = bca_interval(draws, 0.5, left_out, 0.9)
    assert shifted[0] > low and shifted[1] > high, "draws lie too low: the interval moves up"


def test_undertuned_rows_pull_less():
    """A tenth of the rows 5 % above the law; the weight brings the floor back towards the truth."""
    table = exact("compute")
    table.loc[::5, "loss"] *= 1.05
    squared = {"norm": "squared"}
    plain = fit_table(table, LAWS["compute"](), Options(robust=Robust(**squared), draws=0))
    eased = fit_table(table, LAWS["compute"](), Options(robust=Robust(**squared, above=0.02), draws=0))
    at = {"flops": 1e21}
    law = LAWS["compute"]()
    truth = law.loss(TRUE["compute"], at)
    assert abs(law.loss(eased.parameters, at) / truth - 1) < 0.3 * abs(
        law.loss(plain.parameters, at) / truth - 1
    )


def test_allocation_by_hand():
    """alpha = 0.34, beta = 0.28: N* ~ C^(0.28 / 0.62)."""
    found = fit_table(exact("chinchilla"), LAWS["chinchilla"](), Options(draws=0)).allocation
    assert found.a == pytest.approx(0.3658 / (0.3478 + 0.3658), rel=1e-6)
    ratio = 0.3478 * 482.01 / (0.3658 * 2085.43)
    assert pytest.approx(ratio ** (1 / (0.3478 + 0.3658)), rel=1e-5) == found.G


def few(table, rows):
    return table.iloc[:rows].reset_index(drop=True)


REFUSED = {
    "too few rungs": (
        lambda: few(exact("compute"), 2),
        "compute",
        {},
        "2 distinct rungs cannot tell 3 parameters",
    ),
    "one budget": (
        lambda: exact("chinchilla").query("abs(tokens / parameters - 20) < 1e-6").reset_index(drop=True),
        "chinchilla",
        {},
        "fixed power of parameters",
    ),
    "one size": (
        lambda: exact("chinchilla").query("parameters == parameters.min()").reset_index(drop=True),
        "chinchilla",
        {},
        "same parameters",
    ),
    "dense only": (
        lambda: grid().query("active_fraction == 1").assign(loss=3.0).reset_index(drop=True),
        "sparsity",
        {},
        "same active_fraction",
    ),
    "no floor": (
        lambda: exact("compute").assign(loss=lambda t: 1e3 * t["flops"] ** -0.12),
        "compute",
        {},
        "do not bound E from below",
    ),
    "pin above the losses": (
        lambda: exact("compute"),
        "compute",
        {"pinned": {"E": 9.0}},
        "not below the smallest loss",
    ),
    "pin of nothing": (lambda: exact("compute"), "compute", {"pinned": {"beta": 0.3}}, "no parameter beta"),
    "loss that rises": (
        lambda: exact("compute").assign(loss=lambda t: 2 + 0.01 * np.log(t["flops"])),
        "compute",
        {},
        "cannot|bound|does without",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_told_is_refused_with_a_reason(case):
    table, law, options, message = REFUSED[case]
    with pytest.raises((NotIdentified, ValueError), match=message):
        fit_table(table(), LAWS[law](), Options(draws=0, **options))


@settings(max_examples=15, deadline=None)
@given(
    E=st.floats(0.5, 3),
    A=st.floats(0.5, 3),
    alpha=st.floats(0.08, 0.6),
    size=st.floats(1e-6, 1e6),
)
def test_units_do_not_matter(E, A, alpha, size):
    """The same runs in FLOPs and in other units: the same law."""
    C = np.geomspace(1e18, 1e22, 9)
    table = pd.DataFrame({"flops": C * size, "loss": E + A * (C / 1e20) ** -alpha})
    found = fit_table(table, LAWS["compute"](), Options(draws=0)).parameters
    assert found["alpha"] == pytest.approx(alpha, rel=1e-5)
    assert found["E"] == pytest.approx(E, rel=1e-5)
    assert np.log(found["A"]) == pytest.approx(np.log(A) + alpha * np.log(1e20 * size), rel=1e-5)


def test_a_term_that_is_pinned_at_zero_is_gone():
    """Chinchilla's law without data is a power of size above a floor, also where tokens never vary."""
    table = exact("chinchilla").assign(loss=lambda t: 1.8 + 400 * t["parameters"] ** -0.34, tokens=1e10)
    found = fit_table(table, LAWS["chinchilla"](), Options(pinned={"B": 0.0}, draws=0)).parameters
    assert found == pytest.approx({"E": 1.8, "A": 400.0, "alpha": 0.34}, rel=1e-6)


def test_a_group_that_a_draw_loses_is_unknown_in_it():
    """Three rows of one variant: many draws have fewer, and its parameters are unknown there, not certain."""
    many = noisy("compute", 0.003).assign(variant="dense")
    few_rows = noisy("compute", 0.003, seed=1).iloc[[0, 9, 20]].assign(variant="moe")
    options = Options(by="variant", shared=("E",), draws=200)
    found = fit_table(pd.concat([many, few_rows], ignore_index=True), LAWS["compute"](), options)
    assert found.draws["alpha[moe]"].count(None) > 5 and found.draws["alpha[dense]"].count(None) == 0
    assert found.intervals["alpha[moe]"] == (None, None) and found.intervals_bca["alpha[moe]"] == (
        None,
        None,
    )


def many(rows, groups=1, seed=0):
    """Chinchilla's law on random sizes and budgets, with 0.5 % noise."""
    generator = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "parameters": np.exp(generator.uniform(np.log(5e7), np.log(1.5e10), rows)),
            "tokens": np.exp(generator.uniform(np.log(1e9), np.log(3e11), rows)),
            "variant": [f"v{i % groups}" for i in range(rows)],
        }
    )
    loss = LAWS["chinchilla"]().loss(TRUE["chinchilla"], inputs_of(LAWS["chinchilla"](), table))
    return table.assign(loss=loss * np.exp(0.005 * generator.standard_normal(rows)))


def test_a_large_table_is_fitted_as_if_all_its_rows_were_screened(monkeypatch):
    """Starts from a sample, single Newton steps for draws: the same optimum, errors and intervals."""
    table, law, options = many(3000), LAWS["chinchilla"](), Options(draws=200)
    quick = fit_table(table, law, options)
    monkeypatch.setattr("stepladder.laws.starts.MANY", 10**9)
    monkeypatch.setattr("stepladder.laws.bootstrap.MANY", 10**9)
    slow = fit_table(table, law, options)
    assert quick.objective == pytest.approx(slow.objective, rel=1e-9)
    assert quick.parameters == pytest.approx(slow.parameters, rel=1e-6)
    for name, error in slow.standard_errors.items():
        assert quick.standard_errors[name] == pytest.approx(error, rel=0.2), name
        for key in ("intervals", "intervals_bca"):
            assert getattr(quick, key)[name] == pytest.approx(getattr(slow, key)[name], abs=0.5 * error), (
                key,
                name,
            )


def test_rows_in_blocks_are_the_rows_at_once(monkeypatch):
    table, law = many(600, groups=3), LAWS["chinchilla"]()
    options = Options(by="variant", shared=("E",), draws=0)
    whole = fit_table(table, law, options)
    monkeypatch.setattr("stepladder.laws.design.ROWS", 400)
    assert fit_table(table, law, options).parameters == pytest.approx(whole.parameters, rel=1e-6)


def large(table, cluster):
    """Chinchilla's law fitted to a table of more than 2,000 rows, ready to be resampled."""
    law = LAWS["chinchilla"]()
    design, y = make_design(law, inputs_of(law, table)), np.log(table["loss"].to_numpy())
    return LargeTable(design, y, search(design, y, Robust()), Robust(), cluster)


def refitted(fit, draws):
    """Every draw fitted in full, plainly."""
    counts = np.concatenate([counts for _, counts in fit.blocks_of_counts(draws, 0)])
    start = np.repeat(fit.found.theta[None], draws, axis=0)
    return solve(fit.design, fit.log_loss, start, fit.robust, counts[:, fit.cluster])


def heavy(table):
    """Noise with a long tail on top: steps from the optimum may then lead anywhere."""
    return table.assign(
        loss=table["loss"] * np.exp(0.02 * np.random.default_rng(5).standard_t(2, len(table)))
    )


@pytest.mark.parametrize("clusters", [12, 30])
def test_few_clusters_are_refitted_however_many_their_rows(clusters):
    """Clusters of sizes, as rungs are: a draw lacks a third of the range. Single steps are far off."""
    table = heavy(many(2400))
    fit = large(table, pd.qcut(table["parameters"], clusters, labels=False).to_numpy(np.int64))
    drawn, _ = fit.draw(100, 0)
    theirs = refitted(fit, 100)
    assert len(drawn.converged) == 100, "all are fitted in full"
    assert (drawn.objective <= theirs.objective * (1 + 1e-9)).all()
    same = drawn.objective >= theirs.objective * (1 - 1e-6)
    assert same.mean() > 0.9
    np.testing.assert_allclose(drawn.theta[same], theirs.theta[same], rtol=1e-3, atol=1e-3)
    assert fit.left_out().shape == (clusters, 5)


def test_many_clusters_move_by_steps_that_refits_confirm():
    fit = large(many(12_000), np.arange(12_000))
    drawn, _ = fit.draw(80, 0)
    theirs = refitted(fit, 80)
    error = theirs.theta.std(axis=0)
    assert len(drawn.converged) < 30 and drawn.converged.all(), "only some are known"
    assert (np.abs(drawn.theta - theirs.theta).max(axis=0) < 0.4 * error).all()
    np.testing.assert_allclose(drawn.theta.std(axis=0), error, rtol=0.05)


def test_one_step_that_flies_off_is_seen(monkeypatch):
    """Among the draws checked it condemns all steps; elsewhere the draw is refitted."""
    fit = large(many(12_000), np.arange(12_000))
    theirs, plain = refitted(fit, 40), LargeTable._steps

    def spoilt(draw, believed):
        def steps(self, draws, seed):
            theta, value, trust = plain(self, draws, seed)
            theta[draw, 3] += 30 * theirs.theta[:, 3].std()
            trust[draw] = believed
            return theta, value, trust

        return steps

    for draw, believed in ((5, True), (30, False)):
        monkeypatch.setattr(LargeTable, "_steps", spoilt(draw, believed))
        drawn, _ = fit.draw(40, 0)
        assert len(drawn.converged) == (40 if believed else 17)
        np.testing.assert_allclose(drawn.theta[draw], theirs.theta[draw], rtol=1e-4, atol=1e-5)


def test_steps_that_do_not_descend_are_not_believed():
    table = heavy(many(2400))
    fit = large(table, np.arange(2400))
    _, _, believed = fit._steps(100, 0)
    assert 0.3 < believed.mean() < 0.95
    drawn, _ = fit.draw(100, 0)
    theirs = refitted(fit, 100)
    assert len(drawn.converged) == 100
    np.testing.assert_allclose(drawn.theta.std(axis=0), theirs.theta.std(axis=0), rtol=0.02)


@pytest.mark.parametrize("clusters", [12, 2400])
def test_bootstrap_fits_that_do_not_converge_are_told(clusters, monkeypatch):
    def lost(*arguments):
        found = solve(*arguments)
        return Solution(found.theta, found.objective, np.zeros(len(found.theta), dtype=bool))

    monkeypatch.setattr("stepladder.laws.large.solve", lost)
    table = many(2400).assign(cluster=lambda t: t.index % clusters)
    found = fit_table(table, LAWS["chinchilla"](), Options(draws=40, clusters=("cluster",)))
    assert found.bootstrap.converged == 0
    assert "0.0% of the bootstrap fits converged" in found.warnings


def test_starts_of_a_large_table_are_counted_where_they_end():
    """48 are polished on a sample; what is said to agree has been fitted to all rows."""
    found = fit_table(many(2400), LAWS["chinchilla"](), Options(draws=0))
    assert 1 <= found.starts_agreeing <= found.starts_polished <= DISTINCT
    law, table = LAWS["chinchilla"](), many(2400)
    searched = search(make_design(law, inputs_of(law, table)), np.log(table["loss"].to_numpy()), Robust())
    assert searched.sampled == 48 and searched.sampled_agreeing > 12


def test_blocks_of_weights_change_nothing(monkeypatch):
    """Memory is bounded by rows, not by clusters; few draws at a time are the draws all at once."""
    table = many(2400, groups=2)
    fit = large(table, np.arange(2400) % 30)
    whole = fit.draw(20, 0)[0].theta
    monkeypatch.setattr("stepladder.laws.large.DRAWN", 3 * 2400)
    assert max(len(counts) for _, counts in fit.blocks_of_counts(20, 0)) == 3
    np.testing.assert_allclose(fit.draw(20, 0)[0].theta, whole, rtol=1e-6)
    weight = np.concatenate([counts for _, counts in fit.blocks_of_counts(6, 0)])[:, fit.cluster]
    near = search_nearby(fit.design, fit.log_loss, fit.robust, fit.found.theta[None], weight)
    monkeypatch.setattr("stepladder.laws.starts.REPLICATED", 2 * 2400)
    few_at_once = search_nearby(fit.design, fit.log_loss, fit.robust, fit.found.theta[None], weight)
    np.testing.assert_allclose(few_at_once.theta, near.theta, rtol=1e-6)


def test_what_a_draw_does_not_tell_is_counted_in_rows():
    """Against the weights of the rows written out."""
    table, law = many(60, groups=2), LAWS["chinchilla"]()
    names, group = ["v0", "v1"], np.arange(60) % 2
    design = make_design(law, inputs_of(law, table), group, names, ["E"])
    cluster = np.arange(60) // 2 * (group == 0) + (30 + np.arange(60) // 20) * (group == 1)
    cluster = np.unique(cluster, return_inverse=True)[1]
    counts = np.random.default_rng(0).integers(0, 2, (200, cluster.max() + 1)) * (
        np.random.default_rng(1).uniform(size=(200, 1)) < 0.3
    )
    theta = forget_untold(design, np.zeros((200, len(design.names))), counts, cluster, group, names)
    for g, name in enumerate(names):
        untold = (counts[:, cluster][:, group == g] > 0).sum(axis=1) < 4
        np.testing.assert_array_equal(np.isnan(theta[:, design.names.index(f"alpha[{name}]")]), untold)
