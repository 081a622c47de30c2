"""Find the best mixture by the law of a swarm of small runs, and write down what to expect of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from stepladder.ladder.arms import baseline_kind, baseline_shares
from stepladder.ladder.swarm import share_caps, swarm_design
from stepladder.laws.forms import Array
from stepladder.laws.mixtures import MixtureLaw, Region, features, fit_mixtures, lowest
from stepladder.laws.numbers import percentile_interval
from stepladder.record.passes import passes, too_often
from stepladder.record.spec import RunSpec
from stepladder.record.swarm import DomainShare, Expectation, Profile, SwarmOutcome, SwarmRun
from stepladder.schema.analysis import AnalysisConfig
from stepladder.schema.ladder import Ladder

DRAWS = 400
"""Draws of the law; the lowest point of each is searched for."""

STARTS = 4
"""Mixtures of runs from which the lowest point of the law itself is searched for."""

PROFILE_POINTS = 25

ROUNDED = 6
"""Decimals of a share."""


@dataclass(frozen=True)
class Swarm:
    """What a swarm was to find out."""

    rung: str
    budget: str
    arm: str
    """Corpus that is to read the best mixture."""
    variant: str
    """What the baseline is with that corpus."""
    baseline: Mapping[str, float]
    """Domain to its share in the baseline's mixture."""
    shares: Mapping[str, Mapping[str, float]]
    """Id of a run, of the swarm and of the baseline there, to its mixture."""
    seeds: Mapping[str, int]
    """Id of a run to its seed."""
    weights: Mapping[str, float]
    """Scored domain to its weight in the target loss."""
    caps: Mapping[str, float]
    """Domain to the share that `max_epochs` allows the arm; those without a limit may be missing."""
    n_arm: int
    """Runs of the arm at this rung and budget."""
    n_baseline: int
    repeating: Collection[str] = ()
    """Runs that read some domain more often than `max_epochs`: their mixture says nothing of new text."""

    @classmethod
    def of(
        cls,
        ladder: Ladder,
        rests_on: Iterable[RunSpec],
        arm: Iterable[RunSpec],
        training_tokens: Mapping[str | None, Mapping[str, int]],
    ) -> Swarm:
        """What a ladder asks.

        Args:
            rests_on: runs of the swarm, and the baseline's beside them.
            arm: all runs that will read the mixture.
            training_tokens: of each domain, by the name under which shards lie.

        Raises:
            ValueError: the data are not prepared.
        """
        design, kind, baseline = swarm_design(ladder), baseline_kind(ladder), baseline_shares(ladder)
        runs, waiting = [*rests_on], [*arm]
        place = (runs[0].rung, runs[0].budget)
        name = ladder.prepared_as(design.arm)
        if name not in training_tokens:
            raise ValueError("the text is not prepared as the ladder asks for now: run snakemake")
        variant = kind._replace(corpus=design.arm).variant
        longest = max(run.recipe.tokens for run in waiting)
        limit, tokens = ladder.data.max_epochs, training_tokens[name]
        return cls(
            rung=place[0],
            budget=place[1],
            arm=design.arm,
            variant=variant,
            baseline=baseline,
            shares={run.id: _shares(run, baseline) for run in runs},
            seeds={run.id: run.seed for run in runs},
            weights=ladder.data.domain_weights,
            caps=share_caps(baseline, longest, limit, tokens),
            n_arm=sum((run.variant, run.rung, run.budget) == (variant, *place) for run in waiting),
            n_baseline=sum(run.variant == ladder.analysis.baseline for run in runs),
            repeating={run.id for run in runs if too_often(passes(run, tokens), limit)},
        )


def _shares(run: RunSpec, domains: Iterable[str]) -> dict[str, float]:
    assert run.mixture is not None
    return {name: run.mixture[0].shares.get(name, 0.0) for name in domains}


