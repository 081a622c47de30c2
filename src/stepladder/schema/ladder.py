"""The ladder file: what a person writes, as pydantic models.

Every field carries its unit, meaning and default in the docstring below it; unknown keys are errors. A module
per section; this one puts them together. `stepladder.ladder.load` reads a file into these models,
`stepladder.ladder.expand` turns them into runs.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, NamedTuple, Self

from pydantic import Field, field_serializer, model_validator

from stepladder.schema import ranges
from stepladder.schema.analysis import AnalysisConfig
from stepladder.schema.budget import LEAST_SIZES, Budgets, Flops
from stepladder.schema.corpora import Corpus
from stepladder.schema.data import Data
from stepladder.schema.design import TOP, ComputeOptimalTop, Design, Isoflop
from stepladder.schema.evaluation import Evaluation
from stepladder.schema.execution import Execution, RunExecution
from stepladder.schema.optimizer import OptimizerSettings
from stepladder.schema.plan import PlanSettings
from stepladder.schema.settings import Name, Prose, Seeds, Settings
from stepladder.schema.shape import Shape
from stepladder.schema.sweep import Sweep


class Overrides(Settings):
    """Values that replace the rules' for one rung."""

    d_model: Annotated[int, ranges.WIDTH] | None = None
    d_head: Annotated[int, ranges.WIDTH] | None = None
    n_heads: Annotated[int, ranges.HEADS] | None = None
    n_kv_heads: Annotated[int, ranges.HEADS] | None = None
    d_ff: Annotated[int, ranges.WIDTH] | None = None
    d_expert: Annotated[int, ranges.WIDTH] | None = None
    """Hidden width of one expert (only in ladders with an MoE architecture)."""
    learning_rate: Annotated[float, ranges.LEARNING_RATE] | None = None
    """Peak rate of every variant of this rung."""
    batch_sequences: Annotated[int, ranges.SEQUENCES] | None = None
    """Sequences per step."""


class Rung(Settings):
    """One model size. `{depth: 4}` is enough; the rest follows by rule."""

    depth: Annotated[int, ranges.DEPTH]
    """Transformer layers: the ladder's one knob."""
    name: Name | None = None
    """Default: d<depth>."""
    seeds: Seeds | None = None
    """Default: the ladder's seeds."""
    budgets: Budgets | None = None
    """Default: the ladder's budgets."""
    set: Overrides = Overrides()
    """Derived values to override on this rung; the report lists them."""
    execution: RunExecution = RunExecution()
    """Execution fields of this rung where they differ from the ladder's: those that are written here."""

    @field_serializer("execution")
    def _own_execution(self, execution: RunExecution) -> dict[str, Any]:
        """Only what the rung says itself: what it does not say is the ladder's, not the default."""
        return execution.model_dump(exclude_unset=True)

    @property
    def label(self) -> str:
        """The rung's name in paths and tables."""
        return self.name or f"d{self.depth}"


class Kind(NamedTuple):
    """What a variant is made of: labels of the axes."""

    architecture: str
    recipe: str
    corpus: str | None
    """None in a ladder without `corpora`."""

    @property
    def variant(self) -> str:
        """Its name."""
        return "-".join(label for label in self if label is not None)


