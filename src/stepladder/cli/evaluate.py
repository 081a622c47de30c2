"""Tasks, scores on them, and samples of what a run says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from stepladder.cli.errors import Misuse, naming
from stepladder.cli.files import json_argument, ready
from stepladder.cli.runs import Threads
from stepladder.cli.words import Out, finite, one_of
from stepladder.documents.files import written_below

Run = Annotated[Path, typer.Argument(help="Folder of a run: results/LADDER/runs/VARIANT/RUNG/BUDGET/seedK.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Step = Annotated[
    int | None,
    typer.Option(min=0, help="Steps after which the checkpoint was saved.", show_default="the run's last"),
]
ManifestOf = Annotated[
    Path | None,
    typer.Option(
        "--manifest",
        help="manifest.json of the shards that the run was trained on.",
        show_default="found in the folders above RUN",
    ),
]
Tasks = Annotated[
    list[Path] | None,
    typer.Option(
        "--task",
        help="A tasks/TASK.json of `stepladder task`. May be given several times.",
        show_default="all tasks of the ladder that RUN belongs to",
    ),
]


def task(
    name: Annotated[str, typer.Argument(help="Label of the task.")],
    settings: Annotated[str, typer.Argument(help="The task's settings in a ladder file, as JSON.")],
    manifests: Annotated[
        list[Path],
        typer.Argument(help="manifest.json of all shards that are trained on, the scored one first."),
    ],
    out: Out,
    search: Annotated[
        bool, typer.Option(help="Look for the items in the training text, all of which is read for it.")
    ] = True,
) -> None:
    """Make the items of a task: read them from files, or cut them from held-out text.

    Reads the files that SETTINGS name and the shards beside MANIFESTS; writes the items beside OUT as
    Parquet, and what they are to OUT. Says how many were found in the training text, by runs of 13 words.

    Example: stepladder task hellaswag '{"path": "hellaswag_val.jsonl"}' results/laptop/data/manifest.json
    --out results/laptop/tasks/hellaswag.json
    """
    from stepladder.display.terminal import working
    from stepladder.evaluation.task_set import make_task, read_settings

    ready(out)
    if out.stem != name:
        raise Misuse(f"--out {out}: the file is called as the task is: {out.with_name(f'{name}.json')}")
    json_argument("SETTINGS", settings, '{"kind": "calls"}')
    with naming(f"task {name}"), working(f"making the items of {name}"), written_below(out.parent):
        made = make_task(name, read_settings(settings), manifests, out, search=search)
    told = [f"{name}: {made.items:,} items"]
    for place in (made.searched or {}).values():
        told.append(
            f"{place.found:,} found in {place.training_bytes / 1e6:,.1f} MB of training text, "
            f"{place.too_short:,} too short to tell ({place.words} words)"
        )
    typer.echo("; ".join(told), err=True)


def evaluate(
    run: Run,
    tasks: Tasks = None,
    step: Step = None,
    manifest: ManifestOf = None,
    device: Device = "auto",
    threads: Threads = 1,
) -> None:
    """Score a checkpoint of a run on tasks, and print the scores.

    Trains nothing. Scores that are there for the same checkpoint and the same items are kept.

    Reads RUN, the tasks and the tokenizer beside the manifest; writes RUN/evaluations/TASK.json, and scores
    by item beside it as Parquet (with --step, TASK-step-NNNNNN.json).

    Example: stepladder evaluate results/laptop/runs/dense-tst/d4/1x/seed0
    """
    one_of("--device", device.partition(":")[0], ("auto", "cpu", "cuda"))
    from stepladder.display.terminal import show, working
    from stepladder.evaluation.weights import find_ladder
    from stepladder.report.sections.tasks import scores_table
    from stepladder.training.device import pick_device
    from stepladder.training.process import configure_process

    found = tasks or [*find_ladder(run)[0].tasks.values()]
    if not found:
        raise Misuse(
            f"{run}: its ladder has no tasks: list some under evaluation.tasks in the ladder file and run "
            "snakemake, or name one with --task"
        )
    configure_process(threads)
    from stepladder.evaluation.rung import evaluate_run
    from stepladder.evaluation.task_set import read_task

    read = [read_task(path) for path in found]
    with naming(run), working(f"scoring {run.name} on {len(found)} tasks"):
        scored = evaluate_run(run, read, pick_device(device), step=step, manifest=manifest)
    show(scores_table(scored))


def evaluate_rung(
    plan: Annotated[Path, typer.Argument(help="plan.json; runs are looked for in runs/ beside it.")],
    rung: Annotated[str, typer.Argument(help="Label of the rung.")],
    out: Out,
    tasks: Tasks = None,
    gate: Annotated[
        list[Path] | None,
        typer.Option(
            help="What was decided between rungs, gates/RUNG.json: runs that it spared are not scored. "
            "May be given several times.",
            show_default="none",
        ),
    ] = None,
    suites: Annotated[
        str, typer.Option(help='Tasks over which means are told, as JSON: \'{"code": ["calls", "lines"]}\'.')
    ] = "{}",
    device: Device = "auto",
    threads: Threads = 1,
) -> None:
    """Score all finished runs of a rung on tasks, in one process.

    Reads PLAN, checkpoints below runs/ beside it, the tasks; writes evaluations/ of each run, and all scores
    of the rung to OUT. What was scored before and still holds is not scored again.

    Example: stepladder evaluate-rung results/laptop/plan.json d3 --task results/laptop/tasks/calls.json --out
    results/laptop/evaluations/d3.json
    """
    one_of("--device", device.partition(":")[0], ("auto", "cpu", "cuda"))
    means = json_argument("--suites", suites, '{"code": ["calls", "lines"]}')
    ready(out)
    from stepladder.record.gates import GateRecord, runs_left
    from stepladder.record.paths import LadderFolder
    from stepladder.record.plan import Plan
    from stepladder.training.device import pick_device
    from stepladder.training.process import configure_process

    ladder = LadderFolder(plan.parent)
    proper = [run for run in Plan.read(plan).runs if run.proper]
    left = set(runs_left(proper, [GateRecord.read(path) for path in gate or ()]))
    own = [run.id for run in proper if run.rung == rung and run.id in left]  # none, if gates spared all
    if rung not in (rungs := dict.fromkeys(run.rung for run in proper)):
        raise Misuse(f"{plan} has no runs of a rung {rung!r}; its rungs: {', '.join(rungs)}")
    configure_process(threads)
    from stepladder.evaluation.rung import evaluate_rung

    with written_below(plan.parent):
        found = evaluate_rung(
            rung,
            [ladder.run(run).path for run in own],
            tasks or [*ladder.tasks.values()],
            means,
            pick_device(device),
            lambda told: typer.echo(told, err=True),
        )
        found.write(out)


def sample(
    run: Run,
    prompt: Annotated[str, typer.Option(help="Text to go on from; '' to begin a document.")] = "",
    tokens: Annotated[int, typer.Option(min=1, help="Most tokens to draw.")] = 200,
    temperature: Annotated[
        float,
        typer.Option(min=0, callback=finite, help="Below 1 more cautious; 0 takes the likeliest token."),
    ] = 0.8,
    top_p: Annotated[
        float,
        typer.Option(
            min=0, max=1, callback=finite, help="Draw from the likeliest tokens of this probability."
        ),
    ] = 0.95,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    step: Step = None,
    manifest: ManifestOf = None,
    device: Device = "auto",
    threads: Threads = 1,
) -> None:
    """Print text that a run's model writes.

    Reads RUN and the tokenizer beside the manifest; writes the prompt and what follows to stdout, as it
    comes, until the model ends the document.

    Example: stepladder sample results/laptop/runs/dense-tst/d4/1x/seed0 --prompt "def main("
    """
    one_of("--device", device.partition(":")[0], ("auto", "cpu", "cuda"))
    from stepladder.training.device import pick_device
    from stepladder.training.process import configure_process

    configure_process(threads)
    from stepladder.evaluation.sample import sample as draw
    from stepladder.evaluation.weights import find_manifest, open_tokenizer, read_weights

    with naming(run):
        weights = read_weights(run, step, pick_device(device))
        _, tokenizer = open_tokenizer(manifest or find_manifest(run))
    pieces = draw(weights, tokenizer, prompt, tokens=tokens, temperature=temperature, top_p=top_p, seed=seed)
    out = sys.stdout.buffer
    out.write(prompt.encode())
    for piece in pieces:
        out.write(piece)
        out.flush()
    out.write(b"\n")
