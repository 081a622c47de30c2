"""Which class of `transformers` computes what a model computes, and its config.json.

Chosen among the classes of transformers 5.23 by their code; the tests compare logits with each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stepladder.models.functional import EPSILON
from stepladder.record.kinds import attention_window
from stepladder.record.spec import ModelSpec


class NoSuchClass(ValueError):
    """No published class computes the same; the message says why."""


@dataclass(frozen=True)
class Published:
    """A class of `transformers` for causal language models."""

    model_type: str
    """As config.json names it."""
    name: str
    """Of the class."""
    settings: Callable[[ModelSpec], dict[str, Any]]
    """What its config.json has besides `common`."""
    interleaved: bool = False
    """Whether it turns pairs (2i, 2i+1) of a head, as we do, or (i, i + C/2)."""
    gated_attention: bool = False
    """Whether a sigmoid of further rows of the queries' projection scales what attention gives."""
    gated_shared: bool = False
    """Whether a sigmoid scales what the shared expert gives."""
    gains_above_one: bool = False
    """Whether its norms multiply by 1 plus their gains."""


def published(model: ModelSpec) -> Published:
    """The class for this model.

    Raises:
        NoSuchClass: there is none.
    """
    choose = {"dense": _dense, "sliding": _sliding, "moe": _moe}.get(model.architecture)
    if choose is None:
        raise NoSuchClass(
            f"architecture {model.architecture}: no published class is known to compute the same; dense, "
            "sliding and moe can be exported"
        )
    return choose(model)


def config(model: ModelSpec) -> dict[str, Any]:
    """Contents of config.json, as far as the model's shape tells them.

    Raises:
        NoSuchClass: see `published`.
    """
    chosen = published(model)
    named = {"architectures": [chosen.name], "model_type": chosen.model_type}
    return named | common(model) | chosen.settings(model)


def common(model: ModelSpec) -> dict[str, Any]:
    """Fields that all classes have. `rope_theta` by itself is what transformers 4 reads."""
    return {
        "vocab_size": model.vocab_size,
        "hidden_size": model.d_model,
        "intermediate_size": model.d_ff,
        "num_hidden_layers": model.n_layers,
        "num_attention_heads": model.n_heads,
        "num_key_value_heads": model.n_kv_heads,
        "head_dim": model.d_head,
        "hidden_act": "silu",
        "max_position_embeddings": model.sequence_length,
        "rms_norm_eps": EPSILON,
        "tie_word_embeddings": model.tied_embeddings,
        "rope_theta": model.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": model.rope_theta},
        "attention_dropout": 0.0,
    }


def _dense(model: ModelSpec) -> Published:
    if model.qk_norm:
        return QWEN3
    return LLAMA if model.d_model % model.n_heads == 0 else MISTRAL


def _sliding(model: ModelSpec) -> Published:
    if model.options["window"] == 1:
        raise NoSuchClass(
            "window 1: transformers keeps all keys instead of none between the tokens that it generates, "
            "and none of its classes would generate the same; it can be exported with a window of 2 or more"
        )
    return QWEN3 if model.qk_norm else MINISTRAL


def _moe(model: ModelSpec) -> Published:
    """Of the classes with a softmax over all experts; most others have a sigmoid for each."""
    options = model.options
    shared, biased, alone = options["n_shared_experts"] > 0, options["bias_rate"] > 0, options["top_k"] == 1
    if model.qk_norm and biased:
        raise NoSuchClass(
            f"bias_rate {options['bias_rate']:g} with qk_norm: the published classes that have both weigh "
            "experts by sigmoids, not by their softmax; it can be exported without one of the two"
        )
    if alone and biased:
        raise NoSuchClass(
            "top_k 1 with bias_rate: the published class with a bias on softmax probabilities scales the "
            "gates of a token to sum to 1, and here a single one keeps its probability; it can be exported "
            "with top_k 2 or more"
        )
    if model.qk_norm:
        return QWEN3_NEXT if shared else QWEN3_MOE
    if alone:
        return QWEN2_MOE
    return MIXTRAL if options["every"] == 1 and not shared and not biased else ERNIE


def _windows(model: ModelSpec) -> dict[str, Any]:
    """Both libraries count a query's own position in its window."""
    windows = [attention_window(model, layer) for layer in range(model.n_layers)]
    sizes = {window for window in windows if window is not None}
    return {
        "sliding_window": next(iter(sizes), None),
        "layer_types": ["full_attention" if one is None else "sliding_attention" for one in windows],
    }


