"""One decoder-only transformer: pre-norm, rotary grouped-query attention, any feed-forward.

The recipe turns tokens into input vectors with `model.embedding`, and the model maps vectors to
logits: so a recipe can superpose tokens without the model knowing.

Shapes: B batch, T positions, D model width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from stepladder.models import windowed
from stepladder.models.cross_entropy import linear_cross_entropy
from stepladder.models.documents import Documents
from stepladder.models.experts import Routing
from stepladder.models.functional import EPSILON, attention, rms_norm
from stepladder.models.rotary import Rotation, rotation_table
from stepladder.record.kinds import attention_window, load
from stepladder.record.spec import ModelSpec

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask


class Attention(nn.Module):
    """Causal grouped-query self-attention; queries, keys and values in one projection."""

    if TYPE_CHECKING:

        def __call__(
            self, x_BTD: Tensor, rotation: Rotation, visible: Tensor | BlockMask | None
        ) -> Tensor: ...

    def __init__(self, model: ModelSpec, window: int | None) -> None:
        super().__init__()
        self.window = window
        queries, keys = model.n_heads * model.d_head, model.n_kv_heads * model.d_head
        self.gain = nn.Parameter(torch.ones(model.d_model))
        self.qkv = nn.Parameter(torch.empty(queries + 2 * keys, model.d_model))
        self.out = nn.Parameter(torch.empty(model.d_model, queries))
        self.gain_q = nn.Parameter(torch.ones(model.d_head)) if model.qk_norm else None
        self.gain_k = nn.Parameter(torch.ones(model.d_head)) if model.qk_norm else None

    def forward(self, x_BTD: Tensor, rotation: Rotation, visible: Tensor | BlockMask | None = None) -> Tensor:
        """x and what attention adds to it."""
        gains = (self.gain_q, self.gain_k)
        return attention(
            x_BTD, self.gain, self.qkv, self.out, *gains, rotation, EPSILON, self.window, visible
        )

    def visible(self, x_BTD: Tensor, documents: Documents | None = None) -> Tensor | BlockMask | None:
        """What positions see of their documents, or what a GPU is told of the window; None if there is no
        more to tell."""
        if documents is not None:
            return documents.visible(self.window)
        if self.window is None or self.window >= x_BTD.shape[1] or x_BTD.device.type != "cuda":
            return None
        return windowed.blocks(x_BTD.shape[1], self.window, x_BTD.device)


class Layer(nn.Module):
    """Attention, then feed-forward; each normalises the residual stream and adds to it."""

    if TYPE_CHECKING:
        feed_forward: Callable[[Tensor], tuple[Tensor, tuple[Tensor, ...] | None]]

        def __call__(
            self, x_BTD: Tensor, rotation: Rotation, visible: Tensor | BlockMask | None
        ) -> tuple[Tensor, tuple[Tensor, ...] | None]: ...

    def __init__(self, model: ModelSpec, index: int) -> None:
        super().__init__()
        self.attention = Attention(model, attention_window(model, index))
        self.feed_forward = load("architectures", model.architecture).build_feed_forward(model, index)

    def forward(
        self, x_BTD: Tensor, rotation: Rotation, visible: Tensor | BlockMask | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...] | None]:
        """The next layer's input, and the fields of `Routing` if there is a router."""
        return self.feed_forward(self.attention(x_BTD, rotation, visible))


