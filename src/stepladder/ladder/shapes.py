"""A rung's shape: widths, heads and experts, by the ladder's rule and the rung's overrides."""

from __future__ import annotations

from functools import cache
from math import isqrt
from typing import Any

from stepladder.record.kinds import load
from stepladder.record.spec import ModelSpec
from stepladder.schema.data import vocab_size
from stepladder.schema.ladder import Ladder, Rung


def resolve_model(
    ladder: Ladder, rung: Rung, architecture: str, config: Any, corpus: str | None = None
) -> ModelSpec:
    """Shape of one rung by the ladder's shape rule and the rung's overrides.

    Args:
        corpus: whose tokenizer says how many tokens there are.

    Raises:
        ValueError: the widths, heads or experts do not fit together.
    """
    rule, own = ladder.shape, rung.set
    multiple = rule.d_model.multiple_of
    ruled = rule.d_model.base + rule.d_model.per_layer * rung.depth
    d_model = own.d_model or max(1, round(ruled / multiple)) * multiple
    n_heads = own.n_heads or _n_heads(d_model, own.d_head or rule.d_head)
    if own.d_head is None and d_model % n_heads:
        raise ValueError(
            f"n_heads {n_heads} does not divide d_model {d_model}: use one of {_divisors(d_model)}, "
            "or set d_head as well"
        )
    d_head = own.d_head or d_model // n_heads
    if d_head % 2:
        raise ValueError(f"d_head {d_head} is odd, RoPE rotates pairs: change d_model {d_model} or n_heads")
    n_kv_heads = own.n_kv_heads or _divide_heads(n_heads, rule.queries_per_key)
    if n_heads % n_kv_heads:
        raise ValueError(
            f"n_kv_heads {n_kv_heads} does not divide n_heads {n_heads}: use one of {_divisors(n_heads)}"
        )
    step = rule.d_ff.multiple_of
    # -(-x // y): round up; the small term keeps 8/3 * 48 = 128.00000000000001 at 128.
    d_ff = own.d_ff or int(-(-(rule.d_ff.ratio * d_model - 1e-6) // step) * step)
    options = load("architectures", architecture).resolve(config, d_ff)
    if own.d_expert is not None and "d_expert" in options:
        options = options | {"d_expert": own.d_expert}
    return ModelSpec(
        architecture=architecture,
        n_layers=rung.depth,
        d_model=d_model,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        d_head=d_head,
        d_ff=d_ff,
        vocab_size=vocab_size(ladder.data_of(corpus).tokenizer),
        sequence_length=rule.sequence_length,
        tied_embeddings=rule.tied_embeddings,
        qk_norm=rule.qk_norm,
        rope_theta=rule.rope_theta,
        options=options,
    )


def _n_heads(d_model: int, d_head: int) -> int:
    """As many heads as divide d_model into heads of at least `d_head` features.

    Raises:
        ValueError: even one head would be narrower.
    """
    if d_head > d_model:
        raise ValueError(f"d_head {d_head} is more than d_model {d_model}: use at most {d_model}")
    return max(n for n in _divisors(d_model) if d_model // n >= d_head)


def _divide_heads(n_heads: int, queries_per_key: int) -> int:
    if n_heads % queries_per_key:
        raise ValueError(
            f"queries_per_key {queries_per_key} does not divide n_heads {n_heads}: "
            f"use one of {_divisors(n_heads)}, or set n_kv_heads for this rung"
        )
    return n_heads // queries_per_key


@cache
def _divisors(n: int) -> list[int]:
    """All of them, ascending; those above the root come in pairs with those below."""
    low = [d for d in range(1, isqrt(n) + 1) if n % d == 0]
    return low + [n // d for d in reversed(low) if d * d != n]
