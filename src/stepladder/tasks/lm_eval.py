"""Tasks of lm-evaluation-harness (github.com/EleutherAI/lm-evaluation-harness) whose data lie in local files.

A task's YAML is read as that program reads it: templates in Jinja or names of columns, examples in front, its
delimiters. What cannot be scored by likelihood, or needs Python functions of the YAML's own, is refused.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from stepladder.data.rows import BETWEEN, Row, read_rows
from stepladder.record.items import Documents, Item, ItemError
from stepladder.schema.evaluation import Stored

FORMAT = "as the task's YAML says"

KINDS = ("multiple_choice", "loglikelihood", "loglikelihood_rolling")


class Config(Stored):
    """Settings under `evaluation: tasks: lm_eval:`; `path` is that of the YAML. Paths in it are seen from
    where Snakemake runs, as that program sees them."""


class Task:
    """What a YAML says."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.read_from: list[str] = []
        """The YAML and those that it includes."""
        self.fields = read_yaml(path, self.read_from)
        self.split: str | None = self.get("test_split") or self.get("validation_split")
        """The one that is scored."""
        if (kind := self.fields.get("output_type", "generate_until")) not in KINDS:
            raise ItemError(
                f"{path}: output_type: {kind} is not scored by likelihood; there are {', '.join(KINDS)}"
            )
        self.kind: str = kind

    def get(self, name: str, otherwise: Any = None) -> Any:
        """A field of the YAML."""
        return self.fields.get(name, otherwise)

    @property
    def splits(self) -> dict[str, Any] | None:
        """Split to its files; None where files are of no split."""
        files = (self.get("dataset_kwargs") or {}).get("data_files")
        return files if isinstance(files, dict) else None

    def files(self, split: str | None) -> list[str]:
        """Data files of a split.

        Raises:
            ItemError: they are not named, or lie elsewhere.
        """
        named, any_split = self.splits, (self.get("dataset_kwargs") or {}).get("data_files")
        found = any_split if named is None else named.get(str(split))
        if named is not None and split not in named:
            raise ItemError(f"{self.path}: data_files has no split {split!r}; it has {', '.join(named)}")
        if not found:
            raise ItemError(
                f"{self.path}: no dataset_kwargs.data_files: only local files are read (dataset_path: json, "
                "csv or parquet)"
            )
        return [found] if isinstance(found, str) else list(found)

    def rows(self, split: str | None) -> Iterator[Row]:
        """Records of a split."""
        for file in self.files(split):
            yield from read_rows(file)

    def text(self, name: str, row: Row) -> Any:
        """A template filled with a row's fields, or the field that it names, or the number that it is."""
        template = self.get(name)
        if isinstance(template, str) and template in row:
            return row[template]
        if isinstance(template, int):
            return template
        return render(template, row, f"{self.path}: {name}")

    def choices(self, row: Row) -> list[str]:
        """Answers of a multiple choice."""
        said = self.get("doc_to_choice")
        if isinstance(said, list):
            return [render(one, row, f"{self.path}: doc_to_choice") for one in said]
        if isinstance(said, dict):
            return [str(one) for one in said.values()]
        found = self.text("doc_to_choice", row)
        return list(ast.literal_eval(found) if isinstance(found, str) else found)

    def target(self, row: Row) -> int | str:
        """The right answer: its number among the choices, or itself.

        A text of digits is a number where a template made it, and an answer where it is a column's.
        """
        found = self.text("doc_to_target", row)
        if self.kind != "multiple_choice":
            return str(found)
        made = isinstance(found, str) and self.get("doc_to_target") not in row
        if isinstance(found, int) or (made and found.lstrip("-").isdigit()):
            return int(found)
        return self.choices(row).index(str(found))


def files(config: Config) -> list[str]:
    """The YAML, those that it includes, and the data files of the splits that are read."""
    task = Task(config.path)
    splits = dict.fromkeys((task.split, task.get("fewshot_split")))
    data = [file for split in splits if split is not None or not task.splits for file in task.files(split)]
    return [*task.read_from, *data]


def items(config: Config, held_out: Documents) -> Iterator[Item]:
    """Those of the split that is tested, or else validated.

    Raises:
        ItemError: the YAML asks for something else than likelihoods of local files.
    """
    task = Task(config.path)
    split = task.split
    before = examples(task, split)
    skipped = int(task.get("num_fewshot") or 0) if _own_examples(task, split) else 0
    for number, row in enumerate(islice(task.rows(split), skipped, None)):
        if config.limit is not None and number >= config.limit:
            return
        try:
            yield item(task, row, before, str(number))
        except ItemError:
            raise
        except (KeyError, ValueError, TypeError, IndexError, SyntaxError) as error:
            raise ItemError(f"{config.path}: item {number} of split {split}: {error}") from None


