"""Sweeps whose truth is known: the optimum and its law come back, intervals cover, edges are refused."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.tuning.bowls import Bowl, fieller, pool_noise
from stepladder.tuning.tune import Target, tune

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
SIZES = {"d2": 1e5, "d3": 4e5, "d4": 1.6e6, "d8": 1e8}


def best_factor(quantity, exponent=-0.2, at=2.0):
    """The truth: twice the ruled rate at d2, and less of it further up."""
    return at * (quantity / SIZES["d2"]) ** exponent


def bowl(best, seeds=(0, 1), factors=FACTORS, curvature=0.05, noise=0.0, generator=None):
    """Rows of one bowl: parabola, an offset of each seed that moves no optimum, and noise of each run."""
    generator = generator or np.random.default_rng(0)
    rows = []
    for seed in seeds:
        offset = generator.normal(0, 10 * noise)
        for factor in factors:
            loss = 3 + curvature * math.log(factor / best) ** 2 + offset + generator.normal(0, noise)
            rows.append({"factor": factor, "seed": seed, "loss": loss})
    return pd.DataFrame(rows)


def sweep(
    variants=("a", "b"), rungs=("d2", "d3"), rule=0.01, noise=1e-3, generator=None, exponent=-0.2, **more
):
    """The runs of a whole sweep; variant b is best at half the rate of a."""
    generator = generator or np.random.default_rng(0)
    tables = []
    for variant in variants:
        for rung in rungs:
            best = best_factor(SIZES[rung], exponent) / (1 + (variant == "b"))
            table = bowl(best, noise=noise, generator=generator, **more)
            tables.append(
                table.assign(
                    variant=variant,
                    rung=rung,
                    budget="1x",
                    batch_factor=1.0,
                    batch_sequences=8,
                    base_rate=rule,
                    rule_rate=rule,
                    quantity=SIZES[rung],
                )
            )
    return pd.concat(tables, ignore_index=True)


def targets(variants=("a", "b"), applied=("d4", "d8"), rule=0.01, budgets=("1x",)):
    return [
        Target(variant, rung, budget, size, rule_rate=rule, ruled_rate=rule, applied=rung in applied)
        for variant in variants
        for rung, size in SIZES.items()
        for budget in budgets
    ]


def rates_of(found, variant):
    return {row.rung: row for row in found.rates if row.variant == variant}


@given(
    best=st.floats(0.6, 1.7),
    curvature=st.floats(1e-3, 1.0),
    base=st.floats(1e-5, 1e-1),
)
def test_the_lowest_point_of_an_exact_bowl(best, curvature, base):
    rows = bowl(best, curvature=curvature)
    exact = Bowl.of(list(rows.factor), list(rows.seed), list(rows.loss))
    assert exact.refusal() is None
    found = exact.optimum(None, 0.95)
    assert math.exp(found.x) == pytest.approx(best, rel=1e-6)
    assert found.curvature == pytest.approx(curvature, rel=1e-6)
    assert found.loss == pytest.approx(3.0, abs=1e-9)


def test_a_steep_flank_is_left_out():
    """Far on the hot side losses leave the parabola; the window reaches a factor of four only."""
    factors = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0]
    losses = [3 + 0.05 * math.log(f) ** 2 + 10 * (f > 4) for f in factors]
    found = Bowl.of(factors, [0] * 7, losses)
    assert list(found.factor[found.window]) == [0.25, 0.5, 1.0, 2.0, 4.0]
    assert math.exp(found.optimum(None, 0.95).x) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("best", "side", "more"), [(0.1, "lowest", [0.0625, 0.125]), (30.0, "highest", [8.0, 16.0])]
)
def test_an_optimum_at_the_edge_is_refused_with_the_factors_to_add(best, side, more):
    rows = bowl(best)
    reason, add = Bowl.of(list(rows.factor), list(rows.seed), list(rows.loss)).refusal()
    assert side in reason and add == more


def test_a_hump_has_no_optimum():
    """The lowest point is inside, but those around it bend downwards."""
    factors, losses = [0.25, 0.5, 1.0, 2.0, 4.0], [3.0, 3.5, 2.99, 3.5, 3.0]
    reason, add = Bowl.of(factors, [0] * 5, losses).refusal()
    assert "bend" in reason and add == [0.125, 8.0]


def test_a_flat_bowl_is_told_from_noise_or_refused():
    flat = sweep(noise=0.05, curvature=1e-4, generator=np.random.default_rng(3))
    found = tune(flat, targets(applied=()), "n", 0.95, 4.0)
    assert all(b.optimum is None for b in found.bowls)
    assert any("noise" in b.reason for b in found.bowls)
    assert found.law is None and all(row.learning_rate is None for row in found.rates)


def test_missing_runs_are_an_error():
    with pytest.raises(ValueError, match="sweep of a at d2: a factor lacks a seed"):
        tune(sweep().drop(index=3), targets(), "n", 0.95, 4.0)


def test_fieller_by_hand():
    """Uncorrelated b and c with t = 2: 4 (c^2 - 4 Vcc) x^2 + 4 b c x + b^2 - 4 Vbb = 0."""
    low, high = fieller(0.0, 1.0, np.diag([0.04, 0.09]), 2.0)
    # 4 (1 - 0.36) x^2 = 0.16
    assert (low, high) == pytest.approx((-0.25, 0.25))
    assert fieller(0.0, 1.0, np.diag([0.04, 0.26]), 2.0) is None, "c is within two standard errors of 0"


def test_what_a_seed_does_to_all_rates_alike_is_no_noise():
    rows = bowl(1.3, seeds=(0, 1, 2), noise=0.0)
    shifted = rows.assign(loss=rows.loss + rows.seed * 0.3)
    found = pool_noise([Bowl.of(list(shifted.factor), list(shifted.seed), list(shifted.loss))])
    assert found is None or found.sd_loss < 1e-9


def test_two_rungs_share_an_exponent():
    found = tune(sweep(), targets(), "n", 0.95, 4.0)
    assert found.law.method == "shared" and "one exponent" in found.law.in_words
    a, b = (found.law.variants[v] for v in "ab")
    assert a.exponent == b.exponent == pytest.approx(-0.2, abs=0.03)
    assert rates_of(found, "a")["d8"].learning_rate == pytest.approx(
        0.01 * best_factor(SIZES["d8"]), rel=0.15
    )
    assert rates_of(found, "a")["d2"].learning_rate / rates_of(found, "b")["d2"].learning_rate == (
        pytest.approx(2, rel=0.05)
    )
    assert not found.problems and not found.warnings


def test_three_rungs_have_exponents_of_their_own():
    found = tune(sweep(rungs=("d2", "d3", "d4")), targets(applied=("d8",)), "n", 0.95, 4.0)
    assert found.law.method == "own" and found.law.scatter is not None
    for variant in "ab":
        low, high = found.law.variants[variant].interval
        assert low < -0.2 < high


def test_one_rung_scales_the_rule():
    """The rule's own exponent stays: it halves the rate at d8."""
    *wanted, d8 = targets(variants=("a",))
    wanted.append(replace(d8, rule_rate=0.005, ruled_rate=0.005))
    found = tune(sweep(variants=("a",), rungs=("d2",)), wanted, "n", 0.95, 4.0)
    assert found.law.method == "rule"
    rates = rates_of(found, "a")
    assert rates["d8"].factor == rates["d2"].factor == pytest.approx(2, rel=0.05)
    assert rates["d8"].learning_rate == pytest.approx(0.005 * rates["d2"].factor)


