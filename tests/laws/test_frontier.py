"""IsoFLOP profiles and the envelope: exact on exact data, honest about what the rows cannot say."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import least_squares

from stepladder.laws.envelope import envelope
from stepladder.laws.frontier import SAME_SIZE, gap_groups, scatter
from stepladder.laws.isoflop import isoflop
from stepladder.laws.profiles import Profile, Profiles

E, A, B, ALPHA, BETA = 1.8172, 482.01, 2085.43, 0.3478, 0.3658
EXPONENT = BETA / (ALPHA + BETA)
BUDGETS = np.geomspace(1e19, 1e21, 5)


def best_size(flops):
    """The closed form of Hoffmann et al. 2022, equation 4."""
    return (ALPHA * A / (BETA * B)) ** (1 / (ALPHA + BETA)) * (flops / 6) ** EXPONENT


def table_of(flops, parameters, ratio=6.0):
    tokens = flops / (ratio * parameters)
    loss = E + A * parameters**-ALPHA + B * tokens**-BETA
    return pd.DataFrame({"loss": loss, "flops": flops, "parameters": parameters, "tokens": tokens})


def profiles(span, n=9, budgets=BUDGETS, shift=0.0):
    """`n` sizes per budget, within a factor e^span of the best one, times e^shift."""
    flops = np.repeat(budgets, n)
    offset = np.tile(np.linspace(-span, span, n), len(budgets)) + shift
    return table_of(flops, best_size(flops) * np.exp(offset))


def curves(sizes, points=200):
    parameters = np.repeat(sizes, points)
    return table_of(6 * parameters * np.tile(np.geomspace(1e8, 1e12, points), len(sizes)), parameters)


def noisy(table, sd, seed):
    return table.assign(
        loss=table["loss"] * np.exp(sd * np.random.default_rng(seed).standard_normal(len(table)))
    )


@pytest.mark.parametrize("log_loss", [True, False])
def test_exact_parabolas_give_back_their_power_laws(log_loss):
    a, log_k, ratio = 0.47, -1.3, 7.5
    flops = np.repeat(BUDGETS, 5)
    log_size = log_k + a * np.log(flops)
    offset = np.tile([-1.1, -0.3, 0.2, 0.9, 1.4], 5)
    y = np.log(flops) * -0.05 + 3.5 + 0.03 * offset**2
    N = np.exp(log_size + offset)
    loss = np.exp(y) if log_loss else y
    table = pd.DataFrame({"loss": loss, "flops": flops, "parameters": N, "tokens": flops / ratio / N})
    result = isoflop(table.sample(frac=1, random_state=0), draws=50, targets=[1e20, 1e24], log_loss=log_loss)
    expected = {"a": a, "log_k": log_k, "b": 1 - a, "log_k_tokens": -np.log(ratio) - log_k}
    for name, value in expected.items():
        assert result.parameters[name] == pytest.approx(value, rel=1e-9)
        np.testing.assert_allclose(result.intervals[name], value, rtol=1e-7)
    inside, beyond = result.targets
    assert inside.parameters == pytest.approx(np.exp(log_k) * 1e20**a, rel=1e-9)
    assert inside.tokens == pytest.approx(1e20 / ratio / inside.parameters, rel=1e-9)
    assert (inside.extrapolated, beyond.extrapolated) == (False, True)
    first = result.profiles[0]
    lowest = 3.5 - 0.05 * np.log(1e19)
    assert first.loss == pytest.approx(np.exp(lowest) if log_loss else lowest, rel=1e-9)
    assert first.curvature == pytest.approx(0.03, rel=1e-7)
    assert result.residual_sd < 1e-9


SURFACES = {
    "chinchilla": (1.69, 406.4, 410.7, 0.34, 0.28),
    "replicated": (E, A, B, ALPHA, BETA),
    "symmetric": (1.69, 406.4, 410.7, 0.31, 0.31),
    "size steep": (1.69, 406.4, 410.7, 0.465, 0.155),
    "data steep": (1.69, 406.4, 410.7, 0.155, 0.465),
}
"""E, A, B, alpha, beta; the last two have exponents 3 to 1, as the asymmetric ones of arXiv 2603.22339."""


@pytest.mark.parametrize("drift", [(1, 1), (1, 3), (3, 3), (1 / 3, 1 / 3), (3, 1 / 3)])
@pytest.mark.parametrize("surface", SURFACES)
def test_profiles_on_exact_surfaces_extrapolate_exactly(surface, drift):
    """Wide or narrow, dense or sparse, centred on the minimum, off it or drifting from it, the minimum even
    outside the sizes: optimal tokens at 1000 times the compute, by the closed form (equation 4)."""
    floor, a, b, alpha, beta = SURFACES[surface]
    flops, target = np.geomspace(1e17, 1e21, 5), 1e24

    def size(budget):
        return (alpha * a / (beta * b)) ** (1 / (alpha + beta)) * (budget / 6) ** (beta / (alpha + beta))

    for span, n in ((4, 5), (4, 15), (8, 7), (16, 5), (64, 5), (64, 15)):
        centre = size(flops) * np.geomspace(*drift, 5)
        N = (centre[:, None] * np.geomspace(span**-0.5, span**0.5, n)).ravel()
        C = np.repeat(flops, n)
        D = C / 6 / N
        loss = floor + a * N**-alpha + b * D**-beta
        table = pd.DataFrame({"loss": loss, "flops": C, "parameters": N, "tokens": D})
        found = isoflop(table, 0, targets=[target], check=False)
        assert found.profiles_used >= 4
        assert found.parameters["a"] == pytest.approx(beta / (alpha + beta), abs=1e-8)
        assert found.targets[0].tokens == pytest.approx(target / 6 / size(target), rel=1e-6)
        assert found.shape == pytest.approx((alpha, beta), rel=1e-5)


def test_log_loss_is_nearly_loss():
    """The logarithm bends the surface: curves of one shape are then off it, by little."""
    table = profiles(1.0)
    plain, logs = (isoflop(table, 0, log_loss=log, check=False) for log in (False, True))
    assert (plain.log_loss, logs.log_loss) == (False, True)
    assert plain.parameters != logs.parameters
    assert logs.parameters["a"] == pytest.approx(EXPONENT, abs=1e-3)
    assert logs.profiles[0].loss == pytest.approx(plain.profiles[0].loss, rel=1e-4)


def fitted(rows, log_loss=True):
    return Profiles.of([Profile.of(part) for _, part in rows.groupby("flops")], log_loss)


def test_a_weighted_fit_is_the_fit_of_repeated_rows():
    """Differential test of the vectorised parabolas against numpy's polynomials."""
    rows = noisy(profiles(1.5, budgets=[1e20]), 0.003, 4)
    found = fitted(rows)
    valley = replace(found.valley, free=False)
    weight = np.random.default_rng(0).multinomial(9, np.full(9, 1 / 9), size=40).astype(float)
    curves = valley.fit(weight[:, None])
    for b, counts in enumerate(weight.astype(int)):
        x, y = np.repeat(valley.x[0], counts), np.repeat(valley.y[0], counts)
        fit = np.polynomial.Polynomial.fit(x, y, 2)
        (extremum,) = fit.deriv().roots()
        assert curves.minima[b, 0] == pytest.approx(extremum, rel=1e-5, abs=1e-6)
        assert curves.lowest[b, 0] == pytest.approx(fit(extremum), rel=1e-7)