class Ladder(Settings):
    """A named, versioned ladder: rungs x architectures x recipes x budgets x seeds."""

    name: Name
    version: Annotated[int, ranges.VERSION] = 1
    """Raise it when the ladder's meaning changes; the report prints it."""
    question: Prose
    """What this ladder is to answer, one sentence; the report's subtitle."""
    rungs: tuple[Rung, ...] = Field(default=(), max_length=ranges.MOST_RUNGS)
    """Model sizes. With a `design:` those that it may choose from; every depth, if none are listed."""
    architectures: dict[Name, dict[str, Any]] = Field(min_length=1)
    """Label to settings. The label names the file in `stepladder.architectures`, unless `kind:` does."""
    recipes: dict[Name, dict[str, Any]] = Field(min_length=1)
    """Label to settings. The label names the file in `stepladder.recipes`, unless `kind:` does."""
    corpora: dict[Name, Corpus] = Field(default={}, max_length=ranges.MOST_RUNS)
    """Label to what it replaces of `data:`. Without any, `data:` is the only corpus, and is not named."""
    budgets: Budgets = (1.0,)
    """Multiples of 20 tokens per active non-embedding parameter, `{steps: n}` or `{flops: c}`."""
    design: Design | None = None
    """A grid of sizes and budgets in the place of `budgets`, a top rung that the others' law sizes, or a
    mixture that small runs find."""
    seeds: Seeds = (0,)
    sweep: Sweep | None = None
    """A learning-rate sweep on some or all rungs. The rates of the others may follow from it."""
    shape: Shape
    optimizer: OptimizerSettings
    data: Data
    evaluation: Evaluation = Evaluation()
    execution: Execution = Execution()
    plan: PlanSettings
    analysis: AnalysisConfig

    @model_validator(mode="after")
    def _has_a_grid(self) -> Self:
        if not isinstance(self.design, Isoflop):
            if not self.rungs:
                raise ValueError(
                    "no rungs: list them, as [{depth: 2}, {depth: 3}], or write a section `design:`"
                )
            return self
        if "budgets" in self.model_fields_set or any(rung.budgets for rung in self.rungs):
            raise ValueError("design has budgets of its own: remove `budgets`")
        return self

    def execution_of(self, rung: Rung) -> Execution:
        """The ladder's execution section with the rung's own fields.

        Raises:
            ValueError: the two do not fit together.
        """
        return self.execution.of_rung(rung.execution)

    @property
    def several_budgets(self) -> bool:
        """Whether some size trains at more than one: then laws of size and data may be told."""
        return any(len(rung.budgets or self.budgets) > 1 for rung in self.rungs) or bool(self.profiles)

    @property
    def profiles(self) -> list[float]:
        """FLOP budgets with enough sizes for an IsoFLOP profile, smallest first."""
        every = [b.flops for rung in self.rungs for b in rung.budgets or self.budgets if isinstance(b, Flops)]
        return sorted(flops for flops, sizes in Counter(every).items() if sizes >= LEAST_SIZES)

    @property
    def places(self) -> int:
        """Rungs that laws of compute stand on: a profile is one, through its lowest point."""
        profiles = self.profiles
        others = [
            rung
            for rung in self.rungs
            if any(not isinstance(b, Flops) or b.flops not in profiles for b in rung.budgets or self.budgets)
        ]
        return len(profiles) + len(others)

    @property
    def ascending(self) -> list[str]:
        """Labels of the rungs, the shallowest first; the one that the laws size is the last."""
        return [rung.label for rung in sorted(self.rungs, key=lambda r: (r.label == self.top, r.depth))]

    @property
    def top(self) -> str | None:
        """Label of the rung that the laws of the others size, of a ladder that has one."""
        return TOP if isinstance(self.design, ComputeOptimalTop) else None

    @property
    def kinds(self) -> dict[str, Kind]:
        """Variants in the file's order, by name: architecture-recipe, or architecture-recipe-corpus."""
        found = [
            Kind(a, r, c) for a in self.architectures for r in self.recipes for c in self.corpora or (None,)
        ]
        return {kind.variant: kind for kind in found}

    @property
    def variants(self) -> list[str]:
        """Names of the variants, in the file's order; one that is there twice counts once."""
        return [*self.kinds]

    def data_of(self, corpus: str | None) -> Data:
        """The section `data:` as it is for a corpus."""
        return self.data if corpus is None else self.corpora[corpus].of(self.data)

    @property
    def tokenizers_differ(self) -> bool:
        """Whether some corpus cuts text into other tokens than another."""
        return len({self.data_of(name).tokenizer.model_dump_json() for name in self.corpora}) > 1

    def scored_apart(self, corpus: str | None) -> bool:
        """Whether the held-out text of `data:` is another than a corpus's own would be."""
        mine = self.data_of(corpus)
        ours, own = self.data.source.without_provenance(), mine.source.without_provenance()
        return (own, mine.degenerate) != (ours, self.data.degenerate)

    def prepared_as(self, corpus: str | None) -> str | None:
        """Under which name a corpus's shards lie: that of the first corpus with the same ones; None for those
        of the first of all, which lie in `data/`."""
        mine = self.data_of(corpus).preparation
        same = [name for name in self.corpora or (None,) if self.data_of(name).preparation == mine]
        return None if same[0] == next(iter(self.corpora), None) else same[0]
