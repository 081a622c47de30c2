"""The coordinate check of a parametrization in a sentence."""

from __future__ import annotations

from stepladder.display import numbers as fmt
from stepladder.record.coordinates import Axis, CoordinateCheck

FLAT = 0.1
"""Change of scale over four times the width, or the depth, up to which it counts as kept."""

NAMES = {"mup": "muP", "completep": "CompleteP"}


def coordinate_sentences(found: CoordinateCheck) -> list[str]:
    """Over each axis, whether activations keep their scale."""
    axes: list[Axis] = ["width", "depth"] if any(row.axis == "depth" for row in found.rows) else ["width"]
    return [_sentence(found, axis) for axis in axes]


def _sentence(found: CoordinateCheck, axis: Axis) -> str:
    spread, mine = found.spread(axis), [row for row in found.rows if row.axis == axis]
    sizes = [row.d_model if axis == "width" else row.n_layers for row in mine]
    what = f"{NAMES.get(found.kind, found.kind)}, {axis} {min(sizes)} to {max(sizes)}"
    kept = "keep their scale" if spread <= FLAT else "do NOT keep their scale"
    advice = "" if spread <= FLAT else "; a larger base model or a lower rate comes nearer to the limit"
    return (
        f"{what}: activations {kept} (it changes by {fmt.percent(spread, 1)} at most, limit "
        f"{fmt.percent(FLAT)}) after {found.steps} steps of {found.tokens} tokens at learning rate "
        f"{fmt.general(found.learning_rate)}, one model of each size{advice}."
    )