def test_the_shape_is_what_a_general_search_finds():
    """Differential test of the variable projection against scipy on all parameters, errors included."""
    rows = noisy(profiles(1.5), 0.002, 3)
    found = fitted(rows, log_loss=False)
    x, y, G = found.valley.x, found.valley.y, len(found.each)
    use = found.near > 0

    def residuals(theta):
        alpha, beta = theta[:2]
        c, p, q = theta[2:].reshape(3, G, 1)
        return ((c + p * np.exp(-alpha * x) + q * np.exp(beta * x)) / y - 1)[use]

    alpha, beta = 0.3, 0.3
    start = np.concatenate([[alpha, beta], np.full(G, 2.0), np.full(2 * G, 0.5)])
    theirs = least_squares(residuals, start, x_scale="jac", xtol=1e-15, ftol=1e-15, gtol=1e-15, max_nfev=5000)
    assert found.found.residual[0] == pytest.approx(2 * theirs.cost, rel=1e-6)
    assert found.shape == pytest.approx(theirs.x[:2], rel=1e-3)
    alpha, beta = theirs.x[:2]
    _, p, q = theirs.x[2:].reshape(3, G)
    np.testing.assert_allclose(
        found.found.minima[0], np.log(alpha * p / (beta * q)) / (alpha + beta), atol=1e-4
    )
    covariance = np.linalg.inv(theirs.jac.T @ theirs.jac)
    place = np.zeros((G, len(start)))
    at, total = found.found.minima[0], alpha + beta
    place[:, 0], place[:, 1] = (1 / alpha - at) / total, (-1 / beta - at) / total
    g = np.arange(G)
    place[g, 2 + G + g], place[g, 2 + 2 * G + g] = 1 / (p * total), -1 / (q * total)
    np.testing.assert_allclose(found.variance, np.einsum("gi,ij,gj->g", place, covariance, place), rtol=0.05)


