"""Folders of runs that have finished, without training: spec, log and result agree, as after training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import log
from pathlib import Path

from golden import golden

from stepladder.ladder.plan import JobCost, make_plan
from stepladder.record.check import spec_facts
from stepladder.record.checkpoints import checkpoint_path
from stepladder.record.cost import flops_until, training_flops
from stepladder.record.pace import mfu_spread, typical_pace
from stepladder.record.paths import LadderFolder, RunFolder
from stepladder.record.plan import Plan
from stepladder.record.result import Result
from stepladder.record.spec import RunSpec
from stepladder.schema.ladder import Ladder

TEXT = {"tokens": 500, "bytes": 480, "documents": 3}


def step_records(spec: RunSpec) -> list[dict]:
    """Two logged steps of each phase."""
    records, done = [], 0
    for phase in spec.recipe.phases:
        for step in (done, done + phase.steps - 1):
            common = {"event": "step", "time": 1.0, "loss": 5.0 - step / 100, "accelerators": 1, "mfu": 0.3}
            records.append(common | {"step": step, "phase": phase.name, "step_seconds": 0.01 + step / 1e4})
        done += phase.steps
    return records


def finish(folder: RunFolder, spec: RunSpec, losses: dict[str, float] | None = None, **changes) -> Result:
    """Write what training would have left; `changes` are fields of the result that nothing else tells."""
    losses = losses or {domain: 2.0 + i for i, domain in enumerate(spec.data.domain_weights)}
    steps = step_records(spec)
    pace = typical_pace(spec, steps)
    bits = {domain: nats * TEXT["tokens"] / (TEXT["bytes"] * log(2)) for domain, nats in losses.items()}
    weights = spec.data.domain_weights.items()
    early = golden()
    lineage = early["lineage"] | {"code_fingerprint": spec.code}
    fields = spec_facts(spec) | {
        "parameters": spec_facts(spec)["parameters"].model_dump(),
        "loss": sum(weight * losses[domain] for domain, weight in weights),
        "bits_per_byte": sum(weight * bits[domain] for domain, weight in weights),
        "losses": losses,
        "bits_per_byte_by_domain": bits,
        "validation": dict.fromkeys(losses, TEXT),
        "accelerator_seconds": pace.accelerator_seconds,
        "median_step_seconds": pace.median_step_seconds,
        "tokens_per_second": pace.tokens_per_second,
        "positions_per_second": pace.positions_per_second,
        "hardware_flops": spec_facts(spec)["flops"],
        "flops_trained": flops_until(spec, spec.recipe.steps),
        "lineage": lineage,
        "checkpoint": checkpoint_path(Path(), spec.recipe.steps).name,
        "goodput": early["seconds"]["step"] / early["seconds"]["total"],
        "restarts": 0,
        "mfu": early["mfu"] | _mfu(spec, steps),
    }
    result = Result.model_validate(early | fields | changes)
    identity = {"spec_sha256": spec.sha256, "data_sha256": result.lineage.data_sha256}
    start = {"event": "start", "time": 0.0, **identity}
    records = [
        start,
        *steps,
        {"event": "evaluation", "time": 2.0, "step": spec.recipe.steps, "losses": losses},
    ]
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.spec.write_text(spec.to_json())
    folder.events.write_text("".join(json.dumps(record) + "\n" for record in records))
    result.write(folder.result)
    return result


def _mfu(spec: RunSpec, steps: list[dict]) -> dict[str, float]:
    """As the steps tell it."""
    ratio = training_flops(spec.model, spec.recipe, "palm") / training_flops(spec.model, spec.recipe)
    found = dict(zip(("median", "p10", "p90"), mfu_spread(steps), strict=True))
    return found | {"palm_median": found["median"] * ratio}


def finish_ladder(path: LadderFolder, ladder: Ladder, specs: Sequence[RunSpec]) -> Plan:
    """Finish all these runs of a ladder, and write and return its plan."""
    for spec in specs:
        finish(path.run(spec.id), spec)
    plan = make_plan(ladder, [JobCost(spec=spec, flops_trained=1.0) for spec in specs], {})
    plan.write(path.plan)
    return plan
