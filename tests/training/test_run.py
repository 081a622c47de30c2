"""Whole runs: what they write, and that nothing that happens to them changes the numbers."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import random
import re
import signal
import time
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from stepladder.data.batches import Corpus
from stepladder.record.cost import parameters
from stepladder.record.events import read_events, read_steps
from stepladder.record.spec import RunSpec
from stepladder.schema.execution import EngineOptions
from stepladder.training import run as lifecycle
from stepladder.training.evaluate import evaluate, windows
from stepladder.training.feed import places, read_batch
from stepladder.training.meter import NonFiniteLoss
from stepladder.training.run import train
from stepladder.training.stop import EXIT_STOPPED
from stepladder.training.trainer import Trainer

VARIANTS = [("dense", "baseline"), ("moe", "tst")]


def run(spec: RunSpec, manifest: Path, folder: Path, **settings) -> dict:
    return json.loads(train(spec, manifest, folder, device="cpu", **settings).read_text())


@pytest.fixture(scope="module")
def finished(make_run, small_corpus, tmp_path_factory):
    """Variant to (spec, result, folder) of an undisturbed run."""
    runs = {}
    for architecture, recipe in VARIANTS:
        spec = make_run(architecture, recipe, steps=200)
        folder = tmp_path_factory.mktemp(spec.variant)
        runs[architecture, recipe] = (spec, run(spec, small_corpus, folder), folder)
    return runs


def test_result_and_events(finished):
    for spec, result, folder in finished.values():
        assert (
            result["spec_sha256"]
            == spec.sha256
            == RunSpec.from_json((folder / "spec.json").read_text()).sha256
        )
        assert result["parameters"] == parameters(spec.model).as_dict()
        assert result["steps"] == 200
        assert result["loss"] == pytest.approx(
            0.75 * result["losses"]["code"] + 0.25 * result["losses"]["web"]
        )
        assert result["loss"] < math.log(256) - 1  # it has learnt something
        assert result["mfu"] is None
        assert any("no peak FLOP/s" in warning for warning in result["warnings"])
        steps = read_steps(folder / "events.jsonl")
        assert [record["step"] for record in steps] == list(range(200))
        assert steps[-1]["tokens"] == result["tokens"] == spec.recipe.tokens
        assert steps[-1]["flops"] == result["flops"]
        seconds = result["seconds"]
        assert seconds["total"] == pytest.approx(
            sum(v for k, v in seconds.items() if k not in ("step", "total"))
        )
        assert (steps[0]["router_entropy"] is not None) == (spec.model.architecture == "moe")
        events = [record["event"] for record in read_events(folder / "events.jsonl")]
        assert events[0] == "start"
        assert events[-1] == "end"
        assert events.count("phase") == len(spec.recipe.phases)


def test_bags_of_one_are_the_baseline_bit_for_bit(make_run, small_corpus, tmp_path):
    """A whole run in two phases of bags of one gives the bits of the one-phase baseline."""
    baseline, tst = (make_run("dense", recipe, steps=20, bag_size=1) for recipe in ("baseline", "tst"))
    assert [len(spec.recipe.phases) for spec in (baseline, tst)] == [1, 2]
    results = [run(spec, small_corpus, tmp_path / spec.variant) for spec in (baseline, tst)]
    assert results[0]["losses"] == results[1]["losses"]


def test_batches_are_consecutive_bags(make_run, small_corpus):
    """Targets are the inputs one bag further on; positions and tokens add up over the phases."""
    spec = make_run(recipe="tst", steps=8, bag_size=4)
    corpus = Corpus.open(small_corpus, 500)
    found = list(places(spec, corpus.orders))
    for place in found:
        inputs, targets = read_batch(corpus, spec, place, torch.device("cpu"))
        assert inputs.shape == targets.shape == (4, 16, place.phase.bag_size)
        assert torch.equal(inputs[:, 1:], targets[:, :-1])
    assert [place.first for place in found] == [True, False, True] + 5 * [False]
    assert (found[-1].tokens, found[-1].positions) == (spec.recipe.tokens, spec.recipe.positions)
    assert list(places(spec, corpus.orders, start=3)) == found[3:]


def in_background(spec: RunSpec, manifest: Path, folder: Path) -> multiprocessing.Process:
    """The run in a process of its own, forked from one that has imported torch already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["stepladder.training.run"])
    settings = {"device": "cpu", "options": EngineOptions(checkpoint_seconds=0.02), "log_seconds": 0.01}
    process = context.Process(target=train, args=(spec, manifest, folder), kwargs=settings)
    process.start()
    return process