def test_scatter_by_hand():
    """Equal variances v: the residual mean square less v; DerSimonian and Laird's formula with a slope."""
    x = np.array([0.0, 1.0, 2.0, 3.0])
    y = 0.5 * x + np.array([0.3, -0.3, -0.3, 0.3])
    assert scatter(x, y, np.full(4, 0.01)) == pytest.approx(4 * 0.09 / 2 - 0.01)
    assert scatter(x, y, np.full(4, 0.5)) == 0 == scatter(x[:2], y[:2], np.full(2, 0.01))


def test_a_profile_known_badly_counts_for_little():
    """Four good profiles and one of three close sizes, whose minimum noise moves far."""
    good = noisy(profiles(1.5, budgets=BUDGETS[:4]), 0.001, 0)
    poor = noisy(profiles(0.15, n=3, budgets=[1e22]), 0.001, 0)
    alone = isoflop(good, 0, check=False)
    both = isoflop(pd.concat([good, poor], ignore_index=True), 0, check=False)
    last = both.profiles[-1]
    assert last.log_parameters_error > 5 * max(p.log_parameters_error for p in both.profiles[:-1])
    assert both.parameters["a"] == pytest.approx(alone.parameters["a"], abs=0.01)


def test_rows_far_above_the_minimum_do_not_count():
    """Runs that failed, or sizes far too large, change nothing."""
    table = profiles(1.0)
    far = table_of(BUDGETS, best_size(BUDGETS) * 60).assign(loss=lambda t: t["loss"] * 1.7)
    both = isoflop(pd.concat([table, far], ignore_index=True), 0, check=False)
    assert both.parameters["a"] == pytest.approx(EXPONENT, abs=1e-8)
    assert [(p.n, p.n_near) for p in both.profiles] == [(10, 9)] * 5


def test_every_profile_left_out_is_named():
    table = pd.concat(
        [profiles(1.0), profiles(1.0, n=2, budgets=[3e21]), profiles(0.5, budgets=[1e22], shift=2.0)]
    )
    found = isoflop(table, 0, check=False)
    assert found.warnings == (
        "left out: the profile at 3e+21 FLOPs, 2 distinct sizes, a parabola needs 3: add sizes at this "
        "budget",
        f"left out: the profile at 1e+22 FLOPs, {found.profiles[-1].reason}",
    )


