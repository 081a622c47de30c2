"""From compute to accuracy in two steps (Bhagia et al. 2024, "Establishing task scaling laws via
compute-efficient model ladders", arXiv 2412.04403):

    1. bits per byte of the gold answers  b = E + A C^-alpha   (or E + A N^-alpha + B D^-beta)
    2. accuracy                           a = R0 + (1 - R0) / (1 + exp(k (b - b_mid)))

The first is smooth where accuracy is still that of guessing. The second is one curve for all variants: that
it does not matter by what recipe a model came to its bits is the paper's assumption, and `gaps` tests it. Its
top is 1, that of a model that is certain of all answers: the runs of a ladder seldom tell it, and the paper
fits it to a made-up point of no bits and accuracy 1. R0 is fitted, as in the paper: it is not always that of
guessing. Seen from its top, 1 - a over bits, the curve is the bounded law of `sigmoid` with exp(b) for
compute.

Two kinds of noise, drawn apart and together. Of seeds: `clusters`. Of items, those that were scored being a
sample of all that could have been: every run answers the same items, so that without scores of single items
the error of a mean over items is taken to be the same for all runs of a task, in units of each run's standard
error, and that of bits to be independent of that of accuracy. What an item does to one run and not to another
is in the noise of seeds already.

Shapes: M runs, C cells (mean over seeds of a variant at a place), V variants, B draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from stepladder.laws.clusters import Deviations, Index, Runs
from stepladder.laws.design import Design, make_design
from stepladder.laws.distributions import f_share_above, normal_quantile, t_quantile
from stepladder.laws.forms import LAWS, Array, Law
from stepladder.laws.identify import NotIdentified, refuse_fit, refuse_rows
from stepladder.laws.sigmoid import Bounds, fit_values, reward
from stepladder.laws.solve import Robust, solve
from stepladder.laws.starts import search

Kind = Literal["seeds", "items", "both"]
KINDS: tuple[Kind, ...] = ("seeds", "items", "both")
"""Kinds of noise: of training, of the items that were scored, and the two together."""

CURVE = ("R0", "k", "b_mid")
"""Parameters of the second step, in the order of `TwoStep.curve`."""

LEAST_RUNGS = 3
"""Of every variant in the first step."""

FLAT = 1e-6
"""Range of accuracies along the curve from which on there is one."""

LEVEL = 0.05
"""Of the tests that refuse a task."""

SPAN = 7.0
"""Range that bits take in units of the curve's solver, as of compute a thousandfold."""

MOST_BITS = 700.0
"""From here on exp(b) is too large a number; no text needs as many."""

STEPS, STEEPEST, REACH = 60, (0.05, 20.0), 3.0
"""Of the curve's solver: most steps, bounds of k, and how far from the points b_mid may lie, in their
range."""


@dataclass(frozen=True)
class Scores:
    """What M runs scored on one task."""

    runs: Runs
    rung: Index
    """(M,) from 0; a place is a rung at a budget."""
    inputs: Mapping[str, Array]
    """flops, and where they are known parameters and tokens, (M,)."""
    bits: Array
    """(M,) bits per byte of the gold answers; lower is better."""
    accuracy: Array
    """(M,) share of the items."""
    bits_error: Array
    """(M,) standard error over items; NaN where it is not known."""
    accuracy_error: Array
    """(M,) likewise."""
    items: int
    chance: float
    """Accuracy of guessing."""

    def at(self, rows: npt.NDArray[np.bool_]) -> Scores:
        """Some of the runs."""
        return Scores(
            self.runs.at(rows),
            self.rung[rows],
            {name: values[rows] for name, values in self.inputs.items()},
            self.bits[rows],
            self.accuracy[rows],
            self.bits_error[rows],
            self.accuracy_error[rows],
            self.items,
            self.chance,
        )

    @property
    def cells(self) -> Index:
        """(C,) a run of each cell, which says what its cell is."""
        return np.asarray(np.unique(self.runs.cell, return_index=True)[1], dtype=np.int64)

    @property
    def deviations(self) -> Deviations | None:
        """Of log bits and accuracy, by repeated seeds."""
        return Deviations.of(self.runs, np.column_stack([np.log(self.bits), self.accuracy]))


@dataclass(frozen=True)
class Noise:
    """Draws of one kind of noise of the cells' log bits and accuracy."""

    log_bits: Array
    """(B, C)."""
    accuracy: Array
    """(B, C)."""