def choose_mixture(runs: pd.DataFrame, swarm: Swarm, config: AnalysisConfig, made_from: str) -> SwarmOutcome:
    """The mixture with the lowest target loss by the law of the runs, within what was tried and is allowed.

    Args:
        runs: those of `swarm.shares`, as in runs.parquet.
        made_from: digest of the design and of the runs.

    Raises:
        ValueError: the runs tell no law, or caps leave no mixture.
    """
    finite = runs[np.isfinite(runs["loss"].to_numpy(float, na_value=np.nan))]
    finite = finite[~finite["id"].isin(swarm.repeating)]
    domains, scored = list(swarm.baseline), list(swarm.weights)
    shares = np.array([[swarm.shares[run][name] for name in domains] for run in finite["id"]])
    losses = finite[[f"loss_{name}" for name in scored]].to_numpy(float)
    seeds = [swarm.seeds[run] for run in finite["id"]]
    law = fit_mixtures(shares, losses, seeds, min(DRAWS, config.bootstrap_draws), config.seed)
    found = _Search.of(law, shares, swarm)
    predicted = np.exp(law.left_out) @ found.weights
    return SwarmOutcome(
        made_from=made_from,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        confidence=config.confidence,
        baseline=config.baseline,
        arm=swarm.arm,
        variant=swarm.variant,
        rung=swarm.rung,
        budget=swarm.budget,
        n_arm=swarm.n_arm,
        n_baseline=swarm.n_baseline,
        rank_correlation=_rank_correlation(
            finite["loss"].to_numpy(float), np.exp(law.left_out) @ found.weights
        ),
        domains=_domain_shares(found, shares, swarm, config.confidence),
        expectations=_expectations(law, losses, found, swarm, config),
        profiles=_profiles(law, found, domains, config.confidence),
        runs=_rows(finite, swarm, predicted),
        left_out=tuple(sorted(set(runs["id"]) - set(finite["id"]))),
    )


@dataclass(frozen=True)
class _Search:
    """The lowest points of a law and of its draws."""

    weights: Array
    """(m,)."""
    region: Region
    baseline: Array
    """(k,): its mixture."""
    best: Array
    """(k,)."""
    bests: Array
    """(B, k): of the draws."""

    @classmethod
    def of(cls, law: MixtureLaw, shares: Array, swarm: Swarm) -> _Search:
        weights = np.array([*swarm.weights.values()])
        try:
            region = Region.around(shares, np.array([swarm.caps.get(name, 1.0) for name in swarm.baseline]))
        except ValueError:
            raise ValueError(
                "of the mixtures that were tried none is within data.max_epochs at the arm's longest run, "
                "which allow at most "
                + ", ".join(f"{name} {100 * cap:.3g} %" for name, cap in swarm.caps.items())
                + ": bring more text, train less, or raise data.max_epochs"
            ) from None
        order = np.argsort(np.exp(law.log_losses(shares)) @ weights)
        best = lowest(law.coefficients, weights, region, shares[order[:STARTS]]).round(ROUNDED)
        bests = [lowest(draw, weights, region, best[None]) for draw in law.draws]
        return cls(weights, region, np.array([*swarm.baseline.values()]), best, np.array(bests))


def _rank_correlation(came: Array, predicted: Array) -> float | None:
    if np.ptp(came) == 0 or np.ptp(predicted) == 0:
        return None
    return float(spearmanr(came, predicted).statistic)


def _domain_shares(found: _Search, shares: Array, swarm: Swarm, confidence: float) -> tuple[DomainShare, ...]:
    return tuple(
        DomainShare(
            domain=name,
            baseline=share,
            least=float(shares[:, i].min()),
            most=float(shares[:, i].max()),
            cap=cap if (cap := swarm.caps.get(name, 1.0)) < 1 else None,
            share=round(float(found.best[i]), ROUNDED),
            interval=percentile_interval(found.bests[:, i], confidence) or (None, None),
        )
        for i, (name, share) in enumerate(swarm.baseline.items())
    )


