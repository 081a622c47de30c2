"""Read a ladder file. Whatever is wrong with it ends here, with file, line, key, value and the fix."""

from __future__ import annotations

import difflib
import json
import types
import typing
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from stepladder.documents.meaning import meanings
from stepladder.ladder.arms import swarm_problems
from stepladder.ladder.averaging import averaging_problems
from stepladder.ladder.boundaries import boundary_problems
from stepladder.ladder.domains import domain_problems
from stepladder.ladder.evaluation import evaluation_problems
from stepladder.ladder.grids import lay_out
from stepladder.ladder.kinds import part_settings
from stepladder.ladder.names import TAKEN, place, same_names
from stepladder.ladder.read import LadderError, Location, Source, descend, read_source
from stepladder.record.kinds import load
from stepladder.schema import ranges
from stepladder.schema.budget import LEAST_SIZES, Flops, budget_label
from stepladder.schema.design import Isoflop, MixtureSwarm
from stepladder.schema.ladder import Ladder
from stepladder.schema.settings import ALPHABETS

SHOWN = 20
"""Problems of a file that a message lists, and names of which there are many; the others are counted."""

REPLACED = {
    "learning_rate_factors": "a sweep has a section of its own, such as "
    "`sweep: {rungs: [d2, d3], learning_rate_factors: [0.5, 1, 2], apply: none}`",
}
"""Keys of earlier versions, and what to write in their place."""


KEY = "[key]"
"""What pydantic adds to the place of a key that is wrong itself."""

FIRST_GATE = 3
"""Rungs below which there are no laws to look at."""


def load_ladder(path: str | Path) -> Ladder:
    """Read and validate the ladder file at `path`.

    Raises:
        LadderError: the file is missing, is not YAML, or says something impossible. All
            problems are reported at once.
    """
    source = read_source(Path(path))
    try:
        ladder = Ladder.model_validate_json(json.dumps(source.values))
    except ValidationError as error:
        raise LadderError(_report(source, Ladder, error)) from None
    problems = _of_parts(source, ladder)
    if not problems:
        try:
            ladder = lay_out(ladder)
        except ValueError as error:
            raise LadderError(source.line(("design",), str(error))) from None
    _check_size(source, ladder)
    if problems := [*problems, *_of_whole(source, ladder)]:
        raise LadderError(shortened(problems))
    return ladder


def find_ladder(name: str, folder: str | Path = "configs/ladders") -> Path:
    """Path of the ladder called `name` in `folder`, or `name` itself if it is a path.

    Raises:
        LadderError: there is none; the message lists those that exist.
    """
    for candidate in (Path(name), Path(folder) / f"{name}.yaml"):
        if candidate.is_file():
            return candidate
    known = ", ".join(sorted(p.stem for p in Path(folder).glob("*.yaml"))) or "none"
    outside = (
        "" if Path(folder).is_dir() else f"; go to the folder that has {folder}, the clone, or give a path"
    )
    raise LadderError(f"no ladder {name!r}: neither a file nor one of those in {folder} ({known}){outside}")


def _check_size(source: Source, ladder: Ladder) -> None:
    """Refuse a ladder that would take long to expand, before it is."""
    runs, most = count_runs(ladder), ranges.MOST_RUNS
    if runs > most:
        message = (
            f"{runs} runs (rungs x architectures x recipes x corpora x budgets x seeds, and those of a "
            f"sweep or swarm) are too many for a ladder, which has at most {most}: shorten one of these lists"
        )
        raise LadderError(source.line(("rungs",), message))


def _of_parts(source: Source, ladder: Ladder) -> list[str]:
    """Problems of the settings of architectures, recipes and tasks, by their own `Config`."""
    problems = []
    places: dict[str, tuple[Location, dict[str, dict[str, Any]]]] = {
        "architectures": (("architectures",), ladder.architectures),
        "recipes": (("recipes",), ladder.recipes),
        "tasks": (("evaluation", "tasks"), ladder.evaluation.tasks),
    }
    for kind, (where, parts) in places.items():
        for label, settings in parts.items():
            try:
                part_settings(kind, label, settings)
            except ValidationError as error:
                config = load(kind, settings.get("kind", label)).Config
                problems.append(_report(source, config, error, prefix=(*where, label)))
            except ValueError as error:
                problems.append(source.line((*where, label), str(error)))
    return problems