def test_a_minimum_just_outside_the_sizes_is_used_where_the_shape_tells_it():
    table = profiles(0.5, shift=0.7)
    found = isoflop(table, 0, check=False)
    assert all(p.usable and p.extrapolated for p in found.profiles)
    assert found.warnings[0].startswith("at 1e+19 FLOPs the minimum lies below all sizes")
    with pytest.raises(ValueError, match=r"0 of 5 .* below the smallest size"):
        isoflop(noisy(table, 0.01, 0), 0, check=False)


def test_the_joint_law_of_the_same_rows_is_the_check():
    """It agrees on its own surface; where minima shift otherwise than depths tell, it cannot."""
    table = noisy(profiles(1.5), 0.002, 2)
    found = isoflop(table, 100)
    low, high = found.chinchilla.interval
    assert low <= EXPONENT <= high and found.warnings == ()
    drift = np.geomspace(2.0, 0.5, 5).repeat(9)
    shifted = noisy(profiles(1.5), 0.0002, 2)
    moved = shifted.assign(parameters=lambda t: t["parameters"] * drift, tokens=lambda t: t["tokens"] / drift)
    apart = isoflop(moved, 100)
    (said,) = apart.warnings
    assert "by Chinchilla's law of the same rows" in said and f"{apart.chinchilla.a:.3f}" in said
    two = isoflop(profiles(1.0, n=3, budgets=BUDGETS[:2]), 50)
    assert two.chinchilla.a is None or two.chinchilla.reason is None


def test_a_draw_whose_minimum_lies_far_outside_the_sizes_is_unusable():
    rows = fitted(noisy(profiles(0.5, budgets=BUDGETS), 0.01, 1))
    drawn = rows.resampled(np.random.default_rng(0), 200)
    low, high = (np.array([edge(p.x) for p in rows.each]) for edge in (np.min, np.max))
    assert 0 < np.isfinite(drawn).sum() < drawn.size
    margin = (high - low) / 2
    assert np.nanmax(low - margin - drawn) <= 0 and np.nanmax(drawn - high - margin) <= 0


def test_neighbouring_budgets_are_one_profile():
    values = np.log([1.0, 4.15, 1.04, 4.0, 1.08])
    assert gap_groups(values, 0.05).tolist() == [0, 1, 0, 1, 0]
    assert gap_groups(values, 0.03).tolist() == [0, 4, 1, 3, 2]
    table = profiles(1.0)
    jitter = np.exp(np.random.default_rng(0).uniform(-0.02, 0.02, len(table)))
    result = isoflop(table_of(table["flops"] * jitter, table["parameters"]), draws=0)
    assert [p.n for p in result.profiles] == [9] * 5
    assert result.parameters["a"] == pytest.approx(EXPONENT, abs=0.02)


def test_sizes_that_differ_by_rounding_are_one_size():
    table = profiles(1.0, n=3)
    rounded = pd.concat([table, table.assign(parameters=table["parameters"] * (1 + SAME_SIZE / 10))])
    assert [p.sizes for p in isoflop(rounded, draws=0).profiles] == [3] * 5
    table = curves(np.geomspace(5e7, 2e10, 10), 50)
    rounded = table.assign(parameters=table["parameters"] * np.tile([1, 1 + SAME_SIZE / 10], 250))
    told, plain = (envelope(t, draws=0).envelope for t in (rounded, table))
    assert (told.runs, told.sizes, len(told.winners)) == (10, plain.sizes, plain.sizes)


