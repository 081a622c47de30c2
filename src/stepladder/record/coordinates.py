"""coordinates.json: whether activations keep their scale over width and depth, as a parametrization promises.

`stepladder.training.coordinates` makes it, the report reads it.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from stepladder.documents.document import Document, Part

Axis = Literal["width", "depth"]


class Coordinate(Part):
    """Activations of one model at one place."""

    axis: Axis
    """What was made larger."""
    factor: int
    """By how much, over the base model."""
    d_model: int
    """Width of the model, features."""
    n_layers: int
    """Its layers."""
    place: str
    """Where: the embedding, or the residual stream after the middle or the last layer."""
    before: float
    """Root mean square over positions and features before the first step."""
    after: float
    """The same after the last."""


class CoordinateCheck(Document):
    """A few steps of models of several widths and depths."""

    VERSION: ClassVar[int] = 1
    SEALED: ClassVar[bool] = True
    REMEDY: ClassVar[str] = "run snakemake, which makes it again"

    schema_version: int = VERSION
    """version of these fields"""
    kind: str
    """The parametrization: mup or completep."""
    learning_rate: float
    """Of every step."""
    steps: int
    """Steps that were trained."""
    tokens: int
    """Tokens of each step."""
    rows: tuple[Coordinate, ...]
    """Every model and place."""

    def spread(self, axis: Axis) -> float:
        """By how much the scale after the last step changes along an axis: the largest over the smallest,
        less 1, at the place where that is most."""
        places: dict[str, list[float]] = {}
        for row in self.rows:
            if row.axis == axis:
                places.setdefault(row.place, []).append(row.after)
        return max(max(values) / min(values) - 1 for values in places.values())
