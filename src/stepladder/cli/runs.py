"""From shards to collected runs, as the workflow calls it: calibrate, train, collect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stepladder.cli.errors import Misuse, naming
from stepladder.cli.files import read_object, ready, write_json
from stepladder.cli.words import LadderName, Out, one_of
from stepladder.documents.files import written_below

Threads = Annotated[int, typer.Option(min=1, help="CPU threads.")]


def calibrate(out: Out, threads: Threads = 1) -> None:
    """Measure this CPU's matrix-product rate: the peak against which MFU on CPU is stated.

    Reads nothing; writes FLOP/s by dtype as JSON to OUT. Takes a few seconds, in which nothing else should
    run.

    Example: stepladder calibrate --threads 2 --out results/machine.json
    """
    ready(out)
    from stepladder.training.calibrate import measure_machine

    write_json(out, measure_machine(threads))


def train(
    spec: Annotated[str, typer.Argument(help="A resolved run spec as JSON, or the path of a spec.json.")],
    manifest: Annotated[Path, typer.Option(help="The shards' manifest.json.")],
    out: Annotated[Path, typer.Option(help="result.json to write; checkpoints and logs go beside it.")],
    machine: Annotated[
        str,
        typer.Option(help="machine.json of `stepladder calibrate`; '' for none.", show_default="none"),
    ] = "",
    threads: Threads = 1,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    ranks: Annotated[
        int, typer.Option(min=1, help="Processes that train together, one per accelerator: started here.")
    ] = 1,
    engine: Annotated[
        str,
        typer.Option(
            help='Engine options that are not the defaults, as JSON: \'{"compile": "never"}\'. They are '
            "named as in a ladder's execution section.",
            show_default="the defaults",
        ),
    ] = "",
    compile_cache: Annotated[
        Path | None,
        typer.Option(
            help="Folder where compiled code is kept between runs.", show_default="the compiler's own"
        ),
    ] = None,
    fork: Annotated[
        str,
        typer.Option(
            help="result.json of the trunk that this run goes on from; '' to start at step 0.",
            show_default="none",
        ),
    ] = "",
    max_epochs: Annotated[
        str,
        typer.Option(
            help="Passes over the training text above which the run is refused: a ladder's data.max_epochs, "
            '4, or by domain as JSON, \'{"web": 2, "code": 8}\'.',
            show_default="4",
        ),
    ] = "",
    held_out: Annotated[
        str,
        typer.Option(
            help="whole: refuse shards whose held-out text would be cut at the spec's max_validation_tokens, "
            "as in a ladder of several tokenizers; '' to cut it.",
            show_default="cut",
        ),
    ] = "",
    curve: Annotated[
        str,
        typer.Option(
            help="How often to look at held-out loss on the way, as JSON: "
            '\'{"looks": 12, "tokens": 65536, "max_share": 0.02}\'.',
            show_default="never",
        ),
    ] = "",
    checkpoint_seconds: Annotated[
        str, typer.Option(hidden=True, help="Now in --engine, which says how to write it.")
    ] = "",
) -> None:
    """Train one run, evaluate it, write result.json last. Goes on from its checkpoint if it has one.

    A segment of a trunk (`stepladder check` lists runs, `snakemake plan` trunks) is trained but not
    evaluated.

    Reads SPEC, the shards and, if there are any, checkpoints beside OUT; writes spec.json, events.jsonl,
    log.txt, checkpoints/ and OUT. Exit status 75: it was told to stop, and has saved a checkpoint.

    Example: stepladder train spec.json --manifest data/manifest.json --out run/result.json
    """
    from stepladder.record.curve import Curve
    from stepladder.record.fingerprint import run_fingerprint
    from stepladder.record.spec import RunSpec
    from stepladder.schema.data import MAX_EPOCHS, read_max_epochs
    from stepladder.schema.execution import EngineOptions

    if checkpoint_seconds:
        raise Misuse(
            "--checkpoint-seconds is an engine option: write --engine "
            f"'{{\"checkpoint_seconds\": {checkpoint_seconds}}}'"
        )
    one_of("--held-out", held_out, ("", "whole"))
    one_of("--device", device.partition(":")[0], ("auto", "cpu", "cuda"))
    _named(out, "result.json")
    ready(out)
    with naming("--engine"):
        options = EngineOptions.from_text(engine)
    with naming("--curve"):
        looks = Curve.of_json(curve)
    with naming("--max-epochs"):
        limit = read_max_epochs(max_epochs) if max_epochs else MAX_EPOCHS
    given = spec.lstrip().startswith("{")
    text = spec if given else _text(Path(spec))
    with naming("SPEC" if given else spec):
        run = RunSpec.from_json(text)
    code = run_fingerprint(run.model.architecture, run.recipe.name)
    if run.code != code:
        raise ValueError(
            f"{run.id} was planned with training code {run.code}, and the code here is {code}: it has "
            "changed since the job was submitted. Run snakemake again to plan this run with the code as it is"
        )
    if machine:
        _refuse_peaks(Path(machine))
    if fork:
        keys = ("steps", "spec_sha256", "checkpoint", "lineage")
        read_object(Path(fork), "`stepladder train` of the trunk's segment", *keys)
    if ranks > 1:
        from stepladder.training.launch import start_ranks

        start_ranks(ranks)
    from stepladder.training.run import train as train_run

    with written_below(out.parent):
        train_run(
            run,
            manifest=manifest,
            run_dir=out.parent,
            machine=Path(machine) if machine else None,
            threads=threads,
            device=device,
            options=options,
            compile_cache=compile_cache,
            fork=Path(fork) if fork else None,
            curve=looks,
            max_epochs=limit,
            whole=held_out == "whole",
        )


def coordinates(ladder: LadderName, out: Out) -> None:
    """Check a parametrization: train a few steps at one to four times the base model's width and depth.

    Activations should keep their scale. The models are dense ones with the ladder's optimizer and the peak
    learning rate of its smallest rung; the text is drawn. Takes seconds to minutes on a CPU, by the base
    model's size.

    Reads the ladder file, which needs `optimizer.parametrization`; writes the scales as JSON to OUT, and says
    what came out.

    Example: stepladder coordinates my-ladder --out coordinates.json
    """
    from stepladder.display.terminal import working
    from stepladder.ladder.climb import Climb
    from stepladder.report.sections.coordinates import coordinate_sentences

    climb = Climb.open(ladder)
    wanted = climb.ladder.optimizer.parametrization
    if wanted is None:
        raise ValueError(f"{climb.path}: no optimizer.parametrization to check; add one")
    ready(out)
    specs = [run for run in climb.runs.values() if run.variant == climb.ladder.analysis.baseline]
    smallest = min(specs, key=lambda run: run.model.d_model)
    with working("training a few steps of several sizes"):
        from stepladder.training.coordinates import coordinate_check

        with naming(climb.path):
            found = coordinate_check(smallest, wanted.kind, wanted.base_width, wanted.base_depth)
    found.write(out)
    for sentence in coordinate_sentences(found):
        typer.echo(sentence, err=True)


def collect(
    plan: Annotated[Path, typer.Argument(help="plan.json; results are looked for in runs/ beside it.")],
    runs: Annotated[Path, typer.Option(help="Parquet to write: one row per run.")],
    steps: Annotated[Path, typer.Option(help="Parquet to write: one row per logged step.")],
    looks: Annotated[
        Path | None,
        typer.Option(
            help="Parquet to write: one row per look at held-out loss along a run.",
            show_default="not written",
        ),
    ] = None,
    gate: Annotated[
        list[Path] | None,
        typer.Option(
            help="What was decided between rungs, gates/RUNG.json: runs that it spared are not looked "
            "for. May be given several times.",
            show_default="none",
        ),
    ] = None,
    evaluations: Annotated[
        list[Path] | None,
        typer.Option(
            help="How the runs of a rung did on tasks, evaluations/RUNG.json. May be given several times.",
            show_default="none",
        ),
    ] = None,
) -> None:
    """Gather the results of all planned runs into three tables. Those of a sweep stay out: `tune` has them.

    Reads PLAN, and spec.json, result.json and events.jsonl of every run in it; writes RUNS, STEPS and
    LOOKS. A result that these, or the data's manifest, disagree with is an error that names the field.

    Example: stepladder collect results/smoke/plan.json --runs runs.parquet --steps steps.parquet
    --looks looks.parquet
    """
    from stepladder.data.manifest import fingerprints
    from stepladder.record.evaluation import RungEvaluations
    from stepladder.record.gates import GateRecord
    from stepladder.record.paths import LadderFolder
    from stepladder.record.plan import Plan
    from stepladder.record.tables import collect as collect_results
    from stepladder.record.tables import write_table

    ready(runs, steps, looks)
    ladder = LadderFolder(plan.parent)
    shards = fingerprints(ladder)
    gates = [GateRecord.read(path) for path in gate or ()]
    scores = [RungEvaluations.read(path) for path in evaluations or ()]
    tables = collect_results(ladder, Plan.read(plan), shards, gates, scores)
    write_table(tables.runs, runs)
    write_table(tables.steps, steps)
    if looks is not None:
        write_table(tables.looks, looks)


def _named(path: Path, name: str) -> None:
    """Refuse another file name than the one that will be written."""
    if path.name != name:
        raise Misuse(f"--out {path}: the file is called {name}; give its path, as {path.parent / name}")


def _text(path: Path) -> str:
    with naming(path):
        return path.read_text(encoding="utf-8")


def _refuse_peaks(machine: Path) -> None:
    """Refuse a machine.json whose peaks no CPU has: MFU would be stated against them.

    Raises:
        ValueError: naming file, field and value.
    """
    from stepladder.schema.ranges import PEAK

    peaks = read_object(machine, "`stepladder calibrate`", "name", "threads", "peaks", "source")["peaks"]
    remedy = f"measure it again: stepladder calibrate --out {machine}"
    if not isinstance(peaks, dict):
        raise ValueError(f"{machine}: peaks = {peaks!r:.80}: FLOP/s by dtype are needed; {remedy}")
    for dtype, peak in peaks.items():
        if isinstance(peak, bool) or not isinstance(peak, int | float) or not PEAK.least <= peak <= PEAK.most:
            raise ValueError(
                f"{machine}: peaks.{dtype} = {peak!r:.80}: must be from {PEAK.least:g} to {PEAK.most:g} "
                f"FLOP/s; {remedy}"
            )