@pytest.mark.parametrize(
    "table, reason",
    [
        (profiles(1.0, budgets=[1e20]), "share one budget .1e.20 FLOPs.: add rows at another budget"),
        (profiles(1.0, n=2), "0 of 5 .* 2 distinct sizes, a parabola needs 3: add sizes"),
        (profiles(1.0, n=1), "1 distinct size,"),
        (profiles(1.0).assign(loss=lambda t: 6 - t["loss"]), "not convex.*add smaller and larger sizes"),
        (profiles(1.0).assign(loss=3.0), "not convex"),
        (profiles(0.5, shift=2.0), "below the smallest size .*: add smaller sizes"),
        (profiles(0.5, shift=-2.0), "above the largest size .*: add larger sizes"),
        (profiles(1.0, budgets=np.geomspace(1e19, 1e20, 60)), "run on from 1e.19 to 1e.20 .*not one budget"),
        (profiles(1.0, n=2, budgets=np.geomspace(1e19, 1e21, 8)), "; and 3 more"),
    ],
)
def test_isoflop_refusals_say_what_to_add(table, reason):
    with pytest.raises(ValueError, match=reason):
        isoflop(table, draws=0)


def test_an_extrapolated_minimum_is_shown_and_left_out():
    good = profiles(1.0, budgets=BUDGETS[:3])
    result = isoflop(pd.concat([good, profiles(0.5, budgets=[1e22], shift=2.0)]), draws=0)
    last = result.profiles[-1]
    assert last.extrapolated and not last.usable and "below the smallest" in last.reason
    assert last.parameters < last.parameters_range[0]
    assert last.parameters == pytest.approx(best_size(1e22), rel=0.2)
    assert result.parameters == pytest.approx(isoflop(good, draws=0).parameters, rel=1e-7)
    assert (result.profiles_used, result.n) == (3, 27)


def test_two_profiles_have_no_residual_and_failed_draws_are_counted():
    table = noisy(profiles(1.5, n=4, budgets=[1e19, 1e21]), 0.002, 1)
    result = isoflop(table, draws=400, seed=3)
    assert result.residual_sd is None
    assert "an exponent from 2 profiles has no residual" in result.warnings[0]
    assert result.draws_failed == 0
    narrow = noisy(profiles(0.5, n=6, budgets=[1e19, 1e21]), 0.002, 4)
    assert 0 < isoflop(narrow, draws=400, seed=3, check=False).draws_failed < 400
    three = isoflop(profiles(1.0, n=3), draws=0)
    assert "5 usable profiles have 3 rows" in three.warnings[0]


@pytest.mark.parametrize("fit", [isoflop, envelope])
def test_results_are_strict_json_and_reproducible(fit, tmp_path):
    table = noisy(profiles(1.5) if fit is isoflop else curves(np.geomspace(5e7, 2e10, 10), 50), 0.003, 0)
    results = [fit(table, 60, seed, 0.9, [1e21]) for seed in (0, 0, 1)]
    assert results[0] == results[1] != results[2]
    results[0].write(tmp_path / "fit.json")
    result = type(results[0]).read(tmp_path / "fit.json")
    assert result == results[0]
    assert (result.draws, result.confidence, result.reason) == (60, 0.9, None)
    for name, (low, high) in result.intervals.items():
        assert low <= result.parameters[name] <= high
    target = result.targets[0]
    assert target.parameters_interval[0] <= target.parameters <= target.parameters_interval[1]
    assert target.tokens * target.parameters * 6 == pytest.approx(1e21, rel=1e-6)
    none = fit(table, 0, targets=[1e21])
    assert none.standard_errors is none.intervals is none.targets[0].tokens_interval is None
    assert none.parameters == result.parameters


def test_isoflop_intervals_cover_the_truth():
    """30 ladders: 95 % intervals that cover less than 25 times would do so with probability < 1 %."""
    hits = 0
    for seed in range(30):
        result = isoflop(noisy(profiles(1.5), 0.003, seed), draws=200, seed=seed, check=False)
        low, high = result.intervals["a"]
        hits += low <= EXPONENT <= high
        assert high - low < 0.15
    assert hits >= 25


