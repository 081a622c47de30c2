"""What a run asks of its data before it trains: every byte, its vocabulary and domains, enough of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from stepladder.data.errors import DataError
from stepladder.data.manifest import parse
from stepladder.data.prepare import prepare
from stepladder.record.result import Result
from stepladder.record.spec import RunSpec
from stepladder.training.run import train

MakeRun = Callable[..., RunSpec]


def test_shards_that_were_touched_are_not_trained_on(
    make_run: MakeRun, small_corpus: Path, tmp_path: Path
) -> None:
    shutil.copytree(small_corpus.parent, tmp_path / "data")
    tokens = tmp_path / "data/web.train.tokens"
    content = bytearray(tokens.read_bytes())
    content[100] ^= 1
    tokens.write_bytes(content)
    with pytest.raises(DataError, match=r"web.train.tokens is not what .* describes.*prepare the data again"):
        train(make_run(), tmp_path / "data/manifest.json", tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_result_says_how_often_the_text_was_read(make_run: MakeRun, tmp_path: Path) -> None:
    manifest = tiny_corpus(tmp_path)
    corpus = sum(parse(manifest).training_tokens.values())
    steps = 2 * corpus // (4 * 16) + 1
    spec = make_run(steps=steps)
    path = train(spec, manifest, tmp_path / "run", device="cpu", max_epochs=2.5)
    result = Result.read(path)
    assert (result.training_tokens, result.passes) == (corpus, spec.recipe.tokens / corpus)
    (warning,) = [text for text in result.warnings if "reads its training text" in text]
    assert "it reads its training text 2." in warning
    assert result.row()["passes"] == result.passes
    told = json.loads(path.read_text())
    del told["passes"], told["training_tokens"], told["content_sha256"]
    path.write_text(json.dumps(told))
    before = Result.read(path)
    assert before.passes is None
    assert {"passes", "training_tokens"}.isdisjoint(before.model_dump())


def tiny_corpus(folder: Path) -> Path:
    """Manifest of two domains of 16 short texts each, as bytes."""
    for domain in ("code", "web"):
        for number in range(16):
            (folder / f"{domain}{number}.txt").write_text(f"{domain} {number} " + "abc" * number)
    domains = {domain: [str(folder / f"{domain}*.txt")] for domain in ("code", "web")}
    return prepare({"kind": "text", "domains": domains}, {"kind": "byte"}, 0.2, folder / "data")


@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        (
            {"max_epochs": 0.01},
            r"it would read its training text .* data.max_epochs is 0.01: bring more text",
        ),
        ({"vocab_size": 512}, r"tokens of a vocabulary of 256, and .* is of 512"),
        ({"domains": {"web": 0.5, "prose": 0.5}}, r"no domain 'prose', .* there are: code, web"),
        (
            {"data": {"max_validation_tokens": 10}, "whole": True},
            r"domain \w+ has [\d,]+ held-out tokens .* is 10: .*Raise it to \d+ or more",
        ),
    ],
)
def test_data_that_are_not_for_the_run_are_refused_before_it_begins(
    make_run: MakeRun, small_corpus: Path, tmp_path: Path, how: dict, complaint: str
) -> None:
    spec = make_run(**{"vocab_size": how["vocab_size"]} if "vocab_size" in how else {})
    changes = how.get("data", {}) | ({"domain_weights": how["domains"]} if "domains" in how else {})
    spec = spec.model_copy(update={"data": spec.data.model_copy(update=changes)})
    limit = how.get("max_epochs", 4.0)
    with pytest.raises(DataError, match=complaint):
        train(spec, small_corpus, tmp_path / "run", device="cpu", max_epochs=limit, whole="whole" in how)
    assert not (tmp_path / "run").exists()
