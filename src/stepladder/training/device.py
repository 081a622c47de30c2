"""The device a run is on: which one, its peak, its memory."""

from __future__ import annotations

import ctypes
import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch

from stepladder.training.calibrate import cpu_name


@dataclass(frozen=True)
class Hardware:
    """What MFU is stated against."""

    device: str
    """cpu or cuda."""
    name: str
    """Accelerator as torch names it, or the CPU's name."""
    dtype: str
    """Of the matrix products: fp32, bf16 or fp8."""
    peak_flops_per_second: float | None
    """Dense peak of one device in that dtype; None if unknown, and then there is no MFU."""
    source: str
    """Where the peak is from, or why there is none."""

    @property
    def accelerator(self) -> str | None:
        """Name of the GPU; None on a CPU."""
        return None if self.device == "cpu" else self.name


def pick_device(device: str) -> torch.device:
    """`auto` is the GPU if there is one, else the CPU.

    Raises:
        RuntimeError: a GPU was asked for and torch sees none.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise RuntimeError(
            "the ladder's execution.accelerator is a GPU, but torch sees none: run it on a machine with one, "
            "with a CUDA build of torch, or set execution.accelerator to cpu"
        )
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def describe(device: torch.device, dtype: str, threads: int, machine: Path | None) -> Hardware:
    """Look the device's peak up: GPUs in configs/hardware.yaml, CPUs in the measured machine file."""
    if device.type == "cuda":
        from stepladder.schema.accelerators import accelerators, find_accelerator

        name = torch.cuda.get_device_name(device)
        entry = find_accelerator(name, accelerators())
        if entry is None:
            reason = f"no entry of configs/hardware.yaml matches {name!r}"
            return Hardware(device.type, name, dtype, None, reason)
        shown = torch.cuda.get_device_properties(device).multi_processor_count
        if entry.multiprocessors is not None and shown < entry.multiprocessors:
            reason = (
                f"{name} shows {shown} of {entry.multiprocessors} multiprocessors: a slice of a device has "
                "no known peak"
            )
            return Hardware(device.type, name, dtype, None, reason)
        missing = f"configs/hardware.yaml has no {dtype} peak for {name}"
        source = entry.source if dtype in entry.peaks else missing
        return Hardware(device.type, name, dtype, entry.peaks.get(dtype), source)
    name = cpu_name()
    if machine is None:
        reason = "no machine file given (make one with `stepladder calibrate`)"
        return Hardware(device.type, name, dtype, None, reason)
    measured = json.loads(machine.read_text())
    if (measured["name"], measured["threads"]) != (name, threads):
        reason = (
            f"{machine} was measured on {measured['name']} with {measured['threads']} thread(s), "
            f"this is {name} with {threads}: run `stepladder calibrate` here"
        )
        return Hardware(device.type, name, dtype, None, reason)
    if dtype not in measured["peaks"]:
        return Hardware(device.type, name, dtype, None, f"{machine} has no {dtype} peak")
    return Hardware(device.type, name, dtype, measured["peaks"][dtype], measured["source"])


def keep_freed_memory() -> None:
    """Let this process keep what it frees: by default glibc returns every buffer above some size to the
    kernel, and each step then faults its pages in again (256 faults a step at d_model 32, a tenth of its
    time)."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc; values of M_MMAP_THRESHOLD (at its maximum) and M_TRIM_THRESHOLD
        libc.mallopt(-3, 32 * 2**20)
        libc.mallopt(-1, 2**30)


def peak_memory_bytes(device: torch.device) -> int:
    """Most memory in use so far: of the GPU, or of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
