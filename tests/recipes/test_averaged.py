"""The mean of weights along the last steps: which, how much each counts, and that a kill changes no bit."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stepladder.evaluation.weights import read_weights
from stepladder.recipes.averaged import Config, snapshots
from stepladder.record.spec import RunSpec
from stepladder.schema.execution import EngineOptions
from stepladder.training import run as lifecycle
from stepladder.training.run import train


def options(**changes) -> dict:
    return Config.model_validate(changes).model_dump()


def weights_of(moves: dict[int, float]) -> dict[int, float]:
    """How much each snapshot counts in the end."""
    found: dict[int, float] = {}
    for step, move in moves.items():
        found = {earlier: weight * (1 - move) for earlier, weight in found.items()} | {step: move}
    return found


@given(steps=st.integers(1, 5000), share=st.floats(0.001, 1), count=st.integers(1, 100))
def test_equal_weights_along_the_last_steps(steps: int, share: float, count: int) -> None:
    moves = snapshots(options(share=share, snapshots=count), steps)
    assert max(moves) == steps and min(moves) > steps - max(1, round(share * steps))
    assert len(moves) == min(count, max(1, round(share * steps)))
    assert list(weights_of(moves).values()) == pytest.approx([1 / len(moves)] * len(moves))


def test_exponential_weights_halve_over_the_half_life() -> None:
    moves = snapshots(options(share=1.0, snapshots=8, weights="exponential", half_life=0.25), 80)
    found = list(weights_of(moves).values())
    assert sum(found) == pytest.approx(1)
    assert [b / a for a, b in zip(found, found[2:], strict=False)] == pytest.approx([2.0] * 6)


@pytest.fixture
def spec(make_run) -> RunSpec:
    made = make_run("moe", "averaged", steps=40)
    recipe = made.recipe.model_copy(update={"options": options(share=0.5, snapshots=5)})
    schedule = made.schedule.model_copy(update={"decay_steps": 0})
    return made.model_copy(update={"recipe": recipe, "schedule": schedule})


def run(spec: RunSpec, manifest: Path, folder: Path, **settings) -> dict:
    return json.loads(train(spec, manifest, folder, device="cpu", **settings).read_text())


def test_the_model_is_the_mean_of_weights(spec, small_corpus, tmp_path, make_run) -> None:
    """The same steps by the baseline at constant rate, each snapshot's checkpoint read and averaged by
    hand."""
    steps = [24, 28, 32, 36, 40]
    assert sorted(snapshots(spec.recipe.options, 40)) == steps
    run(spec, small_corpus, tmp_path / "averaged")
    plain = make_run("moe", "baseline", steps=40).model_copy(update={"schedule": spec.schedule})
    every = EngineOptions(checkpoint_seconds=1e-3, keep_checkpoints=50)
    run(plain, small_corpus, tmp_path / "plain", options=every)
    states = [read_weights(tmp_path / "plain", step).model.state_dict() for step in steps]
    found = read_weights(tmp_path / "averaged").model.state_dict()
    for name, weight in found.items():
        torch.testing.assert_close(weight, torch.stack([state[name] for state in states]).mean(0))
    assert any(not torch.equal(weight, states[-1][name]) for name, weight in found.items())


def test_a_stop_in_the_middle_changes_no_bit(spec, small_corpus, tmp_path, monkeypatch) -> None:
    whole = run(spec, small_corpus, tmp_path / "whole")
    step = lifecycle.take_step

    def stopped(trainer, batches, meter, place) -> None:
        step(trainer, batches, meter, place)
        if place.step == 30:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(lifecycle, "take_step", stopped)
        run(spec, small_corpus, tmp_path / "stopped")
    again = run(spec, small_corpus, tmp_path / "stopped")
    assert again["losses"] == whole["losses"]


def test_it_goes_into_a_ladder_without_cooldown(tmp_path) -> None:
    from stepladder.ladder.expand import expand
    from stepladder.ladder.load import load_ladder
    from stepladder.ladder.read import LadderError

    text = Path("configs/ladders/smoke.yaml").read_text()
    arms = "  baseline: {}\n  averaged: {share: 0.3}\n"
    path = tmp_path / "smoke.yaml"
    path.write_text(text.replace("  baseline: {}\n", arms))
    runs = {run.recipe.name: run for run in expand(load_ladder(path), path)}
    assert runs["averaged"].schedule.decay_steps == 0 < runs["baseline"].schedule.decay_steps
    assert runs["averaged"].recipe.steps == runs["baseline"].recipe.steps
    path.write_text(path.read_text().replace("optimizer:\n", "optimizer:\n  trunk: true\n"))
    with pytest.raises(LadderError, match=r"recipes\.averaged: it averages .* optimizer\.trunk to false"):
        load_ladder(path)
