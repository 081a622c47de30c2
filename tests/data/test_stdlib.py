"""The embedded corpus: docstrings cut out of code, what belongs to the library and what does not."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from stepladder.data import stdlib
from stepladder.data.errors import DataError
from stepladder.data.stdlib import cut_docstrings

SOURCE = '''\
#!/usr/bin/env python
"""Module's
docstring."""
from __future__ import annotations

class Empty:
    """All there is."""

class Full:
    r"""Raw \\d."""  # kept
    x = """not a docstring"""

    def method(self):
        """First.

            Indented.
        """
        return 'naïve'

    async def wait(self): "on one line"; return 2

if True:
    def nested():
        ("in parentheses")
        "and a second string"
        yield
'''

CUT = """\
#!/usr/bin/env python
from __future__ import annotations

class Empty:
    pass

class Full:
    pass  # kept
    x = \"""not a docstring\"""

    def method(self):
        return 'naïve'

    async def wait(self): pass; return 2

if True:
    def nested():
        yield
"""


def test_docstrings_are_cut_out_and_the_code_stays_as_it_was() -> None:
    cut = cut_docstrings(SOURCE)
    assert cut.code == CUT
    assert cut.docstrings == [
        "Module's\ndocstring.",
        "All there is.",
        r"Raw \d.",
        "First.\n\nIndented.",
        "on one line",
        "in parentheses",
        "and a second string",
    ]


def test_form_feeds_and_foreign_line_ends_do_not_shift_the_cut() -> None:
    assert cut_docstrings('x = "\x0c"\r\ndef f():\r\n    "doc"\r\n    é = 1\r\n').code == (
        'x = "\x0c"\ndef f():\n    é = 1\n'
    )


@pytest.mark.parametrize("folder", ["json", "email", "asyncio", "collections"])
def test_real_modules_stay_valid_and_lose_every_docstring(folder: str) -> None:
    paths = sorted((stdlib.library() / folder).glob("*.py"))
    assert paths
    for path in paths:
        source = path.read_text(encoding="utf-8")
        cut = cut_docstrings(source)
        tree = ast.parse(cut.code)
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        found = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, documented)]
        assert not any(found), path
        assert sum(map(len, cut.docstrings)) + len(cut.code) <= len(source)


def test_corpus_takes_the_library_and_leaves_what_is_installed(tmp_path: Path) -> None:
    library = {
        "b.py": '"""Prose of b."""\nb = 1\n',
        "a/__init__.py": "",
        "a/c.py": "c = 1\n",
        "test/broken.py": "def (\n",
        "test/latin.py": "# coding: latin-1\ns = 'é'\n",
    }
    others = ["site-packages/x.py", "a/__pycache__/c.py", "encodings/cp1.py", "_sysconfigdata_linux.py"]
    for name, text in library.items() | {(other, "x = 1\n") for other in others}:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="latin-1" if "latin" in name else "utf-8")
    chunk, *topics = stdlib.chunks(tmp_path)
    found = {(chunk.domains[d.domain], chunk.files[d.file]): d.text.decode() for d in chunk.read()}
    assert found == {
        ("code", "b.py"): "b = 1\n",
        ("prose", "b.py"): "Prose of b.",
        ("code", "a/c.py"): "c = 1\n",
        ("code", "test/latin.py"): "# coding: latin-1\ns = 'é'\n",
    }
    assert {d.domain for t in topics for d in t.read()} <= {stdlib.PROSE}
    assert "WITHOUT its tests, 5 files" in stdlib.description(tmp_path)


def test_a_python_without_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no Python source"):
        next(stdlib.chunks(tmp_path))
