"""Sources in parts: how they are cut, and that the shards are those of one process whatever the jobs."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from pathlib import Path

import pytest
from documents import make_texts, write_jsonl
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from stepladder.data.errors import DataError
from stepladder.data.manifest import read, verify
from stepladder.data.parts import (
    PARTS,
    TOKENIZER,
    parts_of,
    read_part,
    tokenize_part,
    train_on_parts,
)
from stepladder.data.prepare import prepare_shards
from stepladder.data.request import Request

BYTE, BPE = {"kind": "byte"}, {"kind": "bpe", "vocab_size": 300}
PART_BYTES = 12_000


def quiet(text: str) -> None:
    """What is told of the progress."""


def pretrained(folder: Path) -> dict:
    """A published tokenizer, as far as the code can tell."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=["<end>"],
        show_progress=False,
    )
    inner.train_from_iterator(make_texts(9, 50), trainer)
    inner.save(str(folder / "published.json"))
    path = str(folder / "published.json")
    return {"kind": "pretrained", "path": path, "vocab_size": 300, "end_of_document": "<end>"}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of two domains, some of whose documents are the same, and one of another source; named from their
    folder, since the cuts follow from the names."""
    monkeypatch.chdir(tmp_path)
    common = make_texts(7, 10)
    for number in range(9):
        write_jsonl(tmp_path / f"web/{number}.jsonl", [*make_texts(number, 12), *common[number : number + 2]])
    for number in range(3):
        write_jsonl(tmp_path / f"code/{number}.jsonl", [*make_texts(20 + number, 8), common[number]])
    write_jsonl(tmp_path / "scored.jsonl", [*make_texts(40, 60), *common])
    return tmp_path


def request(tokenizer: dict = BYTE, held_out: bool = False) -> Request:
    domains = {name: [f"{name}/*.jsonl"] for name in ("web", "code")}
    scored = {"kind": "jsonl", "domains": {"web": ["scored.jsonl"]}}
    return Request.of(
        {"kind": "jsonl", "domains": domains},
        tokenizer,
        0.2,
        held_out=scored if held_out else None,
        part_bytes=PART_BYTES,
    )


def prepare_in_parts(asked: Request, out: Path, seed: int) -> Path:
    """As the workflow does, the jobs of a step in random order."""
    names = [part.name for part in parts_of(asked)]
    order = random.Random(seed)
    for name in order.sample(names, len(names)):
        read_part(asked, name, out / PARTS / f"{name}.json", quiet)
    if asked.tokenizer.kind == "bpe":
        train_on_parts(asked, out / PARTS / TOKENIZER)
        for name in order.sample(names, len(names)):
            tokenize_part(asked, name, out / PARTS / f"{name}.tokens.json", quiet)
    return prepare_shards(asked, out, quiet, gather=True)


@pytest.mark.parametrize("held_out", [False, True], ids=["one source", "two sources"])
@pytest.mark.parametrize("kind", ["byte", "bpe", "pretrained"])
def test_shards_are_those_of_one_process(files: Path, kind: str, held_out: bool) -> None:
    tokenizer = {"byte": BYTE, "bpe": BPE}.get(kind) or pretrained(files)
    asked = request(tokenizer, held_out)
    assert len(parts_of(asked)) > 4
    whole = verify(prepare_shards(asked, files / "whole", quiet))
    assert whole.duplicates
    for seed in (0, 1):
        assert verify(prepare_in_parts(asked, files / f"parts{seed}", seed)) == whole


def test_a_file_that_is_added_changes_one_part(files: Path) -> None:
    asked = request()
    prepare_in_parts(asked, files / "data", 0)
    before = {part.name for part in parts_of(asked)}
    write_jsonl(files / "web/45.jsonl", make_texts(45, 12))
    added = {part.name for part in parts_of(asked)} - before
    assert 1 <= len(added) <= 2  # its own, and where it cuts another in two the second half of that
    for name in added:
        read_part(asked, name, files / "data" / PARTS / f"{name}.json", quiet)
    gathered = prepare_shards(asked, files / "data", quiet, gather=True)
    assert verify(gathered) == verify(prepare_shards(asked, files / "whole", quiet))
    there = {path.name for path in (files / "data" / PARTS).iterdir()}
    assert there == {f"{part.name}.json" for part in parts_of(asked)}


def test_a_file_that_is_changed_is_read_again(files: Path) -> None:
    asked = request()
    before = {part.name for part in parts_of(asked)}
    path = files / "web/3.jsonl"
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(1, 1))
    assert len({part.name for part in parts_of(asked)} - before) == 1


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=40), st.integers(1, 4000))
def test_parts_hold_every_file_once_in_order(sizes: list[int], part_bytes: int) -> None:
    from stepladder.data.parts import _Found, _groups

    found = [_Found(f"/a/{number:03}", size, 0) for number, size in enumerate(sizes)]
    groups = list(_groups(found, part_bytes))
    assert [file for group in groups for file in group] == found
    assert all(groups)
    assert all(group[-1].ends_part(part_bytes) for group in groups[:-1])
    assert not any(file.ends_part(part_bytes) for group in groups for file in group[:-1])


def test_small_sources_and_the_library_are_no_parts(files: Path) -> None:
    source = {"kind": "jsonl", "domains": {"web": ["web/*.jsonl"]}}
    assert parts_of(Request.of(source, BYTE, 0.2)) == []
    assert parts_of(Request.of({"kind": "python_stdlib"}, BYTE, 0.2, part_bytes=1)) == []


def test_a_bad_file_is_named_while_the_others_go_on(files: Path) -> None:
    (files / "web/5.jsonl").write_text("{oops\n")
    asked = request()
    refused = []
    for part in parts_of(asked):
        try:
            read_part(asked, part.name, files / "data" / PARTS / f"{part.name}.json", quiet)
        except DataError as error:
            refused.append(str(error))
    assert len(refused) == 1 and "web/5.jsonl:1: not valid JSON" in refused[0]
    with pytest.raises(DataError, match=r"is missing: .*web/5.jsonl.* were not read"):
        prepare_shards(asked, files / "data", quiet, gather=True)
    with pytest.raises(DataError, match="has no part both-web-0: its files have changed"):
        read_part(asked, "both-web-0", files / "data" / PARTS / "both-web-0.json", quiet)


def test_a_killed_job_loses_its_part_only(files: Path) -> None:
    asked, out = request(BPE), files / "data"
    whole = verify(prepare_shards(asked, files / "whole", quiet))
    first, *_ = parts_of(asked)
    record = out / PARTS / f"{first.name}.json"
    draw = random.Random(0)
    for _ in range(5):
        child = multiprocessing.get_context("fork").Process(
            target=read_part, args=(asked, first.name, record, quiet)
        )
        child.start()
        time.sleep(draw.uniform(0, 0.02))
        child.kill()
        child.join()
    assert verify(prepare_in_parts(asked, out, 0)) == whole


def test_an_edited_record_is_refused(files: Path) -> None:
    asked, out = request(), files / "data"
    prepare_in_parts(asked, out, 0)
    record = next((out / PARTS).glob("both-web-*"))
    record.write_text(record.read_text().replace("web", "law"))
    with pytest.raises(ValueError, match=r"changed since it was written.*run snakemake again"):
        prepare_shards(asked, out, quiet, gather=True)
    assert read(out / "manifest.json")
