"""Held-out loss along a run: which steps, what is seen, and that nothing of it touches the run."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stepladder.data.batches import Corpus
from stepladder.record.curve import Curve, look_steps, looks_of
from stepladder.record.events import read_events
from stepladder.record.spec import RunSpec
from stepladder.schema.execution import EngineOptions
from stepladder.training.evaluate import evaluate, target_loss
from stepladder.training.run import train
from stepladder.training.trainer import Trainer

CURVE = Curve(looks=5, tokens=60, max_share=1.0)


def run(spec: RunSpec, manifest: Path, folder: Path, **settings) -> dict:
    return json.loads(train(spec, manifest, folder, device="cpu", **settings).read_text())


@pytest.mark.parametrize(("architecture", "recipe"), [("dense", "baseline"), ("moe", "tst")])
def test_looking_changes_no_bit(make_run, small_corpus, tmp_path, architecture, recipe) -> None:
    spec = make_run(architecture, recipe, steps=40)
    plain = run(spec, small_corpus, tmp_path / "plain")
    looked = run(spec, small_corpus, tmp_path / "looked", curve=CURVE)
    assert looked["losses"] == plain["losses"]
    assert looked["spec_sha256"] == plain["spec_sha256"]
    took = sum(look["seconds"] for look in looks_of(read_events(tmp_path / "looked" / "events.jsonl")))
    assert 0 < took < looked["seconds"]["evaluation"]


def test_what_is_seen(make_run, small_corpus, tmp_path) -> None:
    spec = make_run("dense", "tst", steps=40)
    run(spec, small_corpus, tmp_path, curve=CURVE, options=EngineOptions(keep_checkpoints=5))
    looks = looks_of(read_events(tmp_path / "events.jsonl"))
    assert {look["step"] for look in looks} == look_steps(spec, CURVE)
    for look in looks:
        assert look["phase"] == ("superposed" if look["step"] <= 10 else "next_token")
        bags = 4 * min(look["step"], 10) + max(0, look["step"] - 10)
        assert look["tokens"] == bags * 4 * spec.model.sequence_length
        assert look["held_out_tokens"] == 120
    assert looks[0]["loss"] == pytest.approx(math.log(256), abs=0.7), (
        "next-token loss in a superposed phase, too"
    )
    assert looks[-1]["loss"] < looks[0]["loss"]


def test_a_look_before_any_learning_is_the_loss_of_the_first_weights(
    make_run, small_corpus, tmp_path
) -> None:
    spec = make_run(steps=40, learning_rate=1e-9)
    run(spec, small_corpus, tmp_path, curve=CURVE)
    first = looks_of(read_events(tmp_path / "events.jsonl"))[0]
    trainer, corpus = Trainer(spec, torch.device("cpu")), Corpus.open(small_corpus, CURVE.tokens)
    losses = {domain: evaluate(trainer, corpus.validation(domain)) for domain in spec.data.domain_weights}
    expected = target_loss(losses, spec.data.domain_weights)
    assert first["loss"] == pytest.approx(expected.nats_per_token, rel=1e-5)
    assert first["bits_per_byte"] == pytest.approx(expected.bits_per_byte, rel=1e-5)


def test_looks_that_a_kill_threw_away_count_once() -> None:
    def look(step: int, loss: float) -> dict:
        return {"event": "look", "time": 1.0, "step": step, "loss": loss}

    records = [
        {"event": "start", "time": 0.0},
        look(1, 5.0),
        look(8, 4.0),
        {"event": "resume", "time": 2.0, "step": 6},
        look(8, 4.1),
        look(20, 3.0),
    ]
    assert [(one["step"], one["loss"]) for one in looks_of(records)] == [(1, 5.0), (8, 4.1), (20, 3.0)]


@given(
    steps=st.integers(1, 5000), looks=st.integers(0, 40), tokens=st.integers(2, 500), share=st.floats(0, 1)
)
def test_looks_are_within_their_share_and_before_the_end(make_run, steps, looks, tokens, share) -> None:
    spec = make_run(steps=steps)
    found = look_steps(spec, Curve(looks, tokens, share))
    assert len(found) <= looks
    assert all(1 <= step < steps for step in found)
    assert len(found) * tokens * 2 <= share * 3 * spec.recipe.positions


def test_looks_are_evenly_spaced_in_the_logarithm(make_run) -> None:
    spec = make_run(steps=10_000)
    assert sorted(look_steps(spec, Curve(4, 2, 1.0))) == [100, 316, 1000, 3162]


@pytest.mark.parametrize("text", ["{}", "[1]", '{"looks": 3, "tokens": 1, "max_share": 0.1}', "no"])
def test_what_is_no_curve_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write looks, tokens"):
        Curve.of_json(text)


def test_a_curve_is_read_as_it_was_written() -> None:
    assert Curve.of_json(CURVE.to_json()) == CURVE
    assert Curve(0, 5, 0.5).to_json() == ""
    assert Curve.of_json("").looks == 0
