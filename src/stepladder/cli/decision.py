"""What to decide, and what to run next: compare, next, preregister, tune."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stepladder.cli.errors import Misuse, naming
from stepladder.cli.files import ready, write_json
from stepladder.cli.words import (
    AlsoJson,
    AnyUnits,
    Baseline,
    Columns,
    Folder,
    LadderName,
    MetricChoice,
    Out,
    Rates,
    Settings,
    Table,
    TargetFlops,
    analysis,
    axes_there,
    finite,
    read_runs,
    settings_object,
    tuned,
)
from stepladder.schema.metric import of_tasks

if TYPE_CHECKING:
    import pandas as pd

    from stepladder.decision.axis_fit import AxisFit
    from stepladder.decision.prediction_record import RecordCheck
    from stepladder.decision.rule_record import RuleCheck
    from stepladder.schema.analysis import AnalysisConfig, Axis

MADE_WITH = ("confidence", "huber_delta", "floor")
"""Settings that a fit was made with and holds."""


def compare(
    runs: Table,
    out: Out,
    fits: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Ladder fits of these runs, one per cost axis; made here where none is given.",
            show_default="none",
        ),
    ] = None,
    baseline: Baseline = "",
    candidate: Annotated[
        list[str] | None,
        typer.Option(help="Variant to judge. May be given several times.", show_default="all"),
    ] = None,
    axis: Annotated[
        list[str] | None,
        typer.Option(
            help="Cost axis to fit and judge on: flops, seconds or tokens. May be given several times. Not "
            "with FITS, which have axes of their own.",
            show_default="flops and seconds",
        ),
    ] = None,
    target: TargetFlops = None,
    metric: MetricChoice = None,
    settings: Settings = "{}",
    record: Annotated[
        str,
        typer.Option(
            help="Predictions that `stepladder preregister` wrote before the largest rungs ran, to be "
            "judged; '' for none.",
            show_default="none",
        ),
    ] = "",
    rule: Annotated[
        str,
        typer.Option(
            help="The rule on record, rule.json of a ladder: the verdict says what was changed since; '' for "
            "none.",
            show_default="none",
        ),
    ] = "",
    rates: Rates = "",
    gate: Annotated[
        list[Path] | None,
        typer.Option(
            help="What was decided between rungs, gates/RUNG.json of a ladder, smallest rung first. "
            "May be given several times.",
            show_default="none",
        ),
    ] = None,
    columns: Columns = "",
    any_units: AnyUnits = False,
) -> None:
    """Efficiency gains with intervals and trend, seed tests, and the verdict by the written rule.

    Reads RUNS and FITS; writes the comparison as JSON to OUT, and prints it where it made the fits itself.

    Example: stepladder compare runs.csv --baseline dense --candidate moe --axis flops --out cmp.json
    """
    from stepladder.decision.compare import compare as compare_variants
    from stepladder.decision.fit import fit as fit_variants
    from stepladder.decision.gates import left_over, with_gates
    from stepladder.decision.metric import on_metric
    from stepladder.display.terminal import working
    from stepladder.record.gates import GateRecord

    if axis and fits:
        raise Misuse(
            "--axis does not go with fits, which are on axes of their own: give the fits that should count, "
            'and --settings \'{"verdict": {"axes": [...]}}\' for those that must hold'
        )
    given = settings_object(settings)
    if not (baseline or "baseline" in given):
        raise Misuse("name the variant to compare with: --baseline V")
    verdict = {"verdict": _with_axes(given, axis)} if axis else {}
    stated = analysis(settings, baseline=baseline or None, target_flops=target, metric=metric, **verdict)
    ready(out)
    config = tuned(stated, rates)
    records = [GateRecord.read(path) for path in gate or ()]
    judging = left_over(config, records)
    missing = ""
    with naming(runs):
        table = on_metric(read_runs(runs, columns, any_units), config.metric)
    chosen = {*(candidate or ()), config.baseline}
    if candidate and (unknown := chosen - set(table["variant"])):
        there = ", ".join(dict.fromkeys(table["variant"]))
        raise ValueError(f"{runs}: no runs of {', '.join(sorted(unknown))}; there are: {there}")
    if candidate and not fits:  # fits that are given were made from all variants
        table = table[table["variant"].isin(chosen)]
    if fits:
        by_axis = _by_axis(fits, given)
    else:
        if not (axis or "axes" in given.get("verdict", {})):
            axes, missing = axes_there(table, runs, config.verdict.axes)
            verdict_there = config.verdict.model_copy(update={"axes": axes})
            config = config.model_copy(update={"verdict": verdict_there})
            judging = left_over(config, records)
        with naming(runs), working("fitting the laws of all variants"):
            by_axis = {name: fit_variants(table, name, config) for name in config.verdict.axes}
    with naming(runs):
        result = with_gates(compare_variants(table, by_axis, judging), records)
    if missing:
        result = result.model_copy(update={"warnings": (*result.warnings, missing)})
    if candidate:
        kept = tuple(pair for pair in result.comparisons if pair.candidate in candidate)
        result = result.model_copy(update={"comparisons": kept})
    if record:
        result = result.model_copy(update={"prediction_record": _judged(Path(record), table, stated)})
    if rule:
        result = result.model_copy(update={"rule_check": _kept(Path(rule), table, stated)})
    result.write(out)
    if not fits:
        from stepladder.report.render.console import print_comparison

        print_comparison(result)


def metrics(
    runs: Table,
    out: Out,
    baseline: Baseline = "",
    settings: Settings = "{}",
    rates: Rates = "",
) -> None:
    """Verdicts by every metric that a ladder's runs were scored by, beside the one that decides.

    Target loss, bits per byte and each domain, as far as runs compare by them, each as if it decided.

    Reads RUNS, the runs.parquet of a ladder; writes verdicts and gains as JSON to OUT, and prints them
    (without a terminal, nothing).

    Example: stepladder metrics results/laptop/runs.parquet --baseline dense-baseline --out metrics.json
    """
    from stepladder.decision.by_metric import by_metric
    from stepladder.display.terminal import working

    if not (baseline or "baseline" in settings_object(settings)):
        raise Misuse("name the variant to compare with: --baseline V")
    config = tuned(analysis(settings, baseline=baseline or None), rates)
    ready(out)
    table = read_runs(runs, "", False)
    with naming(runs), working("fitting laws of every metric"):
        found = by_metric(table, config)
    found.write(out)
    if sys.stdout.isatty():
        from stepladder.report.render.console import print_metrics

        print_metrics(found)


def signal(
    runs: Table,
    out: Out,
    laws: Annotated[
        Path | None,
        typer.Option(
            help="Also fit compute to bits per byte to accuracy for every task, and write it as JSON, to "
            "this file.",
            show_default="no laws of tasks",
        ),
    ] = None,
    metric: MetricChoice = None,
    settings: Settings = "{}",
    columns: Columns = "",
    any_units: AnyUnits = False,
) -> None:
    """Which metrics tell variants apart at small rungs, and whether what they say there holds.

    Of losses and every score of every task: spread of variants over noise of seeds, and the share of pairs of
    variants in the order of the largest rung. With --laws two steps for every task, and the largest rung
    foretold by the others.

    Reads RUNS, as `stepladder compare` does, tasks being columns task_NAME_bits_per_byte, task_NAME_accuracy
    and so on; writes JSON to OUT and LAWS, and prints it (without a terminal, nothing).

    Example: stepladder signal results/laptop/runs.parquet --out signal.json --laws task_laws.json
    """
    given = settings_object(settings)
    unnamed = {} if "baseline" in given else {"baseline": ""}
    config = analysis(settings, metric=metric, **unnamed)
    ready(out, laws)
    from stepladder.decision.signal import signal as signal_of
    from stepladder.decision.tasks import two_step
    from stepladder.display.terminal import working

    table = read_runs(runs, columns, any_units)
    with naming(runs), working("comparing metrics"):
        found = signal_of(table, config)
        fitted = two_step(table, config) if laws else None
    found.write(out)
    if laws and fitted:
        fitted.write(laws)
    if sys.stdout.isatty():
        from stepladder.report.render.console import print_signal

        print_signal(found, fitted)


def next_runs(
    runs: Table,
    fit: Annotated[Path, typer.Argument(help="Ladder fit of these runs on FLOPs: fits/flops.json.")],
    hours: Annotated[
        float, typer.Option(min=0, callback=finite, help="Accelerator-hours that may be spent.")
    ],
    baseline: Annotated[str, typer.Option(help="Variant to compare with.")],
    candidate: Annotated[str, typer.Option(help="Variant that is judged.")],
    target: TargetFlops = None,
    settings: Settings = "{}",
    out: AlsoJson = None,
    columns: Columns = "",
    any_units: AnyUnits = False,
) -> None:
    """Which runs next: by how much each would narrow the gain's interval, per accelerator-hour.

    Reads RUNS and FIT; prints a ranking of the runs that HOURS allow, and writes it to OUT where that is
    given. The interval is that of the gain at the target. Of --settings only confidence and target_flops
    count here: FIT holds the rest.

    Example: stepladder next runs.csv flops.json --baseline dense --candidate moe --hours 200 --target 1e22
    """
    from stepladder.decision.metric import on_metric
    from stepladder.decision.next_runs import rank_runs
    from stepladder.report.render.console import print_next

    config = analysis(settings, baseline=baseline)
    ready(out)
    found = _read_fit(fit, settings_object(settings))
    with naming(runs):
        table = on_metric(read_runs(runs, columns, any_units), found.made_from.metric)
        result = rank_runs(table, found, candidate, baseline, config, hours, target)
    if out:
        write_json(out, result.model_dump(mode="json"))
    print_next(result)


def preregister(ladder: LadderName, results: Folder, out: Out) -> None:
    """Write down what the smaller rungs predict for the held-out ones, before those run.

    Reads plan.json and the runs' results in RESULTS; writes the record as JSON to OUT, and prints its
    sha256, to be kept elsewhere.

    Example: stepladder preregister smoke --results results/smoke --out results/smoke/predictions.json
    """
    from stepladder.data.manifest import fingerprints
    from stepladder.decision.metric import on_metric
    from stepladder.decision.preregistration import planned_runs
    from stepladder.decision.preregistration import preregister as make_record
    from stepladder.ladder.climb import Climb
    from stepladder.record.gates import GateRecord
    from stepladder.record.paths import LadderFolder
    from stepladder.record.plan import Plan
    from stepladder.record.tables import read_runs

    climb = Climb.open(ladder)
    ready(out)
    held = climb.held_out_runs
    if not held:
        raise ValueError(f"{climb.path}: the ladder holds out no rung: set analysis.holdout_rungs")
    folder = LadderFolder(results)
    if ran := [run for run in held if folder.run(run).result.exists()]:
        raise ValueError(
            f"{len(ran)} runs of the held-out rungs have results already ({ran[0]}): a prediction made now "
            "would not be one. The record that there is stays as it is"
        )
    plan = Plan.read(folder.plan)
    ran = climb.runs_left([GateRecord.read(path) for path in map(folder.gate, climb.gates) if path.exists()])
    files = {run: folder.run(run).result for run in ran if run not in held}
    shards = fingerprints(folder)
    metric = climb.ladder.analysis.metric
    done = on_metric(read_runs(folder, files, plan, shards, of_tasks(metric)), metric)
    with naming(results):
        planned = planned_runs(plan, held)
        record = make_record(done, planned, climb.ladder.analysis, climb.analysis_code, files)
    record.write(out)
    typer.echo(f"{out}: sha256 {record.sha256}")


def gate(
    ladder: LadderName,
    after: Annotated[
        str, typer.Argument(help="Label of the rung after which to look: one of analysis.gates.")
    ],
    results: Folder,
    out: Out,
) -> None:
    """Look between rungs: stop candidates that have become hopeless, promote those that are sure.

    Reads the ladder file, plan.json, the results of all runs up to this rung and the earlier gates in
    RESULTS; writes what follows as JSON to OUT, and prints it.

    Example: stepladder gate laptop d3 --results results/laptop --out results/laptop/gates/d3.json
    """
    from stepladder.data.manifest import fingerprints
    from stepladder.decision.gates import Look, look
    from stepladder.decision.metric import on_metric
    from stepladder.decision.plan_power import planned_table
    from stepladder.display.terminal import working
    from stepladder.ladder.climb import Climb
    from stepladder.record.gates import GateRecord, ended
    from stepladder.record.paths import LadderFolder
    from stepladder.record.plan import Plan
    from stepladder.record.tables import read_runs
    from stepladder.report.render.console import print_gate

    climb = Climb.open(ladder)
    if after not in climb.gates:
        there = ", ".join(climb.gates) or "none"
        raise ValueError(f"{climb.path}: no gate after {after!r} in analysis.gates; there are: {there}")
    ready(out)
    folder, names = LadderFolder(results), list(climb.gates)
    before = [GateRecord.read(folder.gate(name)) for name in names[: names.index(after)]]
    over, plan = ended(before), Plan.read(folder.plan)
    ran = [run for run in climb.runs_left(before, after) if climb.runs[run].variant not in over]
    shards = fingerprints(folder)
    planned = planned_table(plan, climb.runs)
    metric = climb.ladder.analysis.metric
    with naming(results), working(f"looking after {after}"):
        record = look(
            Look(
                done=on_metric(read_runs(folder, ran, plan, shards, of_tasks(metric)), metric),
                planned=planned[~planned["variant"].isin(over)],
                rungs=tuple(climb.gates[after]),
                config=tuned(climb.ladder.analysis, folder.learning_rates if climb.sweep else ""),
                gate=climb.ladder.analysis.gates[names.index(after)],
                spent=before[-1].spent if before else 0.0,
            )
        )
    record.write(out)
    print_gate(record)


def top(ladder: LadderName, results: Folder, out: Out) -> None:
    """Choose the size of the top rung by the law of all other runs, and write down what to expect of it.

    The size is the one nearest to the baseline's best at `design.flops` by Chinchilla's law. A choice that is
    there already is kept as it was made, time included, as long as it comes out the same.

    Reads the ladder file, which needs `design: {kind: compute_optimal_top, flops: …}`, plan.json and the
    other runs' results in RESULTS; writes the choice as JSON to OUT, as it was first made also to
    top.first.json in RESULTS, and prints it.

    Example: stepladder top my-ladder --results results/my-ladder --out results/my-ladder/top.json
    """
    from stepladder.data.manifest import fingerprints
    from stepladder.decision.choose_top import choose_top
    from stepladder.decision.metric import on_metric
    from stepladder.display.terminal import working
    from stepladder.ladder.climb import Climb
    from stepladder.ladder.top import depths, top_design
    from stepladder.record.gates import GateRecord
    from stepladder.record.paths import LadderFolder
    from stepladder.record.plan import Plan
    from stepladder.record.tables import read_runs
    from stepladder.report.render.console import print_top

    climb, folder = Climb.open(ladder), LadderFolder(results)
    with naming(climb.path):
        flops, sizes = top_design(climb.ladder).flops, depths(climb.ladder)
    ready(out)
    gates = [GateRecord.read(path) for path in map(folder.gate, climb.gates) if path.exists()]
    ran = [run for run in climb.runs_left(gates) if run not in climb.topped]
    shards = fingerprints(folder)
    read = read_runs(folder, ran, Plan.read(folder.plan), shards, of_tasks(climb.ladder.analysis.metric))
    done = on_metric(read, climb.ladder.analysis.metric)
    with naming(results), working("sizing the top rung"):
        found = choose_top(done, sizes, flops, climb.ladder.analysis, climb.top_digest)
    found = found.kept_from(folder.top_first)
    found.write(folder.top_first)
    found.write(out)
    print_top(found)


def swarm(ladder: LadderName, results: Folder, out: Out) -> None:
    """Find the best mixture by the law of small runs on drawn mixtures, and write down what to expect of it.

    The law gives each domain's loss over the shares; the mixture is the one with the lowest target loss,
    within the shares that were tried and `data.max_epochs` at the longest run that will read it. An outcome
    that is there already is kept as it was made, time included, as long as it comes out the same.

    Reads the ladder file, which needs `design: {kind: mixture_swarm}`, plan.json, the shards' manifests and
    the small runs' results in RESULTS; writes the outcome as JSON to OUT, as it was first made also to
    swarm.first.json in RESULTS, and prints it.

    Example: stepladder swarm laptop-swarm --results results/laptop-swarm --out swarm.json
    """
    from stepladder.data.manifest import fingerprints, prepared_tokens
    from stepladder.decision.choose_mixture import Swarm, choose_mixture
    from stepladder.display.terminal import working
    from stepladder.ladder.climb import Climb
    from stepladder.ladder.swarm import swarm_design
    from stepladder.record.paths import LadderFolder
    from stepladder.record.plan import Plan
    from stepladder.record.tables import read_runs
    from stepladder.report.render.console import print_swarm

    climb, folder = Climb.open(ladder), LadderFolder(results)
    with naming(climb.path):
        swarm_design(climb.ladder)
    ready(out)
    done = read_runs(folder, climb.swarm_rests_on, Plan.read(folder.plan), fingerprints(folder))
    with naming(results), working("finding the mixture"):
        arm = [climb.runs[name] for name in climb.mixed]
        tokens = prepared_tokens(folder, climb.ladder)
        asked = Swarm.of(climb.ladder, climb.swarm_rests_on.values(), arm, tokens)
        found = choose_mixture(done, asked, climb.ladder.analysis, climb.swarm_digest)
    found = found.kept_from(folder.swarm_first)
    found.write(folder.swarm_first)
    found.write(out)
    print_swarm(found)


def tune(
    ladder: LadderName,
    results: Folder,
    out: Out,
    table: Annotated[
        Path | None,
        typer.Option(help="Also write one row per run of the sweep, as Parquet.", show_default="no table"),
    ] = None,
) -> None:
    """Find each swept rung's best learning rate, its law over scale, and the rates of all rungs.

    A parabola of loss over log rate goes through the points around the lowest, so the lowest must lie inside
    the sweep: where it is at an edge, you are told which factors to add. `snakemake` runs the sweep, calls
    this, and trains the other rungs at the rates; only those whose rate comes out differently train again.

    Reads the ladder file, which needs a section `sweep:`, and the sweep's results in RESULTS; writes the
    rates as JSON to OUT, and prints them.

    Example: stepladder tune smoke-sweep --results results/smoke-sweep --out learning_rates.json
    """
    from stepladder.ladder.climb import Climb
    from stepladder.ladder.sweep import quantity_name
    from stepladder.record.paths import LadderFolder
    from stepladder.record.tables import write_table
    from stepladder.report.render.console import print_tuning
    from stepladder.tuning.tables import sweep_table, targets
    from stepladder.tuning.tune import tune as tune_sweep

    climb = Climb.open(ladder)
    if climb.ladder.sweep is None:
        raise ValueError(f"{climb.path}: this ladder has no sweep; add a section `sweep:`")
    ready(out, table)
    runs = sweep_table(climb, LadderFolder(results))
    found = tune_sweep(
        runs,
        targets(climb),
        quantity_name(climb.ladder),
        climb.ladder.analysis.confidence,
        climb.ladder.sweep.max_uncertainty,
        climb.sweep_digest,
        climb.ladder.sweep.apply_batch,
    )
    print_tuning(found)
    if found.problems:
        alone = ", apply_batch: false" if found.batch else ""
        advice = f"`sweep: {{apply: none{alone}}}` trains every rung at its ruled rate and reports the bowls"
        raise ValueError("no rates to train at. " + "; ".join([*found.problems, advice]))
    if table:
        write_table(runs, table)
    found.write(out)


def _with_axes(given: dict[str, Any], axes: list[str]) -> dict[str, Any]:
    """The verdict section of the settings, on these axes."""
    verdict = given.get("verdict", {})
    if not isinstance(verdict, dict):
        raise Misuse(f"--settings: verdict = {verdict!r:.80}: write a JSON object")
    return {**verdict, "axes": axes}


def _by_axis(paths: list[Path], given: dict[str, Any]) -> dict[Axis, AxisFit]:
    """Cost axis to fit."""
    found: dict[Axis, AxisFit] = {}
    for path in paths:
        fit = _read_fit(path, given)
        if fit.axis in found:
            raise Misuse(f"{path}: a second fit on {fit.axis}; give one per axis")
        found[fit.axis] = fit
    return found


def _read_fit(path: Path, given: dict[str, Any]) -> AxisFit:
    """A ladder's fit, which must be made as the settings that are given say."""
    from stepladder.decision.axis_fit import AxisFit
    from stepladder.decision.prediction import read_fit

    fit = read_fit(path)
    if not isinstance(fit, AxisFit):
        raise ValueError(
            f"{path}: not the fit of a ladder; give what `stepladder fit RUNS` wrote, law ladder"
        )
    for name in MADE_WITH:
        made = getattr(fit, name)
        if name in given and given[name] != made:
            raise Misuse(
                f"{path}: was made with {name} {made}, and --settings says {given[name]}: make the fit "
                "again, or leave it out of the settings"
            )
    return fit


def _judged(path: Path, runs: pd.DataFrame, config: AnalysisConfig) -> RecordCheck:
    """A prediction record, compared with what came."""
    from stepladder.decision.prediction_record import PredictionRecord
    from stepladder.decision.preregistration import check_record
    from stepladder.record.fingerprint import analysis_fingerprint

    record = PredictionRecord.read(path)
    with naming(path):
        return check_record(record, runs, config, analysis_fingerprint())


def _kept(path: Path, runs: pd.DataFrame, config: AnalysisConfig) -> RuleCheck:
    """The rule on record, compared with that of now; a record that is missing is said to be."""
    from stepladder.decision.rule_record import RuleRecord, check_rule

    record = RuleRecord.read(path) if path.exists() else None
    finished: list[str] = []
    if "lineage_finished" in runs:
        finished = runs["lineage_finished"].dropna().astype(str).to_list()
    with naming(path):
        return check_rule(record, config, finished)
