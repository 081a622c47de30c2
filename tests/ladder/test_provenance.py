"""Where text comes from: what may be said, what is refused, and what the plan tells of what is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from typer.testing import CliRunner

from stepladder.cli import app
from stepladder.ladder.climb import Climb
from stepladder.ladder.load import LadderError
from stepladder.ladder.provenance import is_told, provenance_notes, read_by_variants, shares
from stepladder.schema.accelerators import accelerators
from stepladder.schema.data import SourceConfig
from stepladder.schema.domains import Provenance

Edit = Callable[..., Path]
STDLIB = "source: {kind: python_stdlib}"
PLAIN = 'source: {kind: jsonl, domains: {code: ["a"], prose: ["b"]}}'
TOLD = (
    'source: {kind: jsonl, domains: {code: ["a"], prose: '
    '{paths: ["b"], licence: CC0-1.0, synthetic: yes, source: someone/maths, snapshot: 2026-06}}}'
)


def climb_of(edit: Edit, source: str, further: str = "") -> Climb:
    return Climb.open(str(edit((STDLIB, source + further))))


def test_what_is_said_determines_nothing(edit: Edit) -> None:
    told, plain = climb_of(edit, TOLD), climb_of(edit, PLAIN)
    assert [run.to_json() for run in told.runs.values()] == [run.to_json() for run in plain.runs.values()]
    assert told.corpora == plain.corpora  # nothing is prepared again
    assert plain.provenance == {None: "{}"}
    assert json.loads(told.provenance[None]) == {
        "prose": {
            "licence": "CC0-1.0",
            "synthetic": "yes",
            "source": "someone/maths",
            "snapshot": "2026-06",
        },
    }
    (corpus,) = plain.corpora.values()
    assert json.loads(corpus)["source"]["domains"] == {"code": ["a"], "prose": ["b"]}
    assert "forbid" not in corpus
    assert (is_told(told.ladder), is_told(plain.ladder)) == (True, False)


@pytest.mark.parametrize(
    ("source", "forbid", "said"),
    [
        (TOLD, "[synthetic]", "data.forbid keeps synthetic text out, and models wrote domain prose: remove"),
        (TOLD, "[unknown]", "not known whether models wrote it, as of domain code: say it"),
        (PLAIN, "[synthetic, unknown]", "as of domains code, prose: say it"),
        (TOLD, "[everything]", "forbid"),
        (TOLD.replace("yes", "maybe"), "[]", "synthetic"),
        (TOLD.replace("licence", "license"), "[]", "did you mean 'licence'"),
        (TOLD.replace('paths: ["b"], ', ""), "[]", "required key 'paths' is missing"),
    ],
)
def test_what_is_forbidden_or_misspelt_is_refused_by_check(
    edit: Edit, source: str, forbid: str, said: str
) -> None:
    path = edit((STDLIB, f"{source}\n  forbid: {forbid}"))
    with pytest.raises(LadderError, match=said):
        Climb.open(str(path))
    done = CliRunner().invoke(app, ["check", str(path)])
    assert done.exit_code == 1 and said in " ".join(done.output.split()) and "line " in done.output


def test_a_corpus_is_looked_at_as_well(edit: Edit) -> None:
    corpora = f"\ncorpora:\n  natural: {{}}\n  other: {{{TOLD}}}\n"
    path = edit((STDLIB, f"{STDLIB}\n  forbid: [synthetic]"), ("shape:", f"{corpora.strip()}\nshape:"))
    with pytest.raises(LadderError, match=r"corpora.other.source: .* models wrote domain prose"):
        Climb.open(str(path))


def test_what_is_allowed_is_allowed(edit: Edit) -> None:
    climb_of(edit, STDLIB, "\n  forbid: [synthetic, unknown]")
    climb_of(edit, TOLD.replace("yes", "no"), "\n  forbid: [synthetic]")


def test_tokens_with_a_bpe_of_their_own_are_refused_by_check(edit: Edit) -> None:
    source = 'source: {kind: tokens, domains: {code: ["a"], prose: ["b"]}}'
    assert climb_of(edit, source).runs
    path = edit((STDLIB, source), ("tokenizer: {kind: byte}", "tokenizer: {kind: bpe, vocab_size: 512}"))
    with pytest.raises(LadderError, match="no text that a BPE could be trained on: name the tokenizer"):
        Climb.open(str(path))


def test_the_plan_says_how_much_each_variant_reads(edit: Edit) -> None:
    climb = climb_of(edit, TOLD)
    plan = climb.price(accelerators(Path("configs/hardware.yaml")))
    assert provenance_notes(climb.ladder, plan, {}) == (
        "Text of code: synthetic or not is unknown; licence not said.",
        "Text of prose: synthetic; licence CC0-1.0; from someone/maths; snapshot 2026-06.",
        "Of the tokens read, by models: is known when the data are prepared: then plan again.",
    )
    (natural,) = read_by_variants(climb.ladder, plan, {None: {"code": 300, "prose": 100}})
    told = "dense-baseline, dense-tst, moe-baseline, moe-tst"
    assert natural == f"{told}: 25 % synthetic, 75 % unknown"
    mixed = climb_of(edit, TOLD, "\n  mixture: {code: 1, prose: 1}")
    plan = mixed.price(accelerators(Path("configs/hardware.yaml")))
    (sentence,) = read_by_variants(mixed.ladder, plan, {})
    assert sentence == f"{told}: 50 % synthetic, 50 % unknown"
    plain = climb_of(edit, PLAIN)
    assert provenance_notes(plain.ladder, plan, {}) == ()


CLASSES = st.sampled_from([None, "no", "yes", "unknown"])


@given(st.dictionaries(st.text("abc", min_size=1), st.tuples(st.floats(1e-3, 1e6), CLASSES), min_size=1))
def test_shares_sum_to_one_and_follow_the_tokens(domains: dict) -> None:
    provenance = {name: Provenance(synthetic=told) for name, (_, told) in domains.items()}
    found = shares({name: tokens for name, (tokens, _) in domains.items()}, provenance)
    assert sum(found.values()) == pytest.approx(1)
    total = sum(tokens for tokens, _ in domains.values())
    unknown = sum(tokens for tokens, told in domains.values() if told in (None, "unknown"))
    assert found["unknown"] == pytest.approx(unknown / total)


def test_a_bare_yes_is_a_word() -> None:
    for written, meant in ((True, "yes"), (False, "no"), ("unknown", "unknown")):
        source = {"kind": "text", "domains": {"a": {"paths": ["b"], "synthetic": written}}}
        found = TypeAdapter(SourceConfig).validate_json(json.dumps(source))
        assert found.provenance["a"].by_models == meant