class Transformer(nn.Module):
    """Vectors (B, T, D) to logits (B, T, V). `embedding` (V, D) is for the recipe to embed with."""

    if TYPE_CHECKING:
        layers: Sequence[Layer]
        turn_TP2: Tensor
        back_TP2: Tensor

    def __init__(self, model: ModelSpec, seed: int) -> None:
        super().__init__()
        self.recompute = False
        """Whether layers keep only their input for the backward pass and compute the rest again."""
        self.embedding = nn.Parameter(torch.empty(model.vocab_size, model.d_model))
        self.layers = nn.ModuleList(Layer(model, index) for index in range(model.n_layers))  # type: ignore[assignment]  # of layers
        self.gain = nn.Parameter(torch.ones(model.d_model))
        self.unembedding = (
            None if model.tied_embeddings else nn.Parameter(torch.empty(model.vocab_size, model.d_model))
        )
        rotation = rotation_table(model.sequence_length, model.d_head, model.rope_theta)
        self.register_buffer("turn_TP2", rotation.turn_TP2, persistent=False)
        self.register_buffer("back_TP2", rotation.back_TP2, persistent=False)
        initialise(self, torch.Generator().manual_seed(seed))

    def forward(self, x_BTD: Tensor, documents: Documents | None = None) -> tuple[Tensor, list[Routing]]:
        """Logits of what follows each position, and the routings of the MoE layers in order."""
        x_BTD, routings = self.trunk(x_BTD, documents)
        return F.linear(rms_norm(x_BTD, self.gain, EPSILON), self.head), routings

    def trunk(self, x_BTD: Tensor, documents: Documents | None = None) -> tuple[Tensor, list[Routing]]:
        """All layers; the final norm is left to the head.

        Args:
            documents: attention stays within them; None for attention across.
        """
        rotation = self.rotation(x_BTD.shape[1])
        routings = []
        for layer in self.layers:
            x_BTD, routing = self.apply_layer(layer, x_BTD, rotation, documents)
            if routing is not None:
                routings.append(routing)
        return x_BTD, routings

    def rotation(self, positions: int) -> Rotation:
        """Rotary turns of the first `positions` positions."""
        return Rotation(self.turn_TP2[:positions], self.back_TP2[:positions])

    def apply_layer(
        self, layer: Layer, x_BTD: Tensor, rotation: Rotation, documents: Documents | None = None
    ) -> tuple[Tensor, Routing | None]:
        """One layer; with `recompute` its inner results are not kept."""
        inputs = (x_BTD, rotation, layer.attention.visible(x_BTD, documents))
        if self.recompute and torch.is_grad_enabled():
            # no layer draws random numbers, so that there is no generator's state to keep
            x_BTD, routing = checkpoint(layer, *inputs, use_reentrant=False, preserve_rng_state=False)
        else:
            x_BTD, routing = layer(*inputs)
        return x_BTD, None if routing is None else Routing(*routing)

    @property
    def head(self) -> Tensor:
        """Weight (V, D) of the output projection."""
        return self.embedding if self.unembedding is None else self.unembedding

    def cross_entropy(
        self,
        x_BTD: Tensor,
        targets_BTS: Tensor,
        gain_D: Tensor | None = None,
        mass_BTS: Tensor | None = None,
    ) -> Tensor:
        """Mean cross-entropy in nats of bags of targets, given the trunk's output; see
        `linear_cross_entropy`.

        Args:
            gain_D: of the norm in front of the head, if not the model's own.
            mass_BTS: how much each target of a position counts; None for equal shares of 1.
        """
        h_BTD = rms_norm(x_BTD, self.gain if gain_D is None else gain_D, EPSILON)
        mass_NS = None if mass_BTS is None else mass_BTS.flatten(0, -2)
        return linear_cross_entropy(h_BTD.flatten(0, -2), self.head, targets_BTS.flatten(0, -2), mass_NS)


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights from one CPU generator, so that the device does not change them.

    Matrices, embedding and head: normal with standard deviation 1/sqrt(width of the rows), which keeps
    the scale of normalised inputs. For the embedding it was the best of 0.02, 1/sqrt(D) and 1 at
    d_model 32, by 0.01 to 0.07 bits per byte after 500 steps (one seed, two learning rates); a head that
    starts at zero was 0.13 worse.
    The projections back into the residual stream (attention out, feed-forward down) start at zero:
    every layer begins as the identity, gradients reach all depths undiminished, and the router of a MoE
    sees plain embeddings until the experts have something to say (its early collapse is what zeroed
    attention outputs prevent in the MAI-Thinking-1 report).
    """
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim == 1:
                continue
            if name.endswith((".out", ".down")):
                parameter.zero_()
            else:
                parameter.normal_(0, parameter.shape[-1] ** -0.5, generator=generator)
