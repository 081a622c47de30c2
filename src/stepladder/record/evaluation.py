"""What tasks are, and how runs did on them: tasks/<task>.json, runs/<run>/evaluations/<task>.json and
evaluations/<rung>.json.

A field's unit is the text in its annotation, its meaning the docstring below it.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, JsonValue

from stepladder.documents.document import Document, Part

BitsPerByte = Annotated[float, "bits/byte"]
Share = Annotated[float, Field(ge=0, le=1)]


class Searched(Part):
    """Items looked for in the training text of one corpus."""

    words: int
    """words of a run by which text is recognised: letters and digits, whatever the case and what is
    between"""
    training_bytes: int
    """bytes of training text that were read"""
    found: int
    """items of whose context and right answer such a run is there"""
    too_short: int
    """items that have fewer words, so that nothing is known of them"""


class Task(Document):
    """tasks/<task>.json: what a task is made of; its items lie beside it as Parquet."""

    SEALED: ClassVar[bool] = True

    name: str
    """label in the ladder file"""
    kind: str
    """file in `stepladder.tasks` that makes its items"""
    settings: dict[str, JsonValue]
    """of the ladder file, defaults filled in"""
    format: str
    """how an item is put to a model, in words"""
    items: int
    """how many there are"""
    items_sha256: str
    """digest of all items, in order"""
    chance: Share
    """accuracy of guessing: the mean of 1 ÷ choices; 0 where an answer is compared with nothing"""
    several_choices: bool
    """whether items have choices, so that some are wrong"""
    whole_text: bool
    """whether items are documents: each weighs as many bytes as it has, and accuracy means nothing"""
    searched: dict[str, Searched] | None
    """where items were looked for, by the fingerprint of the shards; null if they were not"""


class Scores(Part):
    """How a run did on some items. Errors are standard errors over items: another choice of items would give
    other numbers by as much."""

    items: int
    """how many"""
    bits_per_byte: BitsPerByte
    """bits that the right answer costs per byte of it, mean over items"""
    bits_per_byte_error: Annotated[BitsPerByte | None, "bits/byte"]
    """its standard error; null for a single item"""
    accuracy: Share | None
    """share of items whose right answer is the likeliest; without choices, of those of which each token is
    the likeliest where it stands"""
    accuracy_error: float | None
    """its standard error"""
    accuracy_per_byte: Share | None
    """share of items whose right answer has the highest log-probability per byte; null without choices"""
    margin: Annotated[float | None, "bits/byte"]
    """by how many bits per byte the right answer is likelier than the best wrong one, mean over items:
    negative where wrong ones win; null without choices"""


class Evaluation(Document):
    """runs/<run>/evaluations/<task>.json: how one checkpoint did on one task."""

    SEALED: ClassVar[bool] = True
    REMEDY: ClassVar[str] = "remove it and run snakemake again, which scores the run again"

    task: str
    """label of the task"""
    run: str
    """id of the run"""
    spec_sha256: str
    """hash of the run's spec"""
    step: int
    """optimizer steps that had been done"""
    checkpoint_sha256: str
    """hash of the checkpoint's manifest"""
    items_sha256: str
    """hash of the task's items"""
    asked_sha256: str
    """hash of the items, of how they are scored, and of which of them were in the training text"""
    code: str
    """fingerprint of the code that scores"""
    scores: Scores
    """of all items"""
    clean: Scores | None
    """of the items that were not found in the text that the run was trained on; null if none was looked for
    or none is left"""
    chance: Share
    """as in the task"""
    merged_items: int
    """items of which a token holds the end of the context and the beginning of an answer, so that the latter
    is not scored whole"""
    cut_items: int
    """items whose context was cut from the left, because they are longer than the model reads at once"""
    tokens: int
    """tokens that were scored"""
    seconds: Annotated[float, "s"]
    """time that scoring took"""

    def row(self) -> dict[str, Any]:
        """Columns of runs.parquet."""
        told = {name: getattr(self.scores, name) for name in Scores.model_fields}
        told |= {"chance": self.chance, "cut_items": self.cut_items, "merged_items": self.merged_items}
        return {f"task_{self.task}_{name}": value for name, value in told.items()}


class RungEvaluations(Document):
    """evaluations/<rung>.json: all scores of a rung's finished runs."""

    SEALED: ClassVar[bool] = True

    rung: str
    """which size"""
    suites: dict[str, tuple[str, ...]]
    """tasks over which means are told, by label"""
    evaluations: tuple[Evaluation, ...]
    """by run and task"""