@dataclass(frozen=True)
class TwoStep:
    """Both steps of one task, at the estimate and in every draw of each kind of noise."""

    law: Law
    design: Design
    variants: tuple[str, ...]
    steps: dict[Kind | None, tuple[Array, Array]]
    """Kind of noise, None for the estimate, to the first step's parameters (B, P) and the second's (B, 3)."""
    note: str | None
    """Why the first step is not of size and data although budgets differ, or None."""
    residual: Array
    """(C,) log bits above the first step."""
    off_curve: Array
    """(C,) accuracy above the second step, given the cell's own bits."""
    variant: Index
    """(C,) of the cells."""

    def parameters(self, kind: Kind | None = None) -> dict[str, Array]:
        """The first step's, (B,) each; those of a variant are named `A[moe]`."""
        values = self.steps[kind][0]
        return {name: values[:, p] for p, name in enumerate(self.design.names)}

    def curve(self, kind: Kind | None = None) -> dict[str, Array]:
        """The second step's, (B,) each."""
        values = self.steps[kind][1]
        return dict(zip(CURVE, values.T, strict=True))

    def bits(self, variant: str, inputs: Mapping[str, float], kind: Kind | None = None) -> Array:
        """(B,) bits per byte at the law's inputs."""
        found = self.parameters(kind)
        own = {name: found.get(f"{name}[{variant}]", found.get(name)) for name in self.law.names}
        return self.law.loss(own, {name: inputs[name] for name in self.law.inputs})

    def accuracy(self, bits: Array, kind: Kind | None = None) -> Array:
        """(B,) accuracy of models with bits (B,)."""
        return accuracy(self.steps[kind][1], bits[:, None])[:, 0]


def accuracy(curve: Array, bits: Array) -> Array:
    """(B, K) of bits (B, K) by parameters (B, 3) of the second step."""
    R0, k, middle = np.asarray(curve).T
    most = [np.exp(np.clip(values, -MOST_BITS, MOST_BITS)) for values in (middle, np.asarray(bits))]
    return 1 - reward(np.column_stack([1 - R0, np.zeros_like(R0), k, most[0]]), most[1])


def refuse(scores: Scores) -> None:
    """Raises:
    NotIdentified: a step cannot be told from these scores; the message says which and why.
    """
    _refuse_values(scores)
    for v in np.unique(scores.runs.variant):
        rungs = len(np.unique(scores.rung[scores.runs.variant == v]))
        if rungs < LEAST_RUNGS:
            raise NotIdentified(f"{rungs} rungs: the first step needs {LEAST_RUNGS}")
    if (reason := _not_falling(scores)) or (reason := _guessing(scores)):
        raise NotIdentified(reason)


def _refuse_values(scores: Scores) -> None:
    """Raises:
    NotIdentified: bits are not positive, or accuracy is no share.
    """
    if not ((scores.bits > 0) & np.isfinite(scores.bits)).all():
        raise NotIdentified("bits per byte are missing, infinite or not positive in some runs")
    if not ((scores.accuracy >= 0) & (scores.accuracy <= 1)).all():
        raise NotIdentified("accuracy is missing in some runs, or not between 0 and 1")


def _not_falling(scores: Scores) -> str | None:
    """Whether log bits, with a level of each variant's own, fall along log compute by a one-sided t-test."""
    means = scores.runs.means
    y, x = means(np.log(scores.bits)), means(np.log(scores.inputs["flops"]))
    variant = scores.runs.variant[scores.cells]
    level = (variant == np.unique(variant)[:, None]).astype(float)
    slope_of = np.column_stack([x, level.T])
    found, *_ = np.linalg.lstsq(slope_of, y, rcond=None)
    dof = len(y) - slope_of.shape[1]
    left = y - slope_of @ found
    error = np.sqrt(max(0.0, float(left @ left)) / dof * np.linalg.pinv(slope_of.T @ slope_of)[0, 0])
    if found[0] < 0 and found[0] <= -t_quantile(1 - LEVEL, dof) * error:
        return None
    return (
        f"bits per byte do not fall with compute: their log by {found[0]:.2g} (standard error {error:.2g}) "
        "for each e-fold"
    )


