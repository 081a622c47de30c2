"""IsoFLOP profiles as rungs: of each the loss at its lowest point, seed by seed, in the place of its sizes.

A gain along a ladder compares variants at their best sizes: the lowest point of a curve through the losses
over log N (Hoffmann et al. 2022, arXiv 2203.15556, section 3.2). The place of that point, and the shape of
the curve, are those of all seeds together. The loss there is taken from a curve of that shape through each
seed's own runs: linear in them, so that seeds scatter as their runs do, and hardly sensitive to where the
point is, since the curve is flat there.

Shapes: G profiles, S seeds, M rows of a profile.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from stepladder.laws.forms import Array
from stepladder.laws.profiles import Profile, Profiles
from stepladder.laws.valley import basis_of
from stepladder.schema.analysis import AXES
from stepladder.schema.budget import LEAST_SIZES, is_flops

LOWEST = "lowest"
"""Budget of a run that stands for a profile; its rung is the profile's budget."""


class Minima(NamedTuple):
    """Runs in which profiles are one rung each."""

    runs: pd.DataFrame
    notes: tuple[str, ...]
    """Profiles that have no lowest point, and why."""


def profile_budgets(runs: pd.DataFrame) -> list[str]:
    """Budgets that are FLOPs, and that every variant that has runs there ran at enough sizes."""
    sizes = runs[runs["budget"].map(is_flops).astype(bool)].groupby(["budget", "variant"])["rung"].nunique()
    if sizes.empty:
        return []
    fewest = sizes.groupby(level="budget").min()
    return list(fewest.index[fewest >= LEAST_SIZES])


def take_minima(runs: pd.DataFrame) -> Minima:
    """Put one run for each seed of each profile in the place of the profile's runs; all others stay.

    Its costs are those at the lowest point, between the sizes that the seed ran.

    Raises:
        ValueError: a seed ran too few sizes of a profile.
    """
    budgets = profile_budgets(runs)
    if not budgets:
        return Minima(runs, ())
    if missing := [name for name in ("flops", "tokens") if name not in runs]:
        raise ValueError(
            f"budgets of FLOPs ({', '.join(budgets[:3])}) at several sizes are IsoFLOP profiles, and the "
            f"table has no {' and no '.join(missing)}: name the columns, or rename the budgets"
        )
    there = runs["budget"].isin(budgets)
    parts, notes = [runs[~there]], []
    for variant, mine in runs[there].groupby("variant", sort=False):
        found, dropped = _of_variant(str(variant), mine)
        parts += found
        notes += dropped
    return Minima(pd.concat(parts, ignore_index=True), tuple(notes))


def _of_variant(variant: str, runs: pd.DataFrame) -> tuple[list[pd.DataFrame], list[str]]:
    """The runs that stand for one variant's profiles, and what is said of those that have no lowest point."""
    labels = list(runs.groupby("budget", sort=False)["flops"].mean().sort_values().index)
    each = [Profile.of(_columns(runs[runs["budget"] == label])) for label in labels]
    for label, profile in zip(labels, each, strict=True):
        if profile.sizes < LEAST_SIZES:  # rungs differ, and what is taken for their parameters does not
            raise ValueError(
                f"{variant} at {label}: its rungs have {profile.sizes} different parameters, and a profile "
                f"needs {LEAST_SIZES}: say what they are, with --columns parameters=NAME"
            )
    fitted = Profiles.of(each, log_loss=False)
    seeds = np.unique(runs["seed"])
    lowest = _lowest(fitted, labels, seeds, variant)
    rows, notes = [], []
    for g, (label, profile) in enumerate(zip(labels, each, strict=True)):
        described = fitted.describe(g)
        if described.reason:
            notes.append(f"{variant} at {label} has no place on the ladder: {described.reason}")
            continue
        for s, seed in enumerate(seeds):
            ran = runs.loc[profile.rows.index[profile.rows["seed"] == seed]]
            if len(ran):
                rows.append(_stands_for(ran, label, int(seed), float(fitted.at[g]), float(lowest[s, g])))
    return rows, notes


def _columns(runs: pd.DataFrame) -> pd.DataFrame:
    return runs[["loss", "flops", "tokens", "seed"]].assign(
        parameters=runs["parameters_active_non_embedding"]
    )


def _lowest(fitted: Profiles, labels: list[str], seeds: Array, variant: str) -> Array:
    """(S, G) loss of each seed at the lowest point of each profile; without meaning where it did not run.

    Raises:
        ValueError: a seed ran too few sizes near a profile's lowest point to have a curve of its own.
    """
    weight = np.zeros((len(seeds), *fitted.near.shape))
    for g, (label, profile) in enumerate(zip(labels, fitted.each, strict=True)):
        near = profile.rows[profile.near]
        own = near["seed"].to_numpy()[None, :] == seeds[:, None]
        for seed, mine in zip(seeds, own, strict=True):
            sizes = len(np.unique(profile.size[profile.near][mine]))
            if sizes < LEAST_SIZES and (profile.rows["seed"] == seed).any():
                raise ValueError(
                    f"{variant} at {label}, seed {seed:g}: {sizes} sizes near the lowest loss, and a curve "
                    f"of each seed needs {LEAST_SIZES}: run this seed at more sizes, or take it out"
                )
        weight[:, g, : len(near)] = own
    exponents = np.repeat(fitted.found.exponents, len(seeds), axis=0)
    curves = fitted.valley.curves(weight, exponents)
    basis = basis_of(fitted.found.minima[0][None, :, None], exponents)[..., 0]
    return np.asarray((curves.coefficients * basis).sum(axis=-1))


def _stands_for(ran: pd.DataFrame, label: str, seed: int, at: float, loss: float) -> pd.DataFrame:
    """One row for the runs of one seed of a profile, whose lowest point is at log N = `at`."""
    ran = ran.sort_values("parameters_active_non_embedding")
    size = np.log(ran["parameters_active_non_embedding"].to_numpy(dtype=float))
    costs = {axis.column for axis in AXES.values()} & set(ran)
    row = ran.iloc[[int(np.abs(size - at).argmin())]]
    return row.assign(
        id=f"{row['variant'].iloc[0]}/{label}/{LOWEST}/seed{seed}",
        rung=label,
        budget=LOWEST,
        loss=loss,
        parameters_active_non_embedding=np.exp(at),
        **{name: np.exp(_line(at, size, np.log(ran[name].to_numpy(dtype=float)))) for name in costs},
    )


def _line(at: float, x: Array, y: Array) -> float:
    """On the line through the two of the points (x ascending) that `at` is between, or nearest to."""
    right = int(np.clip(np.searchsorted(x, at), 1, len(x) - 1))
    slope = (y[right] - y[right - 1]) / (x[right] - x[right - 1])
    return float(y[right] + slope * (at - x[right]))
