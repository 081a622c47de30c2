"""What a ladder of a thousand runs costs to plan, collect, fit, compare and report; nothing is trained.

    python benchmarks/many_runs.py [--runs 1000] [--out benchmarks/results/many_runs.json]

Writes the ladder, and a result and an event log for every run as training would (losses follow a law with
seed noise), into a temporary copy of the workflow. Figures are seconds and peak memory of whole commands, one
after the other. The report is kept if --keep names a folder.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from stepladder.data.manifest import Manifest
from stepladder.documents.files import write_atomically
from stepladder.ladder.climb import Climb
from stepladder.record.check import spec_facts
from stepladder.record.cost import flops_until, training_flops
from stepladder.record.paths import LadderFolder, RunFolder
from stepladder.record.result import (
    EngineUsed,
    Health,
    HeldOutText,
    Lineage,
    Machine,
    Mfu,
    Result,
    Seconds,
)
from stepladder.record.spec import RunSpec

REPOSITORY = Path(__file__).parents[1]
LOGGED_STEPS = 300
"""Step records of a run, about as many as training writes."""
PEAK, MFU = 1e11, 0.35
"""FLOP/s of the machine that never was, and its utilisation."""
SEED_NOISE = 0.003
"""Standard deviation of log loss between seeds."""


def main() -> None:
    """Write the runs, then time every command on them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1000, help="rounded to a multiple of 100")
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    parser.add_argument("--keep", type=Path, help="folder for report.pdf")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), options.runs)
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(folder, "results/many/report.pdf"), options.keep / "report.pdf")
    for name, row in figures["commands"].items():
        print(f"{name:22} {row['seconds']:7.2f} s   {row['peak_mb']:7.0f} MB")
    print(f"{'collect to report':22} {figures['collect_to_report_seconds']:7.2f} s")
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1) + "\n")


