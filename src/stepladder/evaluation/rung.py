"""The finished runs of a rung on all tasks, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch

from stepladder.evaluation.score import evaluate, still_holds
from stepladder.evaluation.task_set import TaskItems, read_task
from stepladder.evaluation.weights import Weights, find_manifest, find_saved, open_tokenizer, read_weights
from stepladder.record.evaluation import Evaluation, RungEvaluations
from stepladder.record.items import ItemError
from stepladder.record.paths import RunFolder

Tell = Callable[[str], None]


def evaluate_run(
    run: Path,
    tasks: Sequence[TaskItems],
    device: torch.device,
    *,
    step: int | None = None,
    manifest: Path | None = None,
) -> list[Evaluation]:
    """Score a run on tasks; scores that are there and still hold are kept.

    Args:
        run: its folder.
        tasks: see `read_task`.
        step: of the checkpoint; None for the run's last.
        manifest: of the shards that it was trained on; None to find it in the folders above.
    """
    saved = find_saved(run, step)
    _, tokenizer = open_tokenizer(manifest or find_manifest(run))
    weights: Weights | None = None
    found = []
    for task, items, found_in in tasks:
        known = task.searched is not None and saved.data_sha256 in task.searched
        clean = [saved.data_sha256 not in places for places in found_in] if known else None
        out = RunFolder(run).evaluation(task.name, step)
        kept = still_holds(out, saved, task, clean)
        if kept is None:
            weights = weights or read_weights(run, step, device)  # only for scores that are not there
            kept = evaluate(weights, tokenizer, task, items, clean, out)
        found.append(kept)
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
        tasks: their tasks/<task>.json.
        suites: tasks over which means are told, by label.
        tell: what is told of each run that is done.
    """
    found: list[Evaluation] = []
    read = [read_task(path) for path in tasks]
    means = {suite: tuple(names) for suite, names in suites.items()}
    for run in runs:
        try:
            new = evaluate_run(run, read, device)
        except ItemError as error:
            raise ItemError(f"{run}: {error}") from None
        seconds = sum(one.seconds for one in new)
        tell(
            f"{run}: {', '.join(f'{one.task} {one.scores.bits_per_byte:.3f}' for one in new)} bits/byte, "
            f"{seconds:.1f} s"
        )
        found += new
    return RungEvaluations(rung=rung, suites=means, evaluations=tuple(found))