@pytest.mark.parametrize("variant", VARIANTS)
def test_killed_at_random_moments_gives_the_same_bits(finished, variant, small_corpus, tmp_path):
    """Until it has been killed four times: in start-up, training, saving or evaluation."""
    spec, undisturbed, _ = finished[variant]
    draw = random.Random(variant[0])
    killed = 0
    while killed < 4:
        begun = count_begun(tmp_path)
        process = in_background(spec, small_corpus, tmp_path)
        while count_begun(tmp_path) == begun:
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.3))
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
    result = run(spec, small_corpus, tmp_path)
    assert result["losses"] == undisturbed["losses"]
    assert result["loss"] == undisturbed["loss"]
    assert result["bits_per_byte_by_domain"] == undisturbed["bits_per_byte_by_domain"]
    assert len(read_steps(tmp_path / "events.jsonl")) == 200


def count_begun(folder: Path) -> int:
    """Attempts that have logged their beginning."""
    log = folder / "events.jsonl"
    events = [record["event"] for record in read_events(log)] if log.exists() else []
    return events.count("start") + events.count("resume")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_asked_to_stop_it_saves_and_says_so(make_run, small_corpus, tmp_path, number):
    spec = make_run(steps=100_000)
    process = in_background(spec, small_corpus, tmp_path)
    while count_begun(tmp_path) == 0:
        time.sleep(0.005)
    os.kill(process.pid, number)
    process.join(10)
    assert process.exitcode == EXIT_STOPPED
    last = read_events(tmp_path / "events.jsonl")[-1]
    assert (last["event"], last["signal"]) == ("stopped", number.name)
    assert (tmp_path / "checkpoints" / f"step-{last['step']:06d}" / "manifest.json").exists()


def test_broken_newest_checkpoint_costs_only_time(finished, small_corpus, tmp_path):
    spec, undisturbed, _ = finished["moe", "tst"]
    process = in_background(spec, small_corpus, tmp_path)
    while len(list(tmp_path.glob("checkpoints/step-*"))) < 2:
        time.sleep(0.005)
    process.kill()
    process.join()
    newest = max(tmp_path.glob("checkpoints/step-*/*.distcp"))
    newest.write_bytes(newest.read_bytes()[:-8])
    result = run(spec, small_corpus, tmp_path)
    assert result["losses"] == undisturbed["losses"]
    assert result["restarts"] == 1
    assert any("checkpoint not used" in warning for warning in result["warnings"])


def test_changed_spec_starts_afresh_and_keeps_the_old_files(make_run, small_corpus, tmp_path):
    old, new = make_run(steps=5), make_run(steps=5, learning_rate=0.02)
    run(old, small_corpus, tmp_path)
    result = run(new, small_corpus, tmp_path)
    aside = tmp_path / f"superseded-{old.sha256[:12]}"
    assert json.loads((aside / "result.json").read_text())["spec_sha256"] == old.sha256
    assert result["spec_sha256"] == new.sha256
    assert result["restarts"] == 0
    assert any("spec or the data changed" in warning for warning in result["warnings"])


def test_an_ended_run_is_trained_again(make_run, small_corpus, tmp_path):
    spec = make_run(steps=5)
    first, second = run(spec, small_corpus, tmp_path), run(spec, small_corpus, tmp_path)
    assert second["losses"] == first["losses"]
    assert second["restarts"] == 0
    events = [record["event"] for record in read_events(tmp_path / "events.jsonl")]
    assert events.count("start") == 2
    assert "resume" not in events


