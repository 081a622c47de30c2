"""Training text of one source, held-out text of another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from documents import make_texts, write_jsonl

from stepladder.data.batches import Corpus
from stepladder.data.manifest import File, Manifest, read, verify
from stepladder.data.prepare import prepare

BYTE = {"kind": "byte"}


def source(folder: Path, **texts: list[str]) -> dict:
    """A source of these documents, by domain."""
    number = len(list(folder.glob("*.jsonl")))
    paths = {name: write_jsonl(folder / f"{number}-{name}.jsonl", found) for name, found in texts.items()}
    return {"kind": "jsonl", "domains": {name: [str(path)] for name, path in paths.items()}}


def scored_tokens(manifest: Manifest) -> File:
    return manifest.domains["web"]["validation"].token_file


def shard(manifest: Path, domain: str, split: str) -> list[bytes]:
    flat = (manifest.parent / f"{domain}.{split}.tokens").read_bytes()
    return flat.split(b"\xff")[:-1]


def test_no_document_is_in_both(tmp_path: Path) -> None:
    """Of text that both sources have, what one holds out the other does not train on."""
    common, mine, theirs = make_texts(1, 80), make_texts(2, 60), make_texts(3, 60)
    own, scored = source(tmp_path, web=common + mine), source(tmp_path, web=common, law=theirs)
    base = prepare(scored, BYTE, 0.2, tmp_path / "base")
    corpus = prepare(own, BYTE, 0.2, tmp_path / "corpus", held_out=scored)
    for domain in ("web", "law"):
        assert shard(corpus, domain, "validation") == shard(base, domain, "validation")
    train = shard(corpus, "web", "train")
    assert set(train) < {text.encode() for text in common + mine}
    assert set(train).isdisjoint(shard(base, "web", "validation"))
    alone = prepare(own, BYTE, 0.2, tmp_path / "alone")
    assert train == shard(alone, "web", "train")
    assert (verify(corpus).held_out or {})["domains"] == scored["domains"]
    assert shard(corpus, "law", "train") == []


def test_a_corpus_is_read_without_the_domains_that_it_only_scores(tmp_path: Path) -> None:
    own, scored = source(tmp_path, web=make_texts(2, 90)), source(tmp_path, law=make_texts(3, 60))
    manifest = prepare(own, BYTE, 0.2, tmp_path / "corpus", held_out=scored)
    opened = Corpus.open(manifest, 500)
    assert opened.orders[0].ring == read(manifest).domains["web"]["train"].tokens
    assert len(opened.validation("law").tokens) == 500
    assert read(manifest).mix == {"web": 1.0, "law": 0.0}
    assert np.fromfile(manifest.parent / "web.validation.tokens", np.uint8).size == 0


def test_the_tokenizer_is_that_of_the_held_out_text(tmp_path: Path) -> None:
    """So that losses per token can be compared."""
    own, scored = source(tmp_path, web=make_texts(2, 80)), source(tmp_path, web=make_texts(1, 80))
    bpe = {"kind": "bpe", "vocab_size": 300}
    here = read(prepare(scored, bpe, 0.2, tmp_path / "base"))
    there = read(prepare(own, bpe, 0.2, tmp_path / "corpus", held_out=scored))
    assert scored_tokens(here) == scored_tokens(there)
    assert here.other_files[1:] == there.other_files[1:]  # all but the list of source files


def test_a_filter_leaves_the_held_out_text_what_it_is(tmp_path: Path) -> None:
    texts = [*make_texts(1, 80), *("=" * (200 + number) for number in range(60))]
    whole = source(tmp_path, web=texts)
    bpe = {"kind": "bpe", "vocab_size": 300}
    base = read(prepare(whole, bpe, 0.2, tmp_path / "base"))
    clean = read(prepare(whole, bpe, 0.2, tmp_path / "clean", drop_degenerate=True, held_out=whole))
    assert scored_tokens(clean) == scored_tokens(base)
    assert clean.domains["web"]["train"].documents < base.domains["web"]["train"].documents
