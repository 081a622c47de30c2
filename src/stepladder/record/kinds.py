"""What an architecture file, a recipe file and a task file give to the ladder.

An architecture is one module in `stepladder.architectures`, a recipe one in `stepladder.recipes`, a
task one in `stepladder.tasks`; a ladder file names them and they are found by that name. Their top level
must not import torch: ladder files are validated, and the workflow is parsed, without it.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stepladder.record.spec import ModelSpec


@dataclass(frozen=True)
class FeedForwardCount:
    """Parameters of one layer's feed-forward part."""

    total: int
    active: int
    """Used by one token (equals `total` when dense); router not included."""
    router: int = 0


@dataclass(frozen=True)
class PhaseShape:
    """One phase of a recipe before the budget fixes its number of steps."""

    name: str
    fraction: float
    """Share of all optimizer steps."""
    bag_size: int
    sequences: int
    positions: int
    targets: int | None = None
    """Tokens that one position predicts: by default the next bag."""


def available(kind: str) -> list[str]:
    """Names of all modules in `stepladder.<kind>` (`architectures`, `recipes` or `tasks`), sorted."""
    package = importlib.import_module(f"stepladder.{kind}")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


@cache
def load(kind: str, name: str) -> ModuleType:
    """Import the module that implements architecture, recipe or task `name`.

    Raises:
        ValueError: there is no such module, and the message lists those that exist; or it imports a module of
            an earlier version.
    """
    module = f"stepladder.{kind}.{name}"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and error.name != module:  # it is there, but something that it imports is not
            if error.name.startswith("stepladder."):
                raise ValueError(
                    f"{module} imports {error.name}, which lies elsewhere now: docs/extending.md says where"
                ) from error
            raise
    raise ValueError(f"no {kind[:-1]} {name!r}; there are: {', '.join(available(kind))}")


def attention_window(model: ModelSpec, layer: int) -> int | None:
    """Positions that attention of layer number `layer` (from 0) sees; None for all before it.

    An architecture without a function of that name has no windows.
    """
    windows = getattr(load("architectures", model.architecture), "attention_window", None)
    window: int | None = windows(model, layer) if windows else None
    return window
