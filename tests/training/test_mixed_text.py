"""A run that mixes domains: the same bits after a kill, and each rank its share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from stepladder.data.batches import Corpus
from stepladder.data.errors import DataError
from stepladder.record.result import Result
from stepladder.record.spec import MixtureStage, RunSpec
from stepladder.training.distributed import World
from stepladder.training.feed import places, read_batch
from stepladder.training.run import train

CPU = torch.device("cpu")
MakeRun = Callable[..., RunSpec]


def mixed(spec: RunSpec, *stages: tuple[int, float]) -> RunSpec:
    """The run with stages of (steps, share of web)."""
    mixture = tuple(MixtureStage(steps=n, shares={"web": w, "code": 1 - w}) for n, w in stages)
    return spec.model_copy(update={"mixture": mixture})


def test_stages_and_phases_cut_the_run(make_run: MakeRun, small_corpus: Path) -> None:
    spec = mixed(make_run(recipe="tst", steps=12, bag_size=4), (5, 0.75), (7, 0.25))
    corpus = Corpus.open(small_corpus, 500, ("web", "code"))
    found = list(places(spec, corpus.orders))
    assert [place.step for place in found if place.first] == [0, 3]
    assert (found[-1].tokens, found[-1].positions) == (spec.recipe.tokens, spec.recipe.positions)
    assert list(places(spec, corpus.orders, start=4)) == found[4:]
    rings = [Counter(r for r, _ in place.windows.starts(corpus.orders, 0)) for place in found]
    assert rings == 5 * [Counter({0: 3, 1: 1})] + 7 * [Counter({0: 1, 1: 3})]
    for place in found:
        shares = [read_batch(corpus, spec, place, CPU, World(rank, 2, rank)) for rank in (0, 1)]
        for whole, *parts in zip(read_batch(corpus, spec, place, CPU), *shares, strict=True):
            assert torch.equal(whole, torch.cat(parts))


def test_a_mixed_run_says_what_it_read(make_run: MakeRun, small_corpus: Path, tmp_path: Path) -> None:
    spec = mixed(make_run(steps=12), (12, 0.25))
    result = Result.read(train(spec, small_corpus, tmp_path / "run", device="cpu"))
    assert result.passes_by_domain is not None
    assert result.passes == max(result.passes_by_domain.values())
    natural = Result.read(train(make_run(steps=12), small_corpus, tmp_path / "natural", device="cpu"))
    assert natural.passes_by_domain is None
    assert natural.losses != result.losses
    assert "passes_by_domain" not in (tmp_path / "natural/result.json").read_text()


def test_a_mixture_of_what_is_not_there_is_refused(
    make_run: MakeRun, small_corpus: Path, tmp_path: Path
) -> None:
    spec = make_run().model_copy(update={"mixture": (MixtureStage(steps=12, shares={"law": 1.0}),)})
    with pytest.raises(DataError, match=r"no domain 'law', which .* mixes in; there are: code, web"):
        train(spec, small_corpus, tmp_path / "run", device="cpu")
    few = mixed(make_run(steps=12), (12, 0.5))
    with pytest.raises(DataError, match=r"would read domain code .*max_epochs is 0.01: give code less"):
        train(few, small_corpus, tmp_path / "run", device="cpu", max_epochs={"web": 9.0, "code": 0.01})
