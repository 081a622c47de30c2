"""Losses on one GPU against the definition on the CPU: every architecture and recipe, in each precision.

    python benchmarks/gpu_losses.py [--steps 60] [--out ...]
    python benchmarks/gpu_losses.py --device cpu       # compiled against eager, without a GPU
    python benchmarks/gpu_losses.py --with data.document_attention=within --with optimizer.name=muon

Small models train on text that can be learnt (phrases in random order) from the same weights: in fp32 on the
CPU, which is the reference; then compiled in fp32, bf16 and fp8 on the device. Reported per row: largest and
last difference of the loss in nats, seconds of the first step (compilation), code compiled per layer, and
whether training that goes on from saved tensors gives the same bits, as does the same batch in micro-batches
to within rounding. A row that fails says why; the others go on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import traceback
from dataclasses import asdict, dataclass, replace
from functools import reduce
from operator import getitem
from pathlib import Path

import torch
from ruamel.yaml import YAML
from torch import Tensor

from stepladder.ladder.climb import Climb
from stepladder.models import functional
from stepladder.record.spec import RunSpec
from stepladder.training.feed import split
from stepladder.training.trainer import Trainer

LADDER = """
name: gpu-losses
version: 1
question: "Does a GPU train what a CPU trains?"
rungs: [{depth: 2}]
architectures:
  dense: {}
  moe: {n_experts: 8, top_k: 2}
  sliding: {window: 32, local_per_global: 1}
recipes:
  baseline: {}
  tst: {bag_size: 4, superposed_fraction: 0.3}
  multi_token: {tokens: 3}
budgets: [{steps: STEPS}]
seeds: [0]
shape:
  sequence_length: 256
  d_model: {per_layer: 64}
  d_head: 32
  queries_per_key: 2
  d_ff: {multiple_of: 64}
optimizer:
  learning_rate: {default: {rule: power, of: d_model, at: 128, value: 0.003, exponent: 0.0}}
  batch: {rule: constant, sequences: 16}
data:
  source: {kind: python_stdlib}
  tokenizer: {kind: byte}
  validation_fraction: 0.05
  max_validation_tokens: 10000
  domain_weights: {code: 1.0}
execution: {accelerator: cpu}
plan: {flops_per_second: 1.0e9, overhead_seconds_per_run: 1, max_accelerator_hours: 1}
analysis: {baseline: dense-baseline}
"""

END_OF_DOCUMENT = 255

Batches = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Row:
    """One variant in one precision against the reference."""

    variant: str
    precision: str
    device: str
    compiled: bool
    largest_difference: float | None = None
    """Of the loss in nats per token, over all steps."""
    last_difference: float | None = None
    first_step_seconds: float | None = None
    steps_per_second: float | None = None
    resumes_bitwise: bool | None = None
    micro_batch_difference: float | None = None
    """Relative, of the gradient's norm: one batch whole against in quarters."""
    error: str | None = None


def specs(steps: int, changes: list[str]) -> list[RunSpec]:
    """The runs of the ladder above.

    Args:
        changes: settings to make otherwise, as `section.name=value`.
    """
    yaml = YAML(typ="safe")
    ladder = yaml.load(LADDER.replace("STEPS", str(steps)))
    for change in changes:
        name, value = change.split("=", 1)
        *sections, last = name.split(".")
        reduce(getitem, sections, ladder)[last] = yaml.load(value)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "gpu-losses.yaml")
        yaml.dump(ladder, path)
        return list(Climb.open(str(path)).runs.values())


