"""A few inputs of every kind: no unexplained exception, none over a second, no accepted nonsense."""

import pytest

from . import KINDS
from .runner import run

INPUTS = 250
"""Of each kind; other seeds, and many more, by `python -m tests.fuzz`."""


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_inputs_are_read_or_refused(kind):
    findings = run(kind, INPUTS).findings
    assert not findings, "\n".join(
        f"{found.index}: {found.what} (python -m tests.fuzz --kind {kind} --show {found.index})"
        for found in findings
    )