def _llama(model: ModelSpec) -> dict[str, Any]:
    return {"attention_bias": False, "mlp_bias": False}


def _mistral(model: ModelSpec) -> dict[str, Any]:
    return {"sliding_window": None}


def _qwen3(model: ModelSpec) -> dict[str, Any]:
    windows = _windows(model)
    slides = windows["sliding_window"] is not None
    return {"attention_bias": False, "use_sliding_window": slides} | windows


def _routing(model: ModelSpec) -> dict[str, Any]:
    """As Qwen's classes call it."""
    return {
        "moe_intermediate_size": model.options["d_expert"],
        "num_experts": model.options["n_experts"],
        "num_experts_per_tok": model.options["top_k"],
        "norm_topk_prob": model.options["top_k"] > 1,
        "decoder_sparse_step": model.options["every"],
        "mlp_only_layers": [],
        "use_sliding_window": False,
    }


def _qwen3_moe(model: ModelSpec) -> dict[str, Any]:
    return {"attention_bias": False} | _routing(model)


def _qwen2_moe(model: ModelSpec) -> dict[str, Any]:
    shared = {"shared_expert_intermediate_size": shared_width(model)}
    return {"qkv_bias": False, "layer_types": ["full_attention"] * model.n_layers} | shared | _routing(model)


def _qwen3_next(model: ModelSpec) -> dict[str, Any]:
    """All of its layers attend to everything, and whole heads are turned, which is not its default."""
    turned = {"partial_rotary_factor": 1.0}
    return (
        {"attention_bias": False, "shared_expert_intermediate_size": shared_width(model)}
        | {"layer_types": ["full_attention"] * model.n_layers}
        | {"rope_parameters": common(model)["rope_parameters"] | turned}
        | turned
        | {name: value for name, value in _routing(model).items() if name != "use_sliding_window"}
    )


def shared_width(model: ModelSpec) -> int:
    """Of the gated shared expert, which is always there: where we have none, one of zeros."""
    width: int = model.options["n_shared_experts"] * model.options["d_expert"]
    return max(1, width)


def _mixtral(model: ModelSpec) -> dict[str, Any]:
    return {
        "intermediate_size": model.options["d_expert"],
        "num_local_experts": model.options["n_experts"],
        "num_experts_per_tok": model.options["top_k"],
        "sliding_window": None,
    }


def _ernie(model: ModelSpec) -> dict[str, Any]:
    return {
        "use_bias": False,
        "moe_intermediate_size": model.options["d_expert"],
        "moe_num_experts": model.options["n_experts"],
        "moe_k": model.options["top_k"],
        "moe_num_shared_experts": model.options["n_shared_experts"],
        "moe_layer_start_index": 0,
        "moe_layer_end_index": model.n_layers - 1,
        "moe_layer_interval": model.options["every"],
        "moe_norm_min": 0.0,
    }


LLAMA = Published("llama", "LlamaForCausalLM", _llama)
MISTRAL = Published("mistral", "MistralForCausalLM", _mistral)
"""Computes what Llama does, and takes heads whose widths do not add up to the model's."""
MINISTRAL = Published("ministral", "MinistralForCausalLM", _windows)
QWEN3 = Published("qwen3", "Qwen3ForCausalLM", _qwen3)
MIXTRAL = Published("mixtral", "MixtralForCausalLM", _mixtral)
QWEN3_MOE = Published("qwen3_moe", "Qwen3MoeForCausalLM", _qwen3_moe)
QWEN3_NEXT = Published(
    "qwen3_next",
    "Qwen3NextForCausalLM",
    _qwen3_next,
    gated_attention=True,
    gated_shared=True,
    gains_above_one=True,
)
"""The one with QK-norm, a softmax over experts, and a shared one."""
QWEN2_MOE = Published("qwen2_moe", "Qwen2MoeForCausalLM", _qwen2_moe, gated_shared=True)
"""The one without QK-norm that leaves the gate of a single expert as it is."""
ERNIE = Published("ernie4_5_moe", "Ernie4_5_MoeForCausalLM", _ernie, interleaved=True)
"""The one with a bias on softmax probabilities; also with shared experts or dense layers between."""
