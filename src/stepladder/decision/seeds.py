"""Seed noise: is a difference real, and how many seeds would show one that matters?

Training noise needs repeated runs; more held-out documents do not replace them. The sample-size rule has
the shape of TensorRT-LLM's accuracy tests: n >= ((t_alpha + t_beta) * sd / theta)^2 on paired differences.
"""

from __future__ import annotations

import math

import numpy as np

from stepladder.decision.cells import Cells
from stepladder.decision.comparison import PairsNeeded, RankAgreement, SeedsNeeded, SeedTest, VariantNoise
from stepladder.laws.distributions import kendall_tau, t_quantile, t_share
from stepladder.laws.invert import ComputeLaw
from stepladder.laws.numbers import finite
from stepladder.schema.analysis import AnalysisConfig

POWER = 0.8
"""Chance to see an effect of the wanted size (1 - beta)."""


def seed_test(cells: Cells, candidate: str, reference: str, alpha: float) -> SeedTest:
    """Paired t-test of log loss over the (rung, seed) pairs that both variants have.

    Rungs differ in how large the difference is, so the noise is taken within rungs: the mean difference is
    compared with the pooled within-rung standard deviation, which has pairs - rungs degrees of freedom.
    """
    wide = cells.runs.pivot_table(index=["rung", "budget", "seed"], columns="variant", values="log_loss")
    differences = (wide[candidate] - wide[reference]).dropna()
    groups = [group.to_numpy() for _, group in differences.groupby(level=["rung", "budget"])]
    n, dof = len(differences), len(differences) - len(groups)
    head = SeedTest(
        pairs=n,
        rungs=len(groups),
        dof=dof,
        mean_log_difference=finite(float(differences.mean())) if n else None,
    )
    if dof < 1:
        reason = "no rung has two seeds of both variants, so the noise is unknown"
        return head.model_copy(update={"reason": reason})
    sd = math.sqrt(sum(((g - g.mean()) ** 2).sum() for g in groups) / dof)
    if sd == 0:
        reason = "the seeds differ by exactly the same amounts"
        return head.model_copy(update={"sd_log_difference": 0.0, "reason": reason})
    t = float(differences.mean()) / (sd / math.sqrt(n))
    detectable = (t_quantile(1 - alpha, dof) + t_quantile(POWER, dof)) * sd / math.sqrt(n)
    found = {
        "sd_log_difference": sd,
        "effect_size": -float(differences.mean()) / sd,
        "p_better": t_share(t, dof),
        "detectable_log_difference": float(detectable),
    }
    return head.model_copy(update=found)


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
    if not sd or dof < 1:
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
