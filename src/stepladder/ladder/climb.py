"""A ladder file opened for the workflow: its runs by id, and the texts that rules pass as `params`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from stepladder.ladder.code import ANALYSIS, fingerprint, preparation_fingerprint
from stepladder.ladder.config import Ladder
from stepladder.ladder.cost import training_flops
from stepladder.ladder.expand import expand
from stepladder.ladder.hardware import accelerators
from stepladder.ladder.load import LadderError, find_ladder, load_ladder
from stepladder.ladder.plan import make_plan, over_limit
from stepladder.ladder.spec import RunSpec

__all__ = ["Climb", "LadderError"]


@dataclass(frozen=True)
class Climb:
    """A ladder, where it was read from, and its runs by id."""

    path: Path
    ladder: Ladder
    runs: dict[str, RunSpec]

    @classmethod
    def open(cls, name: str) -> Climb:
        """Open the ladder called `name`, or the file at path `name`.

        Raises:
            LadderError: there is no such ladder, or the file cannot be used.
        """
        path = find_ladder(str(name))
        ladder = load_ladder(path)
        return cls(path=path, ladder=ladder, runs={run.id: run for run in expand(ladder, path)})

    @cached_property
    def data(self) -> str:
        """Everything that determines the shards, as canonical JSON."""
        data = self.ladder.data
        return _json(
            {
                "source": data.source.model_dump(mode="json"),
                "tokenizer": data.tokenizer.model_dump(mode="json"),
                "validation_fraction": data.validation_fraction,
                "code": preparation_fingerprint(),
            }
        )

    @cached_property
    def analysis(self) -> str:
        """The ladder's analysis section, defaults filled in, as canonical JSON."""
        return _json(self.ladder.analysis.model_dump(mode="json"))

    @cached_property
    def analysis_code(self) -> str:
        """Changes when the code of the analysis does."""
        return fingerprint(ANALYSIS)

    @cached_property
    def digest(self) -> str:
        """Changes when any run or any assumption of the plan does."""
        parts = [run.sha256 for run in self.runs.values()]
        parts += [f"{self.ladder.version} {self.ladder.question}"]
        parts += [self.ladder.plan.model_dump_json(), self.ladder.execution.model_dump_json()]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    @cached_property
    def over_limit(self) -> str | None:
        """What to tell the owner of a ladder that is dearer than its `max_accelerator_hours`, else None."""
        return over_limit(make_plan(self.ladder, list(self.runs.values()), accelerators()))

    @cached_property
    def _rank(self) -> dict[str, int]:
        costs = {run.id: training_flops(run.model, run.recipe) for run in self.runs.values()}
        return {run: rank for rank, run in enumerate(sorted(costs, key=costs.__getitem__))}

    def priority(self, run: str) -> int:
        """Dearer runs first, so that the ladder does not end on one core waiting for the top rung."""
        return self._rank.get(run, 0)


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
