"""What the fields of a class mean: the texts below them in its source.

They are read when somebody asks. If pydantic did it for every class, a quarter of the time of a short command
would go there.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache


@cache
def meanings(model: type) -> dict[str, str]:
    """The text below each field of a class and of those that it extends, by the field's name."""
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        if one.__module__.startswith("stepladder.") and "[" not in one.__name__:  # as in Interval[float]
            found |= _own(one)
    return found


def _own(model: type) -> dict[str, str]:
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(tree, ast.ClassDef)
    pairs = zip(tree.body, tree.body[1:], strict=False)
    return {
        field.target.id: inspect.cleandoc(below.value.value)
        for field, below in pairs
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }
