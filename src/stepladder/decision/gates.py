"""Looks between rungs: who is stopped because the ladder will hardly promote it, who is promoted already, and
what that spares.

Who stops is told by conditional power (`conditional_power`), but for a gain that grows with scale. Stopping
promotes nobody, so that it costs power and no false promotion. Each early promotion is one more chance of a
false one: the rule's error rates are spent over the looks in the shape of O'Brien and Fleming,
alpha(t) = 2 - 2 Phi(z / sqrt(t)) with Phi(z) = 1 - alpha / 2 and t the share of information (Lan & DeMets
1983, Biometrika 70:659). A look has what was not spent before it, as if the looks were independent, which is
more than is needed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from stepladder.decision.axis_fit import AxisFit
from stepladder.decision.cells import Cells, make_cells
from stepladder.decision.climbs import Pair
from stepladder.decision.compare import compare, comparisons
from stepladder.decision.comparison import Comparison, PairComparison
from stepladder.decision.conditional_power import chances_of_promotion
from stepladder.decision.extrapolate import one_rung_up
from stepladder.decision.fit import fit
from stepladder.decision.noise import measure_noise
from stepladder.decision.spending import Problem
from stepladder.display import numbers as fmt
from stepladder.laws.distributions import normal_quantile, normal_share
from stepladder.record.gates import Fate, GatedArm, GateRecord
from stepladder.schema.analysis import AnalysisConfig, Axis, Gate


@dataclass(frozen=True)
class Look:
    """What is there at a gate."""

    done: pd.DataFrame
    """Runs up to the gate of the variants that come so far, as in runs.parquet."""
    planned: pd.DataFrame
    """All runs of these variants, up to the largest rung, as `planned_table` has them."""
    rungs: tuple[str, ...]
    """Labels of the rungs up to the gate."""
    config: AnalysisConfig
    gate: Gate
    spent: float = 0.0
    """Share of the rule's error rates that earlier gates may have used up."""

    @property
    def rest(self) -> pd.DataFrame:
        """Planned runs of larger rungs."""
        return self.planned[~self.planned["rung"].isin(self.rungs)]


def look(at: Look) -> GateRecord:
    """Decide between rungs.

    Raises:
        ValueError: the table of runs cannot be used; the message says why.
    """
    cells, target = make_cells(at.done), _target(at)
    config = at.config.model_copy(update={"target_flops": target, "leave_one_out": False})
    axes: tuple[Axis, ...] = tuple(dict.fromkeys(("flops", *config.verdict.axes)))
    fits = {axis: fit(at.done, axis, config) for axis in axes}
    pairs = comparisons(cells, config.baseline, _references(config, cells))
    information = _information(at, cells, fits["flops"], pairs, target) if at.gate.success else None
    spent = at.spent
    early: set[str] = set()
    if information is not None:
        spent = max(at.spent, spending(information, config.verdict.alpha))
        early = _promoted(at, config, axes, spent - at.spent)
    chances: dict[Pair, float | None] = dict.fromkeys(pairs)
    if at.gate.futility:
        chances = chances_of_promotion(at.done, at.rest, _at_level(config, 1 - spent), fits, pairs)
    hopeless = _hopeless(pairs, chances, at.gate.futility)
    growing = _growing(at.done, fits, config, hopeless) if hopeless else {}
    fates = _fates(cells.variants, pairs, early, hopeless - set(growing))
    return GateRecord(
        after=at.gate.after,
        rungs=at.rungs,
        runs=len(at.done),
        rows_sha256=cells.rows_sha256,
        metric=at.config.metric,
        target_flops=target,
        futility=at.gate.futility,
        information=information,
        spent=spent,
        arms=tuple(_arm(at, name, fates[name], chances, pairs, growing.get(name)) for name in cells.variants),
    )