def test_envelope_of_exact_curves_is_a_staircase_on_the_closed_form():
    """Least squares through m even steps has the slope times 1 - 1/m^2; edges of steps are known to one bin
    of about eleven, at both ends of m steps: 1 %."""
    sizes = np.geomspace(5e7, 2e10, 24)
    result = envelope(curves(sizes), draws=100, targets=[1e21])
    found, m = result.envelope, result.envelope.sizes
    assert m == 22 and found.runs == 24
    assert result.parameters["a"] == pytest.approx(EXPONENT * (1 - m**-2), rel=0.01)
    assert result.parameters["a"] + result.parameters["b"] == pytest.approx(1, abs=1e-9)
    assert result.targets[0].parameters == pytest.approx(best_size(1e21), rel=0.02)
    assert result.warnings == ()
    step = np.log(sizes[1] / sizes[0])
    for winner in found.winners:
        low, high = best_size(np.array(winner.flops_range))
        assert np.log(winner.parameters / low) < step and np.log(high / winner.parameters) < step
    assert found.bins == found.bins_used + found.bins_censored + found.bins_empty
    assert found.bins_censored > 0


def test_few_sizes_on_the_envelope_are_warned_of():
    result = envelope(curves(np.geomspace(5e7, 2e10, 6)), draws=100)
    assert result.envelope.sizes == 4
    assert result.warnings == ("only 4 sizes on the envelope: its steps understate a by about 6%",)
    assert result.draws_failed > 0  # six runs with replacement often leave one size between two others


def test_bins_are_no_finer_than_the_data():
    dense = curves(np.geomspace(5e7, 2e10, 12), 2000)
    assert envelope(dense, draws=0).envelope.bins == 1500
    assert envelope(dense, draws=0, bins=40).envelope.bins == 40
    sparse = curves(np.geomspace(5e7, 2e10, 12), 50)
    gap = np.log(1e4) / 49
    assert envelope(sparse, draws=0).envelope.bins == np.ceil((np.log(1e4) + np.log(400)) / gap)
    thinned = sparse[np.tile(np.arange(50) % 10 != 5, 12)]  # a gap twice as wide here and there
    assert envelope(thinned, draws=0).envelope.bins == envelope(sparse, draws=0).envelope.bins


def test_envelope_of_final_losses_with_a_size_each():
    """One point a run: the winner of a budget is the grid's size nearest to the best one."""
    table = profiles(1.5, n=31, budgets=np.geomspace(1e19, 1e21, 9))
    result = envelope(table, draws=0).envelope
    assert (result.bins, result.bins_used, result.runs) == (9, 9, 279)
    for winner in result.winners:
        assert winner.parameters == pytest.approx(best_size(winner.flops_range[0]), rel=1e-6)


def test_runs_of_one_size_are_told_apart_by_their_column():
    """A worse run of the same sizes changes nothing, unless the two are taken for one curve."""
    table = curves(np.geomspace(5e7, 2e10, 10), 50)
    worse = table.assign(loss=table["loss"] + 0.5, flops=table["flops"] * 1.01, tokens=table["tokens"] * 1.01)
    both = pd.concat([table.assign(run="a"), worse.assign(run="b")])
    alone, told = envelope(table, draws=0, bins=100), envelope(both, draws=0, bins=100)
    assert told.envelope.runs == 20
    assert told.parameters["a"] == pytest.approx(alone.parameters["a"], abs=0.01)


@pytest.mark.parametrize(
    "table, reason",
    [
        (profiles(1.0, budgets=[1e20]), "share one budget .1e.20 FLOPs.: add rows at another"),
        (curves([1e8, 1e10]), "0 sizes on the envelope .*add sizes"),
        (curves([1e8, 1e9, 1e10]), "1 size on the envelope .*2 needed .* bins censored.: add sizes"),
    ],
)
def test_envelope_refusals_say_what_to_add(table, reason):
    with pytest.raises(ValueError, match=reason):
        envelope(table, draws=0)
