"""Fingerprints of code: which parts of it determine a run's numbers, the shards, the laws and verdicts.

A fingerprint is part of every run's spec, so that changed training code is noticed and the runs it touches
are planned again. It sees what code does and nothing else: comments, docstrings, layout, annotations and the
messages of exceptions do not count, and neither does the place of a file. Modules count by what they hold,
and an import by what the imported name stands for there, so that a file that moves costs nobody a retraining.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from stepladder.record.known_equal import KNOWN_EQUAL

PACKAGE = Path(__file__).resolve().parents[1]
"""Folder of the package `stepladder`."""

NUMERICS = {
    "stepladder.data.batches": "which tokens a step reads",
    "stepladder.data.mixing": "of which domains, in which proportion",
    "stepladder.data.order": "in which order",
    "stepladder.models.by_hand": "forward and backward passes on CPU",
    "stepladder.models.cross_entropy": "the loss of the head, and its gradient",
    "stepladder.models.documents": "which document a position is of, and what it sees of others",
    "stepladder.models.experts": "routing, and the products of experts",
    "stepladder.models.experts_by_hand": "their forward and backward passes on CPU",
    "stepladder.models.feed_forward": "feed-forward layers and their initialisation",
    "stepladder.models.float8": "scales and products in FP8",
    "stepladder.models.functional": "norms, attention and SwiGLU",
    "stepladder.models.fused": "the same on GPUs",
    "stepladder.models.rotary": "angles of the positions",
    "stepladder.models.transformer": "how layers are put together, and how weights begin",
    "stepladder.models.windowed": "which keys a query sees",
    "stepladder.record.kinds": "which positions a layer's attention sees",
    "stepladder.record.spec": "what the steps of a run are",
    "stepladder.training.distributed": "how gradients are averaged over ranks",
    "stepladder.training.evaluate": "how held-out text is cut, averaged, and weighted into one loss",
    "stepladder.training.feed": "from tokens to inputs and targets, phase by phase",
    "stepladder.training.objective": "the loss of a batch",
    "stepladder.training.optimizer": "updates and the schedule",
    "stepladder.training.parametrization": "initial weights and updates over width and depth",
    "stepladder.training.prefetch": "which batch goes with which step",
    "stepladder.training.process": "threads, whose sums differ in their last bits, and denormals",
    "stepladder.training.sharding": "precision and order of reductions over shards",
    "stepladder.training.step": "what a step does in which order",
    "stepladder.training.trainer": "the step: precision, accumulation, clipping",
}
"""Modules that determine the numbers of every run, and why. What only decides how fast or where a run
executes, and what it logs, is not here. Data preparation has `PREPARATION`: runs depend on the manifest."""

PREPARATION = {
    "stepladder.data.cache": "tokens of unchanged files are taken from it",
    "stepladder.data.duplicates": "which documents are the first of their content",
    "stepladder.data.columns": "which text of which Parquet or Arrow file is a document",
    "stepladder.data.documents": "how files are cut into chunks",
    "stepladder.data.encoding": "from text to ids",
    "stepladder.data.files": "which text of which file is a document",
    "stepladder.data.flat": "which ids are in a file of tokens",
    "stepladder.data.manifest": "what is said of the shards",
    "stepladder.data.megatron": "which ids are in Megatron's files, and where documents begin",
    "stepladder.data.minhash": "what near-duplicates have in common",
    "stepladder.data.near_duplicates": "which documents are nearly the same",
    "stepladder.data.opening": "which files a pattern names, and what is in compressed ones",
    "stepladder.data.parts": "in which order parts are gathered",
    "stepladder.data.prepare": "the order of the steps",
    "stepladder.data.quality": "which documents are degenerate",
    "stepladder.data.records": "which records are documents",
    "stepladder.data.remote": "which files lie elsewhere, and what is in them",
    "stepladder.data.request": "what is asked for",
    "stepladder.data.sample": "what a tokenizer is trained on",
    "stepladder.data.shards": "the split, the order and the bytes",
    "stepladder.data.spelling": "which ids stand for a text",
    "stepladder.data.stdlib": "the embedded corpus",
    "stepladder.data.texts": "what is read and tokenized, and what a tokenizer is trained on",
    "stepladder.data.tokenization": "which tokenizer it is",
    "stepladder.data.tokens": "from ids to documents",
}
"""Modules that determine what is in the shards, and why."""

EVALUATION = {
    "stepladder.evaluation.likelihood": "how likely answers are",
    "stepladder.evaluation.requests": "which tokens are read, and which are scored",
    "stepladder.evaluation.score": "from likelihoods to scores",
    "stepladder.models.inference": "reading text in pieces",
}
"""Modules that determine how runs score on tasks, beside those that determined the runs themselves."""

ITEMS = {
    "stepladder.data.python_source": "what calls and docstrings are",
    "stepladder.data.rows": "which rows a file has",
    "stepladder.evaluation.contamination": "which items were in the training text",
    "stepladder.evaluation.task_set": "what is written down",
    "stepladder.record.items": "which items can be scored",
}
"""Modules that determine the items of every task, beside the file of its kind."""

ANALYSIS = ("laws", "decision", "tuning")
"""Packages that determine laws, gains, verdicts and predicted rates: they are computed anew in seconds."""

Read = Callable[[str], str]
"""Module name to source text."""


def run_fingerprint(architecture: str, recipe: str) -> str:
    """Fingerprint for runs of one architecture and recipe, by module name: 16 hex digits."""
    return _known(run_modules(architecture, recipe))


def run_modules(architecture: str, recipe: str) -> tuple[str, ...]:
    """Names of the modules that determine the numbers of such runs."""
    return (*NUMERICS, f"stepladder.architectures.{architecture}", f"stepladder.recipes.{recipe}")


def evaluation_fingerprint() -> str:
    """Fingerprint of the code that scores runs on tasks: 16 hex digits."""
    return _known(tuple(EVALUATION))


def items_fingerprint(kind: str) -> str:
    """Fingerprint of the code that makes the items of tasks of one kind: 16 hex digits."""
    return _known((*ITEMS, f"stepladder.tasks.{kind}"))


def preparation_fingerprint() -> str:
    """Fingerprint of the code that makes shards: 16 hex digits."""
    return _known(tuple(PREPARATION))


def analysis_fingerprint() -> str:
    """Fingerprint of the code that makes laws and verdicts of runs: 16 hex digits."""
    return _known(analysis_modules())


def analysis_modules(package: Path = PACKAGE) -> tuple[str, ...]:
    """Names of the modules that determine laws and verdicts."""
    paths = (path for name in ANALYSIS for path in sorted((package / name).glob("*.py")))
    return tuple(f"stepladder.{path.parent.name}.{path.stem}" for path in paths)


@cache
def _known(modules: tuple[str, ...]) -> str:
    found = fingerprint(modules, partial(read_module, PACKAGE))
    return KNOWN_EQUAL.get(found, found)


@cache
def read_module(package: Path, module: str) -> str:
    """Source text of a module of the package in folder `package`.

    Raises:
        FileNotFoundError: there is no such module, so that a renamed one cannot go unnoticed.
    """
    path = package.joinpath(*module.split(".")[1:])
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file.read_text(encoding="utf-8")
    raise FileNotFoundError(f"the code fingerprint lists {module}, and there is no such module")


def fingerprint(modules: Iterable[str], read: Read) -> str:
    """16 hex digits that change when what any of the modules does is changed.

    Args:
        modules: full names; one that only hands on the names of another counts as that one.

    Raises:
        FileNotFoundError: a module is missing.
    """
    holders = {holder for module in modules for holder in _holders(module, read)}
    contents = {holder: _understood(read(holder)).digest for holder in holders}
    return _digest(*sorted({_whole(holder, contents, read) for holder in holders}))


def _holders(module: str, read: Read) -> set[str]:
    """The modules whose code stands behind `module`: itself, unless it only hands names on."""
    source = _understood(read(module))
    if not source.hands_on:
        return {module}
    return {holder for one in source.imports for holder in _meaning(one, read)[0]}


def _whole(module: str, contents: dict[str, str], read: Read) -> str:
    """Digest of a module's own code, and of what the names that it imports stand for."""
    source = _understood(read(module))
    named = []
    for one in source.imports:
        if one.alias in source.used:
            holders, name = _meaning(one, read)
            # What is not listed does not determine numbers: its name will do.
            listed = sorted(contents[holder] for holder in holders if holder in contents)
            named.append(" ".join([one.alias, name, *listed]))
    return _digest(source.digest, *sorted(named))


