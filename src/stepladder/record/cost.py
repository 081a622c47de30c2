"""Exact parameter and FLOP counts of a model shape.

Formulas: every weight matrix costs 2 FLOPs per parameter and position in the forward pass; attention
adds 4 * n_heads * d_head * T_eff per layer (scores and weighted values); training is three times
the forward pass. Two conventions for T_eff are in use and both are kept apart by name:

- `causal`: the mean number of positions that the mask lets through, (T + 1) / 2 without a window. Used
  for compute C and in fits.
- `palm`: T, the full square (Chowdhery et al. 2022, arXiv 2204.02311, appendix B), or the window where that
  is shorter. Most published MFU figures use it.

What a recipe computes besides the model (its `extra_forward_flops`) is part of the cost of training.

6ND is not used anywhere: at ladder sizes the head and attention dominate it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal, Protocol

from stepladder.record.kinds import attention_window, load
from stepladder.record.spec import ModelSpec, PhaseSpec, RecipeSpec, RunSpec


class Counting(Protocol):
    """A further convention: what attention computes in some text (`stepladder.record.same_document`)."""

    def attended(self, length: int, window: int | None) -> float:
        """T_eff of `attended_positions`."""
        ...

    def __hash__(self) -> int: ...


Convention = Literal["causal", "palm"] | Counting

FLOPS_FORMULA = "matmul+attention/2"
"""Version of the formulas in this file; stored beside every number computed by them."""


@dataclass(frozen=True)
class Parameters:
    """Parameter counts by group, so that the analysis can choose what N means."""

    embedding: int
    head: int
    """0 when tied to the embedding; its matmul is counted in FLOPs all the same."""
    attention: int
    feed_forward_active: int
    feed_forward_total: int
    router: int
    norms: int

    @property
    def total(self) -> int:
        """All parameters that are stored."""
        return self.active - self.feed_forward_active + self.feed_forward_total

    @property
    def active(self) -> int:
        """Parameters used by one token."""
        return self.embedding + self.head + self.active_non_embedding

    @property
    def active_non_embedding(self) -> int:
        """N of budgets and laws: active parameters without embedding and head."""
        return self.attention + self.feed_forward_active + self.router + self.norms

    def as_dict(self) -> dict[str, int]:
        """All groups and sums by name."""
        sums = ("total", "active", "active_non_embedding")
        return asdict(self) | {name: getattr(self, name) for name in sums}


class _Shape:
    """A model as a key of caches: a ladder asks for the counts of each of its shapes thousands of times."""

    def __init__(self, model: ModelSpec) -> None:
        self.model, self.text = model, model.model_dump_json()

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Shape) and self.text == other.text


def parameters(model: ModelSpec) -> Parameters:
    """Count the parameters of `model` by group, without building it."""
    return _parameters(_Shape(model))


@lru_cache(maxsize=1024)
def _parameters(shape: _Shape) -> Parameters:
    model = shape.model
    architecture = load("architectures", model.architecture)
    layers = [architecture.count_feed_forward(model, layer) for layer in range(model.n_layers)]
    queries, keys = model.n_heads * model.d_head, model.n_kv_heads * model.d_head
    # Two norms per layer and a final one; QK-norm has one gain per head feature for q and for k.
    norms_per_layer = 2 * model.d_model + (2 * model.d_head if model.qk_norm else 0)
    return Parameters(
        embedding=model.vocab_size * model.d_model,
        head=0 if model.tied_embeddings else model.vocab_size * model.d_model,
        attention=model.n_layers * model.d_model * (2 * queries + 2 * keys),
        feed_forward_active=sum(layer.active for layer in layers),
        feed_forward_total=sum(layer.total for layer in layers),
        router=sum(layer.router for layer in layers),
        norms=model.n_layers * norms_per_layer + model.d_model,
    )


def forward_flops_per_position(
    model: ModelSpec, positions: int | None = None, convention: Convention = "causal"
) -> float:
    """Model FLOPs of one position's forward pass in a sequence of `positions` (default: the context)."""
    return _forward_flops(_Shape(model), positions or model.sequence_length, convention)


@lru_cache(maxsize=4096)
def _forward_flops(shape: _Shape, length: int, convention: Convention) -> float:
    model, count = shape.model, _parameters(shape)
    matrices = count.attention + count.feed_forward_active + count.router + model.d_model * model.vocab_size
    attended = sum(
        attended_positions(length, attention_window(model, layer), convention)
        for layer in range(model.n_layers)
    )
    return 2 * matrices + 4 * model.n_heads * model.d_head * attended


def attended_positions(length: int, window: int | None, convention: Convention) -> float:
    """T_eff: positions that one of `length` positions attends to, in the mean; see the conventions above."""
    if not isinstance(convention, str):
        return convention.attended(length, window)
    seen = min(window or length, length)
    if convention == "palm":
        return seen
    # 1, 2, ..., seen and then always `seen`
    return (seen * (seen + 1) / 2 + (length - seen) * seen) / length


def training_flops_per_position(
    model: ModelSpec, positions: int | None = None, convention: Convention = "causal"
) -> float:
    """Model FLOPs of one position's forward and backward pass: three times the forward pass."""
    return 3 * forward_flops_per_position(model, positions, convention)


def recipe_flops_per_position(
    model: ModelSpec, recipe: str, options: dict[str, Any], positions: int, convention: Convention = "causal"
) -> float:
    """Training FLOPs of one position including what the recipe computes besides the model."""
    extra = getattr(load("recipes", recipe), "extra_forward_flops", None)
    forward = forward_flops_per_position(model, positions, convention)
    return 3 * (forward + (extra(options, model, positions, convention) if extra else 0.0))


def step_flops(
    model: ModelSpec, recipe: RecipeSpec, phase: PhaseSpec, convention: Convention = "causal"
) -> float:
    """Model FLOPs of one training step of a phase. Latent positions count, not raw tokens."""
    per_position = recipe_flops_per_position(model, recipe.name, recipe.options, phase.positions, convention)
    return phase.sequences * phase.positions * per_position


def training_flops(model: ModelSpec, recipe: RecipeSpec, convention: Convention = "causal") -> float:
    """Model FLOPs of a whole run: a bag of tokens costs one position."""
    return sum(phase.steps * step_flops(model, recipe, phase, convention) for phase in recipe.phases)


def recomputed_flops(model: ModelSpec, recipe: RecipeSpec) -> float:
    """Hardware FLOPs that activation checkpointing adds: the layers' forward pass once more."""
    head = 2 * model.d_model * model.vocab_size
    return sum(
        p.steps * p.sequences * p.positions * (forward_flops_per_position(model, p.positions) - head)
        for p in recipe.phases
    )


def flops_until(spec: RunSpec, steps: int) -> float:
    """Model FLOPs of the run's first `steps` steps."""
    flops = 0.0
    for phase in spec.recipe.phases:
        flops += min(phase.steps, steps) * step_flops(spec.model, spec.recipe, phase)
        steps -= min(phase.steps, steps)
    return flops