def _guessing(scores: Scores) -> str | None:
    """Whether any place's mean accuracy is above guessing, by a binomial's normal approximation, with as many
    chances to be so as there are places (Bonferroni)."""
    places = np.unique(scores.runs.place)
    means = np.array([scores.accuracy[scores.runs.place == place].mean() for place in places])
    error = np.sqrt(scores.chance * (1 - scores.chance) / scores.items)
    needed = float(normal_quantile(1 - LEVEL / len(places))) * error
    if means.max() > scores.chance + needed:
        return None
    return (
        f"accuracy is that of guessing on the whole ladder: at most {means.max():.3f}, and {scores.items} "
        f"items show nothing below {scores.chance + needed:.3f} (chance {scores.chance:.3f})"
    )


def draw_noise(scores: Scores, draws: int, seed: int) -> dict[Kind, Noise]:
    """Noise of the cells' scores of every kind that is known.

    Raises:
        NotIdentified: a score is none.
    """
    _refuse_values(scores)
    generator = np.random.default_rng(seed)
    means = scores.runs.means
    found: dict[Kind, Noise] = {}
    deviations = scores.deviations
    if deviations is not None:
        drawn = deviations.draw(generator, scores.runs, draws)
        found["seeds"] = Noise(drawn[:, 0], drawn[:, 1])
    if all((values >= 0).all() for values in (scores.bits_error, scores.accuracy_error)):
        bits, share = _item_shifts(draws, seed)
        found["items"] = Noise(
            bits * means(scores.bits_error / scores.bits), share * means(scores.accuracy_error)
        )
    if len(found) == 2:
        one, other = found["seeds"], found["items"]
        found["both"] = Noise(one.log_bits + other.log_bits, one.accuracy + other.accuracy)
    return found


def _item_shifts(draws: int, seed: int) -> Array:
    """(2, B, 1) by how many standard errors the items that were scored are off, in bits and in accuracy."""
    return np.random.default_rng([seed, 1]).standard_normal((2, draws, 1))


def fit_two_step(
    scores: Scores, variants: Sequence[str], noise: Mapping[Kind, Noise], shared_floor: bool, delta: float
) -> TwoStep:
    """Fit both steps to cells, each counting once, and again in every draw.

    Args:
        variants: names by the runs' numbers; each has runs.
        shared_floor: whether variants have E in common.
        delta: Huber's delta on log bits.

    Raises:
        NotIdentified: a step cannot be told from these scores; the message says which and why.
    """
    refuse(scores)
    variant = scores.runs.variant[scores.cells]
    log_bits = scores.runs.means(np.log(scores.bits))
    robust = Robust(delta)
    design, theta, note = _first_step(scores, variants, log_bits, shared_floor, robust)
    means = scores.runs.means(scores.accuracy)
    curve = _second_step(log_bits, means)
    steps: dict[Kind | None, tuple[Array, Array]] = {None: (design.natural(theta[None]), curve[None])}
    for kind, drawn in noise.items():
        moved = log_bits + drawn.log_bits
        refitted = solve(design, moved, np.repeat(theta[None], len(moved), axis=0), robust).theta
        curves = _refit(curve, np.exp(log_bits), np.exp(moved), means + drawn.accuracy)
        steps[kind] = design.natural(refitted), curves
    return TwoStep(
        law=design.law,
        design=design,
        variants=tuple(variants),
        steps=steps,
        note=note,
        residual=log_bits - design.predict(theta[None])[0],
        off_curve=means - accuracy(curve[None], np.exp(log_bits)[None])[0],
        variant=variant,
    )


def _first_step(
    scores: Scores, variants: Sequence[str], log_bits: Array, shared_floor: bool, robust: Robust
) -> tuple[Design, Array, str | None]:
    """Size and data where they are told apart, else compute: design, parameters (P,), and why not."""
    budgets = len(np.unique(scores.runs.place)) > len(np.unique(scores.rung))
    note = None
    if budgets:
        try:
            return *_on("chinchilla", scores, variants, log_bits, shared_floor, robust), None
        except (NotIdentified, KeyError) as error:
            told = "the table has no parameters or tokens" if isinstance(error, KeyError) else str(error)
            note = f"by compute alone, although budgets differ: {told.split(':')[0]}"
    return *_on("compute", scores, variants, log_bits, shared_floor, robust), note


