"""Read a ladder file. Whatever is wrong with it ends here, with file, line, key, value and the fix."""

from __future__ import annotations

import difflib
import json
import types
import typing
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from stepladder.ladder.kinds import part_settings
from stepladder.record.kinds import load
from stepladder.schema.ladder import Ladder

Location = tuple[int | str, ...]

REPLACED = {
    "learning_rate_factors": "a sweep has a section of its own, such as "
    "`sweep: {rungs: [d2, d3], learning_rate_factors: [0.5, 1, 2], apply: none}`",
}
"""Keys of earlier versions, and what to write in their place."""


class LadderError(ValueError):
    """A ladder file that cannot be used; the message is meant for the person who wrote it."""


def load_ladder(path: str | Path) -> Ladder:
    """Read and validate the ladder file at `path`.

    Raises:
        LadderError: the file is missing, is not YAML, or says something impossible. All
            problems are reported at once.
    """
    path = Path(path)
    raw = _read_yaml(path)
    try:
        ladder = Ladder.model_validate_json(json.dumps(raw, default=str))
    except ValidationError as error:
        raise LadderError(_report(path, raw, Ladder, error)) from None
    _check_parts(path, raw, ladder)
    _check_whole(path, raw, ladder)
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


def _read_yaml(path: Path) -> Any:
    """Parse with ruamel: YAML 1.2 (1e-3 is a number, `on` is text), line numbers, no duplicate keys."""
    try:
        raw = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LadderError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise LadderError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        problem = str(error.problem or error.context).split("\n")[0]
        raise LadderError(f"{path}, line {line}: not valid YAML: {problem}") from None
    except YAMLError as error:  # a character that no text holds
        raise LadderError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(raw, dict):
        raise LadderError(f"{path}: a ladder file is a mapping of keys, this is {type(raw).__name__}")
    return raw


def _check_parts(path: Path, raw: Any, ladder: Ladder) -> None:
    """Validate the settings of every architecture and recipe against its own `Config`."""
    problems = []
    for kind in ("architectures", "recipes"):
        for label, settings in getattr(ladder, kind).items():
            try:
                part_settings(kind, label, settings)
            except ValidationError as error:
                config = load(kind, settings.get("kind", label)).Config
                problems.append(_report(path, raw, config, error, prefix=(kind, label)))
            except ValueError as error:
                problems.append(_line(path, raw, (kind, label), str(error)))
    if problems:
        raise LadderError("\n".join(problems))


def _check_whole(path: Path, raw: Any, ladder: Ladder) -> None:
    """Checks that need more than one section of the file."""
    problems: list[str] = []
    where: Location

    def complain(where: Location, message: str) -> None:
        problems.append(_line(path, raw, where, message))

    labels = [rung.label for rung in ladder.rungs]
    for i, label in enumerate(labels):
        if label in labels[:i]:
            complain(("rungs", i), f"a second rung {label!r}: remove it, or give it another `name`")
    for i, rung in enumerate(ladder.rungs):
        try:
            ladder.execution_of(rung)
        except ValidationError as error:
            problem = error.errors()[0]["msg"].removeprefix("Value error, ")
            complain(("rungs", i, "execution"), f"with the ladder's execution section: {problem}")
    for axis in ("seeds", "budgets"):
        values = list(getattr(ladder, axis))
        if len(values) != len(set(map(str, values))):
            complain((axis,), "lists a value twice: each would be the same run")
    swept = ladder.sweep.rungs if ladder.sweep else ()
    for i, name in enumerate(swept):
        if name not in labels:
            complain(("sweep", "rungs", i), f"no such rung; this ladder has: {', '.join(labels)}")
        if name in swept[:i]:
            complain(("sweep", "rungs", i), "a rung is swept once: remove the repetition")
    if ladder.optimizer.trunk and ladder.sweep:
        message = "a trunk has one learning rate: remove this section, or set optimizer.trunk to false"
        complain(("sweep",), message)
    for name in ladder.optimizer.learning_rate.by_variant:
        if name not in ladder.variants:
            where = ("optimizer", "learning_rate", "by_variant", name)
            complain(where, f"no such variant; this ladder has: {', '.join(ladder.variants)}")
    domains = ladder.data.source.domain_names
    for name in ladder.data.domain_weights:
        if name not in domains:
            where = ("data", "domain_weights", name)
            complain(where, f"the source has no domain {name!r}; it has: {', '.join(domains)}")
    baseline = ladder.analysis.baseline
    if baseline not in ladder.variants:
        complain(
            ("analysis", "baseline"),
            f"no variant {baseline!r}; this ladder has: {', '.join(ladder.variants)}",
        )
    if problems:
        raise LadderError("\n".join(problems))


