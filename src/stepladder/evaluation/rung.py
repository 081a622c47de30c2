"""The finished runs of a rung on all tasks, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch

from stepladder.evaluation.score import evaluate
from stepladder.evaluation.task_set import read_task
from stepladder.evaluation.weights import find_manifest, open_tokenizer, read_weights
from stepladder.record.checkpoints import read_state
from stepladder.record.evaluation import Evaluation, RungEvaluations
from stepladder.record.paths import RunFolder

Tell = Callable[[str], None]


def evaluate_run(
    run: Path,
    tasks: Sequence[Path],
    device: torch.device,
    *,
    step: int | None = None,
    manifest: Path | None = None,
) -> list[Evaluation]:
    """Score a run on tasks; scores that are there and still hold are kept.

    Args:
        run: its folder.
        tasks: their tasks/<task>.json.
        step: of the checkpoint; None for the run's last.
        manifest: of the shards that it was trained on; None to find it in the folders above.
    """
    weights = read_weights(run, step, device)
    data = read_state(weights.checkpoint)["data_sha256"]
    _, tokenizer = open_tokenizer(manifest or find_manifest(run))
    found = []
    for path in tasks:
        task, items, found_in = read_task(path)
        known = task.searched is not None and data in task.searched
        clean = [data not in places for places in found_in] if known else None
        out = RunFolder(run).evaluation(task.name, step)
        found.append(evaluate(weights, tokenizer, task, items, clean, out))
    return found


def evaluate_rung(
    rung: str,
    runs: Iterable[Path],
    tasks: Sequence[Path],
    suites: Mapping[str, Sequence[str]],
    device: torch.device,
    tell: Tell,
) -> RungEvaluations:
    """Score all runs of a rung on all tasks.

    Args:
        runs: their folders.
        suites: tasks over which means are told, by label.
        tell: what is told of each run that is done.
    """
    found: list[Evaluation] = []
    means = {suite: tuple(names) for suite, names in suites.items()}
    for run in runs:
        new = evaluate_run(run, tasks, device)
        seconds = sum(one.seconds for one in new)
        tell(
            f"{run}: {', '.join(f'{one.task} {one.scores.bits_per_byte:.3f}' for one in new)} bits/byte, "
            f"{seconds:.1f} s"
        )
        found += new
    return RungEvaluations(rung=rung, suites=means, evaluations=tuple(found))
