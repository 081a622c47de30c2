"""Corpora as an axis of the ladder: names, shards, what each run reads and is scored on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from stepladder.ladder.climb import Climb
from stepladder.ladder.load import LadderError
from stepladder.record.cost import parameters
from stepladder.record.spec import RunSpec

Edit = Callable[..., Path]
OTHER = '{kind: text, domains: {web: ["/text/*.txt"]}}'
CORPORA = f"""corpora:
  natural: {{}}
  prose: {{mixture: {{code: 1, prose: 3}}}}
  clean: {{degenerate: drop}}
  web: {{source: {OTHER}}}
  "2web": {{source: {OTHER}, mixture: {{web: 1}}}}
"""


def climb_of(edit: Edit, corpora: str = CORPORA, baseline: str = "dense-baseline-natural") -> Climb:
    return Climb.open(
        str(edit(("recipes:", f"{corpora}recipes:"), ("baseline: dense-baseline", f"baseline: {baseline}")))
    )


def test_variants_are_named_by_their_corpus(edit: Edit) -> None:
    climb = climb_of(edit)
    names = ("natural", "prose", "clean", "web", "2web")
    kinds = [f"{a}-{r}" for a in ("dense", "moe") for r in ("baseline", "tst")]
    labels = [f"{kind}-{name}" for kind in kinds for name in names]
    assert climb.ladder.variants == labels
    assert list(dict.fromkeys(run.variant for run in climb.runs.values())) == labels
    plain = Climb.open(str(edit()))
    assert len(climb.runs) == 5 * len(plain.runs)
    for run in climb.runs.values():
        assert RunSpec.from_json(run.to_json()) == run
        assert run.variant.endswith(f"-{run.data.corpus}")


def test_corpora_of_the_same_shards_share_them(edit: Edit) -> None:
    climb = climb_of(edit)
    prepared = {run.data.corpus: run.data.prepared for run in climb.runs.values()}
    assert prepared == {"natural": None, "prose": None, "clean": "clean", "web": "web", "2web": "web"}
    assert list(climb.corpora) == [None, "clean", "web"]
    manifests = {run.data.corpus: climb.manifest(run.id) for run in climb.runs.values()}
    assert manifests["prose"] == manifests["natural"] == "results/tiny/data/manifest.json"
    assert manifests["2web"] == manifests["web"] == "results/tiny/corpora/web/manifest.json"
    told = {name: json.loads(text) for name, text in climb.corpora.items()}
    assert told["clean"]["degenerate"] == "drop" and told["clean"]["held_out_degenerate"] == "count"
    assert "held_out" not in told[None]
    assert told["web"]["held_out"] == {"kind": "python_stdlib"}


def test_all_are_scored_on_the_same_text(edit: Edit) -> None:
    runs = climb_of(edit).runs.values()
    assert len({json.dumps(run.data.domain_weights) for run in runs}) == 1
    scored = {run.data.corpus: run.data.held_out or run.data.source for run in runs}
    assert set(map(str, scored.values())) == {"{'kind': 'python_stdlib'}"}


def test_a_tokenizer_of_its_own_makes_shards_and_a_vocabulary(edit: Edit) -> None:
    corpora = """corpora:
  natural: {}
  bpe: {tokenizer: {kind: bpe, vocab_size: 400}}
  bpe_prose: {tokenizer: {kind: bpe, vocab_size: 400}, mixture: {code: 1, prose: 3}}
