"""A trained model from a run's folder: its checkpoint checked and read, moments left where they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from stepladder.data.decode import tokenizer_of
from stepladder.data.manifest import Manifest, parse
from stepladder.data.tokenization import Tokenizer
from stepladder.models import float8
from stepladder.models.transformer import Transformer
from stepladder.record.check import read_spec
from stepladder.record.checkpoints import checkpoint_path, complete_newest_first, read_state, step_of
from stepladder.record.paths import LadderFolder, RunFolder
from stepladder.record.spec import RunSpec
from stepladder.training.checkpoint import verify
from stepladder.training.stored_tensors import read_tensors

PREFIX = "model."
"""How names of the model's tensors begin in a checkpoint."""


@dataclass(frozen=True)
class Weights:
    """A model as it was after some step of a run."""

    spec: RunSpec
    model: Transformer
    checkpoint: Path
    step: int
    device: torch.device

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """Context in which the model computes as it did when it was trained, without gradients."""
        fp8 = float8.enabled() if self.spec.precision == "fp8" else nullcontext()
        halved = self.spec.precision != "fp32"
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=halved), fp8:
            yield

    @property
    def context(self) -> int:
        """Most tokens that the model reads at once."""
        return self.spec.model.sequence_length


class Saved(NamedTuple):
    """A checkpoint of a run, not read yet."""

    spec: RunSpec
    path: Path
    step: int
    data_sha256: str
    """Fingerprint of the shards that the run was trained on."""


def find_saved(run: Path, step: int | None = None) -> Saved:
    """A run's checkpoint.

    Args:
        run: folder of the run.
        step: of the checkpoint; None for the run's last.

    Raises:
        FileNotFoundError: there is no such checkpoint; the message lists those that are there.
        ValueError: the folder holds no spec, so that it is no run's; or the checkpoint is damaged, or of
            another spec than the run's.
    """
    folder = RunFolder(run)
    spec = read_spec(folder)
    path = find_checkpoint(folder, spec, step)
    state = read_state(path)
    if state["spec_sha256"] != spec.sha256:
        raise ValueError(
            f"{path}: was made from another spec ({state['spec_sha256'][:12]}) than {folder.spec} "
            f"({spec.sha256[:12]}): it is not this run's"
        )
    return Saved(spec, path, state["step"], state["data_sha256"])


def read_weights(run: Path, step: int | None = None, device: torch.device | None = None) -> Weights:
    """Read a run's model from its checkpoint, every byte of which is checked.

    Raises:
        FileNotFoundError, ValueError: see `find_saved`; or a file of it is not what it was.
    """
    spec, path, at, _ = find_saved(run, step)
    device = device or torch.device("cpu")
    verify(path)
    model = Transformer(spec.model, spec.seed).requires_grad_(False).to(device)
    read_tensors(path, {PREFIX + name: own for name, own in model.state_dict().items()}, some=True)
    return Weights(spec, model.eval(), path, at, device)


def find_checkpoint(folder: RunFolder, spec: RunSpec, step: int | None) -> Path:
    """The checkpoint after a step, or of the end.

    Raises:
        FileNotFoundError: it is not there.
    """
    wanted = spec.recipe.steps if step is None else step
    path = checkpoint_path(folder.checkpoints, wanted)
    there = complete_newest_first(folder.checkpoints)
    if path in there:
        return path
    steps = ", ".join(f"{step_of(found):,}" for found in reversed(there))
    has = f"there are those of steps {steps}" if there else "it has none"
    last = f"the last step is {spec.recipe.steps:,}"
    remedy = (
        "name one of them with --step" if there else "train it again: snakemake, after removing its folder"
    )
    raise FileNotFoundError(
        f"{folder.path}: no complete checkpoint of step {wanted:,} ({last}): {has}; {remedy}"
    )


def find_manifest(run: Path) -> Path:
    """The manifest of the shards that a run was trained on, in the ladder's folder above it.

    Raises:
        FileNotFoundError: see `find_ladder`.
    """
    return find_ladder(run)[1]


def find_ladder(run: Path) -> tuple[LadderFolder, Path]:
    """The ladder's folder above a run, and the manifest there of the shards that it was trained on.

    Raises:
        FileNotFoundError: there is none of this run's data.
    """
    checkpoint = next(iter(complete_newest_first(RunFolder(run).checkpoints)), None)
    if checkpoint is None:
        raise FileNotFoundError(f"{run}: no complete checkpoint")
    data = read_state(checkpoint)["data_sha256"]
    for parent in run.resolve().parents:
        for path in LadderFolder(parent).manifests.values():
            if parse(path).sha256 == data:
                return LadderFolder(parent), path
    raise FileNotFoundError(
        f"{run}: no manifest of the data that it was trained on ({data[:12]}) in the folders above it: name "
        "it with --manifest"
    )


def open_tokenizer(manifest: Path) -> tuple[Manifest, Tokenizer]:
    """What prepared shards say of themselves, and their tokenizer."""
    told = parse(manifest)
    return told, tokenizer_of(told, manifest)
