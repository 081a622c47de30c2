"""plan.json: what a ladder would run, and what that would cost. `stepladder.ladder.plan` makes it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from stepladder.documents.document import Document, Part
from stepladder.documents.files import write_atomically
from stepladder.record.passes import Passes, passes_over, too_often


class PlannedRun(Part):
    """One job of the ladder and its price. Counts are those of `stepladder.record.cost`."""

    id: str
    """variant/rung/budget/seed<k>, the run's folder below runs/ (or trunks/)."""
    spec_sha256: str | None
    """Digest of the run's spec; None where it waits for the rate that the sweep predicts, the mixture that
    the swarm finds, or the size that laws choose: then counts and steps are of the size that is expected."""
    variant: str
    """architecture-recipe."""
    rung: str
    """Label of the rung."""
    budget: str
    """Multiple of 20 tokens per parameter (1x), or steps; `trunk` for a segment of one."""
    seed: int
    """Seed of the run."""
    depth: int
    """Transformer layers."""
    d_model: int
    """Features."""
    parameters_total: int
    """All parameters, embedding and head included."""
    parameters_active: int
    """Parameters that one token uses."""
    parameters_active_non_embedding: int
    """The same without embedding and head: N."""
    learning_rate: float | None
    """Peak rate; None where the sweep predicts it."""
    batch_sequences: int
    """Sequences per step of the last phase."""
    steps: int
    """Optimizer steps."""
    positions: int
    """Positions trained on; a bag of tokens is one."""
    tokens: int
    """Raw tokens read."""
    flops: float
    """Model FLOPs of all steps from the first on."""
    flops_trained: float
    """Model FLOPs that this job trains: less where it goes on from a trunk."""
    accelerators: int
    """Devices that train it together."""
    seconds: float
    """Wall time at the assumed speed, with overhead."""
    accelerator_hours: float
    """Wall time times accelerators."""
    price: float | None
    """In `Totals.price_currency`; None where no price is set."""
    disk_bytes: int
    """Of the checkpoints that are kept."""
    trunk: bool
    """Whether it is a segment of a trunk."""
    sweep: bool
    """Whether it is of the sweep alone, and in no law."""
    swarm: bool = False
    """Whether it is of the swarm, and in no law of compute."""
    mixed: bool = False
    """Whether its mixture waits for the swarm: until then its passes are not known."""
    beta2: float | None = None
    """AdamW's; None in plans of older versions, as the next four."""
    epsilon: float | None = None
    """AdamW's."""
    weight_decay: float | None = None
    """Decoupled; also None where it follows a rate that the sweep predicts."""
    warmup_steps: int | None = None
    """Steps of linear warmup."""
    final_share: float | None = None
    """Last learning rate over the peak; also None where the peak waits for the sweep."""
    passes: float | None = None
    """Passes over the training text that it makes, with a mixture over the domain that is read most often;
    None where the data were not prepared yet."""
    corpus: str | None = None
    """Which of the ladder's corpora it reads; None in a ladder without."""
    prepared: str | None = None
    """Name under which its shards lie; None: `data/`."""
    tokens_by_domain: dict[str, float] | None = None
    """Raw tokens read of each domain; None in natural proportion, or where the swarm finds it."""
    passes_by_domain: dict[str, float] | None = None
    """Passes over each domain of a mixture; None without one, or where the data were not prepared yet."""

    def with_passes(self, training_tokens: Mapping[str, int] | None) -> PlannedRun:
        """The run with the passes that it makes over a corpus of so many training tokens, if known."""
        if training_tokens is None or self.mixed:
            return self.model_copy(update={"passes": None, "passes_by_domain": None})
        read = passes_over(self.tokens, self.tokens_by_domain, training_tokens)
        return self.model_copy(update={"passes": read.most, "passes_by_domain": read.by_domain or None})

    @property
    def proper(self) -> bool:
        """Whether laws of compute rest on it: no segment of a trunk, and of no sweep or swarm alone."""
        return not (self.trunk or self.sweep or self.swarm)

    @property
    def read(self) -> Passes | None:
        """Its passes; None where the data were not prepared yet."""
        return None if self.passes is None else Passes(self.passes_by_domain or {}, self.passes)


