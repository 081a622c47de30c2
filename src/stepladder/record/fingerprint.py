"""Fingerprint of the code that determines a run's numbers.

It is part of every run's spec, so that changed training code is noticed and the runs it touches are
planned again. It is taken over the syntax trees without docstrings: editing a comment, a docstring
or the formatting changes nothing.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]

COMMON = (
    "data/batches.py",
    "models/*.py",
    "training/distributed.py",
    "training/engine.py",
    "training/feed.py",
    "training/trainer.py",
    "training/objective.py",
    "training/optimizer.py",
    "training/evaluate.py",
    "training/device.py",
    "training/result.py",
    "training/sharding.py",
)
"""Files that determine the numbers of every run. Data preparation has `PREPARATION`, and every run depends on
the manifest."""

PREPARATION = ("data/*.py",)
"""Files that determine what is in the shards."""


ANALYSIS = ("laws/*.py", "decision/*.py", "tuning/*.py")
"""Files that determine fits and verdicts."""


def run_fingerprint(architecture: str, recipe: str) -> str:
    """Fingerprint for runs of one architecture and recipe, by module name: 16 hex digits."""
    return fingerprint((*COMMON, f"architectures/{architecture}.py", f"recipes/{recipe}.py"))


def preparation_fingerprint() -> str:
    """Fingerprint of the code that makes shards: 16 hex digits."""
    return fingerprint(PREPARATION)


@cache
def fingerprint(patterns: tuple[str, ...]) -> str:
    """Hash the syntax trees of all files below the package that match `patterns`.

    Raises:
        FileNotFoundError: a pattern matches nothing, so that a renamed file cannot go unnoticed.
    """
    digest = hashlib.sha256()
    for pattern in patterns:
        paths = sorted(PACKAGE.glob(pattern))
        if not paths:
            raise FileNotFoundError(f"no file of stepladder matches {pattern!r}")
        for path in paths:
            digest.update(path.relative_to(PACKAGE).as_posix().encode())
            digest.update(ast.dump(_without_docstrings(path)).encode())
    return digest.hexdigest()[:16]


def _without_docstrings(path: Path) -> ast.AST:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = list(_statements(body))  # type: ignore[attr-defined]
    return tree


def _statements(body: Iterable[ast.stmt]) -> Iterable[ast.stmt]:
    """Statements that do something: bare strings (docstrings, also of attributes) do not."""
    for statement in body:
        text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not (text and isinstance(statement.value.value, str)):  # type: ignore[attr-defined]
            yield statement
