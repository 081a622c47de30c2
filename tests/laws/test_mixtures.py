"""The law of losses over mixtures: what it recovers, how sure it is, and where its lowest point lies."""

from itertools import product

import numpy as np
import pytest

from stepladder.laws import mixtures
from stepladder.laws.mixtures import MixtureLaw, Region, features, fit_mixtures, lowest


def drawn(n: int, k: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(k, 3.0), n)


def surface(k: int, m: int, seed: int = 0) -> np.ndarray:
    """Coefficients (p, m): each domain's loss falls with its own share, and a little with others'."""
    generator = np.random.default_rng(seed)
    linear = np.full((k, m), 1.0) - 0.2 * generator.random((k, m))
    linear[range(min(k, m)), range(min(k, m))] -= 0.4
    return np.concatenate([linear, -0.4 * generator.random((k * (k - 1) // 2, m))])


def noisy(shares: np.ndarray, truth: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    """Losses whose noise is mostly common to the domains of a run, as a seed's is."""
    generator = np.random.default_rng(seed)
    common, own = (
        generator.standard_normal((len(shares), 1)),
        generator.standard_normal((len(shares), truth.shape[1])),
    )
    return np.exp(features(shares) @ truth + sigma * (common + 0.3 * own))


def test_features_are_the_shares_and_their_products() -> None:
    assert features(np.array([0.5, 0.2, 0.3])) == pytest.approx([0.5, 0.2, 0.3, 0.1, 0.15, 0.06])


@pytest.mark.parametrize(("k", "n"), [(2, 8), (3, 16), (5, 40)])
def test_a_surface_without_noise_is_recovered(k: int, n: int) -> None:
    shares, truth = drawn(n, k), surface(k, 3)
    law = fit_mixtures(shares, np.exp(features(shares) @ truth), [0] * n, 10, 0)
    elsewhere = drawn(50, k, seed=9)
    assert law.log_losses(elsewhere) == pytest.approx(features(elsewhere) @ truth, abs=1e-3)
    assert np.std(law.draws, axis=0).max() < 1e-2, "and what is surely known is said to be"


def test_left_out_runs_are_those_of_fits_without_them(monkeypatch) -> None:
    """The formula against as many fits with the same ridge."""
    monkeypatch.setattr(mixtures, "PENALTIES", np.array([0.01]))
    shares = drawn(14, 3)
    losses = noisy(shares, surface(3, 2), 0.01, 1)
    law = fit_mixtures(shares, losses, [0] * 14, 10, 0)
    X, Y = features(shares), np.log(losses)
    penalty = np.diag(14 * 0.01 * np.r_[np.zeros(3), X[:, 3:].var(axis=0)])
    for i in range(len(X)):
        rest = np.delete(X, i, axis=0)
        without = np.linalg.solve(rest.T @ rest + penalty, rest.T @ np.delete(Y, i, axis=0))
        assert law.left_out[i] == pytest.approx(X[i] @ without, abs=1e-8)


@pytest.mark.parametrize(("k", "n"), [(3, 12), (10, 32)])
def test_the_evidence_is_the_probability_of_the_losses(k: int, n: int) -> None:
    """Up to a constant: against the density of one domain's log losses, Student's t about the linear part, by
    its definition (n - k contrasts that the linear part does not reach). Also where 32 runs have 55
    coefficients."""
    shares = drawn(n, k)
    losses = noisy(shares, surface(k, 1), 0.004, 1)
    X, Y = features(shares), np.log(losses)
    contrasts = np.linalg.svd(X[:, :k])[0][:, k:]
    y, Z = contrasts.T @ Y[:, 0], contrasts.T @ X[:, k:]

    def density(penalty: float) -> float:
        prior = np.diag(1 / (n * penalty * X[:, k:].var(axis=0)))
        shape = np.eye(n - k) + Z @ prior @ Z.T
        quadratic = y @ np.linalg.solve(shape, y)
        return -np.linalg.slogdet(shape)[1] / 2 - (n - k) / 2 * np.log(quadratic)

    spread = np.r_[np.zeros(k), X[:, k:].var(axis=0)]
    penalties = (1e-6, 1e-4, 1e-2, 1.0)
    ours = [mixtures._Ridge.of(X, Y, n * penalty * spread).evidence for penalty in penalties]
    theirs = [density(penalty) for penalty in penalties]
    assert np.diff(ours) == pytest.approx(np.diff(theirs), abs=1e-4)


def test_the_lowest_point_is_that_of_a_grid() -> None:
    truth, weights = surface(3, 3, seed=4), np.array([0.5, 0.3, 0.2])
    region = Region.around(drawn(12, 3, seed=2), np.array([0.45, 1.0, 1.0]))
    found = lowest(truth, weights, region, drawn(4, 3))
    grid = np.array([(a, b, 1 - a - b) for a, b in product(np.linspace(0, 1, 401), repeat=2)])
    within = np.all((grid >= region.low - 1e-12) & (grid <= region.high + 1e-12), axis=1)
    grid = grid[within]
    grid = grid[[region.room(point) >= 0 for point in grid]]
    losses = np.exp(features(grid) @ truth) @ weights
    assert found.sum() == pytest.approx(1) and region.room(found) >= -1e-6
    assert np.all(region.low <= found + 1e-9) and np.all(found <= region.high + 1e-9)
    assert np.exp(features(found) @ truth) @ weights <= losses.min() + 1e-6
    assert found == pytest.approx(grid[losses.argmin()], abs=0.02)


def test_every_run_is_within_reach_and_no_corner_is() -> None:
    shares = drawn(40, 4)
    region = Region.around(shares, np.ones(4))
    room = [region.room(row) for row in shares]
    assert min(room) == pytest.approx(0, abs=1e-9), "the farthest run is at its edge"
    corner = np.array([region.high[0], region.high[1], 0, 0])
    corner[2:] = (1 - corner[:2].sum()) / 2
    assert region.room(corner) < 0, "as much of two domains as any run has of either"


def test_caps_that_leave_no_mixture_are_refused() -> None:
    shares = np.array([[0.6, 0.4], [0.5, 0.5], [0.7, 0.3]])
    for most in ([0.55, 0.4], [0.4, 1.0]):
        with pytest.raises(ValueError, match="no mixture is within the bounds"):
            Region.around(shares, np.array(most))


@pytest.mark.parametrize("seed", range(12))
def test_caps_keep_the_lowest_point_within_reach_or_are_refused(seed: int) -> None:
    """Caps that cut off what is near to the runs leave no mixture that a law is known at."""
    generator = np.random.default_rng(seed)
    shares = generator.dirichlet([4, 3, 2, 1], 24)
    weights, truth = np.full(4, 0.25), surface(4, 4, seed)
    kept = 0
    for most in np.linspace(1.0, 0.02, 30):
        caps = np.array([most, most, 1.0, 1.0])
        try:
            region = Region.around(shares, caps)
        except ValueError:
            break
        found = lowest(truth, weights, region, shares[:3])
        assert (
            region.holds(found) and np.all(found <= region.high + 1e-9) and np.all(found >= region.low - 1e-9)
        )
        kept += 1
    assert 10 < kept < 30


def test_intervals_hold_what_they_say() -> None:
    """Of the law at a mixture that nobody searched for: 95 %; of 120 fits more than 88 %."""
    truth, weights, inside = surface(3, 3), np.full(3, 1 / 3), 0
    here, there = np.array([0.2, 0.5, 0.3]), np.array([0.5, 0.25, 0.25])
    for seed in range(120):
        shares = drawn(24, 3, seed=seed)
        law = fit_mixtures(shares, noisy(shares, truth, 0.005, seed), [0] * 24, 400, seed)
        change = np.log(law.targets(there, weights) / law.targets(here, weights))
        low, high = np.quantile(change[1:], [0.025, 0.975])
        exact = MixtureLaw(truth, truth[None], law.covariance, law.left_out)
        came = np.log(exact.targets(there, weights)[0] / exact.targets(here, weights)[0])
        inside += low <= came <= high
    assert inside >= 106


def test_what_the_runs_of_a_seed_have_in_common_is_taken_out() -> None:
    """Seeds that move losses by 5 % hide a law of mixtures that move them by 1 %, unless it knows of them."""
    shares, truth = drawn(24, 3), surface(3, 2)
    seeds = np.arange(24) % 4
    off = np.array([0.05, -0.02, 0.04, -0.07])
    losses = noisy(shares, truth, 0.001, 0) * np.exp(off[seeds])[:, None]
    weights, elsewhere = np.full(2, 0.5), drawn(50, 3, seed=9)

    def error(blocks: np.ndarray) -> float:
        law = fit_mixtures(shares, losses, list(blocks), 20, 0)
        found = np.log(np.exp(law.log_losses(elsewhere)) @ weights)
        return float(np.std(found - np.log(np.exp(features(elsewhere) @ truth) @ weights)))

    assert error(seeds) < 0.002 < 5 * error(seeds) < error(np.zeros(24, int))


def test_more_domains_than_runs_can_tell_apart_do_no_harm() -> None:
    """Ten domains have 55 coefficients; 32 runs with a linear truth rank others well all the same."""
    k, truth = 10, surface(10, 10, seed=3)
    truth[k:] = 0
    shares = drawn(32, k)
    law = fit_mixtures(shares, noisy(shares, truth, 0.002, 0), [0] * 32, 20, 0)
    elsewhere, weights = drawn(200, k, seed=7), np.r_[0.5, 0.3, 0.2, np.zeros(7)]
    expected, came = (
        np.exp(law.log_losses(elsewhere)) @ weights,
        np.exp(features(elsewhere) @ truth) @ weights,
    )
    assert np.corrcoef(expected, came)[0, 1] > 0.95


def test_runs_that_tell_no_law_are_refused() -> None:
    same = np.repeat([[0.3, 0.7]], 10, axis=0)
    with pytest.raises(ValueError, match="10 runs whose mixtures do not differ in all 2 domains"):
        fit_mixtures(same, np.ones((10, 1)), [0] * 10, 10, 0)
    few = drawn(4, 3)
    with pytest.raises(ValueError, match="4 runs of 1 seeds are too few for a law of 3 domains"):
        fit_mixtures(few, noisy(few, surface(3, 1), 0.01, 0), [0] * 4, 10, 0)
    more = drawn(8, 3)
    with pytest.raises(ValueError, match="8 runs of 4 seeds are too few"):
        fit_mixtures(more, noisy(more, surface(3, 1), 0.01, 0), [0, 1, 2, 3] * 2, 10, 0)