def spending(information: float, alpha: float) -> float:
    """Share of an error rate `alpha` that may be used up when this share of the information is there."""
    z = float(normal_quantile(1 - alpha / 2))
    return float(2 - 2 * normal_share(z / math.sqrt(information))) / alpha if information > 0 else 0.0


def _references(config: AnalysisConfig, cells: Cells) -> list[str]:
    return [name for name in config.references if name in cells.variants]


def _target(at: Look) -> float | None:
    """FLOPs at which the ladder's own verdict will ask for a gain."""
    return at.config.target_flops or one_rung_up(make_cells(at.planned.assign(loss=1.0)))


def _information(
    at: Look, cells: Cells, law: AxisFit, pairs: Sequence[Pair], target: float | None
) -> float | None:
    """Share of the ladder's information on the gain at the target that the runs so far hold: the least of all
    pairs. None where there are no laws yet, or no noise."""
    noise = measure_noise(cells, stated=at.config.noise)
    if target is None or law.reason or not noise.known or not pairs:
        return None
    whole = make_cells(pd.concat([at.done, at.rest.assign(loss=1.0)], ignore_index=True))
    shares = []
    for candidate, reference in pairs:
        if law.why_not(candidate, reference):
            return None
        problem = Problem.of(whole, noise, law, candidate, reference, target)
        largest = float(cells.table["flops"].max()) * 1.01
        now = tuple(place for place in problem.places if place.flops <= largest)
        shares.append((problem.sd(problem.places) / problem.sd(now)) ** 2)
    return min(shares)


def _promoted(at: Look, config: AnalysisConfig, axes: Sequence[Axis], share: float) -> set[str]:
    """Candidates that the rule promotes against all their references, at this share of its error rates and by
    their gain at the target."""
    if share <= 0:
        return set()
    rule = config.verdict.model_copy(update={"alpha": share * config.verdict.alpha, "at": "target"})
    strict = config.model_copy(update={"confidence": 1 - share * (1 - config.confidence), "verdict": rule})
    found = compare(at.done, {axis: fit(at.done, axis, strict) for axis in axes}, strict)
    verdicts: dict[str, set[str]] = {}
    for pair in found.comparisons:
        verdicts.setdefault(pair.candidate, set()).add(pair.verdict)
    return {name for name, there in verdicts.items() if there == {"promote"}}


def _hopeless(pairs: Sequence[Pair], chances: Mapping[Pair, float | None], futility: float) -> set[str]:
    """Candidates whose chance is below `futility` against each of their references."""
    below = {pair: chance is not None and chance < futility for pair, chance in chances.items()}
    return {name for name, _ in pairs if all(below[pair] for pair in pairs if pair[0] == name)}


def _growing(
    done: pd.DataFrame, fits: Mapping[Axis, AxisFit], config: AnalysisConfig, candidates: set[str]
) -> dict[str, str]:
    """Those of `candidates` that gain more with scale, by more than noise, so that a gain worth having is
    expected at the target, and why: what they are worth only the larger rungs tell, even if these will not be
    sure enough to promote."""
    found: dict[str, str] = {}
    for pair in compare(done, fits, config).comparisons:
        if pair.candidate in candidates and (why := _grows(pair, config)):
            found[pair.candidate] = why
    return found


def _grows(pair: PairComparison, config: AnalysisConfig) -> str | None:
    """Why a pair's candidate is one whose gain grows; None if it is not."""
    trend = pair.gains["flops"].trend
    ends = trend.interval if trend is not None else None
    targets = [pair.gains[axis].at_target for axis in config.verdict.axes]
    least = config.verdict.minimal_gain
    worth = all(one is not None and one.gain is not None and one.gain >= least for one in targets)
    if not worth or trend is None or trend.slope_per_decade is None or ends is None:
        return None
    if ends[0] is None or ends[0] <= 0:
        return None
    low, high = (None if end is None else fmt.exponential(end) for end in ends)
    grown = fmt.gain(fmt.exponential(trend.slope_per_decade), (low, high))
    return f"its gain grows with scale, × {grown} for ten times the compute"


