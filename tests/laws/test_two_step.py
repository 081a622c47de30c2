"""Compute to bits per byte to accuracy: known laws are found again, with intervals that hold them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from stepladder.laws.clusters import Deviations, Runs
from stepladder.laws.distributions import f_share_above
from stepladder.laws.identify import NotIdentified
from stepladder.laws.sigmoid import Bounds, fit_values, reward
from stepladder.laws.two_step import (
    Noise,
    Scores,
    TwoStep,
    accuracy,
    draw_noise,
    fit_two_step,
    foretell,
    gaps,
)

E, ALPHA, K, MIDDLE, CHANCE = 0.5, 0.25, 6.0, 0.9, 0.25
NAMES = ("a", "b", "c")
DELTA = 0.01


def ladder(
    seed: int = 0,
    sd: float = 0.0,
    item_error: float | None = None,
    rungs: int = 5,
    seeds: int = 2,
    gap: float = 0.0,
) -> Scores:
    """Scores by known laws. Seeds move log bits and accuracy by `sd`, half of the variance of log bits being
    common to the variants; items move all runs alike, by `item_error` of accuracy and of bits."""
    generator = np.random.default_rng(seed)
    shape = (len(NAMES), rungs, seeds)
    v, r, s = (axis.ravel() for axis in np.indices(shape))
    flops = 1e15 * 6.0**r * (1 + 0.05 * v)
    true = E + 0.9 * (1 - 0.04 * v) * (flops / 1e15) ** -ALPHA
    noise = generator.standard_normal((1, *shape[1:])) + generator.standard_normal(shape)
    bits = true * np.exp(sd * noise.ravel() / np.sqrt(2))
    share = CHANCE + (1 - CHANCE) / (1 + np.exp(K * (true - MIDDLE))) + gap * v
    share = share + sd * generator.standard_normal(len(v))
    errors = np.full(len(v), np.nan)
    if item_error is not None:
        errors = np.full(len(v), item_error)
        shift = generator.standard_normal(2) * item_error
        bits, share = bits + shift[0], share + shift[1]
    return Scores(Runs(v, r, s), r, {"flops": flops}, bits, share, errors, errors, 1000, CHANCE)


def inside(draws: np.ndarray, value: float) -> bool:
    low, high = np.quantile(draws, [0.025, 0.975])
    return bool(low <= value <= high)


def fitted(scores: Scores, draws: int = 0, seed: int = 0) -> TwoStep:
    noise = draw_noise(scores, draws, seed) if draws else {}
    return fit_two_step(scores, NAMES, noise, True, DELTA)


def test_the_second_step_by_hand() -> None:
    """At b_mid half of the way; log(3) / k below it three quarters."""
    curve = np.array([[0.25, 6.0, 0.9]])
    bits = np.array([[0.9, 0.9 - np.log(3) / 6, 0.9 + np.log(3) / 6]])
    assert accuracy(curve, bits)[0] == pytest.approx([0.625, 0.8125, 0.4375])


def test_without_noise_the_laws_are_found() -> None:
    found = fitted(ladder())
    first, curve = found.parameters(), found.curve()
    assert first["E"][0] == pytest.approx(E, abs=1e-4) and first["alpha[b]"][0] == pytest.approx(
        ALPHA, abs=1e-4
    )
    assert [curve[name][0] for name in ("R0", "k", "b_mid")] == pytest.approx([CHANCE, K, MIDDLE], abs=1e-3)
    (bits,) = found.bits("a", {"flops": 1e15})
    assert bits == pytest.approx(E + 0.9, rel=1e-4)
    assert found.accuracy(np.array([MIDDLE]))[0] == pytest.approx((1 + CHANCE) / 2, abs=1e-4)
    assert np.abs(found.residual).max() < 1e-5 and np.abs(found.off_curve).max() < 1e-4


def test_size_and_data_where_several_budgets_tell_them_apart() -> None:
    r, m, s = (axis.ravel() for axis in np.indices((4, 3, 1)))
    N = 1e7 * 4.0**r
    D = N * np.array([5.0, 20.0, 80.0])[m]
    bits = 0.5 + 300 * N**-0.4 + 900 * D**-0.4
    share = CHANCE + (1 - CHANCE) / (1 + np.exp(K * (bits - MIDDLE)))
    unknown = np.full(len(N), np.nan)
    inputs = {"flops": 6 * N * D, "parameters": N, "tokens": D}
    runs = Runs(np.zeros_like(r), 3 * r + m, s)
    scores = Scores(runs, r, inputs, bits, share, unknown, unknown, 1000, CHANCE)
    found = fit_two_step(scores, ("a",), {}, True, DELTA)
    assert found.law.name == "chinchilla" and found.note is None
    assert found.parameters()["alpha[a]"][0] == pytest.approx(0.4, abs=1e-3)
    without = replace(scores, inputs={"flops": 6 * N * D})
    found = fit_two_step(without, ("a",), {}, True, DELTA)
    assert found.law.name == "compute" and "no parameters or tokens" in str(found.note)


def test_each_noise_widens_its_own_interval() -> None:
    """Noise of items moves all runs alike: the level is another, and the fall is not."""
    scores = ladder(sd=0.003, item_error=0.02)
    found = fitted(scores, 300)
    spread = {kind: found.parameters(kind)["E"].std() for kind in ("seeds", "items", "both")}
    assert spread["items"] > 2 * spread["seeds"] and spread["both"] > spread["items"] * 0.9
    at = {kind: found.accuracy(np.full(300, 0.8), kind).std() for kind in ("seeds", "items", "both")}
    assert at["both"] == pytest.approx(np.hypot(at["seeds"], at["items"]), rel=0.2)
    unknown = replace(scores, accuracy_error=np.full_like(scores.bits, np.nan))
    assert list(draw_noise(unknown, 10, 0)) == ["seeds"]
    once = scores.at(scores.runs.seed == 0)
    assert list(draw_noise(once, 10, 0)) == ["items"]


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """95 % intervals of 30 ladders: within three standard errors of a binomial, or above."""
    held = []
    for seed in range(30):
        scores = ladder(seed, sd=0.004, item_error=0.01, seeds=3)
        found = fitted(scores, 200, seed)
        largest = foretell(scores, NAMES, 200, seed, True, DELTA)[0]
        true = E + 0.9 * 6.0 ** (-4 * ALPHA)
        share = CHANCE + (1 - CHANCE) / (1 + np.exp(K * (true - MIDDLE)))
        held.append(
            [
                inside(found.curve("both")["k"], K),
                inside(found.parameters("both")["alpha[a]"], ALPHA),
                inside(largest.bits["both"], true),
                inside(largest.accuracy["both"], share),
                inside(largest.expected[0], largest.measured_bits),
                inside(largest.expected[1], largest.measured_accuracy),
            ]
        )
    assert (np.mean(held, axis=0) > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 30)).all(), np.mean(held, axis=0)


def test_the_largest_rung_is_not_looked_at() -> None:
    """Other scores there change what was measured, and nothing that was foretold."""
    scores = ladder(sd=0.003)
    last = scores.rung == 4
    other = replace(
        scores, bits=np.where(last, 0.3, scores.bits), accuracy=np.where(last, 1.0, scores.accuracy)
    )
    one, two = (foretell(table, NAMES, 50, 0, True, DELTA) for table in (scores, other))
    for mine, theirs in zip(one, two, strict=True):
        assert np.array_equal(mine.expected, theirs.expected) and mine.n == theirs.n == 2
        assert (mine.accuracy["seeds"] == theirs.accuracy["seeds"]).all()
        assert theirs.measured_bits == pytest.approx(0.3) and theirs.measured_accuracy == 1.0


def test_variants_off_the_common_curve_show() -> None:
    same, apart = (gaps(fitted(ladder(sd=0.002, gap=gap))) for gap in (0.0, 0.01))
    assert same.p_same is not None and same.p_same > 0.05
    assert apart.p_same is not None and apart.p_same < 0.001
    assert apart.gap["c"] - apart.gap["a"] == pytest.approx(0.02, abs=0.004)


def test_gaps_come_by_chance_as_often_as_they_should() -> None:
    p = [gaps(fitted(ladder(seed, sd=0.003))).p_same for seed in range(50)]
    assert np.mean(np.array(p) < 0.1) < 0.1 + 3 * 0.042


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.at(s.rung < 2), "2 rungs: the first step needs 3"),
        (lambda s: replace(s, bits=s.bits[::-1]), "do not fall with compute"),
        (lambda s: replace(s, bits=np.full_like(s.bits, 1.0)), "do not fall with compute"),
        (
            lambda s: replace(s, accuracy=np.full_like(s.bits, 0.26)),
            "guessing on the whole ladder: at most 0.26",
        ),
        (lambda s: replace(s, accuracy=1 - s.accuracy), "accuracy does not rise"),
        (lambda s: replace(s, accuracy=s.accuracy * np.nan), "accuracy is missing in some runs"),
        (lambda s: replace(s, accuracy=s.accuracy * 100), "not between 0 and 1"),
        (lambda s: replace(s, bits=s.bits * np.inf), "bits per byte are missing, infinite or not positive"),
        (lambda s: replace(s, bits=-s.bits), "bits per byte are missing, infinite or not positive"),
    ],
)
def test_what_is_refused(change, said: str) -> None:
    with pytest.raises(NotIdentified, match=said):
        fitted(change(ladder(sd=0.002)))


def test_guessing_is_found_out_as_often_as_it_should() -> None:
    """Accuracy by guessing alone, on 1000 items: at most one in twenty ladders pass, and one in a hundred
    fall out that rises at its end."""
    passed = 0
    for seed in range(200):
        scores = ladder(seed, sd=0.002, seeds=1)
        guessed = np.random.default_rng(seed).binomial(1000, CHANCE, len(scores.bits)) / 1000
        try:
            fitted(replace(scores, accuracy=guessed))
            passed += 1
        except NotIdentified:
            pass
    assert passed <= 0.05 * 200


def test_units_of_compute_and_order_of_runs_change_nothing() -> None:
    scores = ladder(sd=0.003, item_error=0.01)
    found = fitted(scores, 50)
    scaled = fitted(replace(scores, inputs={"flops": scores.inputs["flops"] / 1e9}), 50)
    assert scaled.curve("both")["k"] == pytest.approx(found.curve("both")["k"], rel=1e-6)
    assert scaled.parameters("both")["E"] == pytest.approx(found.parameters("both")["E"], rel=1e-4)
    order = np.random.default_rng(1).permutation(len(scores.bits))
    mixed = fitted(scores.at(order), 50)
    assert mixed.curve("both")["k"] == pytest.approx(found.curve("both")["k"], rel=1e-6)


def test_bits_in_another_unit_scale_the_curve() -> None:
    scores = ladder(sd=0.003)
    found, nats = fitted(scores), fitted(replace(scores, bits=scores.bits * np.log(2)))
    assert nats.curve()["k"] == pytest.approx(found.curve()["k"] / np.log(2), rel=1e-3)
    assert nats.curve()["R0"] == pytest.approx(found.curve()["R0"], rel=1e-3)


def test_a_draw_without_noise_is_the_estimate() -> None:
    scores = ladder(sd=0.003)
    still = np.zeros((3, len(scores.cells)))
    found = fit_two_step(scores, NAMES, {"seeds": Noise(still, still)}, True, DELTA)
    for name, values in found.curve("seeds").items():
        assert values == pytest.approx(found.curve()[name][0], rel=1e-3)


# Clusters.


def test_deviations_by_hand() -> None:
    """Two seeds 0.2 apart: each is 0.1 off, times the root of two."""
    runs = Runs(np.array([0, 0, 1]), np.array([0, 0, 0]), np.array([0, 1, 0]))
    found = Deviations.of(runs, np.array([[1.0], [1.2], [3.0]]))
    assert found is not None
    assert found.pool[:, 0, 0] == pytest.approx([-0.1 * np.sqrt(2), 0.1 * np.sqrt(2)])
    assert np.isnan(found.pool[:, 1]).all() and found.dof == pytest.approx(1.0)
    assert found.sd[0] == pytest.approx(np.std([1.0, 1.2], ddof=1))
    assert Deviations.of(runs.at(np.array([True, False, True])), np.ones((2, 1))) is None


@pytest.mark.parametrize(("common", "dof"), [(1.0, 40), (0.0, 80)])
def test_what_variants_have_in_common_counts_once_and_cancels(common: float, dof: float) -> None:
    generator = np.random.default_rng(0)
    v, p, s = (axis.ravel() for axis in np.indices((2, 40, 2)))
    both = generator.standard_normal((1, 40, 2))
    values = (common * both + (1 - common) * generator.standard_normal((2, 40, 2))).ravel()
    found = Deviations.of(Runs(v, p, s), values[:, None])
    assert found is not None and found.dof == pytest.approx(dof, rel=0.2)
    drawn = found.draw(generator, Runs(v, p, s), 2000)[:, 0].reshape(2000, 2, 40)
    assert drawn.std() == pytest.approx(1 / np.sqrt(2), rel=0.15), "of a mean of two"
    apart = (drawn[:, 0] - drawn[:, 1]).std()
    assert apart == pytest.approx(0.0 if common else 1.0, abs=0.15)


def test_tail_of_f() -> None:
    assert f_share_above(3.2, 2, 9) == pytest.approx(stats.f.sf(3.2, 2, 9))


def test_a_curve_through_points() -> None:
    compute = np.exp(np.linspace(0, 7, 9))
    true = np.array([0.9, 0.25, 1.2, np.exp(3.0)])
    found = fit_values(compute, reward(true, compute), Bounds(0.25, 1.0), 0.25)
    assert found == pytest.approx(true, rel=1e-3)
