"""The peak of a CPU, measured: the best rate of plain matrix products, by dtype and thread count.

CPUs have no datasheet figure that software reaches, so MFU on a CPU is stated against this.
"""

from __future__ import annotations

import platform
import time
from typing import Any

import torch

SHAPES = ((1024, 96, 32), (1024, 256, 64), (1024, 512, 512), (1024, 1024, 1024), (2048, 2048, 2048))
"""(M, N, K) tried: from the products of small rungs to square ones; which is fastest depends on caches."""

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def measure_gemm_peak(threads: int, dtype: str, seconds: float = 2.0) -> dict[str, Any]:
    """Best FLOP/s of M x K by K x N products over `SHAPES`, each tried for its share of `seconds`.

    The fastest repetition counts: whatever else runs on the machine can only make it slower. A shape is left
    out if one product of it would take longer than `seconds` at the best rate so far: where a CPU has no
    instructions for a dtype, the largest one takes a minute, at a tenth of the rate of the smaller ones.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    rates: dict[str, float] = {}
    for M, N, K in SHAPES:
        if rates and seconds * max(rates.values()) < 2 * M * N * K:
            continue
        a, b = torch.randn(M, K).to(DTYPES[dtype]), torch.randn(K, N).to(DTYPES[dtype])
        out = torch.empty(M, N, dtype=DTYPES[dtype])
        torch.mm(a, b, out=out)
        best, end = float("inf"), time.perf_counter() + seconds / len(SHAPES)
        while (start := time.perf_counter()) < end:
            torch.mm(a, b, out=out)
            best = min(best, time.perf_counter() - start)
        rates[f"{M}x{N}x{K}"] = 2 * M * N * K / best
    torch.set_num_threads(before)
    return {"flops_per_second": max(rates.values()), "by_shape": rates}


def measure_machine(threads: int) -> dict[str, Any]:
    """Content of machine.json: this CPU's measured peaks at `threads` threads, by dtype."""
    measured = {dtype: measure_gemm_peak(threads, dtype) for dtype in DTYPES}
    return {
        "name": cpu_name(),
        "threads": threads,
        "peaks": {dtype: result["flops_per_second"] for dtype, result in measured.items()},
        "by_shape": {dtype: result["by_shape"] for dtype, result in measured.items()},
        "source": f"largest matrix-product rate measured with torch {torch.__version__}, {threads} thread(s)",
        "measured": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def cpu_name() -> str:
    """The processor's name as the operating system gives it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
