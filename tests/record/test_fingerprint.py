"""Fingerprints see what code does, and nothing else: every source file of the package is changed in turn."""

from __future__ import annotations

import ast
import re
from functools import partial

import pytest

from stepladder.record.fingerprint import (
    NUMERICS,
    PACKAGE,
    PREPARATION,
    _meaning,
    _understood,
    analysis_modules,
    fingerprint,
    read_module,
    run_fingerprint,
    run_modules,
)
from stepladder.record.kinds import available
from stepladder.record.known_equal import KNOWN_EQUAL

read = partial(read_module, PACKAGE)
MODULES = sorted(
    ".".join(("stepladder", *path.relative_to(PACKAGE).with_suffix("").parts))
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py"
)
SETS = {
    "preparation": tuple(PREPARATION),
    "analysis": analysis_modules(),
    **{f"{a} {r}": run_modules(a, r) for a in available("architectures") for r in available("recipes")},
}
NOW = {name: fingerprint(modules, read) for name, modules in SETS.items()}


def changed(**texts: str) -> set[str]:
    """Names of the sets whose fingerprint is another with these texts in place of modules' own."""

    def replaced(module: str) -> str:
        return texts.get(module) or read(module)

    return {name for name, modules in SETS.items() if fingerprint(modules, replaced) != NOW[name]}


def holding(module: str) -> set[str]:
    """Names of the sets that a module belongs to."""
    return {name for name, modules in SETS.items() if module in modules}


@pytest.mark.parametrize("module", MODULES)
def test_words_for_readers_do_not_count(module):
    text = read(module)
    assert not changed(**{module: f"# a comment\n\n{text}\n\n# another\n"})
    assert not changed(**{module: re.sub(r'"""(\w)', r'"""Other words. \1', text)})
    assert not changed(**{module: _with_other_messages(text)})
    assert not changed(**{module: _with_other_annotations(text)})


@pytest.mark.parametrize("module", MODULES)
def test_a_changed_constant_counts_for_the_sets_that_hold_the_module(module):
    text = _with_another_constant(read(module))
    if text is not None:
        assert changed(**{module: text}) == holding(module)


@pytest.mark.parametrize("module", MODULES)
def test_a_file_that_moves_and_is_handed_on_at_its_name_counts_nowhere(module):
    moved = "stepladder.moved"
    handed_on = f'"""Moved."""\n\nfrom {moved} import *\n'
    assert not changed(**{module: handed_on, moved: read(module)})
    names = _public_names(read(module))
    if names:
        assert not changed(**{module: f"from {moved} import {', '.join(names)}\n", moved: read(module)})
    broken = _with_another_constant(read(module))
    if broken is not None:
        assert changed(**{module: handed_on, moved: broken}) == holding(module)


def test_where_a_file_lies_does_not_count_but_which_code_a_name_stands_for_does():
    here = {
        "stepladder.a": "from stepladder.b import f\nx = f(1)\n",
        "stepladder.b": "def f(x):\n    return x\n",
    }
    there = {"stepladder.a": "from stepladder.c import f\nx = f(1)\n", "stepladder.c": here["stepladder.b"]}
    other = there | {"stepladder.c": "def f(x):\n    return -x\n"}
    one, two, three = (fingerprint(texts, texts.__getitem__) for texts in (here, there, other))
    assert one == two != three
    # both definitions are listed, and the import is turned from one to the other
    both = here | {"stepladder.c": other["stepladder.c"]}
    turned = both | {"stepladder.a": there["stepladder.a"]}
    assert fingerprint(both, both.__getitem__) != fingerprint(turned, turned.__getitem__)


@pytest.mark.parametrize(
    "before, after",
    [
        ("x: int = 1\n", "x: float = 1\n"),
        ("def f(a: int) -> int:\n    return a\n", "def f(a):\n    return a\n"),
        ("from typing import Any\n\ndef f(a: Any):\n    return a\n", "def f(a):\n    return a\n"),
        ("raise ValueError(f'a {1}')\n", "raise ValueError('b' + str(2))\n"),
        ("class A:\n    x: int\n    '''What.'''\n", "class A:\n    x: float\n"),
    ],
)
def test_equal_code(before, after):
    assert _alone(before) == _alone(after)


