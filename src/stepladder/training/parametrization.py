"""How initial weights and updates of each parameter go with width and depth: one learning rate for all sizes.

After muP (Yang et al. 2022, arXiv 2203.03466) and CompleteP (Dey et al. 2025, arXiv 2505.01618, alpha = 1).

With m the width and l the depth over those of the base model, and Adam, which divides a gradient by its size:

| parameter | initial weights | learning rate | epsilon |
|---|---|---|---|
| embedding | m^(1/2) | 1 | 1/m |
| matrices into a layer, router | 1 | 1/m | 1/(m l) |
| matrices back into the residual stream | 0 | 1/(m l) | 1/m |
| head | m^(-1/2) | 1/m | 1 |
| gains of layers; of the last norm | 1 | 1 | 1/(m l); 1/m |

each as a factor on what the engine does without a parametrization (normal weights of standard deviation
1/sqrt(fan-in), one rate, one epsilon). A residual branch is to count for 1/l: as a factor on the last matrix
of the branch, with Adam, this is a factor on its rate, because that matrix begins at zero. Epsilon goes with
the size of the gradients. Weight decay per step stays rate times decay of the base model, so decay goes up as
a rate goes down. muP has l = 1.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from stepladder.record.spec import ParametrizationSpec


class Factors(NamedTuple):
    """On what a parameter has in the base model."""

    initial: float = 1.0
    rate: float = 1.0
    epsilon: float = 1.0


def factors(name: str, dimensions: int, p: ParametrizationSpec | None) -> Factors:
    """Of one parameter, by its name in the model and its number of dimensions."""
    if p is None:
        return Factors()
    m, depth = p.width, p.depth
    last = name.rsplit(".", 1)[-1]
    if last == "embedding":
        return Factors(initial=m**0.5, epsilon=1 / m)
    if last == "unembedding":
        return Factors(initial=m**-0.5, rate=1 / m)
    if last in ("out", "down"):
        return Factors(rate=1 / (m * depth), epsilon=1 / m)
    if dimensions > 1:
        return Factors(rate=1 / m, epsilon=1 / (m * depth))
    return Factors(epsilon=1 / (m * depth) if "layer" in name else 1 / m)


@torch.no_grad()
def scale_initial(model: nn.Module, p: ParametrizationSpec | None) -> None:
    """Scale freshly drawn weights."""
    for name, parameter in model.named_parameters():
        factor = factors(name, parameter.ndim, p).initial
        if factor != 1:
            parameter.mul_(factor)
