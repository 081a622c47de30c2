"""Tensors of a published class as parts of ours: the same list serves both directions.

Where a class turns pairs (i, i + C/2) of a head, the rows of queries and keys are put into that order: both
then turn the same numbers by the same angles.

Shapes: P pairs of a head.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stepladder.architectures.moe import is_moe_layer
from stepladder.evaluation.hugging_face.classes import MIXTRAL, Published, published, shared_width
from stepladder.record.spec import ModelSpec


@dataclass(frozen=True)
class Part:
    """One tensor of a published class, and where its numbers stand in ours."""

    name: str
    own: str | None = None
    """Name of our tensor; None where all numbers are zeros."""
    shape: tuple[int, ...] = ()
    """Of what has no tensor of ours."""
    expert: int | None = None
    first: int = 0
    rows: int | None = None
    """From `first` on; None for all."""
    pairs: int | None = None
    """P, if the rows (or numbers) of heads go into the other order."""
    row: bool = False
    """Whether the class has a vector of ours as the only row of a matrix."""
    factor: float = 1.0
    """By which the class's numbers are larger; a power of two, so that nothing is rounded."""
    further: float = 0.0
    """What is added to them."""
    zeros_after: int | None = None
    """So many rows, and as many of zeros, and so on."""

    def of(self, own: Tensor) -> Tensor:
        """The view of our tensor whose numbers, in their order, are those of the class."""
        part = own if self.expert is None else own[self.expert]
        if self.rows is not None:
            part = part[self.first : self.first + self.rows]
        if self.pairs is not None:
            part = part.unflatten(0, (-1, self.pairs, 2)).transpose(1, 2)
        return part.unsqueeze(0) if self.row else part

    def given(self, own: dict[str, Tensor]) -> Tensor:
        """The class's tensor, of our numbers."""
        if self.own is None:
            return torch.zeros(self.shape)
        part = self.of(own[self.own])
        whole = part.flatten(0, 2) if self.pairs is not None else part
        if self.zeros_after is not None:
            blocks = whole.unflatten(0, (-1, self.zeros_after))
            whole = torch.cat((blocks, torch.zeros_like(blocks)), 1).flatten(0, 1)
        return (whole * self.factor + self.further).contiguous()

    def split(self, given: Tensor) -> tuple[Tensor, Tensor]:
        """Of the class's tensor, our numbers; and those that must be zeros."""
        if self.own is None:
            return given[:0], given
        if self.zeros_after is None:
            return (given - self.further) / self.factor, given[:0]
        ours, zeros = given.unflatten(0, (-1, 2, self.zeros_after)).unbind(1)
        return ours.flatten(0, 1), zeros


def parts(model: ModelSpec) -> Iterator[Part]:
    """Every tensor of the class for this model.

    Raises:
        NoSuchClass: see `published`.
    """
    chosen = published(model)
    for part in _parts(model, chosen):
        gain = part.own is not None and part.own.rpartition(".")[2] in ("gain", "gain_q", "gain_k")
        yield replace(part, further=-1.0) if gain and chosen.gains_above_one else part


def _parts(model: ModelSpec, chosen: Published) -> Iterator[Part]:
    yield Part("model.embed_tokens.weight", "embedding")
    for number in range(model.n_layers):
        name, own = f"model.layers.{number}", f"layers.{number}"
        yield from _attention(model, chosen, f"{name}.self_attn", f"{own}.attention")
        yield Part(f"{name}.input_layernorm.weight", f"{own}.attention.gain")
        yield Part(f"{name}.post_attention_layernorm.weight", f"{own}.feed_forward.gain")
        if model.architecture == "moe" and is_moe_layer(model, number):
            block = "block_sparse_moe" if chosen is MIXTRAL else "mlp"
            yield from _experts(model, chosen, f"{name}.{block}", f"{own}.feed_forward")
        else:
            yield from _swiglu(f"{name}.mlp", f"{own}.feed_forward", model.d_ff)
    yield Part("model.norm.weight", "gain")
    if not model.tied_embeddings:
        yield Part("lm_head.weight", "unembedding")


def _attention(model: ModelSpec, chosen: Published, name: str, own: str) -> Iterator[Part]:
    pairs = None if chosen.interleaved else model.d_head // 2
    queries, keys = model.n_heads * model.d_head, model.n_kv_heads * model.d_head
    qkv = f"{own}.qkv"
    gates = model.d_head if chosen.gated_attention else None
    yield Part(f"{name}.q_proj.weight", qkv, rows=queries, pairs=pairs, zeros_after=gates)
    yield Part(f"{name}.k_proj.weight", qkv, first=queries, rows=keys, pairs=pairs)
    yield Part(f"{name}.v_proj.weight", qkv, first=queries + keys, rows=keys)
    yield Part(f"{name}.o_proj.weight", f"{own}.out", factor=2.0 if chosen.gated_attention else 1.0)
    if model.qk_norm:
        yield Part(f"{name}.q_norm.weight", f"{own}.gain_q", pairs=pairs)
        yield Part(f"{name}.k_norm.weight", f"{own}.gain_k", pairs=pairs)


SWIGLU = ("gate_proj", "up_proj", "down_proj")


def _swiglu(
    name: str,
    own: str,
    width: int,
    *,
    expert: int | None = None,
    names: tuple[str, str, str] = SWIGLU,
    factor: float = 1.0,
) -> Iterator[Part]:
    gate, up, down = names
    yield Part(f"{name}.{gate}.weight", f"{own}.gate_up", expert=expert, rows=width)
    yield Part(f"{name}.{up}.weight", f"{own}.gate_up", expert=expert, first=width, rows=width)
    yield Part(f"{name}.{down}.weight", f"{own}.down", expert=expert, factor=factor)


def _experts(model: ModelSpec, chosen: Published, name: str, own: str) -> Iterator[Part]:
    width, n_experts = model.options["d_expert"], model.options["n_experts"]
    names = ("w1", "w3", "w2") if chosen is MIXTRAL else SWIGLU
    yield Part(f"{name}.gate.weight", f"{own}.router")
    for expert in range(n_experts):
        yield from _swiglu(f"{name}.experts.{expert}", own, width, expert=expert, names=names)
    if chosen.gated_shared:
        yield from _gated_shared(model, name, own)
    elif model.options["n_shared_experts"]:
        shared = model.options["n_shared_experts"] * width
        yield from _swiglu(f"{name}.shared_experts", f"{own}.shared", shared)
    bias = f"{name}.moe_statics.e_score_correction_bias"
    if model.options["bias_rate"]:
        yield Part(bias, f"{own}.bias", row=True)
    elif chosen.model_type == "ernie4_5_moe":
        yield Part(bias, shape=(1, n_experts))


def _gated_shared(model: ModelSpec, name: str, own: str) -> Iterator[Part]:
    """A gate of zeros has the sigmoid 1/2, and what comes out of the expert is twice as large."""
    yield Part(f"{name}.shared_expert_gate.weight", shape=(1, model.d_model))
    width = shared_width(model)
    if model.options["n_shared_experts"]:
        yield from _swiglu(f"{name}.shared_expert", f"{own}.shared", width, factor=2.0)
        return
    shapes = ((width, model.d_model), (width, model.d_model), (model.d_model, width))
    for which, shape in zip(SWIGLU, shapes, strict=True):
        yield Part(f"{name}.shared_expert.{which}.weight", shape=shape)
