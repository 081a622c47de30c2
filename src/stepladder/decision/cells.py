"""From a table of runs to cells (one variant at one rung and budget) and to replicates of their losses."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from stepladder.decision.minima import LOWEST, take_minima
from stepladder.laws.forms import Array
from stepladder.schema.analysis import AXES

DECISIVE = (
    *("id", "variant", "architecture", "recipe", "rung", "depth", "budget", "budget_multiple", "seed"),
    *("learning_rate_factor", "parameters_active_non_embedding", "loss"),
    *(axis.column for axis in AXES.values()),
)
"""Columns of the table of runs that laws, gains and verdicts rest on."""


@dataclass(frozen=True)
class Cells:
    """M cells in order of variant, then size. A cell's loss is the mean over its seeds, in log space."""

    table: pd.DataFrame
    """One row per cell: variant, rung, budget, step (place on the ladder, 0 smallest), label, n (seeds),
    log_loss, loss, and one column per cost axis."""
    variants: list[str]
    runs: pd.DataFrame
    """The runs behind the cells; of an IsoFLOP profile, what stands for it (`minima`)."""
    made_of: pd.DataFrame
    """The same, with all runs of profiles."""
    notes: tuple[str, ...] = ()
    """What has no cell, and why."""

    @property
    def has_profiles(self) -> bool:
        """Whether some cells are IsoFLOP profiles."""
        return bool((self.table["budget"] == LOWEST).any())

    @cached_property
    def variant(self) -> npt.NDArray[np.int64]:
        """(M,) index into `variants`."""
        index = {name: i for i, name in enumerate(self.variants)}
        return np.asarray(self.table["variant"].map(index), dtype=np.int64)

    def cost(self, axis: str) -> Array:
        """(M,) cost on `axis`."""
        return self.table[axis].to_numpy(dtype=float)

    @cached_property
    def first_cost(self) -> pd.Series:
        """(M,) cost on the first axis that the table has: what orders the ladder."""
        return self.table[next(axis for axis in AXES if axis in self.table)]

    @cached_property
    def log_loss(self) -> Array:
        """(M,) log of the loss."""
        return self.table["log_loss"].to_numpy(dtype=float)

    @cached_property
    def step(self) -> npt.NDArray[np.int64]:
        """(M,) place on the ladder."""
        return np.asarray(self.table["step"], dtype=np.int64)

    @cached_property
    def seeds(self) -> list[npt.NDArray[np.int64]]:
        """The seeds that ran, sorted, for each of the M cells."""
        places = self.runs.groupby(["variant", "rung", "budget"])["seed"].unique()
        keys = zip(self.table["variant"], self.table["rung"], self.table["budget"], strict=True)
        return [np.sort(np.asarray(places[key], dtype=np.int64)) for key in keys]

    @cached_property
    def rows_sha256(self) -> str:
        """Digest of all that laws, gains and verdicts read of the runs, whatever their order."""
        columns = [name for name in DECISIVE if name in self.made_of]
        rows = sorted(map(repr, self.made_of[columns].itertuples(index=False, name=None)))
        return hashlib.sha256("\n".join([repr(columns), *rows]).encode()).hexdigest()

    def of(self, variant: str) -> pd.DataFrame:
        """The cells of one variant, smallest first; the index is the cell's number."""
        return self.table[self.table["variant"] == variant]


class Kind(NamedTuple):
    """What a variant is made of."""

    architecture: str
    recipe: str
    corpus: str | None
    """None in a ladder without such an axis."""


def kinds_of(cells: Cells) -> dict[str, Kind]:
    """What the variants are made of, by name."""
    rows = cells.runs.drop_duplicates("variant").to_dict("records")
    return {
        row["variant"]: Kind(row["architecture"], row["recipe"], row.get("corpus") or None) for row in rows
    }


def make_cells(runs: pd.DataFrame) -> Cells:
    """Aggregate runs to cells. In a learning-rate sweep each cell keeps its best factor; an IsoFLOP profile
    is one cell, at its lowest point.

    Raises:
        ValueError: a loss or cost is missing, infinite or not positive, or a run is there twice; the message
            names the runs.
    """
    axes = {name: axis.column for name, axis in AXES.items() if axis.column in runs}
    if "loss" not in runs or not axes:
        columns = ", ".join(axis.column for axis in AXES.values())
        raise ValueError(f"the table of runs needs loss and one of {columns}")
    for column in ("loss", *axes.values()):
        bad = runs[~((runs[column] > 0) & np.isfinite(runs[column]))]
        if len(bad):
            raise ValueError(f"{column} must be positive; it is not in: {', '.join(bad['id'].head(5))}")
    repeated = runs[runs.duplicated(["variant", "rung", "budget", "seed", "learning_rate_factor"])]
    if len(repeated):
        # Twice the same run would count as a repeated seed without any noise.
        raise ValueError(f"runs are in the table more than once: {', '.join(repeated['id'].head(5))}")
    made_of = _best_factor(runs)
    minima = take_minima(made_of)
    runs = minima.runs.assign(log_loss=lambda t: np.log(t["loss"]))
    grouped = runs.groupby(["variant", "rung", "budget"], sort=False)
    table = grouped.agg(
        n=("seed", "nunique"),
        log_loss=("log_loss", "mean"),
        depth=("depth", "first"),
        budget_multiple=("budget_multiple", "first"),
        n_parameters=("parameters_active_non_embedding", "first"),
        **{axis: (column, "median") for axis, column in axes.items()},
    ).reset_index()
    table["loss"] = np.exp(table["log_loss"])
    # Places on the ladder: rungs and budgets in order of their mean FLOPs (or other cost) over variants.
    places = np.log(table[next(iter(axes))]).groupby([table["rung"], table["budget"]]).mean().sort_values()
    order = {place: i for i, place in enumerate(places.index)}
    table["step"] = [order[place] for place in zip(table["rung"], table["budget"], strict=True)]
    several = table["budget"].nunique() > 1
    table["label"] = table["rung"] + (
        (" " + table["budget"]).where(table["budget"] != LOWEST, "") if several else ""
    )
    variants = list(dict.fromkeys(runs["variant"]))
    table["variant_order"] = table["variant"].map({name: i for i, name in enumerate(variants)})
    table = table.sort_values(["variant_order", "step"]).drop(columns="variant_order").reset_index(drop=True)
    return Cells(table=table, variants=variants, runs=runs, made_of=made_of, notes=minima.notes)


def _best_factor(runs: pd.DataFrame) -> pd.DataFrame:
    keys = ["variant", "rung", "budget"]
    means = runs.groupby([*keys, "learning_rate_factor"], sort=False)["loss"].mean().reset_index()
    best = means.loc[means.groupby(keys, sort=False)["loss"].idxmin()]
    return runs.merge(best[[*keys, "learning_rate_factor"]], on=[*keys, "learning_rate_factor"], how="inner")