def test_a_rung_that_overrides_its_rate_does_not_bend_the_law():
    """At d3 the factors multiply a rate of its own; the optimum is what it was."""
    plain = sweep(noise=1e-6)
    moved = plain.copy()
    there = moved.rung == "d3"
    moved.loc[there, "base_rate"] = 0.02
    moved.loc[there, "factor"] /= 2
    one, two = (tune(table, targets(), "n", 0.95, 4.0) for table in (plain, moved))
    for rung in SIZES:
        assert rates_of(one, "a")[rung].learning_rate == rates_of(two, "a")[rung].learning_rate


def test_another_budget_follows_the_rule():
    wanted = targets(variants=("a",), budgets=("1x",))
    wanted += [replace(target, budget="4x", rule_rate=0.02) for target in wanted]
    found = tune(sweep(variants=("a",)), wanted, "n", 0.95, 4.0)
    rates = {(row.rung, row.budget): row for row in found.rates}
    assert rates["d8", "4x"].learning_rate == pytest.approx(2 * rates["d8", "1x"].learning_rate)
    assert rates["d8", "4x"].off is None, "the bowls are of another budget"


def test_rates_are_rounded_so_that_arithmetic_trains_nothing_again():
    table = sweep()
    again = table.assign(loss=table.loss * (1 + 1e-12))
    one, two = (tune(t, targets(), "n", 0.95, 4.0) for t in (table, again))
    assert [row.factor for row in one.rates] == [row.factor for row in two.rates]


