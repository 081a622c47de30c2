"""The embedded corpus: the running Python's standard library, code and prose apart.

It is on every machine that runs this program, needs no download, and does not depend on what else is
installed: only on the Python version, and on whether its tests are there (some Linux
distributions package them separately; then the corpus has a third of the size).
"""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import os
import platform
import sysconfig
import tokenize
import warnings
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from stepladder.data.documents import Chunk, TextDocument, digest, group_files
from stepladder.data.errors import DataError

DOMAINS = ("code", "prose")
CODE, PROSE = range(2)

LEFT_OUT = ("site-packages", "dist-packages", "__pycache__", "config-*", "encodings", "pydoc_data")
"""Folders whose content depends on what is installed or on how Python was built, tables of code points,
and pydoc's topics (which are read as prose)."""
GENERATED = ("_sysconfigdata*",)
"""Written when Python is built: differs between builds of one version."""


class Cut(NamedTuple):
    """A source file taken apart."""

    code: str
    docstrings: list[str]


def chunks(root: Path | None = None) -> Iterator[Chunk]:
    """The standard library's files below `root` (default: the running Python's), then pydoc's topics.

    Raises:
        DataError: there is no source there.
    """
    root = root or library()
    paths = source_files(root)
    if not paths:
        raise DataError(
            f"{root} holds no Python source (a stripped or zipped Python?): "
            "use another Python, or `source: {kind: text, ...}` with files of your own"
        )
    named = ((path.relative_to(root).as_posix(), path.read_bytes()) for path in paths)
    for group in group_files(named):
        yield _chunk(group, _from_source)
    topics = [(f"pydoc_data/topics.py[{name}]", text.encode()) for name, text in sorted(_topics().items())]
    if topics:
        yield _chunk(topics, _from_topic)


def description(root: Path | None = None) -> str:
    """The corpus in words: version and whether its tests and pydoc's topics are there."""
    root = root or library()
    paths = source_files(root)
    tests = [p for p in paths if p.is_relative_to(root / "test") and p.name.startswith("test_")]
    with_tests = f"with its tests ({len(tests):,} test modules)" if len(tests) > 100 else "WITHOUT its tests"
    topics = "" if _topics() else ", without pydoc's topics"
    return f"Python {platform.python_version()} standard library {with_tests}, {len(paths):,} files{topics}"


def library() -> Path:
    """Folder of the running Python's standard library."""
    return Path(sysconfig.get_path("stdlib"))


def source_files(root: Path) -> list[Path]:
    """Python files that belong to the library itself, sorted by relative path."""
    found = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if not _matches(name, LEFT_OUT)]
        found += [Path(folder, n) for n in names if n.endswith(".py") and not _matches(n, GENERATED)]
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def cut_docstrings(source: str) -> Cut:
    """Take the docstrings out of Python source, by the positions in its syntax tree.

    A docstring that is all there is of a body becomes `pass`, so that the code stays valid.

    Raises:
        SyntaxError, ValueError: not Python source.
    """
    # Lines as the parser counts them: str.splitlines would also split at form feeds.
    lines = source.replace("\r\n", "\n").replace("\r", "\n").encode().split(b"\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the library's own old string escapes
        tree = ast.parse(b"\n".join(lines))
    texts = []
    for owner, node in sorted(_docstring_nodes(tree), key=_position, reverse=True):
        texts.append(inspect.cleandoc(ast.literal_eval(node.value)))  # type: ignore[attr-defined]
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        before, after = lines[first][: node.col_offset], lines[last][node.end_col_offset :]
        alone = all(map(_is_string, owner.body)) and not isinstance(owner, ast.Module)
        if before.strip() or after.strip() or alone:
            lines[first : last + 1] = [before + b"pass" + after]
        else:
            del lines[first : last + 1]
    return Cut(b"\n".join(lines).decode(), texts[::-1])


Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _docstring_nodes(tree: ast.Module) -> Iterator[tuple[Documented, ast.stmt]]:
    """Each docstring's statement with the module, class or function that it documents."""
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, Documented):
            # All leading strings: with only the first one cut, the second would be a docstring.
            yield from ((node, statement) for statement in takewhile(_is_string, node.body))
        # Statements only: expressions hold no docstrings, and skipping them makes this fast.
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            children = getattr(node, field, None)
            if isinstance(children, list):
                stack += children


def _position(found: tuple[Documented, ast.stmt]) -> tuple[int, int]:
    return found[1].lineno, found[1].col_offset


def _is_string(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _chunk(files: list[tuple[str, bytes]], parse: Callable[[bytes, int], Iterator[TextDocument]]) -> Chunk:
    def read() -> Iterator[TextDocument]:
        for index, (_, content) in enumerate(files):
            yield from parse(content, index)

    how = {"kind": "python_stdlib", "parser": parse.__name__, "names": [name for name, _ in files]}
    key = digest(how, (content for _, content in files))
    return Chunk(key, DOMAINS, tuple(name for name, _ in files), read)


def _from_source(content: bytes, file: int) -> Iterator[TextDocument]:
    """Code and prose of one file: both on the same side of the split."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        code, docstrings = cut_docstrings(content.decode(encoding))
    except (SyntaxError, ValueError):  # the library's tests hold files that are broken on purpose
        return
    # A lone surrogate, possible in a docstring's escapes, has no UTF-8: it becomes a question mark.
    prose = "\n\n".join(docstrings).encode("utf-8", "replace")
    for domain, text in ((CODE, code.encode()), (PROSE, prose)):
        if text.strip():
            yield TextDocument(text, domain, file, 0, content)


def _from_topic(content: bytes, file: int) -> Iterator[TextDocument]:
    yield TextDocument(content, PROSE, file, 0, content)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _topics() -> dict[str, str]:
    """pydoc's topics: the language reference's sections as plain text."""
    try:
        topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    except ImportError:
        return {}
    return topics
