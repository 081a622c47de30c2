"""What is taken for true of runs to come: the ladder's own earlier runs, else what it states, else published
figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from stepladder.decision.cells import Cells, make_cells
from stepladder.decision.fit import FLAT, curve_fall
from stepladder.decision.heldout import fit_cells, laws_of
from stepladder.decision.metric import on_metric
from stepladder.decision.noise import SeedNoise, measure_noise
from stepladder.decision.power import Assumed
from stepladder.laws.forms import Array
from stepladder.laws.invert import ComputeLaw, predict
from stepladder.schema.analysis import AnalysisConfig
from stepladder.schema.metric import metric

TOY_BELOW = 1e15
"""FLOPs of the largest rung below which a ladder is like those of docs/experiments.md."""

TOY_LAW = ComputeLaw(E=1.0, A=0.8, alpha=0.25, unit=1e12)
"""Nats per byte of Python source: what the ladders of docs/experiments.md come near."""

LARGE_LAW = ComputeLaw(E=1.8172, A=1.6751, alpha=0.17845, unit=1e18)
"""Along 20 tokens per parameter at C = 6 N D: E + 482.01 N^-0.3478 + 2085.43 D^-0.3658 (Besiroglu et al.
2024, arXiv 2404.10102) as one power of compute, to 0.05 % of what is above E between 1e17 and 1e22 FLOPs."""

TOY_NOISE, LARGE_NOISE = (1e12, 0.01), (7e19, 0.00016)
"""FLOPs and standard deviation of log loss at two ends: the ladders of docs/experiments.md, and OLMo's public
reruns between 190M and 3B parameters (docs/laws.md). Between them the one is a power of the other."""

LEAST_DOF = 2.0
"""Degrees of freedom below which the noise of runs says too little to be taken for true."""


@dataclass(frozen=True)
class NoiseLine:
    """Seed noise of log loss as a power of compute."""

    sd: float
    """Standard deviation of one run at `at`."""
    at: float
    """FLOPs."""
    per_decade: float
    """Factor by which it changes for ten times the FLOPs."""
    correlation: float
    """Of two variants with the same seed."""

    def sd_at(self, flops: Array | float) -> Array:
        """Standard deviation of one run's log loss at a cost."""
        return np.asarray(self.sd * self.per_decade ** np.log10(np.asarray(flops) / self.at))


@dataclass(frozen=True)
class Truth:
    """What is taken for true."""

    law: ComputeLaw
    """Of all variants that gain nothing: nats/token over FLOPs."""
    noise: NoiseLine


def assume(cells: Cells, config: AnalysisConfig, earlier: pd.DataFrame | None) -> tuple[Truth, Assumed]:
    """What is true of the runs `cells`, and in words where that is from.

    Args:
        earlier: runs of this ladder that are there already, as in runs.parquet.

    Raises:
        ValueError: they were not scored by `config.metric`.
    """
    flops = np.sort(cells.cost("flops"))
    before = None if earlier is None else make_cells(on_metric(earlier, config.metric))
    noise, noise_source = _own_noise(before, config) or _assumed_noise(flops, config)
    own = _own_law(before, config)
    law, law_source = own or _assumed_law(flops)
    return Truth(law, noise), Assumed(
        sd_log_loss=float(noise.sd_at(flops[-1])),
        sd_smallest=float(noise.sd_at(flops[0])),
        correlation=noise.correlation,
        noise_source=noise_source,
        E=float(law.E),
        A=float(law.A),
        alpha=float(law.alpha),
        unit_cost=law.unit,
        law_source=law_source,
        law_unit=metric(config.metric if own else "target_loss").unit,
    )


def noise_line(cells: Cells, noise: SeedNoise) -> NoiseLine:
    """What runs show of noise, all variants alike."""
    V = len(cells.variants)
    pairs = noise.correlation[np.tril(np.ones((V, V), dtype=bool), -1)]
    places = np.log(cells.first_cost).groupby(cells.table["step"]).mean()
    return NoiseLine(
        sd=float(np.exp(np.log(noise.sd(0.0)).mean())),
        at=float(np.exp(places.mean())),
        per_decade=float(np.exp(noise.coefficients[1] / 2)),
        correlation=float(np.clip(pairs.mean(), 0, 1)) if V > 1 else 0.0,
    )


def _own_noise(before: Cells | None, config: AnalysisConfig) -> tuple[NoiseLine, str] | None:
    """The noise of earlier runs, where they repeat enough seeds."""
    found = None if before is None else measure_noise(before, stated=config.noise)
    if before is None or found is None or not found.known or (dof := float(found.dof(0.0).max())) < LEAST_DOF:
        return None
    source = f"the ladder's {len(before.runs)} earlier runs ({dof:.1f} degrees of freedom)"
    return noise_line(before, found), source


def _assumed_noise(flops: Array, config: AnalysisConfig) -> tuple[NoiseLine, str]:
    """Noise that is stated, or that others had."""
    if config.noise is not None:
        middle = float(np.exp(np.log(flops).mean()))
        return NoiseLine(config.noise.sd, middle, 1.0, 0.0), "analysis.noise"
    (low, toy), (high, large) = TOY_NOISE, LARGE_NOISE
    per_decade = float((large / toy) ** (1 / np.log10(high / low)))
    return NoiseLine(toy, low, per_decade, 0.0), (
        f"none of its own: a power of compute between toy ladders ({100 * toy:g} % at {low:.0e} FLOPs) and "
        f"OLMo's public reruns ({100 * large:g} % at {high:.0e} FLOPs); state yours as analysis.noise"
    )


def _own_law(before: Cells | None, config: AnalysisConfig) -> tuple[ComputeLaw, str] | None:
    """The baseline's law by earlier runs, where they identify it."""
    if before is None or config.baseline not in before.variants or "flops" not in before.table:
        return None
    try:
        fitted = fit_cells(before, "flops", config, before.log_loss[None])
    except ValueError:  # too few rungs yet
        return None
    law = laws_of(fitted)[before.variants.index(config.baseline)]
    if curve_fall(predict(law, before.of(config.baseline)["flops"].to_numpy())) < FLAT:
        return None
    return law, f"{config.baseline}'s in the ladder's {len(before.runs)} earlier runs"


def _assumed_law(flops: Array) -> tuple[ComputeLaw, str]:
    if flops[-1] < TOY_BELOW:
        return TOY_LAW, "toy ladders on Python source (docs/experiments.md)"
    return LARGE_LAW, "Besiroglu et al. 2024 at 20 tokens per parameter"
