"""The rung that the laws of the others size: which runs wait for it, and how its size gets into their specs.

Until top.json is there these specs hold a size that is expected; `at_depth` makes them final. How it is
chosen is in `stepladder.decision.choose_top`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from math import exp
from pathlib import Path

from stepladder.ladder.expand import expand
from stepladder.ladder.grids import top_sizes
from stepladder.ladder.load import error_at
from stepladder.ladder.outcome import read_outcome
from stepladder.record.cost import training_flops
from stepladder.record.spec import RunSpec
from stepladder.record.top import TopRung
from stepladder.schema.design import ComputeOptimalTop
from stepladder.schema.ladder import Ladder

STEP = 1.02
"""Runs have whole steps: FLOPs that are alike to this factor are the same budget."""


def top_design(ladder: Ladder) -> ComputeOptimalTop:
    """What the ladder says of its top rung.

    Raises:
        ValueError: it has none that laws size.
    """
    if not isinstance(ladder.design, ComputeOptimalTop):
        raise ValueError("no rung that laws size: add `design: {kind: compute_optimal_top, flops: …}`")
    return ladder.design


def check_top(ladder: Ladder, runs: Iterable[RunSpec], path: Path) -> None:
    """The top rung is the dearest: elsewhere nothing is forecast, and other runs would be held out.

    Raises:
        LadderError: another run is as dear.
    """
    if not isinstance(ladder.design, ComputeOptimalTop):
        return
    flops = ladder.design.flops
    others = {run.id: training_flops(run.model, run.recipe) for run in runs if run.rung != ladder.top}
    dearest = max(others, key=others.__getitem__)
    if flops <= STEP * others[dearest]:
        message = (
            f"{flops:g} FLOPs: the top rung must have more than all others, and {dearest} has "
            f"{others[dearest]:.3g}: give more, or make `budgets` smaller"
        )
        raise error_at(path, ("design", "flops"), message)


def depths(ladder: Ladder) -> dict[int, float]:
    """Every depth that the top rung may have, to the baseline's active non-embedding parameters.

    Raises:
        ValueError: the ladder has no such rung.
    """
    return {size.rung.depth: exp(size.log_n) for size in top_sizes(ladder, top_design(ladder))}


def top_digest(ladder: Ladder, others: Iterable[RunSpec]) -> str:
    """Changes when anything does that the choice depends on: 16 hex digits."""
    design = ladder.design.model_dump_json() if ladder.design else ""
    analysis = ladder.analysis
    parts = [design, ladder.shape.model_dump_json(), f"top.json {TopRung.VERSION}"]
    parts += [analysis.baseline, str(analysis.floor), str(analysis.seed), str(analysis.confidence)]
    parts += [str(analysis.bootstrap_draws)]
    parts += [analysis.metric] if analysis.metric != "target_loss" else []
    parts += sorted(run.sha256 for run in others)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def read_depth(path: Path, digest: str) -> int:
    """The depth that `stepladder top` chose, of the ladder with this digest.

    Raises:
        FileNotFoundError: it is not chosen yet; what there is may be of another ladder.
    """
    return read_outcome(path, digest, _read_depth, "the top rung's size is not chosen yet")


def _read_depth(path: Path) -> tuple[str, int]:
    found = TopRung.read(path)
    return found.made_from, found.depth


def at_depth(ladder: Ladder, depth: int, path: Path) -> dict[str, RunSpec]:
    """The top rung's runs at this depth, by id.

    Raises:
        LadderError: its recipe or budget is impossible there.
    """
    (rung,) = (rung for rung in ladder.rungs if rung.label == ladder.top)
    alone = ladder.model_copy(update={"rungs": (rung.model_copy(update={"depth": depth}),)})
    return {run.id: run for run in expand(alone, path, ("design",))}
