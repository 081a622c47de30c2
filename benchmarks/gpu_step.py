"""MFU of our training step on one GPU: dense and mixture-of-experts, ordinary and superposed.

    python benchmarks/gpu_step.py [--models dense-350m,dense-1b,moe-1b] [--precision bf16] [--steps 20] [--out
    ...] python benchmarks/gpu_step.py --tiny          # a minute on any CPU: whether it runs, no figures

The whole step of training as it runs in a ladder (compiled layers, micro-batch found by trying), at sequence
2048 and a batch of 0.5M positions, on random tokens. Per model: ordinary steps, then superposed ones with
bags of 8 and, for the mixture, the dense model of equal active parameters. Reported: medians over steps, MFU
with PaLM's and the causal count against the peak in configs/hardware.yaml, seconds by cause, peak memory.
`--profile` adds the kernels that took longest.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from stepladder.models import functional
from stepladder.record.cost import parameters, step_flops
from stepladder.record.spec import (
    DataSpec,
    ModelSpec,
    OptimizerSpec,
    PhaseSpec,
    RecipeSpec,
    RunSpec,
    ScheduleSpec,
)
from stepladder.schema.execution import EngineOptions
from stepladder.training import device as hardware
from stepladder.training.accounting import StepClock
from stepladder.training.engine import choose_compilation, fit_memory
from stepladder.training.feed import split
from stepladder.training.trainer import Trainer

VOCABULARY = 32_768
MOE = {"n_shared_experts": 0, "every": 1, "balance_loss_weight": 0.01, "z_loss_weight": 0.0, "bias_rate": 0.0}
SHAPES: dict[str, dict[str, Any]] = {
    "dense-350m": {"n_layers": 24, "d_model": 1024, "n_heads": 8, "d_ff": 2816},
    "dense-1b": {"n_layers": 18, "d_model": 2048, "n_heads": 16, "d_ff": 5632},
    # 16 experts, 2 of them active: as wide together as the dense layer of dense-350m's width
    "moe-1b": {"n_layers": 12, "d_model": 1024, "n_heads": 8, "d_ff": 2816, "experts": (16, 2, 1408)},
    "dense-as-moe-1b": {"n_layers": 12, "d_model": 1024, "n_heads": 8, "d_ff": 2816},
    "tiny": {"n_layers": 2, "d_model": 64, "n_heads": 1, "d_ff": 128, "experts": (4, 2, 64)},
}


def make_spec(name: str, sequences: int, positions: int, bag: int, precision: str) -> RunSpec:
    """A run of one phase; all that matters here is its shape."""
    shape = dict(SHAPES[name])
    experts = shape.pop("experts", None)
    options = dict(zip(("n_experts", "top_k", "d_expert"), experts, strict=True)) | MOE if experts else {}
    phase = PhaseSpec(name="-", steps=1, bag_size=bag, sequences=sequences, positions=positions, targets=bag)
    return RunSpec(
        id=name,
        variant=name,
        rung=name,
        budget="-",
        seed=0,
        model=ModelSpec(
            architecture="moe" if experts else "dense",
            n_kv_heads=shape["n_heads"],
            d_head=shape["d_model"] // shape["n_heads"],
            vocab_size=VOCABULARY,
            sequence_length=positions,
            tied_embeddings=False,
            qk_norm=True,
            rope_theta=10_000.0,
            options=options,
            **shape,
        ),
        recipe=RecipeSpec(name="tst" if bag > 1 else "baseline", options={}, phases=(phase,)),
        optimizer=OptimizerSpec(
            name="adamw",
            learning_rate=1e-4,
            beta1=0.9,
            beta2=0.95,
            epsilon=1e-8,
            weight_decay=0.1,
            clip_norm=1.0,
        ),
        schedule=ScheduleSpec(warmup_steps=0, decay_steps=0, decay_shape="linear", final=1.0),
        data=DataSpec(
            source={}, tokenizer={}, validation_fraction=0, max_validation_tokens=1, domain_weights={}
        ),
        precision=precision,
        learning_rate_factor=1.0,
        budget_multiple=1.0,
        overrides=(),
        code="-",
    )


def random_batch(spec: RunSpec, device: torch.device) -> tuple[Tensor, Tensor]:
    """Inputs and targets of one step."""
    (phase,) = spec.recipe.phases
    width = phase.positions * phase.bag_size + phase.targets
    return split(torch.randint(VOCABULARY, (phase.sequences, width), device=device), phase)


def measure(
    spec: RunSpec, device: torch.device, steps: int, profile: bool, micro_batch: int | None
) -> dict[str, Any]:
    """Medians over `steps` steps, after some that compile and warm up."""
    trainer = Trainer(spec, device, compiled=choose_compilation(EngineOptions(), device, None))
    batch = random_batch(spec, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        trainer.micro_batch = micro_batch
        if micro_batch is None:
            fit_memory(trainer, *batch)
    clock, records = StepClock(device), []
    for _ in range(steps + 5):
        ticks: list[tuple[str, Any]] = []
        start = clock.mark()
        metrics = trainer.gradients(*batch, lambda cause, ticks=ticks: ticks.append((cause, clock.mark())))
        trainer.update(metrics, 0)
        ticks.append(("optimizer", clock.mark()))
        records.append((start, ticks))
    float(metrics.loss)  # all marks have been reached
    seconds = [clock.by_cause(start, ticks) for start, ticks in records[5:]]
    if profile:
        show_kernels(trainer, batch)
    total = median(sum(parts.values()) for parts in seconds)
    (phase,) = spec.recipe.phases
    described = hardware.describe(device, spec.precision, 1, None)
    peak = described.peak_flops_per_second
    flops = {c: step_flops(spec.model, spec.recipe, phase, c) for c in ("causal", "palm")}
    return {
        "model": spec.id,
        "bag": phase.bag_size,
        "parameters": parameters(spec.model).as_dict(),
        "device": described.name,
        "precision": spec.precision,
        "micro_batch": trainer.micro_batch or phase.sequences,
        "recomputed": trainer.model.recompute,
        "step_seconds": total,
        "seconds": {cause: median(parts[cause] for parts in seconds) for cause in seconds[0]},
        "positions_per_second": phase.sequences * phase.positions / total,
        "mfu": {c: value / total / peak if peak else None for c, value in flops.items()},
        "peak_memory_bytes": hardware.peak_memory_bytes(device),
    }


KINDS = {
    "attention": ("sdpa", "flash", "fmha", "flex"),
    "products": ("nvjet", "gemm", "cutlass", "wgmma", "grouped_mm"),
    "optimizer": ("multi_tensor", "adam", "foreach"),
    "copies": ("memcpy", "memset"),
    "fused passes": ("triton",),
}
"""Parts of the names of kernels, by what they do; all else is `other passes`."""


def show_kernels(trainer: Trainer, batch: tuple[Tensor, Tensor]) -> None:
    """Print where one step's time on the device goes: by kind of kernel, by kernel, and while none runs."""
    from torch.profiler import profile

    with profile() as profiled:
        trainer.update(trainer.gradients(*batch), 0)
    if trainer.device.type != "cuda":
        print(profiled.key_averages().table(sort_by="self_cpu_time_total", row_limit=20))
        return
    spans: dict[str, list[tuple[float, float]]] = {}
    for event in profiled.events():
        if event.device_type == torch.autograd.DeviceType.CUDA and "Buffer" not in event.name:
            spans.setdefault(event.name, []).append((event.time_range.start, event.time_range.end))
    seconds = {name: sum(end - start for start, end in found) / 1e6 for name, found in spans.items()}
    whole = [moment for found in spans.values() for span in found for moment in span]
    total, by_kind = (max(whole) - min(whole)) / 1e6, dict.fromkeys([*KINDS, "other passes"], 0.0)
    for name, value in seconds.items():
        by_kind[kind_of(name)] += value
    by_kind["no kernel"] = total - sum(seconds.values())
    for kind, value in by_kind.items():
        print(f"  {kind:13} {value * 1e3:8.1f} ms  {value / total:6.1%}")
    for name in sorted(seconds, key=seconds.get, reverse=True)[:25]:
        print(f"    {seconds[name] * 1e3:8.1f} ms in {len(spans[name]):5}  {kind_of(name):13} {name[:110]}")


