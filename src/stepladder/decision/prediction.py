"""What a fit predicts at sizes that nobody has trained."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from stepladder.decision.axis_fit import AxisFit
from stepladder.documents.document import Part
from stepladder.laws.forms import LAWS, Array
from stepladder.laws.inputs import refuse_contradiction, refuse_inputs
from stepladder.laws.invert import predict
from stepladder.laws.law_fit import LawFit
from stepladder.laws.numbers import Interval, percentile_interval
from stepladder.laws.sigmoid import reward
from stepladder.laws.sigmoid_fit import CurveFit, Rising

SEED = 0
"""Seed of the noise that prediction intervals add."""


class Prediction(Part):
    """The loss that a fit predicts at one point."""

    at: dict[str, float]
    """The point: values of the law's inputs."""
    variant: str | None
    """Whose law, where the fit has several."""
    predicted: float
    """Nats/token; of a curve, the reward or accuracy."""
    interval: Interval | None
    """Where the law itself lies; null without draws."""
    run_interval: Interval | None
    """Where one new run lies, its noise included; null without draws."""
    beyond: dict[str, float]
    """How many times beyond the fitted rows each input lies; 1 inside their range."""


def read_fit(path: Path) -> AxisFit | LawFit | CurveFit:
    """Read what `stepladder fit` wrote, if it holds a law: of a ladder, of a table or of curves.

    Raises:
        ValueError: it does not, or is not JSON.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise ValueError(f"{path}: not JSON; give a file that `stepladder fit` wrote") from None
    if isinstance(found, dict) and "axis" in found:
        return AxisFit.read(path)
    if isinstance(found, dict) and found.get("law") in get_args(Rising):
        return CurveFit.read(path)
    if isinstance(found, dict) and "formula" in found:
        return LawFit.read(path)
    raise ValueError(
        f"{path}: this has no law of the loss, nor of a curve, to predict from: fit compute, sigmoid, ..."
    )


def predict_points(
    fit: AxisFit | LawFit | CurveFit, points: Sequence[Mapping[str, float]], variant: str | None = None
) -> list[Prediction]:
    """Losses that `fit` predicts, with intervals of the law and of one new run (its noise included).

    Args:
        points: values of the law's inputs (`flops`, or `parameters` and `tokens`, ...).
        variant: the group, where the fit has several.

    Raises:
        ValueError: an input is missing, without effect, no finite number above 0, or FLOPs contradict
            parameters and tokens; or the variant is unknown.
    """
    if isinstance(fit, CurveFit):
        return [_on_curve(fit, point, variant) for point in points]
    law = _of_ladder(fit, variant) if isinstance(fit, AxisFit) else _of_table(fit, variant)
    rows = []
    for point in points:
        inputs = _inputs(law, point)
        drawn = law.drawn(inputs)
        noisy = None if drawn is None else drawn * np.exp(_noise(law.noise, len(drawn)))
        rows.append(
            Prediction(
                at=point,
                variant=variant,
                predicted=float(law.loss(inputs)),
                interval=percentile_interval(drawn, fit.confidence),
                run_interval=percentile_interval(noisy, fit.confidence),
                beyond=_beyond(inputs, law.range),
            )
        )
    return rows


def _on_curve(fit: CurveFit, point: Mapping[str, float], variant: str | None) -> Prediction:
    """The reward or accuracy that a curve predicts at a compute; the noise of one point is about the law, not
    a share of it."""
    refuse_inputs(point)
    if set(point) != {"compute"}:
        raise ValueError(f"the {fit.law} law depends on compute: give --at compute=..., and nothing else")
    names = [curve.name for curve in fit.curves]
    name = variant if variant is not None else names[0] if len(names) == 1 else ""
    if name not in names:
        raise ValueError(f"the fit has curves {', '.join(names)}: name one with --variant")
    curve, at = fit.curves[names.index(name)], np.array([point["compute"]])
    rows = fit.draws[name]
    drawn = reward(np.array(rows), at)[:, 0] if rows else None
    noisy = None if drawn is None else drawn + _noise(curve.residual_sd, len(drawn))
    return Prediction(
        at=point,
        variant=variant,
        predicted=float(reward(np.array(fit.points[name]), at)[0]),
        interval=percentile_interval(drawn, fit.confidence),
        run_interval=percentile_interval(noisy, fit.confidence),
        beyond=_beyond(point, {"compute": (curve.least, curve.most)}),
    )


@dataclass(frozen=True)
class _Predictor:
    """One law of a fit, whatever the fit: its loss where inputs are given."""

    name: str
    inputs: Sequence[str]
    loss: Callable[[Mapping[str, float]], Array]
    """The point estimate, nats/token."""
    drawn: Callable[[Mapping[str, float]], Array | None]
    """(B,) in every draw; None without any."""
    noise: Array | float
    """Of one run's log loss: residuals to draw from, or a standard deviation."""
    range: Mapping[str, tuple[float, float]]
    """Smallest and largest value that was fitted, by input."""
    ratio: tuple[float, float] | None = None
    """Smallest and largest C/(N D) of the rows, where they are known."""


