"""Two laws linearised around their fit: how their losses and the gain answer to the parameters.

Shapes: P parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np

from stepladder.decision.axis_fit import Floor
from stepladder.decision.extrapolate import log_gain
from stepladder.laws.forms import Array
from stepladder.laws.invert import ComputeLaw, predict

STEP = 1e-5
"""Step of numerical derivatives with respect to log A, log alpha and E."""


@dataclass(frozen=True)
class LawPair:
    """Two laws and how log loss and log gain answer to their parameters.

    Derivatives are at the point estimate, so that each is formed once however many ladders are weighed.
    """

    laws: tuple[ComputeLaw, ComputeLaw]
    """Reference's, candidate's."""
    floor: Floor
    target: float
    """FLOPs at which the gain matters."""
    _known: dict[float, Array] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def point(self) -> Array:
        """Parameters: per variant log A and log alpha, then one E or one per variant."""
        logs = [np.log(value) for law in self.laws for value in (law.A, law.alpha)]
        free = {"shared": self.laws[:1], "free": self.laws}.get(str(self.floor), ())
        return np.array([*logs, *(law.E for law in free)], dtype=float)

    @cached_property
    def gain_slope(self) -> Array:
        """(P,) derivative of ln EG at the target."""

        def gain(vector: Array) -> float:
            reference, candidate = self._at(vector)
            return float(log_gain(candidate, reference, self.target))

        return self._derivative(gain)

    def loss_slopes(self, flops: float) -> Array:
        """(2, P) derivative of both variants' log loss at a cost."""

        def loss(v: int, vector: Array) -> float:
            return float(np.log(predict(self._at(vector)[v], flops)))

        if flops not in self._known:
            self._known[flops] = np.stack([self._derivative(partial(loss, v)) for v in (0, 1)])
        return self._known[flops]

    def _at(self, vector: Array) -> tuple[ComputeLaw, ComputeLaw]:
        """The laws of reference and candidate whose `point` would be `vector`."""
        floors = (vector[4], vector[-1]) if len(vector) > 4 else (law.E for law in self.laws)
        A, alpha = np.exp(vector[[0, 2]]), np.exp(vector[[1, 3]])
        first, second = (ComputeLaw(E, A[v], alpha[v], self.laws[v].unit) for v, E in enumerate(floors))
        return first, second

    def _derivative(self, function: Callable[[Array], float]) -> Array:
        """Central differences at the point estimate."""
        steps = np.eye(len(self.point)) * STEP
        return np.array([(function(self.point + s) - function(self.point - s)) / (2 * STEP) for s in steps])
