"""A ladder file opened for the workflow: its runs by id, and the texts that rules pass as `params`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from stepladder.ladder.evaluation import task_files, task_settings
from stepladder.ladder.expand import expand
from stepladder.ladder.hyperparameters import mixed
from stepladder.ladder.load import error_at, find_ladder, load_ladder
from stepladder.ladder.names import check_ids
from stepladder.ladder.plan import JobCost, make_plan
from stepladder.ladder.read import LadderError
from stepladder.ladder.resolved import check_run
from stepladder.ladder.swarm import on_mixture, read_mixture, rests_on, swarm_digest, swarm_runs
from stepladder.ladder.sweep import (
    SweepRun,
    at_batch,
    check_batch,
    check_trunk,
    read_rates,
    sweep_digest,
    sweep_runs,
    takes_predicted_rate,
    with_rate,
)
from stepladder.ladder.top import at_depth, check_top, read_depth, top_digest
from stepladder.ladder.trunk import Trunks, find_trunks, prefix
from stepladder.record.cost import training_flops
from stepladder.record.curve import Curve
from stepladder.record.fingerprint import (
    analysis_fingerprint,
    evaluation_fingerprint,
    preparation_fingerprint,
)
from stepladder.record.gates import GateRecord, runs_left
from stepladder.record.paths import LadderFolder
from stepladder.record.plan import Plan
from stepladder.record.spec import RunSpec
from stepladder.schema import ranges
from stepladder.schema.accelerators import Accelerator, accelerators
from stepladder.schema.data import MAX_EPOCHS, PART_BYTES
from stepladder.schema.design import MixtureSwarm
from stepladder.schema.execution import Execution
from stepladder.schema.ladder import Ladder
from stepladder.schema.metric import of_tasks

__all__ = ["Climb", "LadderError"]


CHECKED_TOKENS = {"byte": "", "bpe": "", "pretrained": "-checked"}
"""By kind of tokenizer: what tells shards whose tokens were held against their text from earlier ones, where
these may differ."""


@dataclass(frozen=True)
class Climb:
    """A ladder, where it was read from, and its runs by id."""

    path: Path
    ladder: Ladder
    runs: dict[str, RunSpec]
    """Of the ladder proper: what laws and verdicts rest on. Specs of tuned runs hold the ruled rate; `spec`
    has the final one."""
    sweep: dict[str, SweepRun]
    """Of the sweep. Some of them are runs of the ladder, too."""
    swarm: dict[str, RunSpec]
    """Runs on drawn mixtures, of a ladder with a swarm; in no law of compute."""

    @classmethod
    def open(cls, name: str) -> Climb:
        """Open the ladder called `name`, or the file at path `name`.

        Raises:
            LadderError: there is no such ladder, or the file cannot be used.
        """
        path = find_ladder(str(name))
        ladder = load_ladder(path)
        check_trunk(ladder, path)
        check_batch(ladder, path)
        runs, sweep, swarm = expand(ladder, path), sweep_runs(ladder, path), swarm_runs(ladder, path)
        check_top(ladder, runs, path)
        try:
            check_ids([*runs, *swarm], [run.spec for run in sweep])
        except ValueError as error:
            raise error_at(path, ("sweep" if sweep else "rungs",), str(error)) from None
        return cls(
            path=path,
            ladder=ladder,
            runs={run.id: run for run in runs},
            sweep={run.spec.id: run for run in sweep},
            swarm={run.id: run for run in swarm},
        )

    @cached_property
    def every_run(self) -> dict[str, RunSpec]:
        """The ladder's runs, and those of its sweep or swarm."""
        swept = {name: run.spec for name, run in self.sweep.items() if name not in self.runs}
        return self.runs | swept | self.swarm

    @cached_property
    def every_job(self) -> dict[str, RunSpec]:
        """What is trained: segments of trunks, and every run."""
        return {name: segment.spec for name, segment in self.trunks.segments.items()} | self.every_run

    @cached_property
    def trunks(self) -> Trunks:
        """What the ladder's runs have in common and is trained once; empty unless the ladder asks for it."""
        return find_trunks(self.runs.values() if self.ladder.optimizer.trunk else ())

    def fork(self, name: str) -> str:
        """Id of the segment that a run or a segment goes on from; empty if it starts at step 0."""
        parent = self.trunks.parent(name)
        return parent.id if parent is not None else ""

    @cached_property
    def tuned(self) -> frozenset[str]:
        """Runs and segments of trunks whose learning rate the sweep predicts."""
        rungs = {rung.label for rung in self.ladder.rungs if takes_predicted_rate(self.ladder, rung)}
        jobs = self.runs | {name: segment.spec for name, segment in self.trunks.segments.items()}
        return frozenset(name for name, run in jobs.items() if run.rung in rungs)

    @cached_property
    def topped(self) -> frozenset[str]:
        """Runs whose size the laws of all others choose."""
        return frozenset(name for name, run in self.runs.items() if run.rung == self.ladder.top)

    @cached_property
    def top_record(self) -> Path:
        """What `stepladder top` writes."""
        return LadderFolder.of(self.ladder.name).top

    @cached_property
    def top_digest(self) -> str:
        """Changes when the design does, or anything that its choice rests on."""
        return top_digest(self.ladder, [run for name, run in self.runs.items() if name not in self.topped])

    @cached_property
    def mixed(self) -> frozenset[str]:
        """Runs of the arm whose mixture the swarm finds."""
        design = self.ladder.design
        arm = design.arm if isinstance(design, MixtureSwarm) else None
        return frozenset(name for name, run in self.runs.items() if arm and run.data.corpus == arm)

    @cached_property
    def swarm_rests_on(self) -> dict[str, RunSpec]:
        """Runs whose law finds the mixture: the swarm, and the baseline's beside it."""
        found = rests_on(self.ladder, self.runs.values(), self.swarm.values())
        return {run.id: run for run in found}

    @cached_property
    def swarm_record(self) -> Path:
        """What `stepladder swarm` writes."""
        return LadderFolder.of(self.ladder.name).swarm

    @cached_property
    def swarm_digest(self) -> str:
        """Changes when the design does, or anything that the mixture rests on."""
        arm = [self.runs[name] for name in self.mixed]
        return swarm_digest(self.ladder, self.swarm_rests_on.values(), arm)

    @cached_property
    def learning_rates(self) -> Path:
        """What `stepladder tune` writes."""
        return LadderFolder.of(self.ladder.name).learning_rates

    @cached_property
    def sweep_digest(self) -> str:
        """Changes when the sweep, or what is predicted from it, does."""
        return sweep_digest(self.ladder, list(self.sweep.values()), list(self.runs.values()))

    def spec(self, run: str) -> RunSpec:
        """The final spec of a run, or of a segment of a trunk: a tuned run has the predicted rate, one of the
        top rung the chosen size, one of a swarm's arm the mixture that was found.

        Raises:
            FileNotFoundError: rate, size or mixture is not known yet.
            LadderError: the sweep predicts a rate at which nothing would be learnt.
        """
        if run in self.topped:
            return self._at_depth(read_depth(self.top_record, self.top_digest))[run]
        if run in self.mixed:
            return self._on_mixture(read_mixture(self.swarm_record, self.swarm_digest))[run]
        spec = self.every_job[run]
        if run not in self.tuned:
            return spec
        if run in self.trunks.segments:
            return prefix(self.spec(self.trunks.branches(run)[0]), spec.recipe.steps)
        rates = read_rates(self.learning_rates, self.sweep_digest)
        factor = rates.factors[spec.variant, spec.rung, spec.budget]
        if rates.batch != 1:
            spec = self._at_batch(spec.rung, rates.batch)[run]
        final = with_rate(self.ladder, spec, factor)
        try:
            check_run(final)
        except ValueError as error:
            raise LadderError(f"{run}, at the rate that {self.learning_rates} predicts: {error}") from None
        return final

    def _at_depth(self, depth: int) -> dict[str, RunSpec]:
        if ("top", depth) not in self._resized:
            self._resized["top", depth] = at_depth(self.ladder, depth, self.path)
        return self._resized["top", depth]

    def _on_mixture(self, mixture: dict[str, float]) -> dict[str, RunSpec]:
        key = (json.dumps(mixture), 0)
        if key not in self._resized:
            self._resized[key] = on_mixture(self.ladder, mixture, self.path)
        return self._resized[key]

    def _at_batch(self, rung: str, factor: float) -> dict[str, RunSpec]:
        if (rung, factor) not in self._resized:
            ruled = [run for run in self.runs.values() if run.rung == rung]
            self._resized[rung, factor] = at_batch(self.ladder, rung, ruled, factor, self.path)
        return self._resized[rung, factor]

    @cached_property
    def _resized(self) -> dict[tuple[str, float], dict[str, RunSpec]]:
        """Runs that were expanded again, each once: the top rung by its depth, others by the factor on their
        batch, a swarm's arm by its mixture."""
        return {}

    def price(self, table: dict[str, Accelerator]) -> Plan:
        """The plan of all runs, those of the sweep marked. The rates of tuned runs are not known to it.

        Raises:
            ValueError: the accelerator's speed is unknown.
        """
        jobs = [
            JobCost(
                spec=spec,
                flops_trained=self.trunks.flops_trained(spec),
                trunk=name in self.trunks.segments,
                sweep=name in self.sweep and name not in self.runs,
                swarm=name in self.swarm,
                tuned=name in self.tuned,
                topped=name in self.topped,
                mixed=name in self.mixed,
            )
            for name, spec in self.every_job.items()
        ]
        return make_plan(self.ladder, jobs, table)

    @cached_property
    def corpora(self) -> dict[str | None, str]:
        """Everything that determines shards, as canonical JSON, by the name under which they lie."""
        found: dict[str | None, str] = {}
        for corpus in self.ladder.corpora or (None,):
            data, scored = self.ladder.data_of(corpus), self.ladder.data
            code = preparation_fingerprint() + CHECKED_TOKENS[data.tokenizer.kind]
            other: dict[str, Any] = {}
            if self.ladder.scored_apart(corpus):
                source = scored.source.without_provenance().model_dump(mode="json")
                other = {"held_out": source, "held_out_degenerate": scored.degenerate}
            if data.part_bytes != PART_BYTES:
                other |= {"part_bytes": data.part_bytes}
            found[self.ladder.prepared_as(corpus)] = _json(data.preparation | other | {"code": code})
        return found

    @cached_property
    def provenance(self) -> dict[str | None, str]:
        """What is known of where the text of each domain comes from, as JSON, by the name under which shards
        lie; it determines nothing."""
        found: dict[str | None, str] = {}
        for corpus in self.ladder.corpora or (None,):
            every = self.ladder.data_of(corpus).source.provenance.items()
            told = {name: about.model_dump(mode="json", exclude={"paths"}) for name, about in every}
            said = {name: about for name, about in told.items() if about}
            found.setdefault(self.ladder.prepared_as(corpus), _json(said))
        return found

    def manifest(self, run: str) -> str:
        """The manifest of the shards that a run, or a segment of a trunk, reads."""
        prepared = self.every_job[run].data.prepared if run in self.every_job else None
        return str(LadderFolder.of(self.ladder.name).manifest_of(prepared))

    def max_epochs(self, run: str) -> str:
        """Passes over the training text above which a run is refused, as JSON. None of a swarm is: that a
        mixture repeats a domain is seen when it is drawn, and such runs are left out of the law."""
        return _json(ranges.EPOCHS.most if run in self.swarm else self.ladder.data.max_epochs)

    @cached_property
    def tasks(self) -> dict[str, str]:
        """Everything that determines a task's items but the text they are from, as JSON, by label."""
        return {name: task_settings(name, raw) for name, raw in self.ladder.evaluation.tasks.items()}

    def task_files(self, name: str) -> list[str]:
        """Files that a task is made from.

        Raises:
            LadderError: one is not there.
        """
        return task_files(name, self.ladder.evaluation.tasks[name])

    @cached_property
    def curve(self) -> str:
        """How often training looks at held-out loss, as JSON; empty: never."""
        asked = self.ladder.evaluation
        return Curve(asked.during, asked.during_tokens, asked.max_share).to_json()

    @cached_property
    def evaluation_code(self) -> str:
        """Changes when the code that scores runs on tasks does."""
        return evaluation_fingerprint()

    @property
    def decides_on_tasks(self) -> bool:
        """Whether nothing can be decided before runs are scored on tasks."""
        return of_tasks(self.ladder.analysis.metric)

    @cached_property
    def suites(self) -> str:
        """Means over tasks, as JSON."""
        return _json(self.ladder.evaluation.suites)

    @cached_property
    def analysis(self) -> str:
        """The ladder's analysis section, defaults filled in, as canonical JSON."""
        return _json(self.ladder.analysis.model_dump(mode="json"))

    @cached_property
    def analysis_code(self) -> str:
        """Changes when the code of the analysis does."""
        return analysis_fingerprint()

    @cached_property
    def gates(self) -> dict[str, list[str]]:
        """Label of the rung after which to look, to labels of the rungs that have run then; in order."""
        rungs = self.ladder.ascending
        return {gate.after: rungs[: rungs.index(gate.after) + 1] for gate in self.ladder.analysis.gates}

    def without_gates(self) -> Climb:
        """The same ladder, climbed whole."""
        analysis = self.ladder.analysis.model_copy(update={"gates": ()})
        return replace(self, ladder=self.ladder.model_copy(update={"analysis": analysis}))

    def gates_before(self, rung: str) -> list[str]:
        """Gates that decide which runs of a rung there are."""
        return [after for after, rungs in self.gates.items() if rung not in rungs]

    def runs_left(self, records: Collection[GateRecord], until: str | None = None) -> list[str]:
        """Runs of the ladder proper that gates leave.

        Args:
            records: of the gates that were passed.
            until: a gate: only runs of rungs up to it.
        """
        specs = self.runs.values()
        return runs_left((s for s in specs if until is None or s.rung in self.gates[until]), records)

    @cached_property
    def held_out_runs(self) -> list[str]:
        """Runs of the largest rungs, which `stepladder preregister` foretells.

        Raises:
            ValueError: the ladder has IsoFLOP profiles, which are no rungs.
        """
        if self.ladder.profiles:
            told = "laws.json says how well the largest budget was foretold without it"
            if self.ladder.top:
                told = "top.json says what is expected of the top rung"
            raise ValueError(
                f"{self.path}: predictions are written down for rungs, and this ladder has IsoFLOP profiles: "
                f"{told}"
            )
        count = self.ladder.analysis.holdout_rungs
        held = self.ladder.ascending[-count:] if count else []
        return [name for name, run in self.runs.items() if run.rung in held]

    @cached_property
    def digest(self) -> str:
        """Changes when any run or any assumption of the plan does, or what plan.json holds."""
        parts = [f"plan.json {Plan.VERSION}"]
        parts += [run.sha256 for run in self.every_job.values()]
        parts += [f"{self.ladder.version} {self.ladder.question}"]
        parts += [self.ladder.plan.model_dump_json(), self.ladder.execution.model_dump_json()]
        parts += [rung.execution.model_dump_json(exclude_unset=True) for rung in self.ladder.rungs]
        parts += [self.ladder.sweep.model_dump_json()] if self.ladder.sweep else []
        limit = self.ladder.data.max_epochs
        parts += (
            [f"max_epochs {limit}"] if limit != MAX_EPOCHS else []
        )  # plans of before hold for the default
        parts += mixed(self.ladder)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    @cached_property
    def over_limit(self) -> str | None:
        """What to tell the owner of a ladder that is dearer than its `max_accelerator_hours`, else None."""
        return self.price(accelerators()).over_limit

    @cached_property
    def _rank(self) -> dict[str, int]:
        costs = {run.id: training_flops(run.model, run.recipe) for run in self.every_run.values()}
        return {run: rank for rank, run in enumerate(sorted(costs, key=costs.__getitem__))}

    @cached_property
    def _execution(self) -> dict[str, Execution]:
        return {rung.label: self.ladder.execution_of(rung) for rung in self.ladder.rungs}

    def execution(self, run: str) -> Execution:
        """Where and how a run executes: the ladder's section with the rung's own fields."""
        return self._execution[self.every_job[run].rung] if run in self.every_job else self.ladder.execution

    def resources(self) -> dict[str, Callable[[Any], int | str]]:
        """Snakemake resources of training jobs: one function of the wildcards each. Only those that some rung
        uses, so that what is printed for a laptop stays short."""
        used = {name for run in self._execution.values() for name in _resources(run)}
        found = {name: partial(self._resource, name) for name in sorted(used)}
        whole = "whole" if self.ladder.tokenizers_differ else ""
        return found | {
            "max_epochs": lambda wildcards: self.max_epochs(wildcards.run),
            "held_out": lambda wildcards: whole,
            "curve": lambda wildcards: self.curve,
        }

    def evaluation_resources(self) -> dict[str, Callable[[Any], int | str]]:
        """The same of jobs that score a rung's runs on tasks: one accelerator."""

        def resource(name: str, wildcards: Any) -> int | str:
            alone = {"accelerators_per_run": 1, "nodes_per_run": 1, "exclusive": False}
            return _resources(self._execution[wildcards.rung].model_copy(update=alone)).get(name, "")

        used = {name for run in self._execution.values() for name in _resources(run)} - {
            "engine",
            "exclusive",
        }
        return {name: partial(resource, name) for name in sorted(used - {"nodes"})}

    def _resource(self, name: str, wildcards: Any) -> int | str:
        return _resources(self.execution(wildcards.run)).get(name, "")

    def priority(self, run: str) -> int:
        """Dearer runs first, so that the ladder does not end on one core waiting for the top rung; before
        them the sweep or swarm, for which others wait."""
        first = (run in self.sweep and self.tuned) or run in self.swarm_rests_on
        return self._rank.get(run, 0) + (len(self._rank) if first else 0)


def file_digest(path: Path) -> str:
    """sha256 of a file, 16 hex digits; empty where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.exists() else ""


def _resources(execution: Execution) -> dict[str, int | str]:
    """What a job of this execution asks for, under the names that executors for clusters understand."""
    values: dict[str, int | str] = {
        "runtime": execution.runtime_minutes,
        "mem_mb": execution.memory_mb,
        "tasks": execution.accelerators_per_run,
        "engine": execution.engine,
    }
    if execution.nodes_per_run > 1:
        values["nodes"] = execution.nodes_per_run
    if execution.accelerator != "cpu":
        values["gpus"] = execution.accelerators_per_run
    if execution.exclusive:
        values["exclusive"] = 1
    for name in ("gpu_type", "partition", "account", "qos", "constraint", "reservation", "slurm_extra"):
        if value := getattr(execution, name):
            values[name if name in ("gpu_type", "slurm_extra") else f"slurm_{name}"] = value
    return values


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
