"""The mixture that a swarm of small runs found: what was tried, what was expected, and what came."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from stepladder.display import numbers as fmt
from stepladder.display.table import Table, table
from stepladder.laws.distributions import t_quantile
from stepladder.record.foretold import Interval
from stepladder.record.swarm import DomainShare, SwarmOutcome


def swarm_sentences(found: SwarmOutcome) -> list[str]:
    """The choice, and what it rests on."""
    shares = ", ".join(f"{row.domain} {_percent(row.share)}" for row in found.domains)
    target, level = found.expectations[0], fmt.level(found.confidence)
    why = "without a finite loss, or reading a domain more often than data.max_epochs"
    left = f" Left out, {why}: {', '.join(found.left_out)}." if found.left_out else ""
    said = [
        f"Corpus {found.arm} reads {shares}: of the mixtures within what was tried and data.max_epochs, the "
        f"one with the lowest target loss by the law of n = {len(found.runs)} runs at rung {found.rung}, "
        f"budget {found.budget} ({found.n_baseline} of them of {found.baseline}).{left}",
        f"Its target loss is expected to differ from the baseline's there by "
        f"{_change(target.change, target.law_interval)} ({level} interval).",
        _ranked(found),
        f"Written down on {found.made_at}.",
    ]
    if at_edge := [row.domain for row in found.domains if _at_edge(row)]:
        said.insert(2, f"At the edge of what was tried: {', '.join(at_edge)}; the best share may lie beyond.")
    return said


def _ranked(found: SwarmOutcome) -> str:
    target = found.expectations[0]
    return (
        "What the runs of a seed have in common is taken out. Left out one by one, they are ranked with a "
        f"rank correlation of {fmt.fixed(found.rank_correlation, 2)} by the law of all others, which is off "
        f"by {fmt.percent(target.left_out_error, 2)} of the loss where the runs differ by "
        f"{fmt.percent(target.spread, 2)} (root mean squares)."
    )


def _at_edge(row: DomainShare) -> bool:
    """Whether the share is the largest or the least that was tried, and not held there by a cap."""
    return math.isclose(row.share, row.most, abs_tol=1e-5) or math.isclose(row.share, row.least, abs_tol=1e-5)


def _percent(share: float) -> str:
    return fmt.percent(share, 1)


def _change(change: float | None, ends: Sequence[float | None]) -> str:
    """A change of log loss in per cent of the loss."""
    return f"{_signed(change)} [{', '.join(map(_signed, ends))}]"


def _signed(change: float | None) -> str:
    return fmt.percent(None if change is None else math.expm1(change), 2, sign=True)


def domains_table(found: SwarmOutcome) -> Table:
    """A row per domain of the mixture."""
    capped = any(row.cap is not None for row in found.domains)
    level = fmt.level(found.confidence)
    rows = [
        [
            row.domain,
            _percent(row.baseline),
            f"{_percent(row.least)} to {_percent(row.most)}",
            *([_percent(row.cap) if row.cap is not None else fmt.MISSING] if capped else []),
            _percent(row.share),
            " to ".join(fmt.percent(end, 1) for end in row.interval),
        ]
        for row in found.domains
    ]
    cap = " Cap: what data.max_epochs allows the longest run that reads the mixture." if capped else ""
    return table(
        ["<Domain", "Baseline", "Tried", *(["Cap"] if capped else []), "Best", f"{level} interval"],
        rows,
        title="Shares of the sequences",
        note=f"Interval: of the best share, over the laws that the n = {len(found.runs)} runs allow.{cap}",
    )


def expectations_table(found: SwarmOutcome, runs: pd.DataFrame) -> Table:
    """What was expected at the swarm's own rung, beside what came."""
    here = _at(runs, found.rung, found.budget)
    rows = []
    for row in found.expectations:
        came = _change_of(found, here, f"loss_{row.domain}" if row.domain else "loss")
        rows.append(
            [
                row.domain or "target loss",
                fmt.fixed(row.weight, 2) if row.domain else fmt.MISSING,
                _signed(row.change),
                f"[{', '.join(map(_signed, row.interval))}]",
                _signed(came),
                {True: "✓", False: "✗", None: fmt.MISSING}[_inside(came, row.interval)],
                fmt.percent(row.left_out_error, 2),
                fmt.percent(row.spread, 2),
            ]
        )
    return table(
        [
            *("<Loss", "Weight", "Expected", f"{fmt.level(found.confidence)} interval"),
            *("Came", "Inside", "Error left out", "Spread"),
        ],
        rows,
        title=f"Change against the baseline at rung {found.rung}, budget {found.budget}",
        note=f"Per cent of the loss; negative: better; of n = {_counted(found, here)} runs. The interval "
        "holds the law's error and that of the means over runs. Error left out: of runs by the law of all "
        "others; spread: between them (root mean squares).",
    )