def _inputs(law: _Predictor, point: Mapping[str, float]) -> dict[str, float]:
    """The law's inputs at a point.

    Raises:
        ValueError: an input is missing, without effect, meaningless, or contradicts others.
    """
    refuse_inputs(point)
    refuse_contradiction(point, law.ratio)
    inputs, made = dict(point), set()
    if "multiplier" in law.inputs:
        made = {"parameters", "tokens"}
        if made <= set(point):
            inputs.setdefault("multiplier", point["tokens"] / point["parameters"])
    if missing := [name for name in law.inputs if name not in inputs]:
        raise ValueError(f"the {law.name} law needs {', '.join(law.inputs)}: give {', '.join(missing)}")
    if unused := sorted(set(point) - set(law.inputs) - made):
        raise ValueError(
            f"the {law.name} law depends on {', '.join(law.inputs)}: leave out {', '.join(unused)}"
        )
    return inputs


def _beyond(inputs: Mapping[str, float], ranges: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """How many times beyond the fitted rows each input lies; 1 inside their range."""
    return {
        name: max(1.0, inputs[name] / high, low / inputs[name])
        for name, (low, high) in ranges.items()
        if name in inputs
    }


def _noise(noise: Array | float, draws: int) -> Array:
    """Noise of one run's log loss for each draw: normal with a given sd, or drawn from residuals."""
    generator = np.random.default_rng(SEED)
    if isinstance(noise, float):
        return generator.standard_normal(draws) * noise
    return generator.choice(noise, draws)


def _of_table(fit: LawFit, variant: str | None) -> _Predictor:
    law = LAWS[fit.law]()
    if variant not in (fit.groups or [None]):
        laws = f"laws of {', '.join(fit.groups)}: name one with" if fit.groups else "one law: leave out"
        raise ValueError(f"the fit has {laws} --variant")

    def key(name: str) -> str:
        return f"{name}[{variant}]" if f"{name}[{variant}]" in fit.parameters else name

    values = {name: fit.pinned.get(name, fit.parameters.get(key(name))) for name in law.names}
    draws = None
    if fit.draws:
        draws = {name: np.array(fit.draws.get(key(name), [values[name]]), dtype=float) for name in law.names}
    residuals = np.array(fit.residuals.values)
    free = max(1, len(residuals) - len(fit.parameters))
    return _Predictor(
        name=law.name,
        inputs=law.inputs,
        loss=lambda inputs: law.loss(values, inputs),
        drawn=lambda inputs: None if draws is None else law.loss(draws, inputs),
        noise=residuals * np.sqrt(len(residuals) / free),
        range=fit.range,
        ratio=fit.flops_per_parameter_token,
    )


def _of_ladder(fit: AxisFit, variant: str | None) -> _Predictor:
    if fit.reason:
        raise ValueError(f"there is no fit to predict from: {fit.reason}")
    if variant is None or variant not in fit.laws:
        raise ValueError(f"the fit has laws of {', '.join(fit.laws)}: name one with --variant")
    law, draws = fit.law(variant), fit.drawn(variant)
    costs = [cell.cost for cell in fit.laws[variant].cells]
    sd = (fit.noise.sd_log_loss or {}).get(variant) or 0.0
    return _Predictor(
        name="compute",
        inputs=(fit.axis,),
        loss=lambda inputs: predict(law, inputs[fit.axis]),
        drawn=lambda inputs: None if draws is None else predict(draws, inputs[fit.axis]),
        noise=float(np.hypot(sd, fit.sd_off_law)),
        range={fit.axis: (min(costs), max(costs))},
    )