def kind_of(name: str) -> str:
    """What a kernel does, by its name."""
    found = (kind for kind, parts in KINDS.items() if any(part in name.lower() for part in parts))
    return next(found, "other passes")


def show(row: dict[str, Any]) -> None:
    """One line."""
    mfu = " ".join(f"{c} {v:.1%}" if v is not None else f"{c} -" for c, v in row["mfu"].items())
    parts = ", ".join(f"{cause} {value * 1e3:.1f}" for cause, value in row["seconds"].items())
    print(
        f"{row['model']:16} bag {row['bag']}  {row['parameters']['total'] / 1e6:6.0f}M "
        f"({row['parameters']['active'] / 1e6:.0f}M active)  {row['step_seconds'] * 1e3:8.1f} ms ({parts})  "
        f"{row['positions_per_second'] / 1e3:.1f}k positions/s  MFU {mfu}  micro-batch {row['micro_batch']}  "
        f"{row['peak_memory_bytes'] / 2**30:.1f} GiB",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", default="dense-350m,dense-1b,dense-as-moe-1b,moe-1b")
    parser.add_argument("--precision", default="bf16", choices=("bf16", "fp8"))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--sequences", type=int, default=256, help="per step; 256 x 2048 positions are 0.5M")
    parser.add_argument("--bags", default="1,8", help="tokens per bag; 1 is ordinary training")
    parser.add_argument("--micro-batch", type=int, help="sequences; by default found by trying")
    parser.add_argument("--tiny", action="store_true", help="on the CPU, small")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--fused", action="store_true", help="with the Triton kernels of models/fused.py")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    functional.FUSED = arguments.fused
    if not (arguments.tiny or torch.cuda.is_available()):
        print("no GPU here: this measures GPUs (--tiny shows on a CPU that it runs)", file=sys.stderr)
        sys.exit(2)
    device = torch.device("cpu" if arguments.tiny else "cuda")
    names = ["tiny"] if arguments.tiny else arguments.models.split(",")
    sequences, positions, steps = (
        (4, 64, 3) if arguments.tiny else (arguments.sequences, 2048, arguments.steps)
    )
    print(f"torch {torch.__version__}, {arguments.precision}, {sequences} x {positions} positions a step")
    rows = []
    for name in names:
        for bag in map(int, arguments.bags.split(",")):
            spec = make_spec(name, sequences, positions, bag, arguments.precision)
            rows.append(measure(spec, device, steps, arguments.profile, arguments.micro_batch))
            show(rows[-1])
            if arguments.out:
                content = {"torch": torch.__version__, "rows": rows}
                arguments.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