class Totals(Part):
    """Sums over all jobs of a plan."""

    runs: int
    """Jobs."""
    flops: float
    """Model FLOPs that are trained."""
    flops_if_independent: float
    """Model FLOPs if no run went on from a trunk."""
    tokens: int
    """Raw tokens read."""
    accelerator_hours: float
    """Wall time times accelerators."""
    wall_hours: float
    """Hours on the clock, with `Assumptions.parallel_runs` at a time."""
    price: float | None
    """None where no price is set."""
    price_currency: str
    """Currency of all prices."""
    disk_bytes: int
    """Of the checkpoints that are kept."""


class Assumptions(Part):
    """What a plan's times and prices rest on."""

    accelerator: str
    """Name in configs/hardware.yaml, or cpu."""
    accelerators_per_run: dict[str, int]
    """Rung to devices."""
    parallel_runs: int
    """Runs at a time."""
    speed: str
    """Model FLOP/s of one accelerator, in words."""
    flops_formula: str
    """Version of the count."""
    overhead_seconds_per_run: float
    """Start-up and evaluation."""
    price_per_accelerator_hour: float | None
    """USD; None if unset."""
    max_accelerator_hours: float
    """The owner's limit: a dearer ladder is not started."""
    max_epochs: float | dict[str, float] | None = None
    """Passes over the data, or over each domain, above which a run is refused; None in plans of older
    versions."""


class Plan(Document):
    """What a ladder would run, and what that would cost: plan.json."""

    VERSION = 2
    SEALED = True
    REMEDY = "run `snakemake plan`, which makes it anew"

    schema_version: int = VERSION
    """version of these fields"""

    ladder: str
    """The ladder's name."""
    version: int
    """Of the ladder."""
    question: str
    """What the ladder is to answer."""
    stepladder: str
    """Version of Stepladder that made the plan."""
    runs: tuple[PlannedRun, ...]
    """Every job."""
    totals: Totals
    """Over all jobs."""
    assumptions: Assumptions
    """What times and prices rest on."""
    notes: tuple[str, ...] = ()
    """What to know of its hyperparameters: whose they are, and which of them were not tuned together."""

    @property
    def over_limit(self) -> str | None:
        """The guard: what to tell the owner if the plan is dearer than allowed, else None."""
        hours, limit = self.totals.accelerator_hours, self.assumptions.max_accelerator_hours
        if hours <= limit:
            return None
        return (
            f"ladder {self.ladder!r} needs {hours:,.2f} accelerator-hours, its plan.max_accelerator_hours is "
            f"{limit:g}: make it smaller (rungs, budgets, seeds), or raise plan.max_accelerator_hours"
        )

    def with_passes(self, training_tokens: Mapping[str | None, Mapping[str, int]]) -> Plan:
        """The plan with the passes that its runs make over corpora of so many training tokens.

        Args:
            training_tokens: of each domain, by the name under which shards lie, of those that are prepared.
        """
        runs = tuple(run.with_passes(training_tokens.get(run.prepared)) for run in self.runs)
        return self.model_copy(update={"runs": runs})

    @property
    def repeats(self) -> str | None:
        """What to say of runs that read their text more than once; None if none does, or it is not known."""
        often = [(run.read, run.id) for run in self.runs if run.read is not None and run.read.most > 1]
        if not often:
            return None
        most, name = max(often, key=lambda one: one[0].most)
        return f"{len(often)} of {len(self.runs)} runs read their training text more than once; {name} {most}"

    @property
    def over_epochs(self) -> str | None:
        """The guard: which run would read its text more often than allowed, and what to do; else None."""
        limit = self.assumptions.max_epochs
        proper = [run for run in self.runs if not run.swarm]  # drawn mixtures are left out, not refused
        for run in proper:
            if limit is not None and run.read is not None and (why := too_often(run.read, limit)):
                return f"{run.id}: {why}"
        return None

    def write_table(self, path: Path) -> None:
        """Write the runs as TSV, whole or not at all: one row each, a column per field of `PlannedRun`."""
        text = io.StringIO()
        rows = csv.DictWriter(text, list(PlannedRun.model_fields), delimiter="\t")
        rows.writeheader()
        rows.writerows(run.model_dump() for run in self.runs)
        write_atomically(path, text.getvalue())