@dataclass(frozen=True)
class _Import:
    """One name imported from a module of ours."""

    module: str
    name: str
    alias: str


def _meaning(one: _Import, read: Read) -> tuple[set[str], str]:
    """The modules whose code an imported name stands for, and its name there: empty for a module's own."""
    if one.name == "*":
        return _holders(one.module, read), ""
    source = _understood(read(one.module))
    for other in source.imports:
        if other.alias == one.name:
            return _meaning(other, read)
        if other.name == "*" and one.name in _understood(read(other.module)).defined:
            return _meaning(_Import(other.module, one.name, one.alias), read)
    if one.name in source.defined:
        return {one.module}, one.name
    return _holders(f"{one.module}.{one.name}", read), ""


@dataclass(frozen=True)
class _Source:
    """What a module's text does."""

    digest: str
    """Of its code without imports from our own package."""
    imports: tuple[_Import, ...]
    defined: frozenset[str]
    """Names that its top level defines."""
    used: frozenset[str]
    """Names that its code reads or writes."""
    hands_on: bool
    """Whether it does nothing but hand on names of others."""


@cache
def _understood(text: str) -> _Source:
    tree = ast.parse(text)
    code = _Code()
    code.read(tree)
    # Imports that only annotations need do not count, and neither does the order of imports.
    others = sorted(text for name, text in code.others if name in code.used or name == "*")
    statements = [s for s in _doing(tree.body) if not isinstance(s, ast.Import | ast.ImportFrom)]
    return _Source(
        digest=_digest(*code.words, *others),
        imports=tuple(code.ours),
        defined=frozenset(name for statement in statements for name in _defined(statement)),
        used=frozenset(code.used),
        hands_on=bool(code.ours) and all("__all__" in _defined(statement) for statement in statements),
    )