"""
    decided = "metric: bits_per_byte\n  baseline: dense-baseline-natural"
    changes = (
        ("recipes:", f"{corpora}recipes:"),
        ("baseline: dense-baseline", decided),
    )
    climb = Climb.open(str(edit(*changes)))
    found = {run.data.corpus: (run.model.vocab_size, run.data.prepared) for run in climb.runs.values()}
    of_any = SimpleNamespace(run=next(iter(climb.runs)))
    assert climb.resources()["held_out"](of_any) == "whole"
    assert climb_of(edit).resources()["held_out"](of_any) == ""
    assert found == {"natural": (256, None), "bpe": (400, "bpe"), "bpe_prose": (400, "bpe")}
    asked = {name: json.loads(text) for name, text in climb.corpora.items()}
    assert asked["bpe"]["tokenizer"]["kind"] == "bpe" and "held_out" not in asked["bpe"]
    sizes = {run.data.corpus: parameters(run.model).active_non_embedding for run in climb.runs.values()}
    assert len(set(sizes.values())) == 1, "tokenizers are compared at equal models"

    for metric in ("target_loss", None):
        named = "" if metric is None else f"metric: {metric}\n  "
        with pytest.raises(LadderError, match=r"analysis\.metric.*different tokenizers.*bits_per_byte"):
            Climb.open(str(edit(changes[0], (changes[1][0], f"{named}baseline: dense-baseline-natural"))))
    with pytest.raises(LadderError, match=r"no held-out domain 'web' in data.domain_weights"):
        elsewhere = decided.replace("bits_per_byte", "domain:web")
        Climb.open(str(edit(changes[0], (changes[1][0], elsewhere))))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            (
                (
                    "source: {kind: python_stdlib}",
                    "source: {kind: megatron, domains: {code: [/a.bin], prose: [/b.bin]}}",
                ),
            ),
            "corpora.bpe.tokenizer.*holds tokens of data.tokenizer",
        ),
        (
            (
                (
                    "recipes:",
                    "sweep: {rungs: [d2], learning_rate_factors: [0.5, 1, 2], apply: none}\nrecipes:",
                ),
            ),
            "sweep: .*different tokenizers: sweep each in a ladder of its own",
        ),
    ],
)
def test_tokenizers_that_differ_go_with_less(
    edit: Edit, changes: tuple[tuple[str, str], ...], said: str
) -> None:
    other = "{kind: pretrained, path: /t.json, vocab_size: 400}"
    corpora = f"corpora: {{natural: {{}}, bpe: {{tokenizer: {other}}}}}\n"
    decided = "metric: bits_per_byte\n  baseline: dense-baseline-natural"
    axis = (("architectures:", f"{corpora}architectures:"), ("baseline: dense-baseline", decided))
    Climb.open(str(edit(*axis)))
    with pytest.raises(LadderError, match=said):
        Climb.open(str(edit(*axis, *changes)))


def test_an_axis_of_one_corpus_only_adds_its_name(edit: Edit) -> None:
    named = climb_of(edit, "corpora: {natural: {}}\n")
    plain = Climb.open(str(edit()))
    assert named.corpora == plain.corpora
    for run, other in zip(named.runs.values(), plain.runs.values(), strict=True):
        assert run.model_dump(exclude={"id", "variant", "data"}) == other.model_dump(
            exclude={"id", "variant", "data"}
        )
        assert "corpus" not in other.to_json()


@pytest.mark.parametrize(
    ("corpora", "baseline", "said"),
    [
        ("{a: {mixture: {web: 1}}}", "-a", r"corpora.a.mixture.*web: the source has no domain"),
        ("{a: {mixture: {code: 0}}}", "-a", "corpora.a.mixture: the weights sum to 0"),
        ("{a: {tokenizer: {kind: bpe, vocab_size: 3}}}", "-a", "corpora.a.tokenizer.*vocab_size"),
        ("{a: {}}", "", "no variant 'dense-baseline'; this ladder has: dense-baseline-a"),
        ("{a: {}, A: {}}", "-a", "differs in case alone"),
        ("{a b: {}}", "", "corpora"),
        ("[a]", "", "corpora"),
    ],
)
def test_what_cannot_be_is_refused(edit: Edit, corpora: str, baseline: str, said: str) -> None:
    with pytest.raises(LadderError, match=said):
        climb_of(edit, f"corpora: {corpora}\n", f"dense-baseline{baseline}")


def test_a_sweep_tries_rates_on_every_corpus(edit: Edit) -> None:
    sweep = "sweep: {rungs: [d2], learning_rate_factors: [0.5, 1, 2], apply: none}\n"
    path = edit(
        ("recipes:", f"{sweep}{CORPORA}recipes:"), ("baseline: dense-baseline", "baseline: dense-tst-web")
    )
    climb = Climb.open(str(path))
    swept = {run.spec.variant for run in climb.sweep.values()}
    assert swept == set(climb.ladder.variants)
