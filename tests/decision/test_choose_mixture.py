"""The mixture that a swarm finds: within its bounds, as good as it says, and reported beside what came."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from stepladder.decision.choose_mixture import Swarm, choose_mixture
from stepladder.laws.mixtures import features
from stepladder.record.swarm import SwarmOutcome
from stepladder.report.sections.swarm import (
    came_sentence,
    domains_table,
    expectations_table,
    outcome_table,
    swarm_sentences,
)
from stepladder.schema.analysis import AnalysisConfig

CONFIG = AnalysisConfig(baseline="dense-baseline-natural", bootstrap_draws=200)
DOMAINS = ("web", "code", "papers")
BASELINE = {"web": 0.7, "code": 0.2, "papers": 0.1}
WEIGHTS = {"web": 0.4, "code": 0.4, "papers": 0.2}
TRUTH = np.array(
    [[0.9, 1.5, 1.5], [1.4, 0.6, 1.3], [1.2, 1.3, 0.8], [-0.3, -0.4, 0], [0, -0.1, -0.3], [-0.2, 0, -0.2]]
)
"""Coefficients of the true law: each domain is best read itself, and mixing helps."""


def truth(shares: np.ndarray) -> np.ndarray:
    """Losses of the domains."""
    return np.exp(features(shares) @ TRUTH)


def target(shares: np.ndarray) -> float:
    return float(truth(shares) @ [*WEIGHTS.values()])


def swarm(n: int = 24, caps: dict[str, float] | None = None, seed: int = 0) -> tuple[Swarm, np.ndarray]:
    generator = np.random.default_rng(seed)
    drawn = generator.dirichlet(10 * np.array([*BASELINE.values()]), n).round(4)
    drawn /= drawn.sum(axis=1, keepdims=True)
    every = np.vstack([drawn, [[*BASELINE.values()]] * 2])
    names = [f"dense-baseline-swarm{i}/d2/1x/seed{i % 2}" for i in range(n)]
    names += [f"dense-baseline-natural/d2/1x/seed{seed}" for seed in (0, 1)]
    shares = {
        name: dict(zip(DOMAINS, map(float, row), strict=True)) for name, row in zip(names, every, strict=True)
    }
    asked = Swarm(
        rung="d2",
        budget="1x",
        arm="predicted",
        variant="dense-baseline-predicted",
        baseline=BASELINE,
        shares=shares,
        seeds={name: int(name[-1]) for name in names},
        weights=WEIGHTS,
        caps=caps or {},
        n_arm=2,
        n_baseline=2,
    )
    return asked, every


def results(asked: Swarm, shares: np.ndarray, sigma: float, seed: int = 0) -> pd.DataFrame:
    """Rows as in runs.parquet; the noise of a run is mostly common to its domains."""
    generator = np.random.default_rng(1000 + seed)
    noise = generator.standard_normal((len(shares), 1)) + 0.3 * generator.standard_normal((len(shares), 3))
    losses = truth(shares) * np.exp(sigma * noise)
    columns = {f"loss_{name}": losses[:, i] for i, name in enumerate(DOMAINS)}
    return pd.DataFrame({"id": [*asked.shares], "loss": losses @ [*WEIGHTS.values()], **columns})


def found(sigma: float = 0.0, seed: int = 0, draws: int = 200, **changes) -> SwarmOutcome:
    asked, shares = swarm(seed=seed, **changes)
    config = CONFIG.model_copy(update={"bootstrap_draws": draws})
    return choose_mixture(results(asked, shares, sigma, seed), asked, config, "digest")


def chosen(outcome: SwarmOutcome) -> np.ndarray:
    return np.array([outcome.mixture[name] for name in DOMAINS])


def test_without_noise_it_is_the_best_that_was_tried() -> None:
    outcome = found()
    generator = np.random.default_rng(5)
    others = generator.dirichlet(np.ones(3), 20_000)
    low, high = (np.array([getattr(row, end) for row in outcome.domains]) for end in ("least", "most"))
    others = others[np.all((low <= others) & (others <= high), axis=1)]
    assert target(chosen(outcome)) <= min(map(target, others)) + 1e-6
    expected = outcome.expectations[0]
    came = np.log(target(chosen(outcome)) / target(np.array([*BASELINE.values()])))
    assert came < -0.02 and expected.change == pytest.approx(came, abs=1e-4)
    assert outcome.rank_correlation > 0.999
    for row, name in zip(outcome.expectations[1:], DOMAINS, strict=True):
        i = DOMAINS.index(name)
        came = np.log(truth(chosen(outcome))[i] / truth(np.array([*BASELINE.values()]))[i])
        assert row.domain == name and row.change == pytest.approx(came, abs=1e-3)


def test_caps_bind() -> None:
    free, held = found(), found(caps={"code": 0.25})
    assert free.mixture["code"] > 0.3
    assert held.mixture["code"] == pytest.approx(0.25, abs=1e-5) and held.mixture["code"] <= 0.25
    row = next(row for row in held.domains if row.domain == "code")
    assert row.cap == 0.25 and row.interval[1] <= 0.25 + 1e-9
    assert sum(held.mixture.values()) == pytest.approx(1, abs=1e-5)


def test_caps_that_leave_no_mixture_are_refused() -> None:
    with pytest.raises(ValueError, match=r"at most web 30 %, code 20 %, papers 10 %: bring more text"):
        found(caps={"web": 0.3, "code": 0.2, "papers": 0.1})


def test_a_search_does_not_make_it_look_better_than_it_is() -> None:
    """With noise as large as the differences, the lowest point of a law is its luckiest: what is expected
    must be right on average all the same, and its interval hold the truth."""
    before, off, inside = np.array([*BASELINE.values()]), [], 0
    for seed in range(40):
        outcome = found(sigma=0.02, seed=seed, draws=100)
        expected = outcome.expectations[0]
        came = np.log(target(chosen(outcome)) / target(before))
        off.append(expected.change - came)
        low, high = expected.law_interval
        inside += low <= came <= high
    assert abs(np.mean(off)) < 2.5 * np.std(off, ddof=1) / np.sqrt(40) + 0.004
    assert inside >= 34


def test_runs_without_a_loss_are_left_out_and_named() -> None:
    asked, shares = swarm()
    runs = results(asked, shares, 0.001)
    runs.loc[3, "loss"] = None
    outcome = choose_mixture(runs, asked, CONFIG, "digest")
    assert outcome.left_out == ("dense-baseline-swarm3/d2/1x/seed1",) and len(outcome.runs) == 25
    assert "without a finite loss, or" in swarm_sentences(outcome)[0]
    assert "dense-baseline-swarm3/d2/1x/seed1" in swarm_sentences(outcome)[0]

    asked = replace(asked, repeating={"dense-baseline-swarm5/d2/1x/seed1"})
    again = choose_mixture(runs, asked, CONFIG, "digest")
    assert again.left_out == (outcome.left_out[0], "dense-baseline-swarm5/d2/1x/seed1")
    assert len(again.runs) == 24


def test_it_is_the_same_each_time_and_readable(tmp_path) -> None:
    outcome = found(sigma=0.003)
    again = found(sigma=0.003).model_copy(update={"made_at": outcome.made_at})
    assert again == outcome
    outcome.write(tmp_path / "swarm.json")
    assert SwarmOutcome.read(tmp_path / "swarm.json") == outcome
    later = outcome.model_copy(update={"made_at": "2100-01-01T00:00:00+00:00"})
    assert later.kept_from(tmp_path / "swarm.json") == outcome


def came(outcome: SwarmOutcome, change: float, started: str = "2100-01-01T00:00:00+00:00") -> pd.DataFrame:
    """Two rungs, two seeds of arm and baseline: the arm's losses differ by `change`."""
    rows = []
    for rung, scale in (("d2", 1.0), ("d3", 0.9)):
        for variant, factor in ((outcome.baseline, 1.0), (outcome.variant, np.exp(change))):
            losses = {f"loss_{name}": 3.0 * scale * factor for name in DOMAINS}
            row = {"variant": variant, "rung": rung, "budget": "1x", "loss": 3.0 * scale * factor, **losses}
            rows += [row | {"lineage_started": started, "seed": seed} for seed in (0, 1)]
    return pd.DataFrame(rows)


