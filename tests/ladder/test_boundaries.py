"""`data.document_attention` in ladder files."""

import json
from types import SimpleNamespace

import pytest

from stepladder.ladder import boundaries
from stepladder.ladder.boundaries import boundary_notes
from stepladder.ladder.climb import Climb
from stepladder.ladder.expand import expand
from stepladder.ladder.load import load_ladder
from stepladder.ladder.read import LadderError

WITHIN = ("tokenizer: {kind: byte}", "tokenizer: {kind: byte}\n  document_attention: within")
ACROSS = ("tokenizer: {kind: byte}", "tokenizer: {kind: byte}\n  document_attention: across")


def test_the_default_is_not_in_specs(edit):
    plain, across, within = (
        [json.loads(run.to_json()) for run in expand(load_ladder(edit(*changes)))]
        for changes in ((), (ACROSS,), (WITHIN,))
    )
    assert plain == across
    for one, other in zip(plain, within, strict=True):
        assert other["data"].pop("document_attention") == "within"
        assert one == other  # steps, too: budgets count causal attention


def test_shards_are_the_same(edit):
    one, other = (Climb.open(str(edit(*changes))).corpora for changes in ((), (WITHIN,)))
    assert one == other


def test_the_plan_says_what_budgets_count(edit):
    assert "upper bound" in " ".join(boundary_notes(load_ladder(edit(WITHIN))))
    assert not list(boundary_notes(load_ladder(edit())))


def test_another_word_is_refused(edit):
    with pytest.raises(LadderError, match=r"document_attention.*inside"):
        load_ladder(edit((WITHIN[0], WITHIN[1].replace("within", "inside"))))


def test_a_recipe_that_knows_no_documents_is_refused(edit, monkeypatch):
    plain = SimpleNamespace(embed=lambda weight, tokens: None, loss=lambda *_, documents: None)
    monkeypatch.setattr(boundaries, "load", lambda kind, name: plain)
    with pytest.raises(LadderError, match=r"line \d+: recipes.tst: its embed knows nothing of documents"):
        load_ladder(edit(WITHIN))
    with pytest.raises(LadderError, match="no recipe 'tsk'"):
        load_ladder(edit(WITHIN, ("  tst:", "  tsk:")))
    load_ladder(edit())
