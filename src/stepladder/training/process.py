"""Settings of the process that trains, on which the last bits of its numbers depend."""

from __future__ import annotations

import ctypes

import torch


def configure_process(threads: int) -> None:
    """Threads, denormals and allocation for training on this process's CPU.

    Denormals (zero-initialised projections make them) are flushed: they slow products many times over.
    Freed memory is kept: by default glibc returns every buffer above some size to the kernel, and each
    step then faults its pages in again (256 faults a step at d_model 32, a tenth of its time).
    """
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc; values of M_MMAP_THRESHOLD (at its maximum) and M_TRIM_THRESHOLD
        libc.mallopt(-3, 32 * 2**20)
        libc.mallopt(-1, 2**30)
