"""What a design makes of a ladder's rungs: sizes at budgets, and a place for the one that laws will size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import exp, log
from typing import NamedTuple

from stepladder.ladder.arms import with_arm
from stepladder.ladder.kinds import part_settings
from stepladder.ladder.shapes import resolve_model
from stepladder.record.cost import parameters, training_flops_per_position
from stepladder.schema import ranges
from stepladder.schema.budget import Flops
from stepladder.schema.design import TOP, ComputeOptimalTop, Isoflop, MixtureSwarm
from stepladder.schema.ladder import Ladder, Rung


class Size(NamedTuple):
    """A rung of the baseline's architecture."""

    rung: Rung
    log_n: float
    """Log of its active non-embedding parameters."""
    log_cost: float
    """Log of the training FLOPs of one token per parameter."""


def lay_out(ladder: Ladder) -> Ladder:
    """The ladder with what its design adds: rungs, each with the budgets at which it trains, or an arm.

    Sizes are those of the baseline's architecture; every variant trains the same rungs. Where the file lists
    rungs, sizes are chosen among them, else among all depths.

    Raises:
        ValueError: there are too few sizes, or none near the one that is expected to be best.
    """
    design = ladder.design
    if design is None:
        return ladder
    if isinstance(design, ComputeOptimalTop):
        return _with_top(ladder, design)
    if isinstance(design, MixtureSwarm):
        return with_arm(ladder, design)
    spread = 2 * design.sizes * log(design.ratio)
    most = log(max(design.flops)) - log(design.around) + spread
    sizes = sizes_of(ladder, ladder.rungs, most, design.sizes)
    budgets: defaultdict[str, list[Flops]] = defaultdict(list)
    for flops in sorted(design.flops):
        for size in choose(sizes, flops, design):
            budgets[size.rung.label].append(Flops(flops=flops))
    rungs = [
        size.rung.model_copy(update={"budgets": tuple(budgets[size.rung.label])})
        for size in sizes
        if size.rung.label in budgets
    ]
    return ladder.model_copy(update={"rungs": tuple(rungs)})


def choose(sizes: Sequence[Size], flops: float, design: Isoflop) -> list[Size]:
    """The sizes of one profile, at equal steps of log N about the one with `around` tokens per parameter.

    Args:
        sizes: what there is, smallest first.

    Raises:
        ValueError: that one is not between the smallest and the largest, or there are too few.
    """
    if len(sizes) < design.sizes:
        raise ValueError(
            f"{design.sizes} sizes are asked for at each budget, and the ladder has {len(sizes)}"
        )
    middle = _middle(sizes, log(flops) - log(design.around))
    if middle is None:
        first, last = sizes[0], sizes[-1]
        raise ValueError(
            f"at {flops:g} FLOPs the size with {design.around:g} tokens per parameter is none of those "
            f"between {first.rung.label} ({exp(log(flops) - first.log_cost):.3g} tokens per parameter) and "
            f"{last.rung.label} ({exp(log(flops) - last.log_cost):.3g}): add sizes, or change flops or around"
        )
    offsets = [k - (design.sizes - 1) / 2 for k in range(design.sizes)]
    return [
        sizes[i] for i in nearest([s.log_n for s in sizes], [middle + k * log(design.ratio) for k in offsets])
    ]


def nearest(there: Sequence[float], wanted: Sequence[float]) -> list[int]:
    """Places in `there` (ascending), a different one for each of `wanted` (ascending): from the middle
    outwards each the nearest that leaves enough for the others."""
    half, n = len(wanted) // 2, len(wanted)

    def pick(k: int, low: int, high: int) -> int:
        return min(range(low, high), key=lambda i: abs(there[i] - wanted[k]))

    chosen = [pick(half, half, len(there) - (n - half - 1))]
    for k in range(half + 1, n):
        chosen.append(pick(k, chosen[-1] + 1, len(there) - (n - k - 1)))
    for k in reversed(range(half)):
        chosen.insert(0, pick(k, k, chosen[0]))
    return chosen


def _middle(sizes: Sequence[Size], log_cost: float) -> float | None:
    """Log N, between sizes, at which a token per parameter costs so much; None if that is outside them."""
    for low, high in pairwise(sizes):
        if low.log_cost <= log_cost <= high.log_cost:
            share = (log_cost - low.log_cost) / (high.log_cost - low.log_cost)
            return low.log_n + share * (high.log_n - low.log_n)
    return None


def sizes_of(ladder: Ladder, rungs: Sequence[Rung], most: float, beyond: int) -> list[Size]:
    """Rungs as sizes of the baseline's architecture, smallest first.

    Args:
        rungs: those of which; none for every depth that the shape rule allows.
        most: log cost of a token per parameter up to which depths are wanted...
        beyond: ...and so many more.

    Raises:
        ValueError: a listed rung is impossible.
    """
    return sorted(_sizes(ladder, rungs, most, beyond), key=lambda size: size.log_n)


def _sizes(ladder: Ladder, rungs: Sequence[Rung], most: float, beyond: int) -> Iterator[Size]:
    baseline = ladder.kinds.get(ladder.analysis.baseline)
    name = baseline.architecture if baseline else next(iter(ladder.architectures))
    corpus = baseline.corpus if baseline else None
    architecture, config = part_settings("architectures", name, ladder.architectures[name])
    larger = 0
    for rung in rungs or map(_of_depth, _depths()):
        try:
            model = resolve_model(ladder, rung, architecture, config, corpus)
        except ValueError:
            if rungs:
                raise
            continue  # widths or heads that do not fit together at this depth
        n = parameters(model).active_non_embedding
        cost = log(n) + log(training_flops_per_position(model))
        yield Size(rung, log(n), cost)
        larger += cost > most
        if not rungs and larger > beyond:
            return


def _depths() -> Iterator[int]:
    """Every depth up to 50, from there on at steps of 2 %: nearer ones are one size."""
    depth = 1
    while depth in ranges.DEPTH:
        yield depth
        depth = max(depth + 1, round(1.02 * depth))


def _of_depth(depth: int) -> Rung:
    return Rung(depth=depth)


def _with_top(ladder: Ladder, design: ComputeOptimalTop) -> Ladder:
    """The ladder with a rung as large as is expected until the law is known."""
    for rung in ladder.rungs:
        if rung.label.casefold() == TOP:
            raise ValueError(
                f"the rung that the law sizes is called {TOP!r}, as one of rungs is: rename that"
            )
    sizes = top_sizes(ladder, design)
    middle = log(design.flops) - log(design.around)
    expected = min(sizes, key=lambda size: abs(size.log_cost - middle))
    top = expected.rung.model_copy(
        update={"name": TOP, "budgets": (Flops(flops=design.flops),), "seeds": design.seeds}
    )
    return ladder.model_copy(update={"rungs": (*ladder.rungs, top)})


def top_sizes(ladder: Ladder, design: ComputeOptimalTop) -> list[Size]:
    """Every size that the top rung may have, smallest first: down to one token per parameter.

    Raises:
        ValueError: the shape rule allows none.
    """
    sizes = sizes_of(ladder, (), log(design.flops), 1)
    if not sizes:
        raise ValueError("the shape rule allows no depth: change `shape`")
    return sizes
