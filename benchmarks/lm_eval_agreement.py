"""Our log-likelihoods of answers against those of lm-evaluation-harness, on the same exported model.

    pip install lm-eval==0.4.13
    python benchmarks/lm_eval_agreement.py RUN TASK.json [--limit 200] [--out lm_eval.json]

RUN is a run's folder of a ladder that was climbed, TASK.json one of its tasks. The run is exported as
`stepladder export` does it; the task's items are written as JSON Lines with a YAML of that program, which
scores them with the exported model through `transformers`. Its log-likelihood of every answer is held
against ours, as are accuracies. That program brings some thirty packages: it is not part of the tests.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stepladder.evaluation.hugging_face.writing import export_run
from stepladder.evaluation.score import answer, scores
from stepladder.evaluation.task_set import read_task
from stepladder.evaluation.weights import find_manifest, open_tokenizer, read_weights
from stepladder.ladder.kinds import part_settings
from stepladder.record.items import Item
from stepladder.tasks import lm_eval as kind
from stepladder.training.process import configure_process

YAML = """\
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: context
doc_to_choice: choices
doc_to_target: gold
target_delimiter: ""
metric_list:
  - {{metric: acc}}
  - {{metric: acc_norm}}
"""


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("task", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    configure_process(1)
    task, items, _ = read_task(arguments.task)
    if not task.several_choices:
        parser.error(f"{arguments.task}: a multiple choice is needed")
    items = items[: arguments.limit]
    weights, manifest = read_weights(arguments.run), find_manifest(arguments.run)
    _, tokenizer = open_tokenizer(manifest)
    with tempfile.TemporaryDirectory() as folder:
        export_run(arguments.run, Path(folder, "model"), manifest=manifest)
        yaml = write_task(Path(folder), task.name, items)
        _, config = part_settings("tasks", "lm_eval", {"path": str(yaml)})
        read = [item._replace(id=own.id) for item, own in zip(kind.items(config, tuple), items, strict=True)]
        if read != items:
            raise SystemExit("the YAML gives other items than the task")
        theirs = harness(Path(folder), task.name)
    ours = answer(weights, tokenizer, items, task.name)
    found = {"run": weights.spec.id, "task": task.name, "items": len(items), "torch": torch.__version__}
    found |= compare(ours, theirs) | {"accuracy": scores(ours, task).accuracy} | theirs["results"]
    print(json.dumps(found, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")


def write_task(folder: Path, name: str, items: list[Item]) -> Path:
    """Items and YAML as that program reads them."""
    data = folder / "items.jsonl"
    rows = [{"context": item.context, "choices": item.choices, "gold": item.gold} for item in items]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / f"{name}.yaml"
    path.write_text(YAML.format(name=name, data=data))
    return path


def harness(folder: Path, name: str) -> dict[str, Any]:
    """That program's log-likelihoods by item and choice, and its accuracies."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    model = HFLM(pretrained=str(folder / "model"), dtype="float32", device="cpu", batch_size=16)
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    found = lm_eval.simple_evaluate(model, tasks=[name], task_manager=manager, bootstrap_iters=0)
    samples = sorted(found["samples"][name], key=lambda sample: sample["doc_id"])
    told = {
        key: value for key, value in found["results"][name].items() if key in ("acc,none", "acc_norm,none")
    }
    nats = [[float(answer[0][0]) for answer in sample["resps"]] for sample in samples]
    return {"nats": nats, "results": {f"lm_eval {key.split(',')[0]}": value for key, value in told.items()}}


def compare(ours: list[Any], theirs: dict[str, Any]) -> dict[str, float]:
    """Largest differences over all answers."""
    pairs = list(zip(ours, theirs["nats"], strict=True))
    differences = np.concatenate([np.abs(one.nats - np.array(other)) for one, other in pairs])
    return {
        "answers": len(differences),
        "largest_difference_nats": float(differences.max()),
        "median_difference_nats": float(np.median(differences)),
        "largest_log_likelihood_nats": float(max(np.abs(other).max() for _, other in pairs)),
    }


if __name__ == "__main__":
    main()
