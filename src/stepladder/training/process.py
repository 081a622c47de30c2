"""Settings of the process that trains, on which the last bits of its numbers depend."""

from __future__ import annotations

import torch


def configure_process(threads: int) -> None:
    """Threads of products, and no denormals: zero-initialised projections make them, and they slow products
    many times over."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