def item(task: Task, row: Row, before: str, number: str) -> Item:
    """One record as that program puts it to a model."""
    if task.kind == "loglikelihood_rolling":
        return Item(number, "", (str(task.target(row)),), 0)
    told = render(str(task.get("description") or ""), row, f"{task.path}: description")
    context, between = told + before + str(task.text("doc_to_text", row)), task.get("target_delimiter", " ")
    target = task.target(row)
    if isinstance(target, str):
        return Item(number, context, (between + target,), 0)
    return Item(number, context, tuple(between + choice for choice in task.choices(row)), target)


def examples(task: Task, split: str | None) -> str:
    """Solved examples: the first ones of the split that they are from."""
    count, told = int(task.get("num_fewshot") or 0), ""
    if not count:
        return told
    sampler = (task.get("fewshot_config") or {}).get("sampler", "default")
    if sampler != "first_n":
        raise ItemError(
            f"{task.path}: num_fewshot: {count} with sampler {sampler}: examples would be drawn for each "
            f"item; "
            "write fewshot_config: {sampler: first_n}"
        )
    source = split if _own_examples(task, split) else task.get("fewshot_split")
    for row in islice(task.rows(source), count):
        target = task.target(row)
        answer = target if isinstance(target, str) else task.choices(row)[target]
        told += f"{task.text('doc_to_text', row)}{task.get('target_delimiter', ' ')}{answer}"
        told += task.get("fewshot_delimiter", BETWEEN)
    return told


def _own_examples(task: Task, split: str | None) -> bool:
    """Whether examples are from the split that is scored, whose first ones are then no items."""
    return task.get("fewshot_split") in (None, split)


def render(template: Any, row: Row, where: str) -> Any:
    """A Jinja template filled with a row's fields.

    Raises:
        ItemError: it is no template, or names a field that is not there.
    """
    from jinja2 import TemplateError

    if not isinstance(template, str):
        raise ItemError(f"{where} is {template!r:.60}: a template or a column's name is needed")
    try:
        return _environment().from_string(template).render(**row)
    except TemplateError as error:
        raise ItemError(f"{where}: {template!r:.60}: {error}") from None


def _environment() -> Any:
    """As that program has it; templates of strangers may not reach into Python."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    made = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    made.filters["regex_replace"] = lambda text, pattern, value, count=0: re.sub(
        pattern, value, text, count=count
    )
    return made


NOT_READ = ("gen_prefix", "use_prompt", "doc_to_image", "doc_to_audio")
"""Fields that change what a model is shown."""


def read_yaml(path: str, read_from: list[str]) -> dict[str, Any]:
    """A task's fields, those of the files that it includes filled in.

    Args:
        read_from: gets the file and those that it includes.

    Raises:
        ItemError: it is no YAML, or holds a function.
    """
    import yaml

    file = Path(path).expanduser()
    if not file.is_file():
        raise ItemError(f"{path}: no such file (seen from {Path.cwd()})")

    if path in read_from:
        raise ItemError(f"{path}: includes itself")
    read_from.append(path)

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # without types
        """One that names what it does not know."""

    def function(loader: Any, node: Any) -> None:
        raise ItemError(
            f"{path}:{node.start_mark.line + 1}: `!function {node.value}` is a Python function, which is not "
            "called: write a template in its place"
        )

    Loader.add_constructor("!function", function)
    try:
        fields: Any = yaml.load(file.read_text(encoding="utf-8"), Loader)  # a SafeLoader
    except UnicodeDecodeError as error:
        raise ItemError(f"{path}: no UTF-8: {error.reason} at byte {error.start}") from None
    except yaml.YAMLError as error:
        raise ItemError(f"{path}: no YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(fields, dict):
        raise ItemError(f"{path}: no task: a mapping of fields is needed")
    included = fields.get("include") or []
    for name in reversed([included] if isinstance(included, str) else included):
        fields = read_yaml(str(file.parent / str(name)), read_from) | fields
    for name in NOT_READ:
        if fields.get(name):
            raise ItemError(
                f"{path}: {name} is not read, and changes what a model is shown: write a template"
            )
    for name in ("process_docs", "custom_dataset"):
        if fields.get(name):
            raise ItemError(
                f"{path}: {name} is a Python function, which is not called: prepare the data with it"
            )
    return dict(fields)
