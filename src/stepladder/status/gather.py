"""From a ladder's files, and Slurm where there is one, to its status."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from stepladder.data.manifest import prepared_tokens
from stepladder.documents.document import DocumentError
from stepladder.ladder.climb import Climb
from stepladder.record.gates import GatedArm, GateRecord, ended
from stepladder.record.paths import LadderFolder, RunFolder
from stepladder.record.plan import Plan, PlannedRun
from stepladder.record.spec import RunSpec
from stepladder.schema.accelerators import accelerators
from stepladder.status.files import is_of, read_log, read_result
from stepladder.status.jobs import Found, ask_slurm, error_line, newest_submissions, read_job, with_state
from stepladder.status.judge import judge
from stepladder.status.model import Facts, Job, RunStatus, Status
from stepladder.status.summary import summarise


def status_of(climb: Climb, plan: Plan) -> Status:
    """The ladder's status now, by the files below this folder and one question to Slurm."""
    results = LadderFolder.of(climb.ladder.name)
    specs = specs_of(climb)
    facts = {spec.id: read_facts(spec, results.job(spec)) for spec in specs}
    jobs, slurm = jobs_of(specs, results, facts, newest_submissions())
    now = time.time()
    tokens = prepared_tokens(results, climb.ladder)
    planned = {run.id: run for run in plan.with_passes(tokens).runs}
    over = ended(gates_passed(climb, results))
    runs = [
        _judge(spec, planned[spec.id], replace(facts[spec.id], job=jobs.get(spec.id)), now, results, climb)
        for spec in specs
    ]
    shown = [_shown(climb, _spared(run, over)) for run in runs]
    return summarise(climb.ladder.name, climb.ladder.version, shown, now, slurm)


def gates_passed(climb: Climb, results: LadderFolder) -> list[GateRecord]:
    """What was decided between rungs so far."""
    records = []
    for path in map(results.gate, climb.gates):
        if not path.exists():
            break
        records.append(GateRecord.read(path))
    return records


def _spared(run: RunStatus, over: dict[str, tuple[GateRecord, GatedArm]]) -> RunStatus:
    """The run, or that it will not be trained: its arm ended at a gate before its rung."""
    if run.variant not in over or run.rung in over[run.variant][0].rungs or run.state != "pending":
        return run
    record, arm = over[run.variant]
    return replace(run, state="spared", reason=f"{arm.fate} after {record.after}: {arm.because}")


def _shown(climb: Climb, run: RunStatus) -> RunStatus:
    """The run, its rung with what the run is for if it is not one that laws are fitted to. Runs of a swarm
    are one line: each has a mixture of its own."""
    if run.id in climb.trunks.segments:
        return replace(run, rung=f"{run.rung} trunk")
    if run.id in climb.swarm:
        return replace(run, rung=f"{run.rung} swarm", variant="drawn mixtures")
    return run if run.id in climb.runs else replace(run, rung=f"{run.rung} sweep")


def _awaited(climb: Climb, run: str) -> str:
    """What of a run's spec is not known yet, and for what it waits."""
    if run in climb.topped:
        return "size waits for the law of all others"
    return "mixture waits for the swarm" if run in climb.mixed else "learning rate waits for the sweep"


def specs_of(climb: Climb) -> list[RunSpec]:
    """What the ladder asks for now. Runs whose rate, size or mixture waits are there at rate 0: no result is
    of that spec, so that an earlier one shows as stale."""
    specs = []
    for name, unresolved in climb.every_job.items():
        try:
            spec = climb.spec(name)
        except FileNotFoundError:
            optimizer = unresolved.optimizer.model_copy(update={"learning_rate": 0.0})
            spec = unresolved.model_copy(update={"optimizer": optimizer, "learning_rate_factor": 0.0})
        specs.append(spec)
    return specs


def plan_of(climb: Climb) -> Plan:
    """The ladder's plan.json where it is of these runs, else a new one."""
    path = LadderFolder.of(climb.ladder.name).plan
    asked = {spec.id: spec.recipe.steps for spec in climb.every_job.values()}
    try:
        plan = Plan.read(path)
        if asked == {run.id: run.steps for run in plan.runs}:
            return plan
    except (OSError, DocumentError):
        pass  # not planned yet, or by another version
    return climb.price(accelerators())


def read_facts(spec: RunSpec, folder: RunFolder) -> Facts:
    """What the run's own folder tells. A done run costs a stat and, once, a small read."""
    result = read_result(folder.result)
    if result is not None and result.spec_sha256 == spec.sha256:
        return Facts(result=result)
    if not folder.events.exists():
        return Facts(result=result)
    if not is_of(spec, folder):
        return Facts(result=result, outdated=result is None)
    return Facts(result=result, log=read_log(folder))


def jobs_of(
    specs: list[RunSpec], results: LadderFolder, facts: dict[str, Facts], found: Found
) -> tuple[dict[str, Job], str | None]:
    """Jobs of the runs that are not done, and what is wrong with Slurm if it could not be asked."""
    unfinished = {}
    for spec in specs:
        result = facts[spec.id].result
        output = str(results.job(spec).result)
        if output in found and (result is None or result.spec_sha256 != spec.sha256):
            unfinished[spec.id] = found[output]
    known, problem = ask_slurm(unfinished.values())
    return {run: with_state(read_job(*place), known) for run, place in unfinished.items()}, problem


def _judge(
    spec: RunSpec,
    planned: PlannedRun,
    facts: Facts,
    now: float,
    results: LadderFolder,
    climb: Climb,
) -> RunStatus:
    """Judge a run; logs are read of failed ones only."""
    run = judge(spec, planned, facts, now)
    if run.state == "pending" and spec.optimizer.learning_rate == 0:
        return replace(run, reason=f"its {_awaited(climb, run.id)}")
    if run.state != "failed":
        return run
    if facts.job is not None and run.log:
        return judge(
            spec, planned, replace(facts, job=replace(facts.job, why=error_line(Path(run.log)))), now
        )
    return replace(run, log=str(results.job(spec).log))