def test_off_its_optimum_is_flagged_with_its_cost():
    found = tune(sweep(), targets(applied=("d4",)), "n", 0.95, 4.0)
    d2, d4, d8 = (rates_of(found, "a")[rung].off for rung in ("d2", "d4", "d8"))
    assert d2.flagged and d2.by == "bowl" and d2.n == 8, "four factors, two seeds"
    assert d2.cost == pytest.approx(0.05 * math.log(2) ** 2, rel=0.1)
    assert d4.cost == 0 and d4.flagged is False, "it trains at the prediction"
    assert d8.by == "law" and d8.n == sum(b.n for b in found.bowls if b.variant == "a")
    assert d8.cost == pytest.approx(0.05 * math.log(best_factor(SIZES["d8"])) ** 2, rel=0.5)


def test_a_cost_below_the_noise_is_not_flagged():
    found = tune(sweep(noise=0.02, seeds=range(40)), targets(applied=()), "n", 0.95, 4.0)
    off = rates_of(found, "a")["d3"].off
    assert off.outside and off.cost < off.noise and off.flagged is False


def test_refused_bowls_forbid_to_train_at_the_rates():
    far = sweep()
    there = (far.variant == "a") & (far.rung == "d3")
    far.loc[there, "loss"] = 3 - far.loc[there, "factor"] / 10
    found = tune(far, targets(), "n", 0.95, 4.0)
    assert found.problems == found.warnings
    assert "a at d3 has no optimum" in found.problems[0] and "add 8 and 16" in found.problems[0]
    assert not tune(far, targets(applied=()), "n", 0.95, 4.0).problems, "nothing trains at them"


def test_uncertain_rates_are_stopped():
    noisy = sweep(noise=0.01, generator=np.random.default_rng(1))
    assert not tune(noisy, targets(applied=("d4",)), "n", 0.95, 4.0).problems
    [problem, *_] = tune(noisy, targets(applied=("d8",)), "n", 0.95, 1.2).problems
    assert "a at d8 1x" in problem and "max_uncertainty is 1.2" in problem and "250 times beyond" in problem


def test_without_noise_there_is_no_interval_and_nothing_is_applied():
    bare = sweep(seeds=(0,), factors=(0.5, 1.0, 2.0), noise=0.0, exponent=0.0)
    bare = bare[bare.variant == "b"]
    found = tune(bare, targets(variants=("b",)), "n", 0.95, 4.0)
    assert found.bowls[0].optimum.learning_rate == pytest.approx(0.01)
    assert found.bowls[0].optimum.interval is None
    assert "nothing tells the noise" in found.problems[0]


def test_intervals_cover():
    """200 sweeps of two variants, two rungs, two seeds: optimum at d2, exponent, and rate 16 times beyond."""
    generator = np.random.default_rng(0)
    hits = dict.fromkeys(("optimum", "exponent", "rate"), 0)
    counts = dict.fromkeys(hits, 0)
    wanted = targets(applied=())
    for _ in range(200):
        found = tune(sweep(noise=0.006, generator=generator), wanted, "n", 0.95, 4.0)
        checks = {"rate": (rates_of(found, "a")["d4"].interval, 0.01 * best_factor(SIZES["d4"]))}
        if found.bowls[0].optimum:
            checks["optimum"] = (found.bowls[0].optimum.interval, 0.02)
        if found.law.method == "shared":
            checks["exponent"] = (found.law.variants["a"].interval, -0.2)
        for name, (interval, truth) in checks.items():
            if interval:
                counts[name] += 1
                hits[name] += interval[0] <= truth <= interval[1]
    assert min(counts.values()) > 190
    for name in hits:
        assert 0.90 <= hits[name] / counts[name] <= 0.995, (name, hits, counts)
