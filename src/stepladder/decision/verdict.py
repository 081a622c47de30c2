"""Promote, hold or reject: the ladder file's rule, applied as written, with every criterion shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stepladder.decision.axis_fit import HeldOutPrediction
from stepladder.decision.comparison import Criterion, Decision, SeedTest
from stepladder.decision.efficiency import AxisGain
from stepladder.schema.analysis import AXES, Axis, VerdictRule

PLACES = {"largest": "the largest rung", "target": "the target"}


def decide(
    gains: Mapping[Axis, AxisGain],
    n_rungs: int,
    both_at_top: bool,
    test: SeedTest,
    held_out: Sequence[HeldOutPrediction],
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
        held_out: the predictions of candidate and reference on the FLOPs axis: the gain stands on both.
    """
    criteria = []
    hopeless = []
    for axis in rule.axes:
        result, name = gains[axis], AXES[axis].title
        top = result.at_largest if rule.at == "largest" else result.at_target
        interval = top.interval if top else None
        low, high = interval or (None, None)
        value = top.gain if top else None
        # An infinite gain is null in JSON: it is enough by any measure.
        unbounded = top is not None and value is None
        criteria += [
            _criterion(
                f"EG on {name} at {PLACES[rule.at]} is at least {rule.minimal_gain:g}",
                value,
                rule.minimal_gain,
                unbounded or (value is not None and value >= rule.minimal_gain),
            ),
            _criterion(
                f"the lower end of its interval is above 1 ({name})",
                low,
                1.0,
                interval is not None and (low is None or low > 1),
            ),
            _trend_criterion(result, name, rule.minimal_trend),
            _convergence_criterion(result, name),
        ]
        if interval is not None and high is not None and high < rule.minimal_gain:
            hopeless.append(f"EG on {name} is below {rule.minimal_gain:g} with all of its interval")
    enough = n_rungs >= rule.minimal_rungs
    criteria.append(_criterion(f"at least {rule.minimal_rungs} rungs", n_rungs, rule.minimal_rungs, enough))
    criteria.append(_criterion("both ran the ladder's largest rung", both_at_top, True, both_at_top))
    p = test.p_better
    criteria.append(
        _criterion(
            f"paired seed test: better at level {rule.alpha:g}",
            p,
            rule.alpha,
            p is not None and p < rule.alpha,
        )
    )
    criteria.append(_held_out_criterion(held_out, rule))
    failed = [criterion.name for criterion in criteria if not criterion.passed]
    if not failed:
        return Decision(verdict="promote", because="all criteria are met", criteria=criteria)
    if hopeless:
        return Decision(verdict="reject", because="; ".join(hopeless), criteria=criteria)
    return Decision(verdict="hold", because=f"not met: {failed[0]}", criteria=criteria)


def _criterion(name: str, value: float | None, threshold: float, passed: bool) -> Criterion:
    return Criterion(name=name, value=value, threshold=threshold, passed=passed)


def _convergence_criterion(result: AxisGain, name: str) -> Criterion:
    converged = bool(result.converged)
    return _criterion(f"the fit converged ({name})", converged, True, converged)


def _trend_criterion(result: AxisGain, name: str, least: float) -> Criterion:
    """The gain must not shrink with scale beyond doubt: the slope's interval must reach `least`."""
    interval = result.trend.interval if result.trend else None
    high = interval[1] if interval else None
    reaches = interval is not None and (high is None or high >= least)
    claim = "the gain does not shrink with scale" if least == 0 else f"its trend reaches {least:g} per decade"
    return _criterion(f"{claim} ({name})", high, least, reaches)


def _held_out_criterion(held_out: Sequence[HeldOutPrediction], rule: VerdictRule) -> Criterion:
    worst = max((abs(row.relative_error) for row in held_out), default=None)
    inside = all(row.inside for row in held_out) if held_out else False
    passed = bool(held_out) and (inside or (worst is not None and worst <= rule.held_out_within))
    name = f"held-out rung predicted: inside its interval, or within {rule.held_out_within:.0%}"
    return _criterion(name, worst, rule.held_out_within, passed)
