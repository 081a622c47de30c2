"""A small valid ladder as text, and a way to change one line of it."""

from pathlib import Path

import pytest

from stepladder.ladder.expand import expand
from stepladder.ladder.load import load_ladder

LADDER = """\
name: tiny
question: "A question?"
rungs:
  - {depth: 2}
  - {depth: 3}
architectures:
  dense: {}
  moe: {n_experts: 8, top_k: 2}
recipes:
  baseline: {}
  tst: {bag_size: 4, superposed_fraction: 0.25}
budgets: [1]
seeds: [0, 1]
shape:
  sequence_length: 128
  d_model: {per_layer: 16}
  d_head: 16
  d_ff: {multiple_of: 16}
optimizer:
  learning_rate:
    default: {rule: power, of: d_model, at: 32, value: 1e-2, exponent: -1}
  batch: {rule: constant, sequences: 8}
data:
  source: {kind: python_stdlib}
  tokenizer: {kind: byte}
  domain_weights: {code: 0.5, prose: 0.5}
plan:
  flops_per_second: 1e10
  max_accelerator_hours: 1
analysis:
  baseline: dense-baseline
"""


@pytest.fixture
def edit(tmp_path: Path):
    """Write the ladder with replacements made; returns its path."""

    def write(*changes: tuple[str, str]) -> Path:
        text = LADDER
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new, 1)
        path = tmp_path / "tiny.yaml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def runs(edit):
    """Expand the edited ladder into its runs by id."""

    def make(*changes: tuple[str, str]):
        path = edit(*changes)
        return {run.id: run for run in expand(load_ladder(path), path)}

    return make