def _of_whole(source: Source, ladder: Ladder) -> list[str]:
    """Problems that show in more than one section of the file."""
    problems: list[str] = []
    where: Location

    def complain(where: Location, message: str) -> None:
        problems.append(source.line(where, message))

    if ladder.name.casefold() in TAKEN:
        complain(("name",), "results/ holds a file of this name: choose another")
    labels = [rung.label for rung in ladder.rungs]
    variants = dict.fromkeys(ladder.variants)
    for shared in islice(same_names(ladder), SHOWN + 1):
        first = place(shared.first, source.line_number(shared.first))
        complain(shared.where, shared.message.replace("{first}", first))
    for i, rung in enumerate(ladder.rungs):
        try:
            ladder.execution_of(rung)
        except ValidationError as error:
            problem = error.errors()[0]["msg"].removeprefix("Value error, ")
            complain(("rungs", i, "execution"), f"with the ladder's execution section: {problem}")
    swept = ladder.sweep.rungs if ladder.sweep else ()
    for i, name in enumerate(swept):
        if name not in labels:
            complain(("sweep", "rungs", i), f"no such rung; this ladder has: {listed(labels)}")
        if name in swept[:i]:
            complain(("sweep", "rungs", i), "a rung is swept once: remove the repetition")
    if ladder.sweep and ladder.sweep.budget is None and isinstance(ladder.design, Isoflop):
        complain(("sweep",), "the design has budgets of its own: say which to sweep: budget: {flops: 1e18}")
    for message in (*_top_problems(ladder), *swarm_problems(ladder)):
        complain(("design",), message)
    for where, message in (*boundary_problems(ladder), *averaging_problems(ladder)):
        complain(where, message)
    for message in _seed_problems(ladder):
        complain(("rungs",), message)
    for name in ladder.optimizer.learning_rate.by_variant:
        if name not in variants:
            where = ("optimizer", "learning_rate", "by_variant", name)
            complain(where, f"no such variant; this ladder has: {listed([*variants])}")
    for where, message in (*domain_problems(ladder), *evaluation_problems(ladder)):
        complain(where, message)
    if ladder.analysis.baseline not in variants:
        where = ("analysis", "baseline")
        complain(where, f"no variant {ladder.analysis.baseline!r}; this ladder has: {listed([*variants])}")
    places, what = ladder.places, "budgets" if ladder.profiles else "rungs"
    if (held := ladder.analysis.holdout_rungs) >= places > 1:
        complain(
            ("analysis", "holdout_rungs"),
            f"{held} of {places} {what} leave nothing to predict them from: hold out fewer, or 0",
        )
    rule = ladder.analysis.verdict
    if "minimal_rungs" in rule.model_fields_set and rule.minimal_rungs > places:
        complain(
            ("analysis", "verdict", "minimal_rungs"),
            f"nothing could be promoted: {rule.minimal_rungs} {what} are asked for, and the ladder has "
            f"{places}; add {what}, or ask for fewer",
        )
    for i, message in _gate_problems(ladder):
        complain(("analysis", "gates", i, "after"), message)
    for i, name in enumerate(ladder.analysis.references):
        if name not in variants:
            where = ("analysis", "references", i)
            complain(where, f"no such variant; this ladder has: {listed([*variants])}")
    return problems


