"""The coordinate check of a parametrization (Yang et al. 2022, arXiv 2203.03466, appendix D.1): activations
after a few steps, over width and over depth.

The models are dense ones of the ladder's shape. The text is drawn: most tokens follow from the one before.

Shapes: B sequences, T positions.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from stepladder.record.coordinates import Axis, Coordinate, CoordinateCheck
from stepladder.record.spec import ModelSpec, ParametrizationSpec, RunSpec
from stepladder.training.trainer import Trainer

FACTORS = (1, 2, 4)
"""Widths and depths over those of the base model."""

STEPS = 10
SEQUENCES, POSITIONS, VOCABULARY = 8, 64, 256
"""Of each step; vocabularies are cut to this size, since they do not matter here."""

WIDEST, DEEPEST = 256, 8
"""Of the base model here, so that the check takes minutes at most: what keeps its scale from a small model on
does so from a larger one."""

FOLLOWS = 0.7
"""Share of tokens that follow from the one before."""


def coordinate_check(
    spec: RunSpec, kind: str, base_width: int, base_depth: int, steps: int = STEPS
) -> CoordinateCheck:
    """Train models of one to four times the base model's width, and depth, for a few steps at the peak rate.

    Args:
        spec: a run of the ladder, whose optimizer and shape count.
        kind: mup or completep; depth is checked of the latter alone.

    Raises:
        ValueError: no head fits into the base model's width.
    """
    base_width, base_depth = min(base_width, WIDEST), min(base_depth, DEEPEST)
    axes: tuple[Axis, ...] = ("width", "depth") if kind == "completep" else ("width",)
    rows = [
        row
        for axis in axes
        for factor in FACTORS
        for row in _measure(spec, kind, axis, factor, base_width, base_depth, steps)
    ]
    return CoordinateCheck(
        kind=kind,
        learning_rate=spec.optimizer.learning_rate,
        steps=steps,
        tokens=SEQUENCES * POSITIONS,
        rows=tuple(rows),
    )


def _measure(
    spec: RunSpec, kind: str, axis: Axis, factor: int, base_width: int, base_depth: int, steps: int
) -> Iterator[Coordinate]:
    width, depth = (factor if axis == name else 1 for name in ("width", "depth"))
    scaled = ParametrizationSpec(width=float(width), depth=float(depth if kind == "completep" else 1))
    model = resized(spec.model, base_width, width, base_depth * depth)
    text = spec.data.model_copy(update={"document_attention": "across"})  # what is drawn has no documents
    trainer = Trainer(
        spec.model_copy(
            update={"model": model, "parametrization": scaled, "precision": "fp32", "data": text}
        ),
        torch.device("cpu"),
    )
    generator = torch.Generator().manual_seed(spec.seed)
    follower = torch.randperm(model.vocab_size, generator=generator)
    probe = _text(follower, generator)[:, :-1]
    before = _scales(trainer, probe)
    for _ in range(steps):
        tokens = _text(follower, generator)
        trainer.gradients(tokens[:, :-1, None], tokens[:, 1:, None])
        trainer.optimizer.step(spec.optimizer.learning_rate)
    after = _scales(trainer, probe)
    for place, value in before.items():
        yield Coordinate(
            axis=axis,
            factor=factor,
            d_model=model.d_model,
            n_layers=model.n_layers,
            place=place,
            before=value,
            after=after[place],
        )


def resized(model: ModelSpec, base_width: int, width: int, n_layers: int) -> ModelSpec:
    """A dense model `width` times as wide as the base model, with more heads, not wider ones.

    Raises:
        ValueError: no head fits into the base model.
    """
    wanted = min(model.d_head, base_width)
    fitting = [n for n in range(1, base_width + 1) if base_width % (2 * n) == 0 and base_width // n >= wanted]
    if not fitting:
        raise ValueError(
            f"optimizer.parametrization.base_width {base_width}: heads have an even width: make it even"
        )
    d_model, heads = base_width * width, fitting[-1] * width
    return model.model_copy(
        update={
            "architecture": "dense",
            "options": {},
            "d_model": d_model,
            "n_layers": n_layers,
            "n_heads": heads,
            "n_kv_heads": heads,
            "d_head": base_width // fitting[-1],
            "d_ff": round(model.d_ff / model.d_model * d_model),
            "vocab_size": min(model.vocab_size, VOCABULARY),
            "sequence_length": POSITIONS,
        }
    )


def _text(follower: Tensor, generator: torch.Generator) -> Tensor:
    """(B, T + 1) tokens."""
    text = torch.randint(len(follower), (SEQUENCES, POSITIONS + 1), generator=generator)
    follows = torch.rand(text.shape, generator=generator) < FOLLOWS
    for t in range(POSITIONS):
        text[:, t + 1] = torch.where(follows[:, t + 1], follower[text[:, t]], text[:, t + 1])
    return text


@torch.no_grad()
def _scales(trainer: Trainer, tokens: Tensor) -> dict[str, float]:
    """Root mean square of the residual stream at the embedding, after the middle and after the last layer."""
    model = trainer.model
    x = F.embedding(tokens, model.embedding)
    found = {"embedding": _rms(x)}
    rotation, middle = model.rotation(x.shape[1]), max(len(model.layers) // 2, 1)
    for number, layer in enumerate(model.layers, start=1):
        x, _ = model.apply_layer(layer, x, rotation)
        if number == middle and len(model.layers) > 1:
            found["middle layer"] = _rms(x)
    return found | {"last layer": _rms(x)}


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())
