"""Seed noise: is a difference real, and how many seeds would show one that matters?

Training noise needs repeated runs; more held-out documents do not replace them. The sample-size rule has
the shape of TensorRT-LLM's accuracy tests: n >= ((t_alpha + t_beta) * sd / theta)^2 on paired differences.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from stepladder.decision.cells import Cells
from stepladder.decision.comparison import PairsNeeded, RankAgreement, SeedsNeeded, SeedTest, VariantNoise
from stepladder.decision.noise import SeedNoise
from stepladder.laws.distributions import kendall_tau, t_quantile, t_share
from stepladder.laws.invert import ComputeLaw
from stepladder.laws.numbers import finite
from stepladder.schema.analysis import AnalysisConfig

TESTED_RUNGS = 2
"""Largest rungs that the seed test looks at."""

NO_NOISE = 1e-10
"""Standard error of log loss below which there is none but rounding."""

POWER = 0.8
"""Chance to see an effect of the wanted size (1 - beta)."""


def seed_test(cells: Cells, noise: SeedNoise, candidate: str, reference: str, alpha: float) -> SeedTest:
    """t-test of the difference in log loss at the largest rungs that both variants ran: of two if there are
    two, since below them the difference may be another.

    The standard error is that of the seed noise there, common seeds taken into account, with the degrees of
    freedom of its line over all rungs.
    """
    mine, theirs = (cells.of(name).set_index("step") for name in (candidate, reference))
    common = tested_steps(cells, candidate, reference)
    pairs = [
        len(np.intersect1d(_seeds_at(cells, candidate, step), _seeds_at(cells, reference, step)))
        for step in common
    ]
    difference = (mine["log_loss"] - theirs["log_loss"]).loc[common]
    head = SeedTest(
        pairs=sum(pairs),
        rungs=len(common),
        dof=0,
        mean_log_difference=finite(float(difference.mean())) if common else None,
    )
    if not common or not noise.known:
        reason = (
            "no rung in common" if noise.known else "no variant has two seeds of a rung: noise is unknown"
        )
        return head.model_copy(update={"reason": reason})
    index = [cells.variants.index(name) for name in (candidate, reference)]
    error = error_of_difference(cells, noise, common, index)
    one = noise.covariance(float(noise.place[common[-1]]))[np.ix_(index, index)]
    one_pair = float(one[0, 0] + one[1, 1] - 2 * one[0, 1])
    dof = float(noise.dof()[common[-1], index].min())
    if error < NO_NOISE:
        reason = "the seeds differ by exactly the same amounts"
        return head.model_copy(update={"sd_log_difference": 0.0, "dof": dof, "reason": reason})
    found = {
        "dof": dof,
        "sd_log_difference": math.sqrt(one_pair),
        "effect_size": -float(difference.mean()) / math.sqrt(one_pair),
        "p_better": t_share(float(difference.mean()) / error, dof),
        "detectable_log_difference": (t_quantile(1 - alpha, dof) + t_quantile(POWER, dof)) * error,
    }
    return head.model_copy(update=found)


def tested_steps(cells: Cells, candidate: str, reference: str) -> list[int]:
    """Places of the ladder that the seed test looks at: the largest that both variants ran."""
    mine, theirs = (set(cells.of(name)["step"]) for name in (candidate, reference))
    return sorted(mine & theirs)[-TESTED_RUNGS:]


def error_of_difference(cells: Cells, noise: SeedNoise, steps: list[int], index: list[int]) -> float:
    """Standard error of the difference of two variants' mean log losses, averaged over places.

    Args:
        index: the two variants, as in `cells.variants`.
    """
    return math.sqrt(sum(_error(cells, noise, step, index) for step in steps)) / len(steps)


def _seeds_at(cells: Cells, variant: str, step: int) -> npt.NDArray[np.int64]:
    """Seeds of a variant at a place."""
    here = (cells.variant == cells.variants.index(variant)) & (cells.step == step)
    (cell,) = np.flatnonzero(here)
    return cells.seeds[int(cell)]


def _error(cells: Cells, noise: SeedNoise, step: int, index: list[int]) -> float:
    """Variance of the difference of two variants' mean log losses at a place."""
    a, b = (_seeds_at(cells, cells.variants[v], step) for v in index)
    one = noise.covariance(float(noise.place[step]))[np.ix_(index, index)]
    shared = len(np.intersect1d(a, b)) / (len(a) * len(b))
    return float(one[0, 0] / len(a) + one[1, 1] / len(b) - 2 * shared * one[0, 1])


def seeds_needed(
    cells: Cells, reference: str, law: ComputeLaw, test: SeedTest, config: AnalysisConfig
) -> SeedsNeeded | None:
    """Pairs of runs (one of each variant, same seed) at one rung that would show a gain of
    `config.wanted_gain` there with 80 % power, for every rung; None without a noise estimate.

    Args:
        law: the reference's.

    An EG of g lowers the loss by (L - E)(1 - g^-alpha) (from L = E + A C^-alpha).
    """
    sd, dof = test.sd_log_difference, test.dof
    if not sd or not dof:
        return None
    quantiles = t_quantile(1 - config.verdict.alpha, dof) + t_quantile(POWER, dof)
    rungs = []
    for row in cells.of(reference).to_dict("records"):
        theta = (row["loss"] - law.E) * (1 - config.wanted_gain**-law.alpha) / row["loss"]
        if theta <= 0:
            continue
        pairs = max(2, math.ceil((quantiles * sd / theta) ** 2))
        rungs.append(
            PairsNeeded(
                label=row["label"],
                log_difference=float(theta),
                pairs=pairs,
                had=row["n"],
                accelerator_hours=2 * pairs * row["seconds"] / 3600 if "seconds" in row else None,
            )
        )
    if not rungs:
        return None
    largest = rungs[-1]
    return SeedsNeeded(
        gain=config.wanted_gain,
        power=POWER,
        alpha=config.verdict.alpha,
        pairs=largest.pairs,
        log_difference=largest.log_difference,
        rungs=rungs,
    )


def rank_agreement(cells: Cells) -> list[RankAgreement]:
    """Kendall's tau of the variants' order by loss between each rung and the largest."""
    wide = cells.table.pivot_table(index="step", columns="variant", values="loss").dropna()
    labels = cells.table.drop_duplicates("step").set_index("step")["label"]
    if wide.shape[1] < 2 or len(wide) < 2:
        return []
    last = wide.index[-1]
    rows = []
    for step in wide.index[:-1]:
        tau = kendall_tau(wide.loc[step], wide.loc[last])
        rows.append(
            RankAgreement(
                rung=labels[step],
                largest=labels[last],
                tau=finite(tau),
                n_variants=wide.shape[1],
            )
        )
    return rows


def noise_by_variant(cells: Cells) -> dict[str, VariantNoise]:
    """Pooled within-rung standard deviation of the loss (nats/token) per variant, with its dof."""
    result = {}
    for name in cells.variants:
        mine = cells.runs[cells.runs["variant"] == name]
        groups = [g["loss"].to_numpy() for _, g in mine.groupby(["rung", "budget"])]
        dof = sum(len(g) - 1 for g in groups)
        squares = sum(float(((g - g.mean()) ** 2).sum()) for g in groups)
        sd = float(np.sqrt(squares / dof)) if dof else None
        result[name] = VariantNoise(sd_loss=sd, dof=dof, runs=len(mine))
    return result
