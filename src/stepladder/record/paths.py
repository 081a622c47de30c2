"""Where everything lies that a ladder leaves behind. Paths are made here and never parsed: a spec says what a
run is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stepladder.record.spec import TRUNK, RunSpec


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run, or of one segment of a trunk."""

    path: Path

    @classmethod
    def of_result(cls, result: Path) -> RunFolder:
        """The folder that a result.json lies in."""
        return cls(result.parent)

    @property
    def spec(self) -> Path:
        """What was asked for, as `RunSpec.to_json` writes it; there from the first attempt on."""
        return self.path / "spec.json"

    @property
    def events(self) -> Path:
        """What happened, for programs: see `stepladder.record.events`."""
        return self.path / "events.jsonl"

    @property
    def log(self) -> Path:
        """What happened, for people."""
        return self.path / "log.txt"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints: see `stepladder.record.checkpoints`."""
        return self.path / "checkpoints"

    @property
    def result(self) -> Path:
        """What came of it; written last: see `stepladder.record.result`."""
        return self.path / "result.json"

    def evaluation(self, task: str, step: int | None = None) -> Path:
        """How its checkpoint after `step` steps, or that of its end, did on a task: see
        `stepladder.record.evaluation`."""
        name = task if step is None else f"{task}-step-{step:06d}"
        return self.evaluations / f"{name}.json"

    @property
    def evaluations(self) -> Path:
        """Folder of its scores on tasks."""
        return self.path / "evaluations"

    @property
    def lock(self) -> Path:
        """Who trains here now; gone when nobody does: see `stepladder.documents.lock`."""
        return self.path / "lock.json"

    @property
    def everything(self) -> tuple[Path, ...]:
        """All that one training of the run leaves here, and its scores, whether it is there or not."""
        return self.spec, self.events, self.log, self.checkpoints, self.evaluations, self.result


@dataclass(frozen=True)
class LadderFolder:
    """The results of one ladder: `results/<name>`."""

    path: Path

    @classmethod
    def of(cls, ladder: str) -> LadderFolder:
        """Where the ladder of this name keeps its results below the current folder."""
        return cls(Path("results", ladder))

    @property
    def runs(self) -> Path:
        """Folder of all runs, those of a sweep included."""
        return self.path / "runs"

    @property
    def plan(self) -> Path:
        """What would run, and what it costs."""
        return self.path / "plan.json"

    @property
    def power(self) -> Path:
        """What it will be able to tell."""
        return self.path / "power.json"

    def gate(self, after: str) -> Path:
        """What was decided after a rung: see `stepladder.record.gates`."""
        return self.path / "gates" / f"{after}.json"

    @property
    def learning_rates(self) -> Path:
        """What the sweep's runs taught, of a ladder with a sweep."""
        return self.path / "learning_rates.json"

    @property
    def top(self) -> Path:
        """The size of the top rung, of a ladder whose laws choose it: see `stepladder.record.top`."""
        return self.path / "top.json"

    @property
    def top_first(self) -> Path:
        """The same as it was written down first: Snakemake removes a file before its rule makes it again."""
        return self.path / "top.first.json"

    @property
    def swarm(self) -> Path:
        """The mixture that small runs found, of a ladder with a swarm: see `stepladder.record.swarm`."""
        return self.path / "swarm.json"

    @property
    def swarm_first(self) -> Path:
        """The same as it was written down first, as of `top`."""
        return self.path / "swarm.first.json"

    @property
    def coordinates(self) -> Path:
        """The coordinate check, of a ladder with a parametrization: see `stepladder.record.coordinates`."""
        return self.path / "coordinates.json"

    @property
    def comparison(self) -> Path:
        """Gains, tests and verdicts."""
        return self.path / "comparison.json"

    @property
    def metrics(self) -> Path:
        """Verdicts by the metrics that do not decide."""
        return self.path / "metrics.json"

    def task(self, name: str) -> Path:
        """What a task is made of; its items lie beside it."""
        return self.path / "tasks" / f"{name}.json"

    @property
    def tasks(self) -> dict[str, Path]:
        """All tasks that were made, by label."""
        return {path.stem: path for path in sorted((self.path / "tasks").glob("*.json"))}

    def evaluations(self, rung: str) -> Path:
        """How the runs of a rung did on all tasks."""
        return self.path / "evaluations" / f"{rung}.json"

    @property
    def signal(self) -> Path:
        """What each metric tells at which rung."""
        return self.path / "signal.json"

    @property
    def task_laws(self) -> Path:
        """From compute to the accuracy of every task, of a ladder with tasks."""
        return self.path / "task_laws.json"

    @property
    def rule(self) -> Path:
        """The analysis section as it was before the first result."""
        return self.path / "rule.json"

    @property
    def runs_table(self) -> Path:
        """One row per run: see `stepladder.record.tables`."""
        return self.path / "runs.parquet"

    @property
    def steps_table(self) -> Path:
        """One row per logged step."""
        return self.path / "steps.parquet"

    @property
    def looks_table(self) -> Path:
        """One row per look at held-out loss along a run."""
        return self.path / "looks.parquet"

    @property
    def manifest(self) -> Path:
        """The token shards' manifest; in a ladder with corpora, of the baseline's."""
        return self.manifest_of(None)

    @property
    def corpora(self) -> Path:
        """Folder of the shards of further corpora."""
        return self.path / "corpora"

    def manifest_of(self, prepared: str | None) -> Path:
        """The manifest of shards that lie under a name of their own; None: `data/`."""
        folder = self.path / "data" if prepared is None else self.corpora / prepared
        return folder / "manifest.json"

    @property
    def manifests(self) -> dict[str | None, Path]:
        """All manifests that there are, by the name under which the shards lie."""
        names = [None, *sorted(path.parent.name for path in self.corpora.glob("*/manifest.json"))]
        return {name: path for name in names if (path := self.manifest_of(name)).exists()}

    @property
    def size_laws(self) -> Path:
        """Laws of size and data, of a ladder with several budgets."""
        return self.path / "laws.json"

    def fit(self, axis: str) -> Path:
        """The laws on one cost axis."""
        return self.path / "fits" / f"{axis}.json"

    def run(self, run: str) -> RunFolder:
        """The folder of the run with this id."""
        return RunFolder(self.runs / run)

    def job(self, spec: RunSpec) -> RunFolder:
        """The folder of a run, or of a segment of a trunk."""
        return RunFolder(self.path / "trunks" / spec.id) if spec.budget == TRUNK else self.run(spec.id)
