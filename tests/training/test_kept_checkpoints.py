"""Checkpoints that stay to be scored later."""

from __future__ import annotations

import json

import pytest

from stepladder.record.checkpoints import complete_newest_first, kept_steps, step_of
from stepladder.schema.execution import EngineOptions
from stepladder.training.run import train


@pytest.mark.parametrize(
    ("keep", "steps"),
    [
        ((), {99, 100}),
        (("end",), {99, 100}),
        (("phases",), {25, 99, 100}),
        (("log-spaced",), {1, 2, 3, 5, 8, 13, 22, 36, 60, 99, 100}),
    ],
)
def test_what_was_asked_for_stays(make_run, small_corpus, tmp_path, keep, steps) -> None:
    spec = make_run("dense", "tst", steps=100)
    options = EngineOptions(keep=keep, keep_checkpoints=2, checkpoint_seconds=1e-3)  # one after every step
    train(spec, small_corpus, tmp_path, device="cpu", options=options)
    there = {step_of(path) for path in complete_newest_first(tmp_path / "checkpoints")}
    assert there == steps
    assert kept_steps(spec, keep) <= there


def test_keeping_changes_no_bit(make_run, small_corpus, tmp_path) -> None:
    spec = make_run("moe", "tst", steps=30)
    found = []
    for keep in ((), ("phases", "log-spaced")):
        folder = tmp_path / f"keep{len(keep)}"
        path = train(spec, small_corpus, folder, device="cpu", options=EngineOptions(keep=keep))
        found.append(json.loads(path.read_text())["losses"])
    assert found[0] == found[1]
