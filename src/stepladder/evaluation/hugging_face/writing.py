"""A run's model written as a folder that `transformers` loads as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError
from torch import Tensor

from stepladder import __version__
from stepladder.data import manifest as manifests
from stepladder.data.decode import TOKENIZER
from stepladder.data.manifest import Manifest
from stepladder.documents.files import new_folder, refuse_existing, written_below
from stepladder.evaluation.hugging_face import tokenizer
from stepladder.evaluation.hugging_face.classes import NoSuchClass, config, published
from stepladder.evaluation.hugging_face.tensors import parts
from stepladder.evaluation.weights import Weights, find_checkpoint, find_manifest, read_weights
from stepladder.record.check import read_spec
from stepladder.record.checkpoints import read_state
from stepladder.record.paths import RunFolder
from stepladder.record.result import Result
from stepladder.record.spec import ModelSpec, RunSpec

ABOUT = "stepladder.json"
"""Where the model is from."""

WEIGHTS = "model.safetensors"

Dtype = Literal["float32", "bfloat16"]


def export_run(
    run: Path, out: Path, step: int | None = None, manifest: Path | None = None, dtype: Dtype = "float32"
) -> str:
    """Write weights, config and tokenizer of a run into the folder `out`, which must be new.

    Args:
        run: folder of the run.
        step: of the checkpoint; None for the run's last.
        manifest: of the shards that it was trained on; None to look for it in the ladder's folder.

    Returns:
        Name of the class that computes the same.

    Raises:
        FileExistsError: `out` is there.
        FileNotFoundError: there is no run, no such checkpoint, or no manifest.
        ValueError: a file is damaged or not of this run, or no published class computes the same.
    """
    refuse_existing(out)
    spec = spec_of(run)
    try:
        name = published(spec.model).name
    except NoSuchClass as error:
        raise NoSuchClass(f"{RunFolder(run).spec}: {error}") from None
    checkpoint = find_checkpoint(RunFolder(run), spec, step)
    manifest = find_manifest(run) if manifest is None else manifest
    told = read_manifest(manifest, checkpoint)
    weights = read_weights(run, step)
    texts = tokenizer.files(told, manifest, weights.context) | {ABOUT: about(run, weights, told)}
    with written_below(out), new_folder(out) as folder:
        write_model(folder, spec.model, weights.model.state_dict(), told.end_of_document, dtype)
        for file, content in texts.items():
            _write(folder / file, content)
    return name


def spec_of(run: Path) -> RunSpec:
    """What the run in a folder is.

    Raises:
        FileNotFoundError: there is none.
        ValueError: its spec.json is none; the message names it.
    """
    path = RunFolder(run).spec
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file: {run} is no run; give a folder of runs/")
    try:
        return read_spec(RunFolder(run))
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8 text; give a folder of runs/") from None
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "the file"
        raise ValueError(
            f"{path}: not a run's spec: {where}: {problem['msg']}; give a folder of runs/"
        ) from None


def write_model(folder: Path, model: ModelSpec, own: dict[str, Tensor], end: int, dtype: Dtype) -> None:
    """Write config.json, generation_config.json and model.safetensors.

    Args:
        own: our tensors, by name.
        end: id that ends a document.

    Raises:
        NoSuchClass: no published class computes the same.
    """
    tokens = {"eos_token_id": end, "bos_token_id": None, "pad_token_id": None}
    _write(folder / "config.json", config(model) | tokens | {"dtype": dtype, "torch_dtype": dtype})
    _write(folder / "generation_config.json", {"eos_token_id": end})
    found = {name: tensor.to(getattr(torch, dtype)) for name, tensor in tensors(model, own).items()}
    _save(found, folder / WEIGHTS)


def read_manifest(manifest: Path, checkpoint: Path) -> Manifest:
    """What the shards that a checkpoint was trained on say of themselves; their tokenizer is checked.

    Raises:
        ValueError: it is no manifest, or that of other shards, or the tokenizer is another.
    """
    told = manifests.parse(manifest)
    trained_on = read_state(checkpoint)["data_sha256"]
    if told.sha256 != trained_on:
        raise ValueError(
            f"{manifest}: describes other shards ({told.sha256[:12]}) than those that {checkpoint} was "
            f"trained on ({trained_on[:12]}): name theirs with --manifest"
        )
    files = [file for file in told.other_files if file.name == TOKENIZER]
    try:
        manifests.check_files(manifest, files)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error.filename}: no such file: it belongs to {manifest}; prepare the data again"
        ) from None
    return told


def tensors(model: ModelSpec, own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the published class by name.

    Args:
        own: ours, by name.
    """
    return {part.name: part.given(own) for part in parts(model)}


def about(run: Path, weights: Weights, told: Manifest) -> dict[str, Any]:
    """Which run the model is from, and how good it is."""
    steps, path = weights.spec.recipe.steps, RunFolder(run).result
    ended = Result.read(path) if weights.step == steps and path.is_file() else None
    if ended is not None and ended.spec_sha256 != weights.spec.sha256:
        raise ValueError(f"{path}: is of another spec than {RunFolder(run).spec}: {Result.REMEDY}")
    return {
        "run": weights.spec.id,
        "spec_sha256": weights.spec.sha256,
        "data_sha256": told.sha256,
        "data": told.description,
        "step": weights.step,
        "steps": steps,
        "target_loss": None if ended is None else ended.loss,
        "stepladder": __version__,
    }


def _save(found: dict[str, Tensor], path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(found, path, {"format": "pt"})
    except SafetensorError as error:  # which is no OSError, also where a disk is full
        raise OSError(None, str(error), str(path)) from None


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