def _on(
    name: str, scores: Scores, variants: Sequence[str], log_bits: Array, shared_floor: bool, robust: Robust
) -> tuple[Design, Array]:
    law, group = LAWS[name](), scores.runs.variant[scores.cells]
    inputs = {key: np.exp(scores.runs.means(np.log(scores.inputs[key]))) for key in law.inputs}
    shared = ("E",) if shared_floor and len(variants) > 1 else ()
    design = make_design(law, inputs, group, list(variants), shared)
    refuse_rows(design, inputs, group, list(variants), shared)
    found = search(design, log_bits, robust)
    if name == "chinchilla":  # a power of compute without a floor is one still
        refuse_fit(design, found, log_bits)
    return design, found.theta


def _second_step(log_bits: Array, means: Array) -> Array:
    """(3,) R0, k, b_mid.

    Raises:
        NotIdentified: accuracy does not rise as bits fall.
    """
    bits = np.exp(log_bits)
    if len(np.unique(bits)) <= len(CURVE):
        raise NotIdentified(f"{len(np.unique(bits))} cells cannot tell the curve of accuracy over bits")
    scale = SPAN / float(np.ptp(bits))
    fall, _, steep, middle = fit_values(
        np.exp(scale * (bits - bits.mean())), 1 - means, Bounds(0.0, 1.0), 0.0
    )
    curve = np.array([1 - fall, steep * scale, bits.mean() + np.log(middle) / scale])
    rise = np.ptp(accuracy(curve[None], bits[None]))
    if np.polyfit(bits, means, 1)[0] >= 0 or rise < FLAT:
        raise NotIdentified("accuracy does not rise as bits per byte fall")
    return curve


def _refit(curve: Array, at: Array, bits: Array, means: Array) -> Array:
    """(B, 3) the second step in every draw of bits and accuracies (B, C), from the estimate `curve` (3,), by
    damped Gauss-Newton within the bounds of the estimate's search.

    Args:
        at: (C,) the cells' bits, which set the scale.
    """
    scale, centre = SPAN / float(np.ptp(at)), float(at.mean())
    x, y = scale * (bits - centre), 1 - means
    far = float(np.abs(scale * (at - centre)).max()) + REACH * SPAN
    low = np.array([0.0, np.log(STEEPEST[0]), -far])
    high = np.array([1.0, np.log(STEEPEST[1]), far])
    first = [1 - curve[0], np.log(curve[1] / scale), scale * (curve[2] - centre)]
    theta = np.repeat(np.clip(first, low, high)[None], len(y), axis=0)

    def residuals(theta: Array) -> tuple[Array, Array]:
        u = np.exp(theta[:, 1:2]) * (x - theta[:, 2:3])
        share = 1 / (1 + np.exp(-np.clip(u, -700, 700)))
        slope = theta[:, :1] * share * (1 - share)
        columns = np.stack([share, slope * u, -slope * np.exp(theta[:, 1:2])], axis=-1)
        return theta[:, :1] * share - y, columns

    left, columns = residuals(theta)
    damping = np.full(len(y), 1e-3)
    for _ in range(STEPS):
        curvature = columns.transpose(0, 2, 1) @ columns
        gradient = (columns * left[..., None]).sum(axis=1)
        held = ((theta <= low) & (gradient > 0)) | ((theta >= high) & (gradient < 0))
        gradient = np.where(held, 0.0, gradient)
        free = (~held).astype(float)
        curvature = curvature * free[:, :, None] * free[:, None, :]
        diagonal = np.einsum("bpp->bp", curvature) * damping[:, None] + 1e-12 + held
        step = np.linalg.solve(curvature + diagonal[:, :, None] * np.eye(3), gradient[..., None])[..., 0]
        trial = np.clip(theta - np.clip(step, -SPAN, SPAN), low, high)
        tried, moved = residuals(trial)
        better = (tried**2).sum(axis=1) <= (left**2).sum(axis=1)
        theta[better], left[better], columns[better] = trial[better], tried[better], moved[better]
        damping = np.where(better, np.maximum(damping / 10, 1e-9), np.minimum(damping * 8, 1e9))
    return np.column_stack([1 - theta[:, 0], np.exp(theta[:, 1]) * scale, centre + theta[:, 2] / scale])