def _gate_problems(ladder: Ladder) -> Iterator[tuple[int, str]]:
    """Gates that nothing can be seen at, by their number."""
    if ladder.profiles and ladder.analysis.gates:
        yield 0, "gates look from rung to rung, and IsoFLOP profiles have all sizes at once: remove them"
        return
    rungs = ladder.ascending
    before = 0
    for i, gate in enumerate(ladder.analysis.gates):
        if gate.after not in rungs:
            yield i, f"no such rung; this ladder has: {listed(rungs)}"
            continue
        place = rungs.index(gate.after) + 1
        if place < FIRST_GATE:
            yield i, f"{place} rungs show no law to look at: the first gate is after {listed(rungs[2:-1])}"
        elif place == len(rungs):
            yield i, "after the largest rung there is nothing left to stop: remove this gate"
        elif place <= before:
            yield i, "gates stand in the order of rungs, each after another: move or remove this one"
        before = max(before, place)


def _top_problems(ladder: Ladder) -> Iterator[str]:
    """What does not go with a rung that the law of the others sizes."""
    if ladder.top is None:
        return
    if ladder.optimizer.trunk:
        yield "a trunk is laid out before any law is known: set optimizer.trunk to false"
    if ladder.sweep and ladder.sweep.apply != "none":
        yield "the top rung cannot wait for a sweep's rates as well as for its size: set sweep.apply to none"
    if ladder.sweep and ladder.top in ladder.sweep.rungs:
        yield f"rung {ladder.top} has no size before all others have run: take it out of sweep.rungs"
    if not any(len(rung.budgets or ladder.budgets) > 1 for rung in ladder.rungs) and not ladder.profiles:
        yield "one budget at every rung tells no law of size and data: add budgets"


def _seed_problems(ladder: Ladder) -> Iterator[str]:
    """Seeds that are at too few sizes of an IsoFLOP profile to have a curve of their own."""
    for flops in ladder.profiles:
        budget = Flops(flops=flops)
        there = [rung for rung in ladder.rungs if budget in (rung.budgets or ladder.budgets)]
        sizes = Counter(seed for rung in there for seed in rung.seeds or ladder.seeds)
        for seed, n in sizes.items():
            if n < LEAST_SIZES:
                yield (
                    f"seed {seed} is at {n} of the sizes with {budget_label(budget)}, which are an IsoFLOP "
                    f"profile, and a curve of each seed needs {LEAST_SIZES}: give these rungs the same seeds"
                )


def count_runs(ladder: Ladder) -> int:
    """Runs that the ladder and its sweep would have, before any is made."""
    per_variant = sum(len(r.budgets or ladder.budgets) * len(r.seeds or ladder.seeds) for r in ladder.rungs)
    if sweep := ladder.sweep:
        tries = len(sweep.learning_rate_factors) * len(sweep.batch_factors)
        per_variant += len(sweep.rungs) * tries * len(sweep.seeds or ladder.seeds)
    swarm = ladder.design.runs if isinstance(ladder.design, MixtureSwarm) else 0
    variants = len(ladder.architectures) * len(ladder.recipes) * max(1, len(ladder.corpora))
    return per_variant * variants + swarm


def listed(names: Sequence[str]) -> str:
    """Names with commas; of many, the first ones."""
    more = f", ... ({len(names)} in all)" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def shortened(problems: Sequence[str]) -> str:
    """Problems, a line each; of many, the first ones."""
    more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
    return "\n".join([*problems[:SHOWN], *more])


def error_at(path: Path, where: Location, message: str) -> LadderError:
    """An error about key `where` of the file at `path`, found while expanding it."""
    return LadderError(read_source(path).line(where, message))


def _report(source: Source, model: type[BaseModel], error: ValidationError, prefix: Location = ()) -> str:
    """All problems of a ValidationError, one per line (two where the field's meaning helps)."""
    found = error.errors(include_url=False)[: 5 * SHOWN]
    places = {problem["loc"][:length] for problem in found for length in range(len(problem["loc"]))}
    lines = []
    for problem in found:
        if problem["type"] == "too_short" and problem["loc"] in places:
            continue  # only because its items are wrong
        place = problem["loc"][:-1] if problem["loc"][-1:] == (KEY,) else problem["loc"]
        where = prefix + _yaml_location(source.value(prefix), place, problem["type"] == "missing")
        field_model = _model_at(model, problem["loc"][:-1])
        lines.append(source.line(where, _explain(problem, field_model)))
    return shortened(list(dict.fromkeys(lines)))