def _expectations(
    law: MixtureLaw, losses: Array, found: _Search, swarm: Swarm, config: AnalysisConfig
) -> tuple[Expectation, ...]:
    """Of the target loss, and of every domain's.

    The lowest point of a law looks lower than it is, because what is searched is its error as well. How much
    so is known of the draws: each has its own lowest point, at which the law itself is the truth. What they
    are off by is taken from the change, and from the ends of its interval (the basic bootstrap; Davison and
    Hinkley 1997, section 5.2).
    """
    change = _changes(law.coefficients[None], found.best[None], found)[0]
    off = _changes(law.draws, found.bests, found) - _changes(law.coefficients[None], found.bests, found)
    generator = np.random.default_rng(config.seed)
    weights = np.exp(law.log_losses(found.best)) * found.weights
    noise = law.noise(len(off), generator) * np.sqrt(1 / swarm.n_arm + 1 / swarm.n_baseline)
    seeds = np.column_stack([noise @ weights / weights.sum(), noise])
    errors = np.log(losses) - law.left_out
    total = np.log(losses @ found.weights)
    errors = np.column_stack([total - np.log(np.exp(law.left_out) @ found.weights), errors])
    spread = np.column_stack([total, np.log(losses)]).std(axis=0, ddof=1)
    names: Sequence[tuple[str | None, float]] = [(None, 1.0), *swarm.weights.items()]
    return tuple(
        Expectation(
            domain=name,
            weight=weight,
            change=float(change[i] - off[:, i].mean()),
            law_interval=percentile_interval(change[i] - off[:, i], config.confidence) or (None, None),
            interval=percentile_interval(change[i] - off[:, i] + seeds[:, i], config.confidence)
            or (None, None),
            left_out_error=float(np.sqrt(np.mean(errors[:, i] ** 2))),
            spread=float(spread[i]),
        )
        for i, (name, weight) in enumerate(names)
    )


def _changes(coefficients: Array, shares: Array, found: _Search) -> Array:
    """Log of losses over the baseline's: (B, 1 + m), the target's first.

    Args:
        coefficients: (B or 1, p, m).
        shares: (B, k).
    """
    there = _log_losses(coefficients, shares)
    before = _log_losses(coefficients, found.baseline[None])
    total = np.log(np.exp(there) @ found.weights) - np.log(np.exp(before) @ found.weights)
    return np.column_stack([total, there - before])


def _log_losses(coefficients: Array, shares: Array) -> Array:
    found: Array = (features(shares)[:, None, :] @ coefficients)[:, 0]
    return found


def _profiles(
    law: MixtureLaw, found: _Search, domains: Sequence[str], confidence: float
) -> tuple[Profile, ...]:
    return tuple(_profile(law, found, i, name, confidence) for i, name in enumerate(domains))


def _profile(law: MixtureLaw, found: _Search, i: int, name: str, confidence: float) -> Profile:
    """Through the best mixture; through the baseline's where that is of this domain alone."""
    through = found.best if found.best[i] < 1 else found.baseline
    points = np.linspace(found.region.low[i], found.region.high[i], PROFILE_POINTS)
    rest = np.where(np.arange(len(through)) == i, 0.0, through)
    rest = rest / rest.sum()
    mixtures = np.outer(1 - points, rest)
    mixtures[:, i] = points
    losses = np.array([law.targets(shares, found.weights) for shares in mixtures])
    bands = [percentile_interval(every[1:], confidence) or (None, None) for every in losses]
    return Profile(domain=name, share=_listed(points), loss=_listed(losses[:, 0]), band=tuple(bands))


def _listed(values: Array) -> tuple[float, ...]:
    return tuple(map(float, values))


def _rows(runs: pd.DataFrame, swarm: Swarm, predicted: Array) -> tuple[SwarmRun, ...]:
    return tuple(
        SwarmRun(
            id=row["id"],
            shares=dict(swarm.shares[row["id"]]),
            loss=row["loss"],
            losses={name: row[f"loss_{name}"] for name in swarm.weights},
            predicted=float(guess),
        )
        for row, guess in zip(runs.to_dict("records"), predicted, strict=True)
    )