def test_non_finite_loss_names_step_and_documents(make_run, small_corpus, tmp_path):
    with pytest.raises(NonFiniteLoss, match=r"at step \d+ \(next_token\).*code/\d+\.txt"):
        train(make_run(learning_rate=1e30), small_corpus, tmp_path, device="cpu")
    assert not (tmp_path / "result.json").exists()


def test_a_busy_machine_is_said_once_and_fills_no_log(make_run, small_corpus, tmp_path, monkeypatch):
    """Every fifth step is held up for 0.1 s, which is most of the time of steps of a few milliseconds."""
    take_step = lifecycle.take_step

    def held_up(trainer, batches, meter, place):
        if place.step >= 100 and place.step % 5 == 0:
            time.sleep(0.1)
        take_step(trainer, batches, meter, place)

    monkeypatch.setattr(lifecycle, "take_step", held_up)
    result = run(make_run(steps=200), small_corpus, tmp_path, log_seconds=0.05)
    (warning,) = (text for text in result["warnings"] if "slow steps" in text)
    assert re.match(r"over [2-9]0 % of the seconds in steps were lost to slow steps", warning)
    assert result["health"]["slow_steps"] >= 15
    said = [line for line in (tmp_path / "log.txt").read_text().splitlines() if "slow step" in line]
    assert sum("warning: " in line for line in said) == 1
    one_by_one, later = ([line for line in said if word in line] for word in ("  slow step ", "more slow"))
    assert len(one_by_one) == 3 and later
    counted = sum(int(line.split("and ")[1].split()[0]) for line in later)
    assert counted + 3 == result["health"]["slow_steps"]


def test_evaluation_scores_every_token_once_and_changes_nothing(make_run, small_corpus):
    spec = make_run()
    trainer = Trainer(spec, torch.device("cpu"))
    before = [parameter.clone() for parameter in trainer.model.parameters()]
    random_state = torch.get_rng_state()
    held_out = Corpus.open(small_corpus, 83).validation("code")
    score = evaluate(trainer, held_out)
    tokens = torch.from_numpy(held_out.tokens)
    total = 0.0
    for start in range(0, 82, 16):  # five windows of 16 and one of 2
        window = tokens[start : start + 17]
        logits = trainer.model(F.embedding(window[None, :-1], trainer.model.embedding))[0][0]
        total += F.cross_entropy(logits, window[1:], reduction="sum").item()
    assert score.nats_per_token == pytest.approx(total / 82, rel=1e-6)
    assert score.bits_per_byte == pytest.approx(total / 82 * 83 / held_out.bytes / math.log(2), rel=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True))
    assert torch.equal(random_state, torch.get_rng_state())


def test_windows_cover_short_texts():
    (inputs, targets), *rest = windows(torch.arange(5), sequence_length=16, rows=2)
    assert (inputs.tolist(), targets.tolist(), rest) == ([[0, 1, 2, 3]], [[1, 2, 3, 4]], [])


@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_low_precision_learns(make_run, small_corpus, tmp_path, precision):
    """About as much as fp32."""
    spec, exact = (make_run("dense", steps=60, precision=p) for p in (precision, "fp32"))
    found = run(spec, small_corpus, tmp_path / precision)["loss"]
    assert found == pytest.approx(run(exact, small_corpus, tmp_path / "fp32")["loss"], rel=0.02)
    assert found < math.log(256) - 0.5


def test_scores_stay_with_the_training_that_they_are_of(make_run, small_corpus, tmp_path):
    """Trained again they lie where they lay; of another spec they go aside with what they are of."""
    spec = make_run(steps=4)
    run(spec, small_corpus, tmp_path)
    scores = tmp_path / "evaluations" / "calls.json"
    scores.parent.mkdir()
    scores.write_text("{}")
    assert not any("misplaced" in warning for warning in run(spec, small_corpus, tmp_path)["warnings"])
    assert scores.exists()
    run(make_run(steps=5), small_corpus, tmp_path)
    assert not scores.exists()
    assert (tmp_path / f"superseded-{spec.sha256[:12]}" / "evaluations" / "calls.json").exists()
