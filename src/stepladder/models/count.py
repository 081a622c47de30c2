"""Parameters of a built model by group, to compare with the pure counts of `ladder.cost`."""

from __future__ import annotations

from torch import nn

GROUPS = {
    "embedding": ("embedding",),
    "head": ("unembedding",),
    "attention": ("qkv", "out"),
    "router": ("router",),
    "norms": ("gain", "gain_q", "gain_k"),
    "feed_forward_total": ("gate_up", "down"),
}
"""Last parts of the parameter names that belong to each group."""


def count_parameters(module: nn.Module) -> dict[str, int]:
    """Stored parameters by group.

    Raises:
        KeyError: a parameter belongs to no group.
    """
    group_of = {ending: group for group, endings in GROUPS.items() for ending in endings}
    counts = dict.fromkeys(GROUPS, 0)
    for name, parameter in module.named_parameters():
        counts[group_of[name.rsplit(".", 1)[-1]]] += parameter.numel()
    return counts