def _fates(
    variants: Sequence[str], pairs: Sequence[Pair], early: set[str], hopeless: set[str]
) -> dict[str, Fate]:
    """What becomes of each variant. One that others are still compared with goes on, whatever its chance."""
    judged = {name for name, _ in pairs} - hopeless - early
    wanted = {reference for candidate, reference in pairs if candidate in judged}
    fates: dict[str, Fate] = {}
    for name in variants:
        if name in judged or name in wanted:
            fates[name] = "goes on"
        elif name in early:
            fates[name] = "promoted"
        else:
            fates[name] = "stopped" if name in hopeless else "not needed"
    return fates


def _arm(
    at: Look,
    name: str,
    fate: Fate,
    chances: Mapping[Pair, float | None],
    pairs: Sequence[Pair],
    growing: str | None,
) -> GatedArm:
    own = [chances[pair] for pair in pairs if pair[0] == name]
    known = [one for one in own if one is not None]
    best = max(known) if known and len(known) == len(own) else None
    rest = at.rest[at.rest["variant"] == name]
    spared = rest if fate != "goes on" else rest.iloc[:0]
    return GatedArm(
        variant=name,
        fate=fate,
        because=_because(fate, best, at, growing),
        chance=best,
        runs_saved=len(spared),
        flops_saved=float(spared["flops"].sum()),
        hours_saved=float(spared["accelerator_seconds"].sum()) / 3600,
    )


def _because(fate: Fate, chance: float | None, at: Look, growing: str | None) -> str:
    claim = "the chance that this ladder promotes it is"
    if fate == "stopped":
        return f"{claim} {_percent(chance)}, below {_percent(at.gate.futility)}"
    if fate == "promoted":
        return "all criteria of the rule are met at this look's share of its error rates"
    if fate == "not needed":
        return "every candidate that it was compared with has ended"
    if chance is None:
        return "nothing is known of its chance yet" if at.gate.futility else "nobody is stopped here"
    return f"{growing}; {claim} {_percent(chance)}" if growing else f"{claim} {_percent(chance)}"


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.3g} %"


def left_over(config: AnalysisConfig, records: Sequence[GateRecord]) -> AnalysisConfig:
    """The rule with what looks between rungs have left of the seed test's level."""
    return _at_level(config, 1 - records[-1].spent if records else 1.0)


def _at_level(config: AnalysisConfig, share: float) -> AnalysisConfig:
    """The rule with this share of the seed test's level."""
    alpha = float(f"{share * config.verdict.alpha:.3g}")  # as it is printed
    return config.model_copy(update={"verdict": config.verdict.model_copy(update={"alpha": alpha})})


def with_gates(comparison: Comparison, records: Sequence[GateRecord]) -> Comparison:
    """The comparison with the verdicts of candidates that ended at a gate."""
    pairs = tuple(_with_gate(pair, records) for pair in comparison.comparisons)
    return comparison.model_copy(update={"comparisons": pairs, "gates": tuple(records)})


def _with_gate(pair: PairComparison, records: Sequence[GateRecord]) -> PairComparison:
    """A stopped candidate is rejected where the rule rejects it by what ran. Else it is on hold: that this
    ladder would not have promoted it does not show that it gains nothing."""
    arms = [(record, record.arm(pair.candidate)) for record in records]
    over = next(((record, arm) for record, arm in arms if arm is not None and arm.ended), None)
    if over is None or over[1].fate == "not needed":
        return pair
    record, arm = over
    verdict = "promote" if arm.fate == "promoted" else "reject" if pair.verdict == "reject" else "hold"
    gate = f"{arm.fate} at the gate after {record.after}: {arm.because}"
    because = f"{pair.because}; {gate}" if pair.verdict == verdict else gate
    return pair.model_copy(update={"verdict": verdict, "because": because, "gate": record.after})
