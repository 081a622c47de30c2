"""Promote, hold or reject: the ladder file's rule, applied as written, with every criterion shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stepladder.decision.axis_fit import HeldOutPrediction
from stepladder.decision.comparison import Criterion, Decision, SeedTest
from stepladder.decision.efficiency import AxisGain, LargestGain, TargetGain
from stepladder.schema.analysis import AXES, Axis, VerdictRule

PLACES = {"largest": "the largest rung", "target": "the target"}


def decide(
    gains: Mapping[Axis, AxisGain],
    n_rungs: int,
    both_at_top: bool,
    test: SeedTest,
    held_out: Sequence[HeldOutPrediction] | None,
    rule: VerdictRule,
) -> Decision:
    """Apply `rule`.

    Promote: every criterion is met. Reject: some axis' whole interval at the rung (or target) lies below the
    smallest gain worth having. Hold: neither; more seeds or rungs would tell.

    Args:
        gains: on every cost axis of the rule.
        n_rungs: rungs that candidate and reference share.
        both_at_top: whether both ran the ladder's largest rung.
        test: of candidate against reference.
        held_out: the predictions of candidate and reference on the FLOPs axis: the gain stands on both. None
            where the ladder holds nothing out, or is too short to.
    """
    criteria = []
    hopeless = []
    for axis in rule.axes:
        result, name = gains[axis], AXES[axis].title
        criteria += _of_axis(result, name, rule)
        top = _decisive(result, rule)
        high = top.interval[1] if top and top.interval else None
        if high is not None and high < rule.minimal_gain:
            hopeless.append(f"EG on {name} is below {rule.minimal_gain:g} with all of its interval")
    enough = n_rungs >= rule.minimal_rungs
    criteria.append(_criterion(f"at least {rule.minimal_rungs} rungs", n_rungs, rule.minimal_rungs, enough))
    criteria.append(_criterion("both ran the ladder's largest rung", both_at_top, True, both_at_top))
    p = test.p_better
    passed = p is not None and p < rule.alpha
    name = f"seed test at the largest rungs: better at level {rule.alpha:g}"
    criteria.append(_criterion(name, p, rule.alpha, passed))
    if held_out is not None:
        criteria.append(_held_out_criterion(held_out, rule))
    failed = [criterion.name for criterion in criteria if not criterion.passed]
    if not failed:
        return Decision(verdict="promote", because="all criteria are met", criteria=criteria)
    if hopeless:
        return Decision(verdict="reject", because="; ".join(hopeless), criteria=criteria)
    return Decision(verdict="hold", because=f"not met: {failed[0]}", criteria=criteria)


def _decisive(result: AxisGain, rule: VerdictRule) -> LargestGain | TargetGain | None:
    """The gain that has to be sure."""
    return result.at_largest if rule.at == "largest" else result.at_target


def _of_axis(result: AxisGain, name: str, rule: VerdictRule) -> list[Criterion]:
    """What one axis is asked for."""
    least = rule.minimal_gain
    top, largest, target = _decisive(result, rule), result.at_largest, result.at_target
    interval = top.interval if top else None
    low = interval[0] if interval else None
    law = largest.law_gain if largest else None
    criteria = [
        _worth(
            f"EG on {name} at {PLACES[rule.at]} is at least {least:g}", top, top.gain if top else None, least
        ),
        _criterion(
            f"the lower end of its interval is above 1 ({name})",
            low,
            1.0,
            interval is not None and (low is None or low > 1),
        ),
        _worth(f"law against law there it is at least {least:g} ({name})", largest, law, least),
        _convergence_criterion(result, name),
    ]
    if rule.at == "largest" and target is not None:
        claim = f"at the target it is expected to be at least {least:g} ({name})"
        criteria.insert(3, _worth(claim, target, target.gain, least))
    return criteria


def _worth(claim: str, there: object, gain: float | None, least: float) -> Criterion:
    """A gain that is worth having. An infinite one is null in JSON: it is enough by any measure."""
    unbounded = there is not None and gain is None
    return _criterion(claim, gain, least, unbounded or (gain is not None and gain >= least))


def _criterion(name: str, value: float | None, threshold: float, passed: bool) -> Criterion:
    return Criterion(name=name, value=value, threshold=threshold, passed=passed)


def _convergence_criterion(result: AxisGain, name: str) -> Criterion:
    converged = bool(result.converged)
    return _criterion(f"the fit converged ({name})", converged, True, converged)


def _held_out_criterion(held_out: Sequence[HeldOutPrediction], rule: VerdictRule) -> Criterion:
    """The laws that the gain stands on must have foretold the largest rung, in terms of what it costs."""
    ratios = [max(row.cost_ratio, 1 / row.cost_ratio) if row.cost_ratio else None for row in held_out]
    known = [ratio for ratio in ratios if ratio is not None]
    worst = max(known, default=None)
    inside = all(row.inside for row in held_out) if held_out else False
    near = bool(known) and len(known) == len(ratios) and max(known) <= rule.held_out_within
    name = f"held-out rung predicted: inside its interval, or within × {rule.held_out_within:g} of its cost"
    return _criterion(name, worst, rule.held_out_within, bool(held_out) and (inside or near))
