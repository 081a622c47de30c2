"""Files as people have them become the items that lm-evaluation-harness makes of them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from stepladder.ladder.kinds import part_settings
from stepladder.record.items import Item, ItemError, checked
from stepladder.record.kinds import available, load


def write(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(kind: str, path: Path, **settings) -> list[Item]:
    _, config = part_settings("tasks", kind, {"path": str(path)} | settings)
    return list(checked(load("tasks", kind).items(config, lambda: ()), str(path)))


HELLASWAG = {
    "ind": 24,
    "activity_label": "Roof removal",
    "ctx_a": "A man is sitting on a roof. [header] Look",
    "ctx_b": "he",
    "endings": ["is [step] using wrap.", "starts pulling up roofing."],
    "label": 1,
}


def test_hellaswag(tmp_path: Path) -> None:
    (item,) = read("hellaswag", write(tmp_path / "h.jsonl", HELLASWAG))
    assert item == Item(
        "24",
        "Roof removal: A man is sitting on a roof. Look He",
        (" is using wrap.", " starts pulling up roofing."),
        1,
    )


def test_hellaswag_of_the_hub_has_labels_of_text(tmp_path: Path) -> None:
    pd.DataFrame([HELLASWAG | {"label": "0"}]).to_parquet(tmp_path / "h.parquet")
    (item,) = read("hellaswag", tmp_path / "h.parquet")
    assert item.gold == 0


ARC_HUB = {
    "id": "Mercury_1",
    "question": "Why?",
    "choices": {"text": ["because", "so"], "label": ["A", "B"]},
    "answerKey": "B",
}
ARC_PAPER = {
    "id": "Mercury_1",
    "question": {
        "stem": "Why?",
        "choices": [{"text": "because", "label": "A"}, {"text": "so", "label": "B"}],
    },
    "answerKey": "B",
}


@pytest.mark.parametrize("row", [ARC_HUB, ARC_PAPER])
def test_arc(tmp_path: Path, row: dict) -> None:
    (item,) = read("arc", write(tmp_path / "a.jsonl", row))
    assert item == Item("Mercury_1", "Question: Why?\nAnswer:", (" because", " so"), 1)


def test_arc_as_parquet(tmp_path: Path) -> None:
    pd.DataFrame([ARC_HUB]).to_parquet(tmp_path / "a.parquet")
    assert read("arc", tmp_path / "a.parquet") == read("arc", write(tmp_path / "a.jsonl", ARC_HUB))


def test_piqa_with_labels_apart(tmp_path: Path) -> None:
    row = {"goal": "To boil", "sol1": "heat it", "sol2": "cool it"}
    (tmp_path / "labels.lst").write_text("1\n")
    (item,) = read("piqa", write(tmp_path / "p.jsonl", row), labels_path=str(tmp_path / "labels.lst"))
    assert item == Item("1", "Question: To boil\nAnswer:", (" heat it", " cool it"), 1)
    assert read("piqa", write(tmp_path / "q.jsonl", row | {"label": 0}))[0].gold == 0


def test_fewer_labels_than_items_are_an_error(tmp_path: Path) -> None:
    row = {"goal": "g", "sol1": "a", "sol2": "b"}
    (tmp_path / "l.lst").write_text("1\n")
    with pytest.raises(ItemError, match=r"l\.lst: has fewer labels"):
        read("piqa", write(tmp_path / "p.jsonl", row, row), labels_path=str(tmp_path / "l.lst"))


def test_labels_apart_are_of_one_file(tmp_path: Path) -> None:
    row = {"goal": "g", "sol1": "a", "sol2": "b"}
    path = write(tmp_path / "p.jsonl", row, row, row)
    (tmp_path / "l.lst").write_text("1\n0\n1\n")
    found = read("piqa", path, labels_path=str(tmp_path / "l.lst"), shots=1)
    assert [item.gold for item in found] == [0, 1]
    with pytest.raises(ValueError, match="give both files a field label"):
        read("piqa", path, labels_path=str(tmp_path / "l.lst"), shots=1, shots_path=str(path))
    (tmp_path / "l.lst").write_text("1\n0\n1\n0\n")
    with pytest.raises(ItemError, match=r"l\.lst: has 1 labels more than"):
        read("piqa", path, labels_path=str(tmp_path / "l.lst"))


def test_sciq(tmp_path: Path) -> None:
    row = {"question": "Who?", "support": " Text.", "correct_answer": "me"}
    row |= {f"distractor{n}": f"wrong{n}" for n in (1, 2, 3)}
    (item,) = read("sciq", write(tmp_path / "s.jsonl", row))
    assert item.context == "Text.\nQuestion: Who?\nAnswer:"
    assert item.answer == " me"
    assert len(item.choices) == 4


MMLU = {"question": "2+2? ", "choices": ["1", "2", "3", "4"], "answer": 3}


def test_mmlu(tmp_path: Path) -> None:
    (cloze,) = read("mmlu", write(tmp_path / "m.jsonl", MMLU))
    assert cloze == Item("1", "Question: 2+2?\nAnswer:", (" 1", " 2", " 3", " 4"), 3)
    (letters,) = read("mmlu", tmp_path / "m.jsonl", ask_for="letters")
    assert letters == Item("1", "2+2?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:", (" A", " B", " C", " D"), 3)


def test_mmlu_in_the_papers_csv(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text('"2+2? ",1,2,3,4,D\n')
    assert read("mmlu", tmp_path / "m.csv") == read("mmlu", write(tmp_path / "m.jsonl", MMLU))


def test_lambada(tmp_path: Path) -> None:
    (item,) = read("lambada", write(tmp_path / "l.jsonl", {"text": "the last word"}))
    assert item == Item("1", "the last", (" word",), 0)
    with pytest.raises(ItemError, match=r"row 1 is no item .* single word"):
        read("lambada", write(tmp_path / "l.jsonl", {"text": "alone"}))


def test_items_of_your_own(tmp_path: Path) -> None:
    path = write(
        tmp_path / "i.jsonl",
        {"id": "a", "context": "2+2=", "choices": ["4", "5"], "gold": 0},
        {"id": "b", "context": "Paris is in", "gold": " France"},
    )
    assert read("items", path) == [
        Item("a", "2+2=", ("4", "5"), 0),
        Item("b", "Paris is in", (" France",), 0),
    ]


def test_text(tmp_path: Path) -> None:
    assert read("text", write(tmp_path / "t.jsonl", {"body": "abc"}), field="body") == [
        Item("1", "", ("abc",), 0)
    ]
    (tmp_path / "t.txt").write_text("whole\nfile")
    assert read("text", tmp_path / "t.txt") == [Item("1", "", ("whole\nfile",), 0)]


def test_a_table_with_a_mark_of_its_byte_order(tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_bytes("context,gold\nä, b\n".encode("utf-8-sig"))
    assert read("items", tmp_path / "i.csv") == [Item("1", "ä", (" b",), 0)]


def test_compressed_and_as_a_list(tmp_path: Path) -> None:
    rows = [{"text": "a b"}, {"text": "c d"}]
    with gzip.open(tmp_path / "l.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "l.json").write_text(json.dumps(rows))
    assert read("lambada", tmp_path / "l.jsonl.gz") == read("lambada", tmp_path / "l.json")


def test_examples_stand_in_front_and_are_no_items(tmp_path: Path) -> None:
    rows = [{"id": str(n), "context": f"Q{n}", "gold": f" A{n}"} for n in range(4)]
    path = write(tmp_path / "i.jsonl", *rows)
    found = read("items", path, shots=2)
    assert [item.id for item in found] == ["2", "3"]
    assert found[0].context == "Q0 A0\n\nQ1 A1\n\nQ2"
    apart = write(tmp_path / "shots.jsonl", {"context": "S", "gold": " s"})
    found = read("items", path, shots=1, shots_path=str(apart), limit=1)
    assert found == [Item("0", "S s\n\nQ0", (" A0",), 0)]
    with pytest.raises(ItemError, match=r"1 examples, and shots is 3"):
        read("items", path, shots=3, shots_path=str(apart))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"context": "?"}, r"i\.jsonl: row 1 has no field 'gold'; it has: context"),
        ({"context": "?", "choices": ["a"], "gold": 1}, r"item 1: its answer is 1 of 1 choices"),
        ({"context": "?", "choices": [], "gold": 0}, r"item 1: its answer is 0 of 0 choices"),
        ({"context": "?", "choices": ["a", ""], "gold": 0}, r"item 1: choice 1 is empty"),
        ({"context": "?", "choices": ["a", "a"], "gold": 0}, r"item 1: the choice 'a' is there 2 times"),
        ({"context": "?", "choices": ["a", "b"], "gold": "a"}, r"row 1 is no item of this kind: gold is 'a'"),
        ({"context": "?", "choices": ["a", "b"], "gold": -1}, r"its answer is -1 of 2 choices"),
        ({"context": None, "gold": "a"}, r"i\.jsonl: item 1: its context is None, a NoneType"),
        ({"context": "?", "choices": ["a", 5], "gold": 0}, r"item 1: its choice 1 is 5, a int"),
        ({"context": "\ud800", "gold": "a"}, r"item 1: its context is no Unicode text"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_item(tmp_path: Path, row: dict, message: str) -> None:
    with pytest.raises(ItemError, match=message):
        read("items", write(tmp_path / "i.jsonl", row))


def test_an_id_that_is_there_twice_is_an_error(tmp_path: Path) -> None:
    row = {"id": "x", "context": "", "gold": "g"}
    with pytest.raises(ItemError, match="the id 'x' is there twice"):
        read("items", write(tmp_path / "i.jsonl", row, row))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"context": "", "gold": "g"}\nno\n', r"a\.jsonl:2: no JSON"),
        ("a.jsonl", b"[1]\n", r"a\.jsonl:1: a list, not an object"),
        ("a.parquet", b"no", r"a\.parquet: no Parquet"),
        ("a.csv", b"\xff\xfe", r"a\.csv: no UTF-8"),
        ("a.csv", b"context,gold\na,b,c\n", r"a\.csv: row 2 has 3 cells, and the first has 2"),
        ("a.csv", b'context,gold\n"' + b"a" * 200_000 + b'",b\n', r"a\.csv: no CSV: field larger"),
        ("a.docx", b"", r"what its ending '\.docx' means is not known"),
    ],
)
def test_files_that_are_none(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ItemError, match=message):
        read("items", tmp_path / name)


def test_a_missing_file_is_said_with_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ItemError, match="no such file"):
        read("items", tmp_path / "none.jsonl")


def test_every_kind_has_settings_a_format_and_items() -> None:
    for kind in available("tasks"):
        module = load("tasks", kind)
        assert module.Config.__doc__
        assert module.FORMAT
        assert callable(module.items)
