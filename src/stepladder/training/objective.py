"""The loss of a batch as one module: what is sharded, compiled and differentiated.

Shapes: B sequences, T positions, S tokens per bag, D model width.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stepladder.models.documents import Documents
from stepladder.models.experts import Routing
from stepladder.models.feed_forward import MixtureOfExperts
from stepladder.models.transformer import Transformer, initialise
from stepladder.record.kinds import load
from stepladder.record.spec import RunSpec
from stepladder.training.parametrization import scale_initial


class Objective(nn.Module):
    """Model, and what the recipe trains besides it."""

    if TYPE_CHECKING:
        set_requires_gradient_sync: Callable[[bool], None]
        """There if it is sharded."""

        def __call__(self, inputs_BTS: Tensor, targets_BTS: Tensor) -> tuple[Tensor, list[Routing]]: ...

    def __init__(self, spec: RunSpec, end_of_document: int | None = None) -> None:
        """Args:
        end_of_document: id of the token that ends each document, which attention within documents needs.

        Raises:
            ValueError: it is needed and missing.
        """
        super().__init__()
        self.end_of_document = None if spec.data.document_attention == "across" else end_of_document
        if spec.data.document_attention == "within" and end_of_document is None:
            raise ValueError(f"{spec.id}: attention within documents, and no token is named that ends them")
        self.recipe: ModuleType = load("recipes", spec.recipe.name)
        self.model = Transformer(spec.model, spec.seed)
        self.heads: nn.ModuleList | None = None
        if hasattr(self.recipe, "build_heads"):
            self.heads = self.recipe.build_heads(spec.recipe.options, spec.model)
            # its own draws, so that the model starts as it would without heads
            initialise(self.heads, torch.Generator().manual_seed(spec.seed + 2**32))
        scale_initial(self, spec.parametrization)

    def forward(self, inputs_BTS: Tensor, targets_BTS: Tensor) -> tuple[Tensor, list[Routing]]:
        """Loss of the recipe in nats per token, and the routings of the model's MoE layers.

        Without gradients it is the plain next-token loss, whatever the recipe: that is what scores a model.
        """
        model, documents = self.model, None
        if self.end_of_document is not None:
            documents = Documents.of(inputs_BTS, targets_BTS, self.end_of_document)
        if not torch.is_grad_enabled():
            x_BTD, routings = model.trunk(F.embedding(inputs_BTS[..., 0], model.embedding), documents)
            return model.cross_entropy(x_BTD, targets_BTS), routings
        # recipes of people that know nothing of documents serve where attention is across them
        known = () if documents is None else (documents,)
        x_BTD, routings = model.trunk(self.recipe.embed(model.embedding, inputs_BTS, *known), documents)
        return self.recipe.loss(model, x_BTD, targets_BTS, self.heads, *known), routings

    def layers(self) -> list[nn.Module]:
        """What is compiled, gathered and freed one by one: layers of the model and of the recipe's heads."""
        heads = [head.layer for head in self.heads] if self.heads is not None else []
        return [*self.model.layers, *heads]  # type: ignore[list-item]  # a head has a layer

    def mixtures(self) -> list[MixtureOfExperts]:
        """The model's MoE layers in order; those of the recipe's heads are not balanced."""
        return [module for module in self.model.modules() if isinstance(module, MixtureOfExperts)]


class Loads:
    """Loads of the experts over a step's whole batch: all ranks, and the micro-batches so far.

    The balance loss of a micro-batch sees the mean load of those before it and its own (Qiu et al. 2025,
    arXiv 2501.11873, section 3.2: a buffer in place of a second pass). Layers only report theirs, so that
    compiled code has nothing to exchange.

    Shapes: L MoE layers, E experts.
    """

    def __init__(self, mean_over_ranks: Callable[[Tensor], Tensor]) -> None:
        self.mean_over_ranks = mean_over_ranks
        self.begin_step()

    def begin_step(self) -> None:
        """Forget the step before."""
        self.total_LE: Tensor | None = None
        self.parts = 0

    def add(self, routings: list[Routing]) -> Tensor:
        """Take in a micro-batch; returns the load (L, E) of the batch so far."""
        load_LE = self.mean_over_ranks(torch.stack([routing.load_E for routing in routings]))
        self.total_LE = load_LE if self.total_LE is None else self.total_LE + load_LE
        self.parts += 1
        return self.total_LE / self.parts