def outcome_table(found: SwarmOutcome, runs: pd.DataFrame) -> Table:
    """The change of the target loss at every rung and budget that both ran."""
    rows = []
    for rung, budget in dict.fromkeys(zip(runs["rung"], runs["budget"], strict=True)):
        here = _at(runs, rung, budget)
        if (came := _change_of(found, here, "loss")) is not None:
            losses = [fmt.fixed(_mean(here, name, "loss"), 4) for name in (found.baseline, found.variant)]
            interval = ", ".join(map(_signed, _paired(found, here)))
            rows.append([rung, budget, *losses, _counted(found, here), _signed(came), f"[{interval}]"])
    expected = found.expectations[0]
    return table(
        ["<Rung", "<Budget", "Baseline", "Arm", "Runs", "Change", f"{fmt.level(found.confidence)} interval"],
        rows,
        title="From rung to rung",
        note="Mean target losses, nats per token. Interval: of pairs of runs with the same seed, by "
        "Student's t. "
        "Expected at the swarm's own rung: "
        f"{_change(expected.change, expected.law_interval)}. What the arm saves, with intervals, is in the "
        "verdict.",
    )


def came_sentence(found: SwarmOutcome, runs: pd.DataFrame) -> str:
    """Whether the prediction came true, and whether it was one."""
    target, here = found.expectations[0], _at(runs, found.rung, found.budget)
    came = _change_of(found, here, "loss")
    inside = _inside(came, target.interval)
    if inside is None:
        return "Nothing that was expected can be held against runs yet."
    return (
        f"At rung {found.rung} the target loss differs from the baseline's by {_signed(came)} "
        f"(n = {_counted(found, here)} runs), {'inside' if inside else 'outside'} the expected interval "
        f"[{', '.join(map(_signed, target.interval))}]. {_before(found, runs)}"
    )


def _at(runs: pd.DataFrame, rung: str, budget: str) -> pd.DataFrame:
    return runs[(runs["rung"] == rung) & (runs["budget"] == budget)]


def _counted(found: SwarmOutcome, here: pd.DataFrame) -> str:
    """Runs of the arm and of the baseline."""
    return " + ".join(str(int((here["variant"] == name).sum())) for name in (found.variant, found.baseline))


def _change_of(found: SwarmOutcome, here: pd.DataFrame, column: str) -> float | None:
    """Of the mean log loss, arm over baseline; None where either has no runs."""
    return _log(_mean(here, found.variant, column) / _mean(here, found.baseline, column))


def _paired(found: SwarmOutcome, here: pd.DataFrame) -> Interval:
    """Interval of the mean change of log loss over pairs of runs with the same seed; unknown of fewer than
    two."""
    wide = here.pivot_table(index="seed", columns="variant", values="loss")
    off = pd.Series(np.log(wide[found.variant] / wide[found.baseline])).dropna()
    if len(off) < 2:
        return None, None
    half = t_quantile((1 + found.confidence) / 2, len(off) - 1) * float(off.std()) / math.sqrt(len(off))
    return float(off.mean()) - half, float(off.mean()) + half


def _log(ratio: float) -> float | None:
    return math.log(ratio) if math.isfinite(ratio) else None


def _mean(here: pd.DataFrame, variant: str, column: str) -> float:
    """Geometric; NaN of no runs."""
    mine = here.loc[here["variant"] == variant, column].astype(float)
    return float(np.exp(np.log(mine).mean()))


def _inside(value: float | None, ends: Interval) -> bool | None:
    low, high = ends
    if value is None or low is None or high is None:
        return None
    return low <= value <= high


def _before(found: SwarmOutcome, runs: pd.DataFrame) -> str:
    mine = runs[runs["variant"] == found.variant]
    started = mine["lineage_started"].dropna() if "lineage_started" in mine else pd.Series(dtype=str)
    if started.empty:
        return ""
    first = pd.to_datetime(started, utc=True).min()
    said = first.isoformat(timespec="seconds")
    if pd.to_datetime(found.made_at, utc=True) <= first:
        return f"The first run on the mixture began after it was written down, {said}."
    return f"It was written down after the first run on the mixture had begun ({said}): it is no prediction."


def swarm_context(found: SwarmOutcome, runs: pd.DataFrame) -> dict[str, Any]:
    """The report's section."""
    return {
        "sentences": swarm_sentences(found),
        "n": str(len(found.runs)),
        "domains": domains_table(found),
        "expected": expectations_table(found, runs),
        "came": came_sentence(found, runs),
        "outcome": outcome_table(found, runs),
    }