def measure(clone: Path, runs: int) -> dict[str, object]:
    """Seconds and peak memory of the workflow's commands on a ladder of so many runs."""
    for name in ("Snakefile", "workflow", "configs", "profiles"):
        source = REPOSITORY / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, clone / name)
    ladder = clone / "configs/ladders/many.yaml"
    ladder.write_text(ladder_text(max(1, runs // 100)))
    os.chdir(clone)
    climb, lies = Climb.open("many"), LadderFolder.of("many")
    commands = {"snakemake plan": timed("snakemake", "plan", "--config", "ladder=many")}
    write_runs(climb, lies)
    settings = climb.analysis
    axes = ("flops", "seconds", "tokens")
    commands["collect"] = timed(
        *("stepladder", "collect", str(lies.plan)),
        *("--runs", str(lies.runs_table), "--steps", str(lies.steps_table)),
    )
    for axis in axes:
        commands[f"fit {axis}"] = timed(
            *("stepladder", "fit", str(lies.runs_table), "--axis", axis),
            *("--settings", settings, "--out", str(lies.fit(axis))),
        )
    fits = [str(lies.fit(axis)) for axis in axes]
    commands["compare"] = timed(
        *("stepladder", "compare", str(lies.runs_table), *fits),
        *("--settings", settings, "--out", str(lies.comparison)),
    )
    commands["report"] = timed(
        *("stepladder", "report", "many", "--results", str(lies.path)),
        *("--out", str(lies.path / "report.pdf")),
    )
    commands["status"] = timed("stepladder", "status", "many")
    steps = ("collect", *(f"fit {axis}" for axis in axes), "compare", "report")
    return {
        "runs": len(climb.runs),
        "hardware": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "commands": commands,
        "collect_to_report_seconds": sum(commands[name]["seconds"] for name in steps),
    }


def timed(program: str, *arguments: str) -> dict[str, float]:
    """Wall seconds and peak memory of one command of this environment.

    Raises:
        SystemExit: the command failed; its words are printed.
    """
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = child.stdout.read() if child.stdout else ""
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{program} {arguments[0]} failed:\n{said[-2000:]}")
    return {"seconds": seconds, "peak_mb": usage.ru_maxrss / 1024}


def ladder_text(seeds: int) -> str:
    """The smoke ladder with five rungs, five budgets and so many seeds: 100 runs per seed."""
    text = (REPOSITORY / "configs/ladders/smoke.yaml").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("  - {depth:")]
    lines[lines.index("rungs:")] = "rungs: [{depth: 1}, {depth: 2}, {depth: 3}, {depth: 4}, {depth: 5}]"
    changes = {
        "name: smoke": "name: many",
        "budgets: [0.25]": "budgets: [0.25, 0.5, 1, 2, 4]",
        "seeds: [0]": f"seeds: {list(range(seeds))}",
        "max_accelerator_hours: 0.1": "max_accelerator_hours: 1000",
        "bootstrap_draws: 500": "bootstrap_draws: 2000",
    }
    changed = "\n".join(lines) + "\n"
    for old, new in changes.items():
        assert old in changed, old
        changed = changed.replace(old, new)
    return changed


def write_runs(climb: Climb, lies: LadderFolder) -> None:
    """A result and a log for every run, and the manifest that the report prints."""
    generator = np.random.default_rng(0)
    for spec in climb.runs.values():
        folder = lies.run(spec.id)
        folder.path.mkdir(parents=True)
        loss = law(spec) * float(np.exp(SEED_NOISE * generator.standard_normal()))
        result = make_result(spec, loss)
        result.write(folder.result)
        folder.spec.write_text(spec.to_json())
        write_log(spec, result, folder)
    write_atomically(lies.manifest, no_text().model_dump_json())


def no_text() -> Manifest:
    """A manifest of no domains."""
    return Manifest(
        sha256="0" * 64,
        description="no text",
        source={"kind": "text"},
        tokenizer={"kind": "byte"},
        validation_fraction=0.1,
        vocab_size=257,
        end_of_document=256,
        dtype="uint16",
        duplicates=0,
        mix={},
        domains={},
        other_files=(),
    )


def law(spec: RunSpec) -> float:
    """Loss in nats/token: one floor; MoE and TST save a little compute."""
    saved = 1.3 ** (spec.model.architecture == "moe") * 1.1 ** (spec.recipe.name == "tst")
    return 1.2 + 2.0 * (saved * training_flops(spec.model, spec.recipe) / 1e9) ** -0.15


def make_result(spec: RunSpec, loss: float) -> Result:
    """What training would have written, at a constant MFU."""
    flops = training_flops(spec.model, spec.recipe)
    seconds = flops / (PEAK * MFU)
    phases = {phase.name: seconds / spec.recipe.steps for phase in spec.recipe.phases}
    causes = dict.fromkeys(Seconds.model_fields, 0.0)
    domains = spec.data.domain_weights
    return Result(
        **spec_facts(spec),
        loss=loss,
        bits_per_byte=loss / float(np.log(2)),
        losses=dict.fromkeys(domains, loss),
        bits_per_byte_by_domain=dict.fromkeys(domains, loss / float(np.log(2))),
        validation={domain: HeldOutText(tokens=50_000, bytes=50_000, documents=100) for domain in domains},
        hardware_flops=flops,
        accelerator_seconds=seconds,
        median_step_seconds=phases,
        tokens_per_second=spec.recipe.tokens / seconds,
        positions_per_second=spec.recipe.positions / seconds,
        mfu=Mfu(
            median=MFU,
            p10=MFU,
            p90=MFU,
            convention="causal",
            palm_median=MFU,
            peak_flops_per_second=PEAK,
            dtype="fp32",
            peak_source="made up",
        ),
        flops_trained=flops,
        checkpoint=f"step-{spec.recipe.steps:06d}",
        accelerators=1,
        engine=EngineUsed(
            compiled=False, sharding="none", micro_batch_sequences=8, activations_recomputed=False
        ),
        health=Health(spikes=0, skipped_steps=0, slow_steps=0, notes=[]),
        seconds=Seconds(**causes | {"step": seconds, "forward": seconds, "total": seconds + 2}),
        goodput=seconds / (seconds + 2),
        peak_memory_bytes=300_000_000,
        restarts=0,
        warnings=[],
        lineage=Lineage(
            code_commit=None,
            code_dirty=None,
            code_fingerprint=spec.code,
            packages={"torch": "0"},
            python=platform.python_version(),
            hardware=Machine(cpu="none", cores=1, accelerator=None),
            threads=1,
            data_sha256="0" * 64,
            data_description="no text",
            hostname="none",
            slurm_job_id=None,
            started="2026-01-01T00:00:00Z",
            finished="2026-01-01T00:01:00Z",
            parent=None,
        ),
    )


def write_log(spec: RunSpec, result: Result, folder: RunFolder) -> None:
    """A start, some steps and an end, as training logs them."""
    steps, records = spec.recipe.steps, [{"event": "start", "time": 0.0, "spec_sha256": spec.sha256}]
    ends = np.cumsum([phase.steps for phase in spec.recipe.phases])
    for step in sorted({round(x) for x in np.linspace(0, steps - 1, LOGGED_STEPS)}):
        phase = spec.recipe.phases[int(np.searchsorted(ends, step, side="right"))]
        records.append(
            {
                "event": "step",
                "time": float(step),
                "step": step,
                "phase": phase.name,
                "learning_rate": spec.optimizer.learning_rate,
                "tokens": spec.recipe.tokens * (step + 1) // steps,
                "positions": spec.recipe.positions * (step + 1) // steps,
                "flops": flops_until(spec, step + 1),
                "loss": (result.loss or 0.0) + 3.0 / (1 + step),
                "gradient_norm": 1.0,
                "step_seconds": result.accelerator_seconds / steps,
                "accelerators": 1,
                "tokens_per_second": result.tokens_per_second,
                "positions_per_second": result.positions_per_second,
                "mfu": MFU,
            }
        )
    records.append({"event": "evaluation", "time": float(steps), "step": steps, "losses": result.losses})
    records.append({"event": "end", "time": float(steps), **result.ended().model_dump(mode="json")})
    folder.events.write_text("".join(json.dumps(record) + "\n" for record in records))


if __name__ == "__main__":
    main()