def test_the_report_says_what_was_tried_expected_and_came() -> None:
    outcome = found(sigma=0.003, caps={"papers": 0.4})
    expected = outcome.expectations[0].change
    said = " ".join(swarm_sentences(outcome))
    assert "n = 26 runs at rung d2, budget 1x (2 of them of dense-baseline-natural)" in said
    table = domains_table(outcome)
    assert "Cap" in [column.title for column in table.columns] and table.rows[2][3] == "40.0 %"
    runs = came(outcome, expected)
    first, *_ = expectations_table(outcome, runs).rows
    assert first[0] == "target loss" and first[2] == first[4] and first[5] == "✓"
    assert [row[:2] + row[4:5] for row in outcome_table(outcome, runs).rows] == [
        ("d2", "1x", "2 + 2"),
        ("d3", "1x", "2 + 2"),
    ]
    apart = runs.assign(loss=runs["loss"] * np.where(runs["seed"] == 1, 1.02, 1.0))
    assert outcome_table(outcome, apart).rows[0][6] == f"[{first[4]}, {first[4]}]", "seeds are paired"
    arm = runs["variant"] == outcome.variant
    wide = runs.assign(
        loss=runs["loss"] * np.where(arm, np.exp(np.where(runs["seed"] == 1, 0.001, -0.001)), 1)
    )
    half = 12.706 * 0.001 * np.sqrt(2) / np.sqrt(2)  # t of 97.5 % with one degree of freedom; sd of two
    low, high = (f"{100 * np.expm1(expected + sign * half):+.2f} %".replace("-", "−") for sign in (-1, 1))
    assert outcome_table(outcome, wide).rows[1][6] == f"[{low}, {high}]"
    assert "inside the expected interval" in came_sentence(outcome, runs)
    assert "began after it was written down" in came_sentence(outcome, runs)
    early = came(outcome, expected + 1, started="2020-01-01T00:00:00+00:00")
    assert "outside the expected interval" in came_sentence(outcome, early)
    assert "it is no prediction" in came_sentence(outcome, early)
    nothing = runs[runs["variant"] == outcome.baseline]
    assert came_sentence(outcome, nothing) == "Nothing that was expected can be held against runs yet."
    assert not outcome_table(outcome, nothing).rows