def text(length: int) -> Tensor:
    """Tokens below 256: 64 phrases of 8 in random order, in documents of 61 tokens."""
    generator = torch.Generator().manual_seed(0)
    phrases = torch.randint(END_OF_DOCUMENT, (64, 8), generator=generator)
    tokens = phrases[torch.randint(64, (length // 8 + 1,), generator=generator)].flatten()[:length]
    tokens[::61] = END_OF_DOCUMENT
    return tokens


def batches(spec: RunSpec) -> Batches:
    """Inputs and targets of every step, on the CPU."""
    tokens, found = text(2**21), []
    for phase in spec.recipe.phases:
        width = phase.positions * phase.bag_size + phase.targets
        for _ in range(phase.steps):
            first = len(found) * 104_729
            starts = [(first + row * 7919) % (len(tokens) - width) for row in range(phase.sequences)]
            found.append(split(torch.stack([tokens[s : s + width] for s in starts]), phase))
    return found


def train(trainer: Trainer, found: Batches, first: int = 0) -> list[float]:
    """Losses of the steps from number `first` on."""
    losses = []
    for step, batch in enumerate(found[first:], start=first):
        metrics = trainer.gradients(*(tensor.to(trainer.device) for tensor in batch))
        losses.append(trainer.update(metrics, step).loss)
    return torch.stack(losses).tolist()


def compare(row: Row, spec: RunSpec, found: Batches, reference: list[float]) -> Row:
    """Train as the row says and hold it against the reference's losses."""
    torch._dynamo.reset()  # the compiler gives up on code that it has compiled for eight kinds of rows
    device = torch.device(row.device)
    spec = spec.model_copy(update={"precision": row.precision})
    trainer = Trainer(spec, device, compiled=row.compiled, end_of_document=END_OF_DOCUMENT)
    half = len(found) // 2
    began = time.perf_counter()
    losses = train(trainer, found[:1])
    first_step = time.perf_counter() - began
    losses += train(trainer, found[:half], 1)
    saved = {name: tensor.clone() for name, tensor in trainer.state().items()}
    began = time.perf_counter()
    rest = train(trainer, found, half)
    seconds = time.perf_counter() - began
    trainer.load_state(saved)
    resumed = train(trainer, found, half) == rest
    differences = [abs(a - b) for a, b in zip(losses + rest, reference, strict=True)]
    return replace(
        row,
        largest_difference=max(differences),
        last_difference=differences[-1],
        first_step_seconds=first_step,
        steps_per_second=len(rest) / seconds,
        resumes_bitwise=resumed,
        micro_batch_difference=in_parts(trainer, found[-1]),
    )


def in_parts(trainer: Trainer, batch: tuple[Tensor, Tensor]) -> float:
    """Relative difference of the gradient of a batch in four micro-batches from that of the whole one."""
    batch = tuple(tensor.to(trainer.device) for tensor in batch)
    gradients = []
    for rows in (None, len(batch[0]) // 4):
        trainer.micro_batch = rows
        trainer.gradients(*batch)
        gradients.append(trainer.optimizer.gradient.clone())
    trainer.micro_batch = None
    return ((gradients[0] - gradients[1]).norm() / gradients[0].norm()).item()


def rows_of(spec: RunSpec, device: str, precisions: list[str]) -> list[Row]:
    """What is tried of one variant: all compiled, and bf16 also as it is."""
    kinds = [(precision, True) for precision in precisions]
    kinds += [("bf16", False)] if "bf16" in precisions else []
    return [Row(spec.variant, precision, device, compiled) for precision, compiled in kinds]


def show(row: Row) -> None:
    """One line."""
    start = f"{row.variant:20} {row.precision:4} {'compiled' if row.compiled else 'eager':8}"
    if row.error:
        print(f"{start} FAILED: {row.error.strip().splitlines()[-1]}", flush=True)
        return
    print(
        f"{start} loss off by {row.largest_difference:.1e} nats at most, "
        f"{row.last_difference:.1e} at the end; "
        f"first step {row.first_step_seconds:.1f} s, then {row.steps_per_second:.0f} steps/s; "
        f"resumed {'bit for bit' if row.resumes_bitwise else 'DIFFERENTLY'}; "
        f"in four parts off by {row.micro_batch_difference:.1e}",
        flush=True,
    )


def main() -> None:
    """Compare all and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--with", dest="changes", action="append", default=[], metavar="SECTION.NAME=VALUE")
    parser.add_argument("--only", default="", help="part of the variants' names")
    parser.add_argument("--precisions", default="fp32,bf16,fp8")
    parser.add_argument("--fused", action="store_true", help="with the Triton kernels of models/fused.py")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    functional.FUSED = arguments.fused
    rows: list[Row] = []
    for spec in specs(arguments.steps, arguments.changes):
        if arguments.only not in spec.variant:
            continue
        found = batches(spec)
        plain = spec.model_copy(update={"precision": "fp32"})
        reference = train(Trainer(plain, torch.device("cpu"), end_of_document=END_OF_DOCUMENT), found)
        print(f"{spec.variant}: loss {reference[0]:.3f} to {reference[-1]:.3f} on the CPU", flush=True)
        for row in rows_of(spec, arguments.device, arguments.precisions.split(",")):
            try:
                done = compare(row, spec, found, reference)
            except Exception:
                done = replace(row, error=traceback.format_exc())
            rows.append(done)
            show(done)
            if arguments.out:
                content = {"torch": torch.__version__, "rows": [asdict(row) for row in rows]}
                arguments.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