def error_at(path: Path, where: Location, message: str) -> LadderError:
    """An error about key `where` of the file at `path`, found while expanding it."""
    return LadderError(_line(path, _read_yaml(path), where, message))


def _report(
    path: Path, raw: Any, model: type[BaseModel], error: ValidationError, prefix: Location = ()
) -> str:
    """All problems of a ValidationError, one per line (two where the field's meaning helps)."""
    lines = []
    for problem in error.errors():
        where = prefix + _yaml_location(_descend(raw, prefix), problem["loc"])
        field_model = _model_at(model, problem["loc"][:-1])
        lines.append(_line(path, raw, where, _explain(problem, field_model)))
    return "\n".join(dict.fromkeys(lines))


def _explain(problem: ErrorDetails, model: type[BaseModel] | None) -> str:
    """Say what is wrong, what is allowed and how to mend it."""
    key = str(problem["loc"][-1]) if problem["loc"] else ""
    fields = list(model.model_fields) if model else []
    meaning = (model.model_fields[key].description or "") if model and key in fields else ""
    meaning = " ".join(meaning.split())
    if problem["type"] == "extra_forbidden":
        if key in REPLACED:
            return f"unknown key {key!r}: {REPLACED[key]}"
        near = difflib.get_close_matches(key, fields, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        allowed = ", ".join(fields) or "none"
        return f"unknown key {key!r}; {hint}allowed here: {allowed}"
    if problem["type"] == "missing":
        return f"required key {key!r} is missing" + (f": {meaning}" if meaning else "")
    message = problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:] if not message[:2].isupper() else message
    return message + (f" ({meaning})" if meaning and problem["type"] != "value_error" else "")


def _line(path: Path, raw: Any, where: Location, message: str) -> str:
    """`file, line n: key.path = value: message`."""
    value = _descend(raw, where)
    shown = f" = {json.dumps(value, default=str)}" if isinstance(value, str | int | float | bool) else ""
    key = "".join(f"[{w}]" if isinstance(w, int) else f".{w}" for w in where).lstrip(".")
    return f"{path}, line {_line_number(raw, where)}: {key}{shown}: {message}"


def _descend(raw: Any, where: Location) -> Any:
    for key in where:
        try:
            raw = raw[key]
        except (KeyError, IndexError, TypeError):
            return None
    return raw


def _line_number(raw: Any, where: Location) -> int:
    """Line of the deepest part of `where` that stands in the file."""
    line = 1
    for key in where:
        try:
            position = raw.lc.item(key) if isinstance(raw, CommentedSeq) else raw.lc.key(key)
            raw = raw[key]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
        line = position[0] + 1
    return line


def _yaml_location(raw: Any, location: Location) -> Location:
    """pydantic's location without the union tags that it inserts."""
    path: list[int | str] = []
    for i, key in enumerate(location):
        last = i == len(location) - 1
        present = (isinstance(raw, dict) and key in raw) or (isinstance(raw, list) and isinstance(key, int))
        if present:
            path.append(key)
            raw = _descend(raw, (key,))
        elif last and isinstance(raw, dict) and isinstance(key, str):
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