def _explain(problem: ErrorDetails, model: type[BaseModel] | None) -> str:
    """Say what is wrong, what is allowed and how to mend it."""
    key = str(problem["loc"][-1]) if problem["loc"] else ""
    fields = list(model.model_fields) if model else []
    meaning = " ".join(meanings(model).get(key, "").split()) if model else ""
    if problem["type"] == "extra_forbidden":
        if key in REPLACED:
            return f"unknown key {key!r}: {REPLACED[key]}"
        near = difflib.get_close_matches(key, fields, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        allowed = ", ".join(fields) or "none"
        return f"unknown key {key!r}; {hint}allowed here: {allowed}"
    if problem["type"] == "missing":
        return f"required key {key!r} is missing" + (f": {meaning}" if meaning else "")
    if problem["type"] == "union_tag_invalid":
        told = problem["ctx"]
        kinds = [kind.strip(" '") for kind in told["expected_tags"].split(",")]
        near = difflib.get_close_matches(str(told["tag"]), kinds, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        name, wrong = _discriminator(problem), str(told["tag"])
        return f"no {name} is called {wrong!r}; {hint}there are: {', '.join(map(repr, kinds))}"
    if problem["type"] == "union_tag_not_found":
        return f"required key {_discriminator(problem)!r} is missing"
    if key == KEY and problem["input"] == "<<":
        return "merge keys (<<) are not used in ladder files: write out what they stand for"
    message = _in_words(problem) or problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:] if not message[:2].isupper() else message
    return message + (f" ({meaning})" if meaning and problem["type"] != "value_error" else "")


def _discriminator(problem: ErrorDetails) -> str:
    """The key that says which of several kinds of settings these are."""
    return str(problem["ctx"]["discriminator"]).strip("'()")


def _in_words(problem: ErrorDetails) -> str | None:
    """What pydantic says in Python's words, in those of a ladder file; None of all else."""
    told = problem.get("ctx", {})
    if problem["type"] == "string_pattern_mismatch":
        return ALPHABETS.get(told["pattern"])
    if problem["type"] in ("tuple_type", "list_type"):
        return "a list is needed, as in [a, b]"
    if problem["type"] == "too_short":
        return f"a list of at least {told['min_length']} is needed, this has {told['actual_length']}"
    if problem["type"] == "too_long":
        return f"a list of at most {told['max_length']} is needed, this has {told['actual_length']}"
    return None


def _yaml_location(raw: Any, location: Location, missing: bool) -> Location:
    """pydantic's location without the union tags that it inserts.

    Args:
        missing: whether its last key is one that the file does not have.
    """
    path: list[int | str] = []
    for i, key in enumerate(location):
        last = i == len(location) - 1
        present = (isinstance(raw, dict) and key in raw) or (isinstance(raw, list) and isinstance(key, int))
        if present:
            path.append(key)
            raw = descend(raw, (key,))
        elif last and missing:
            path.append(key)
    return tuple(path)


def _model_at(model: type[BaseModel], location: Location) -> type[BaseModel] | None:
    """The pydantic model that holds the key at the end of `location`."""
    candidates: list[Any] = [model]
    for key in location:
        following: list[Any] = []
        for candidate in candidates:
            if key in candidate.model_fields:
                following += _models_in(candidate.model_fields[str(key)].annotation)
        tagged = [c for c in candidates if _has_tag(c, key)]
        candidates = following or tagged or candidates
    return candidates[0] if len(candidates) == 1 else None


def _has_tag(model: type[BaseModel], tag: int | str) -> bool:
    """Whether `tag` selects `model` in a union: by a Literal field, or by its name."""
    literals = [typing.get_args(field.annotation) for field in model.model_fields.values()]
    return tag == model.__name__ or any(tag in values for values in literals)


def _models_in(annotation: Any) -> list[Any]:
    """All pydantic models named in a type annotation."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for part in typing.get_args(annotation) for model in _models_in(part)]