class _Code:
    """A syntax tree in words that are the same for every version of Python, without what is written for
    readers and type checkers; one pass, because the workflow is parsed once per job."""

    UNREAD = frozenset(("ctx", "kind", "type_comment", "annotation", "returns"))

    def __init__(self) -> None:
        self.words: list[str] = []
        self.used: set[str] = set()
        self.ours: list[_Import] = []
        self.others: list[tuple[str, str]] = []
        """Imported names of other packages, and what they stand for."""

    def read(self, node: ast.AST) -> None:
        """Add a node and all below it, without empty fields: versions of Python differ in these."""
        if isinstance(node, ast.Import | ast.ImportFrom):
            self.read_import(node)
            return
        if isinstance(node, ast.Name):
            self.used.add(node.id)
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            node.exc.args = [argument for argument in node.exc.args if not _is_message(argument)]
        self.words.append(type(node).__name__)
        for field in node._fields:
            value = getattr(node, field, None)
            if value is None or value == [] or field in self.UNREAD:
                continue
            self.words.append(field)
            for part in _doing(value) if isinstance(value, list) else (value,):
                if isinstance(part, ast.AST):
                    self.read(part)
                else:
                    self.words.append(repr(part))
        self.words.append(".")

    def read_import(self, node: ast.Import | ast.ImportFrom) -> None:
        """Keep its names apart: ours count by what they stand for."""
        module = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
        for alias in node.names:
            if module.split(".")[0] == "stepladder":
                self.ours.append(_Import(module, alias.name, alias.asname or alias.name))
            elif module != "__future__":
                name = alias.asname or (alias.name if module else alias.name.split(".")[0])
                self.others.append((name, f"{name} is {alias.name} of {module}"))


def _doing(parts: list[Any]) -> Iterator[Any]:
    """Parts of a list that do something: bare strings (docstrings, also of attributes) and blocks for type
    checkers do not."""
    for part in parts:
        value = part.value if isinstance(part, ast.Expr) else None
        test = part.test if isinstance(part, ast.If) else None
        is_text = isinstance(value, ast.Constant) and isinstance(value.value, str)
        if not is_text and not (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"):
            yield part


def _defined(statement: ast.stmt) -> set[str]:
    """Names that a statement of a module's top level defines."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    names = (inner for inner in ast.walk(statement) if isinstance(inner, ast.Name))
    return {name.id for name in names if isinstance(name.ctx, ast.Store)}


def _is_message(argument: ast.expr) -> bool:
    """Whether an expression is a text: a string, an f-string, or several of them added up."""
    if isinstance(argument, ast.BinOp):
        return _is_message(argument.left) or _is_message(argument.right)
    if isinstance(argument, ast.Constant):
        return isinstance(argument.value, str)
    return isinstance(argument, ast.JoinedStr)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