@dataclass(frozen=True)
class Foretold:
    """What the smaller rungs say of one cell of the largest, and what came."""

    variant: str
    cell: int
    """Number of a run of the cell."""
    n: int
    """Runs of the cell."""
    bits: dict[Kind | None, Array]
    """Kind of noise, None for the estimate, to bits (B,) by the law."""
    accuracy: dict[Kind | None, Array]
    """Likewise."""
    expected: tuple[Array, Array] | None
    """Bits and accuracy (B,) that the cell's own runs may show; None where no seed is repeated."""
    measured_bits: float
    measured_accuracy: float


def foretell(
    scores: Scores, variants: Sequence[str], draws: int, seed: int, shared_floor: bool, delta: float
) -> list[Foretold]:
    """Every cell of the largest rung, by laws of the others.

    Nothing of that rung is used, its seeds neither. What is expected of its runs has the laws' error by all
    noise that is known and the noise of these runs; the items are the same, so what they do to the laws they
    do to these runs too, by the standard errors of the largest rung that was seen.

    Raises:
        NotIdentified: the other rungs do not tell the laws; the message says why.
    """
    last = scores.rung == scores.rung.max()
    rest, held = scores.at(~last), scores.at(last)
    noise = draw_noise(rest, draws, seed)
    found = fit_two_step(rest, variants, noise, shared_floor, delta)
    own = _noise_of_runs(rest, held, draws, seed)
    rows = []
    for number, run in enumerate(held.cells):
        v = int(held.runs.variant[run])
        mine = held.runs.cell == number
        inputs = {key: float(np.exp(np.log(values[mine]).mean())) for key, values in held.inputs.items()}
        bits = {kind: found.bits(variants[v], inputs, kind) for kind in found.steps}
        share = {kind: found.accuracy(values, kind) for kind, values in bits.items()}
        expected, kind = None, next((kind for kind in ("both", "seeds") if kind in noise), None)
        if own is not None and kind is not None:
            more_bits, more = own[:, :, number].T + (
                _same_items(rest, v, draws, seed) if kind == "both" else 0
            )
            expected = bits[kind] * np.exp(more_bits), np.clip(share[kind] + more, 0.0, 1.0)
        rows.append(
            Foretold(
                variant=variants[v],
                cell=int(np.flatnonzero(last)[run]),
                n=int(mine.sum()),
                bits=bits,
                accuracy=share,
                expected=expected,
                measured_bits=float(np.exp(np.log(held.bits[mine]).mean())),
                measured_accuracy=float(held.accuracy[mine].mean()),
            )
        )
    return rows


def _noise_of_runs(rest: Scores, held: Scores, draws: int, seed: int) -> Array | None:
    """(B, 2, C) noise of the held cells' log bits and accuracy, as the others' seeds show it."""
    deviations = rest.deviations
    generator = np.random.default_rng([seed, 2])
    return None if deviations is None else deviations.draw(generator, held.runs, draws)


def _same_items(rest: Scores, v: int, draws: int, seed: int) -> Array:
    """(2, B) what the items do to runs of a variant beyond the rungs that were seen. Its sign is that of an
    error of the laws made good: a draw whose laws are too high by its items expects as much less."""
    seen = (rest.runs.variant == v) & (rest.rung == rest.rung[rest.runs.variant == v].max())
    errors = (rest.bits_error[seen] / rest.bits[seen]).mean(), rest.accuracy_error[seen].mean()
    return np.asarray(-_item_shifts(draws, seed)[..., 0] * np.array(errors)[:, None])


@dataclass(frozen=True)
class Gaps:
    """Whether all variants lie on one curve of accuracy over bits."""

    gap: dict[str, float]
    """Variant to its cells' mean accuracy above the curve."""
    p_same: float | None
    """Chance of gaps as unequal as these or more if there were none: F-test of their variance between
    variants over that within. None where nothing is left to tell the latter."""


def gaps(found: TwoStep) -> Gaps:
    """Variants against the common curve."""
    off, V = found.off_curve, len(found.variants)
    means = np.array([off[found.variant == v].mean() for v in range(V)])
    n = np.bincount(found.variant, minlength=V)
    within = float(((off - means[found.variant]) ** 2).sum())
    # the curve has taken three of the degrees of freedom
    dof = len(off) - V - len(CURVE) + 1
    p = None
    if V > 1 and dof > 0 and within > 0:
        between = float((n * (means - off.mean()) ** 2).sum()) / (V - 1)
        p = f_share_above(between / (within / dof), V - 1, dof)
    return Gaps({name: float(gap) for name, gap in zip(found.variants, means, strict=True)}, p)
