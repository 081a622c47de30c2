"""Held-out Python taken apart: calls, runs of lines, functions with their docstrings."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, islice
from random import Random
from typing import NamedTuple

from stepladder.record.items import HeldOut, Item
from stepladder.schema.evaluation import Made


class Call(NamedTuple):
    """A call whose arguments stand on one line."""

    line: int
    start: int
    """Character of the text that follows the opening parenthesis."""
    arguments: str
    """With the closing parenthesis."""


class Documented(NamedTuple):
    """A function or a class with a docstring."""

    line: int
    head: str
    """From `def` or `class` to the colon, on one line."""
    summary: str
    """First line of the docstring."""


def shuffled(config: Made, make: Callable[[Random], Iterable[Item]]) -> Iterator[Item]:
    """At most as many items as a task's settings ask for, of all that can be made.

    Args:
        make: the items, by the random numbers that choose among answers.
    """
    draw = Random(config.seed)
    found = list(make(draw))
    draw.shuffle(found)
    yield from islice(found, config.items)


def parsed(text: str) -> ast.Module | None:
    """The syntax tree; None if the text is no Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about old string escapes
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError):
            return None


def python_documents(documents: Iterable[HeldOut]) -> Iterator[tuple[str, str]]:
    """Place and text of those documents that are Python and do something."""
    for document in documents:
        text = document.text.replace("\r\n", "\n").replace("\r", "\n")  # as the parser counts lines
        tree = parsed(text)
        if tree is not None and any(not isinstance(part, ast.Expr) for part in tree.body):
            yield document.place, text


def calls_in(text: str) -> Iterator[Call]:
    """Calls with arguments, in the order of the text."""
    tree = parsed(text)
    lines = text.split("\n")
    starts = [0, *accumulate(len(line) + 1 for line in lines)]
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Call)) if tree else ()
    for node in sorted(nodes, key=lambda node: (node.lineno, node.col_offset, -(node.end_col_offset or 0))):
        line, end = node.func.end_lineno or 0, node.func.end_col_offset or 0
        if line != node.end_lineno or not (node.args or node.keywords):
            continue
        # offsets of the tree count bytes
        source = lines[line - 1].encode()
        inner = source[end : node.end_col_offset].decode()
        if inner.startswith("("):
            yield Call(line, starts[line - 1] + len(source[:end].decode()) + 1, inner[1:])


def documented_in(text: str) -> Iterator[Documented]:
    """Functions and classes with a docstring whose head is on one line, in the order of the text."""
    tree = parsed(text)
    lines = text.split("\n")
    for node in ast.walk(tree) if tree else ():
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        said = ast.get_docstring(node)
        head = lines[node.lineno - 1].strip()
        if said and head.endswith(":") and said.splitlines()[0].strip():
            yield Documented(node.lineno, head, said.splitlines()[0].strip())
