"""Runs whose attention stays within documents: from shards to a result that is checked."""

from __future__ import annotations

import json

import numpy as np
import pytest

from stepladder.data import document_lengths
from stepladder.data.batches import Corpus
from stepladder.data.document_lengths import same_document
from stepladder.record.check import WrongResult, check_result
from stepladder.record.cost import training_flops
from stepladder.record.events import read_log
from stepladder.record.result import Result
from stepladder.record.spec import RunSpec
from stepladder.training.accounting import Throughput, summarise_mfu
from stepladder.training.device import Hardware
from stepladder.training.run import train


def within(spec: RunSpec) -> RunSpec:
    return spec.model_copy(update={"data": spec.data.model_copy(update={"document_attention": "within"})})


@pytest.mark.parametrize(
    "architecture, recipe", [("dense", "baseline"), ("sliding", "tst"), ("moe", "multi_token")]
)
def test_a_run_says_what_was_left_to_compute(make_run, small_corpus, tmp_path, architecture, recipe):
    spec = within(make_run(architecture, recipe, steps=12))
    path = train(spec, small_corpus, tmp_path, device="cpu")
    result, records = Result.read(path), read_log(tmp_path / "events.jsonl").records
    check_result(result, path, spec, records)
    told = result.within_documents
    assert 0.5 < told.attention_share < 1
    assert told.flops < result.flops == training_flops(spec.model, spec.recipe)
    for changes in (None, told.model_copy(update={"flops": result.flops})):
        edited = result.model_copy(update={"within_documents": changes})
        with pytest.raises(WrongResult, match="within_documents"):
            check_result(edited, path, spec, records)


def test_other_runs_say_nothing_of_it_and_train_otherwise(make_run, small_corpus, tmp_path):
    spec = make_run(steps=12)
    losses = []
    for name, one in (("across", spec), ("within", within(spec))):
        content = json.loads(train(one, small_corpus, tmp_path / name, device="cpu").read_text())
        losses.append(content["loss"])
        assert ("within_documents" in content) == (name == "within")
        assert ("document_attention" in json.loads(one.to_json())["data"]) == (name == "within")
    assert losses[0] != losses[1]


def test_distances_are_of_the_shards(small_corpus, monkeypatch):
    """Against the tokens themselves, and whatever the number of documents looked at together."""
    found = same_document(small_corpus, 600).chance
    monkeypatch.setattr(document_lengths, "CHUNK", 7)
    assert (same_document(small_corpus, 600).chance == found).all()
    corpus = Corpus.open(small_corpus, 500)
    folder = small_corpus.parent
    shards = [folder / f"{domain}.train.tokens" for domain in corpus.manifest.domains]
    text = [t for shard in shards for t in np.fromfile(shard, corpus.manifest.dtype).tolist()]
    number, numbers = 0, []
    for token in text:
        numbers.append(number)
        number += token == corpus.manifest.end_of_document
    for k in (0, 1, 40, 300, 599):
        together = sum(a == b for a, b in zip(numbers, numbers[k:], strict=False))
        assert found[k] == pytest.approx(together / len(text))


def test_mfu_counts_what_the_mask_lets_through(make_run, small_corpus):
    spec, hardware = within(make_run()), Hardware("cpu", "any", "fp32", 1e9, "stated")
    same, phase = same_document(small_corpus, 16), spec.recipe.phases[0]
    counted, causal = (Throughput(spec, hardware, 1, s).of_step(phase, 0.5)["mfu"] for s in (same, None))
    assert counted < causal
    steps = [{"phase": "next_token", "step_seconds": 0.5, "accelerators": 1, "mfu": counted}]
    mfu = summarise_mfu(spec, hardware, steps, same)
    assert mfu.convention == "causal, within documents"
    palm = training_flops(spec.model, spec.recipe, "palm") / spec.recipe.steps
    assert mfu.palm_median == pytest.approx(palm / 0.5 / 1e9)