@pytest.mark.parametrize(
    "before, after",
    [
        ("x = 1\n", "x = 2\n"),
        ("x = 1\n", "x = 1.0\n"),
        ("x = True\n", "x = 1\n"),
        ("x = a - b\n", "x = b - a\n"),
        ("raise SystemExit(75)\n", "raise SystemExit(76)\n"),
        ("raise ValueError('a')\n", "raise KeyError('a')\n"),
        ("class A:\n    x: int\n    y: int\n", "class A:\n    y: int\n    x: int\n"),
        ("import numpy as np\nnp.x()\n", "import torch as np\nnp.x()\n"),
        ("x = 'words that are a value'\n", "x = 'other words'\n"),
        ("x = [a, b]\n", "x = [a], b\n"),
        ("if a:\n    b()\nc()\n", "if a:\n    b()\n    c()\n"),
    ],
)
def test_unequal_code(before, after):
    assert _alone(before) != _alone(after)


def test_a_module_that_went_away_is_an_error():
    with pytest.raises(FileNotFoundError, match=r"stepladder\.gone"):
        fingerprint(("stepladder.gone",), read)


def test_runs_of_other_recipes_and_architectures_have_other_fingerprints():
    names = [name for name in SETS if " " in name]
    assert len({NOW[name] for name in names}) == len(names)
    assert run_fingerprint("dense", "baseline") != run_fingerprint("dense", "tst")


def test_every_module_is_listed_once_with_a_reason():
    assert set(NUMERICS) | set(PREPARATION) <= set(MODULES)
    assert all(NUMERICS.values()) and all(PREPARATION.values())
    assert not set(NUMERICS) & set(PREPARATION)


def test_what_listed_modules_use_is_listed_or_left_out_for_a_reason():
    left_out = {
        "stepladder.data.errors": "words",
        "stepladder.data.panics": "words",
        "stepladder.data.manifest": "of runs: what it says is part of their identity",
        "stepladder.documents.document": "how what is not there is left out",
        "stepladder.documents.lock": "who may write, not what",
        "stepladder.record.cost": "counts FLOPs; the steps that follow are in the spec",
        "stepladder.record.fingerprint": "itself",
        "stepladder.schema.data": "its values are part of the shards' identity",
        "stepladder.schema.domains": "its values are part of the shards' identity",
        "stepladder.schema.settings": "its values are part of the spec",
        "stepladder.training.engine": "how layers are compiled",
    }
    for modules in SETS.values():
        if modules == analysis_modules():
            continue
        for module in modules:
            source = _understood(read(module))
            used = [one for one in source.imports if one.alias in source.used]
            found = {holder for one in used for holder in _meaning(one, read)[0]}
            assert found <= {*modules, *left_out}, module


def test_fingerprints_that_no_code_has_any_more_are_removed():
    assert set(KNOWN_EQUAL) <= set(NOW.values()), "remove these entries of record/known_equal.py"


def _alone(text: str) -> str:
    return fingerprint(("stepladder.a",), {"stepladder.a": text}.__getitem__)


def _public_names(text: str) -> list[str]:
    """All names that another module may import from it, those with an underscore included."""
    body = ast.parse(text).body
    named = [node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assigned = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    assigned += [node.target for node in body if isinstance(node, ast.AnnAssign)]
    return named + [target.id for target in assigned if isinstance(target, ast.Name)]


def _with_other_messages(text: str) -> str:
    """The text with another message in every exception that has one."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            node.exc.args = [
                ast.JoinedStr([ast.Constant("reworded")]) if isinstance(a, ast.JoinedStr | ast.BinOp) else a
                for a in node.exc.args
            ]
    return ast.unparse(tree)


def _with_other_annotations(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and node.annotation:
            node.annotation = ast.Name("SomethingElse")
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
    return ast.unparse(tree)


def _with_another_constant(text: str) -> str | None:
    """The text with its last number that is code raised by one; None if it has none."""
    tree = ast.parse(text)
    words = {
        id(inner)
        for node in ast.walk(tree)
        for part in (
            [node.annotation]
            if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation
            else [node.returns]
            if isinstance(node, ast.FunctionDef) and node.returns
            else [node.exc]
            if isinstance(node, ast.Raise) and node.exc
            else []
        )
        for inner in ast.walk(part)
    }
    numbers = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and type(node.value) in (int, float) and id(node) not in words
    ]
    if not numbers:
        return None
    numbers[-1].value += 1
    return ast.unparse(tree)
