"""Weights of a model in Hugging Face's format as ours: it computes the same, or it is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from stepladder.evaluation.hugging_face.classes import LLAMA, MISTRAL, config, published
from stepladder.evaluation.hugging_face.tensors import Part, parts
from stepladder.evaluation.hugging_face.writing import WEIGHTS
from stepladder.models.transformer import Transformer
from stepladder.record.spec import ModelSpec

T = TypeVar("T")

CONFIG = "config.json"
INDEX = f"{WEIGHTS}.index.json"
"""Which file holds which tensor, where there are several."""

OWN = {
    "vocab_size": "vocab_size",
    "hidden_size": "d_model",
    "intermediate_size": "d_ff",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "num_key_value_heads": "n_kv_heads",
    "head_dim": "d_head",
    "tie_word_embeddings": "tied_embeddings",
    "rope_theta": "rope_theta",
    "windows": "window",
    "moe_intermediate_size": "d_expert",
    "num_experts": "n_experts",
    "moe_num_experts": "n_experts",
    "num_experts_per_tok": "top_k",
    "moe_k": "top_k",
    "moe_num_shared_experts": "n_shared_experts",
    "decoder_sparse_step": "every",
    "moe_layer_interval": "every",
}
"""What we call these fields, where a run can have other values."""

DEFAULTS: dict[str, Any] = {
    "attention_bias": False,
    "attention_dropout": 0.0,
    "decoder_sparse_step": 1,
    "hidden_act": "silu",
    "mlp_bias": False,
    "mlp_only_layers": [],
    "norm_topk_prob": False,
    "qkv_bias": True,
    "tie_word_embeddings": False,
    "use_bias": False,
    "use_sliding_window": False,
}
"""Of fields that a config.json may leave out; those of the classes. Numbers must be there."""

IGNORED = ("rotary_emb.inv_freq",)
"""Ends of the names of tensors that older versions wrote and no version reads."""


def read_model(model: Transformer, spec: ModelSpec, folder: Path) -> None:
    """Give a model the weights that lie in a folder as `transformers` writes it.

    Args:
        model: of this shape; its weights are overwritten.

    Raises:
        FileNotFoundError: there is no config.json, or a file of weights is missing.
        ValueError: the shape is another, or the weights are not all there or more than a run has; the message
            names file, field and what to do.
    """
    check_config(spec, folder / CONFIG)
    own, expected = model.state_dict(), {part.name: part for part in parts(spec)}
    places = find_tensors(folder)
    tied = {"lm_head.weight"} if spec.tied_embeddings else set()
    further = [name for name in places if name not in {*expected, *tied} and not name.endswith(IGNORED)]
    for what, names in (("lacks", expected.keys() - places.keys()), ("has besides", further)):
        if names:
            few = ", ".join(sorted(names)[:3])
            raise ValueError(
                f"{folder}: {what} {few} ({len(names)} tensors): not the weights that its {CONFIG} tells of; "
                f"get the folder again, or take another checkpoint"
            )
    with torch.no_grad():
        for path in sorted(set(places.values())):
            names = [name for name in expected if places[name] == path]
            _read(path, [expected[name] for name in names], own)


def check_config(spec: ModelSpec, path: Path) -> None:
    """Compare what config.json says with what a run of this shape computes.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is none, or a field differs.
    """
    given, chosen = _object(path), published(spec)
    types = {chosen.model_type} | ({"llama", "mistral"} if chosen in (LLAMA, MISTRAL) else set())
    if given.get("model_type") not in types:
        raise ValueError(
            f"{path}: model_type = {given.get('model_type')!r}, but runs of this shape are "
            f"{' or '.join(sorted(types))}: change architecture or qk_norm in the ladder, or take another "
            "checkpoint"
        )
    theirs, ours = computed(given, spec.sequence_length), computed(config(spec), spec.sequence_length)
    for field, value in ours.items():
        found = theirs.get(field)
        if found == value:
            continue
        own = OWN.get(field)
        remedy = f"set {own} in the ladder accordingly, or take" if own else "no setting changes that: take"
        raise ValueError(
            f"{path}: {field} = {found!r}, but a run of this shape has {value!r}: {remedy} another checkpoint"
        )


def computed(given: dict[str, Any], positions: int) -> dict[str, Any]:
    """Fields of a config.json on which logits depend, as far as they depend on them.

    Args:
        positions: that the model is to read; a window as long is none.
    """
    told = DEFAULTS | {"tie_word_embeddings": given.get("model_type") == "ernie4_5_moe"} | given
    heads, width = told.get("num_attention_heads"), told.get("hidden_size")
    if told.get("num_key_value_heads") is None:
        told["num_key_value_heads"] = heads
    if told.get("head_dim") is None and isinstance(heads, int) and isinstance(width, int) and heads:
        told["head_dim"] = width // heads
    if "num_local_experts" in told:  # Mixtral's name, which transformers 5 writes for Qwen3-MoE as well
        told["num_experts"] = told.pop("num_local_experts")
    rope = told.get("rope_parameters") or told.get("rope_scaling") or {}
    rope = rope if isinstance(rope, dict) else {"rope_type": rope}
    told["rope_theta"] = rope.get("rope_theta", told.get("rope_theta"))
    told["rope_type"] = rope.get("rope_type", rope.get("type", "default"))
    usual = 0.25 if told.get("model_type") == "qwen3_next" else 1.0
    told["partial_rotary_factor"] = rope.get(
        "partial_rotary_factor", told.get("partial_rotary_factor", usual)
    )
    told["windows"] = _windows(told, positions)
    return {name: value for name, value in told.items() if name not in NOT_COMPUTED}


NOT_COMPUTED = (
    "architectures",
    "layer_types",
    "max_position_embeddings",
    "model_type",
    "moe_norm_min",
    "rope_parameters",
    "sliding_window",
    "use_sliding_window",
)
"""What is compared in another form, or does not matter."""


def _windows(told: dict[str, Any], positions: int) -> list[int | None]:
    layers, window, kind = told.get("num_hidden_layers"), told.get("sliding_window"), told.get("model_type")
    layers = layers if isinstance(layers, int) else 0
    if str(kind).startswith("qwen") and not told["use_sliding_window"]:
        window = None
    if not isinstance(window, int) or window >= positions:
        window = None
    first = told.get("max_window_layers", 28) if kind == "qwen3" else 0
    types = told.get("layer_types") or [
        "sliding_attention" if layer >= first else "full_attention" for layer in range(layers)
    ]
    return [window if one == "sliding_attention" else None for one in types]


def find_tensors(folder: Path) -> dict[str, Path]:
    """Which file holds each tensor.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged.
    """
    index = folder / INDEX
    if not index.is_file():
        return dict.fromkeys(_open(folder / WEIGHTS, lambda file: list(file.keys())), folder / WEIGHTS)
    names = _object(index).get("weight_map")
    if not isinstance(names, dict) or not all(
        isinstance(one, str) and Path(one).name == one for one in names.values()
    ):
        raise ValueError(f"{index}: its weight_map is none of files beside it; get the folder again")
    return {name: folder / file for name, file in names.items()}


def _read(path: Path, wanted: Iterable[Part], own: dict[str, Tensor]) -> None:
    def read(file: Any) -> None:
        there = set(file.keys())
        for part in wanted:
            if part.name not in there:
                raise ValueError(f"{path}: lacks {part.name}; get the folder again")
            _take(path, part, file.get_tensor(part.name), own)

    _open(path, read)


def _take(path: Path, part: Part, given: Tensor, own: dict[str, Tensor]) -> None:
    shape = part.given(own).shape
    if given.shape != shape:
        raise ValueError(
            f"{path}: {part.name} has shape {tuple(given.shape)}, but a run of this shape has "
            f"{tuple(shape)}; get the folder again"
        )
    if not given.isfinite().all():
        raise ValueError(f"{path}: {part.name} is not finite; get the folder again")
    numbers, zeros = part.split(given.float())
    if zeros.any():
        raise ValueError(
            f"{path}: {part.name} is not zero where runs of this shape have nothing; take another checkpoint"
        )
    if part.own is not None:
        view = part.of(own[part.own])
        view.copy_(numbers.view(view.shape))


def _open(path: Path, use: Callable[[Any], T]) -> T:
    """What `use` makes of an open file of tensors."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give a folder with {CONFIG} and {WEIGHTS}")
    try:
        with safe_open(path, framework="pt") as file:
            return use(file)
    except SafetensorError as error:
        raise ValueError(f"{path}: damaged ({error}); get the folder again") from None


def _object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give a folder with {CONFIG} and {WEIGHTS}")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: not a JSON object; get the folder again")
    return found
