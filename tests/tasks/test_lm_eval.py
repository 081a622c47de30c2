"""Tasks of lm-evaluation-harness, read from their YAML."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stepladder.ladder.evaluation import task_files
from stepladder.ladder.kinds import part_settings
from stepladder.record.items import Item, ItemError, checked
from stepladder.record.kinds import load

ROWS = [
    {"q": "one?", "options": ["a", "b"], "right": 1, "text": "first document"},
    {"q": "two?", "options": ["c", "d"], "right": 0, "text": "second document"},
    {"q": "three?", "options": ["e", "f"], "right": 0, "text": "third document"},
]


def task(folder: Path, yaml: str, rows: list[dict] = ROWS) -> list[Item]:
    data = folder / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "task.yaml"
    path.write_text(f"task: t\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {data}}}}}\n" + yaml)
    _, config = part_settings("tasks", "lm_eval", {"path": str(path)})
    return list(checked(load("tasks", "lm_eval").items(config, lambda: ()), str(path)))


CHOICE = """
test_split: test
output_type: multiple_choice
doc_to_text: "Q: {{q}}\\nA:"
doc_to_choice: options
doc_to_target: right
"""


def test_a_multiple_choice(tmp_path: Path) -> None:
    assert task(tmp_path, CHOICE)[0] == Item("0", "Q: one?\nA:", (" a", " b"), 1)


@pytest.mark.parametrize(
    ("line", "choices"),
    [
        ('doc_to_choice: "{{[options[1], options[0]]}}"', (" b", " a")),
        ('doc_to_choice: ["yes {{q}}", "no"]', (" yes one?", " no")),
        ("doc_to_choice: {x: 'X', y: 'Y'}", (" X", " Y")),
    ],
)
def test_choices_are_written_in_many_ways(tmp_path: Path, line: str, choices: tuple[str, ...]) -> None:
    assert task(tmp_path, CHOICE.replace("doc_to_choice: options", line))[0].choices == choices


def test_the_target_may_be_the_answer_itself(tmp_path: Path) -> None:
    yaml = CHOICE.replace("doc_to_target: right", 'doc_to_target: "{{options[right]}}"')
    assert [item.gold for item in task(tmp_path, yaml)] == [1, 0, 0]


def test_delimiters_description_and_examples(tmp_path: Path) -> None:
    yaml = CHOICE + (
        'description: "Answer.\\n"\nnum_fewshot: 1\nfewshot_config: {sampler: first_n}\n'
        'target_delimiter: ""\nfewshot_delimiter: "\\n"\n'
    )
    found = task(tmp_path, yaml)
    assert [item.id for item in found] == ["0", "1"]  # the first one is the example
    assert found[0] == Item("0", "Answer.\nQ: one?\nA:b\nQ: two?\nA:", ("c", "d"), 0)


def test_likelihoods_of_gold_answers_and_of_text(tmp_path: Path) -> None:
    gold = 'test_split: test\noutput_type: loglikelihood\ndoc_to_text: q\ndoc_to_target: "{{options[0]}}"\n'
    assert task(tmp_path, gold)[0] == Item("0", "one?", (" a",), 0)
    text = 'test_split: test\noutput_type: loglikelihood_rolling\ndoc_to_text: ""\ndoc_to_target: text\n'
    assert task(tmp_path, text)[0] == Item("0", "", ("first document",), 0)


def test_a_file_may_include_another(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        "output_type: multiple_choice\ndoc_to_choice: options\ndoc_to_target: right\n"
    )
    found = task(tmp_path, "include: base.yaml\ntest_split: test\ndoc_to_text: q\n")
    assert found[0] == Item("0", "one?", (" a", " b"), 1)


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        (CHOICE.replace("multiple_choice", "generate_until"), "output_type: generate_until is not scored"),
        (
            CHOICE.replace("doc_to_target: right", "doc_to_target: !function utils.gold"),
            r"yaml:\d+: `!function utils",
        ),
        (CHOICE + "num_fewshot: 2\n", "sampler default: examples would be drawn"),
        (CHOICE.replace("test_split: test", "test_split: dev"), "data_files has no split 'dev'; it has test"),
        (CHOICE.replace("{{q}}", "{{question}}"), "'question' is undefined"),
        (CHOICE.replace("doc_to_target: right", "doc_to_target: q"), "item 0 of split test"),
        (CHOICE + "process_docs: utils.process\n", "process_docs is a Python function"),
        (CHOICE + "gen_prefix: 'So'\n", "gen_prefix is not read"),
        (CHOICE + "include: task.yaml\n", "includes itself"),
        ("[", "no YAML"),
    ],
)
def test_what_cannot_be_scored_is_refused(tmp_path: Path, yaml: str, message: str) -> None:
    with pytest.raises(ItemError, match=message):
        task(tmp_path, yaml)


def test_templates_do_not_reach_into_python(tmp_path: Path) -> None:
    yaml = CHOICE.replace("{{q}}", "{{ q.__class__.__mro__ }}")
    with pytest.raises(ItemError, match="unsafe"):
        task(tmp_path, yaml)


def test_digits_of_a_column_are_an_answer_and_those_of_a_template_a_number(tmp_path: Path) -> None:
    rows = [{"q": "1+2?", "options": ["1", "2", "3", "4"], "right": "3"}]
    assert task(tmp_path, CHOICE, rows)[0].answer == " 3"
    made = CHOICE.replace("doc_to_target: right", 'doc_to_target: "{{right}}"')
    assert task(tmp_path, made, rows)[0].answer == " 4"
    assert task(tmp_path, CHOICE.replace("doc_to_target: right", "doc_to_target: 1"), rows)[0].answer == " 2"


def test_a_description_is_a_template(tmp_path: Path) -> None:
    assert task(tmp_path, CHOICE + 'description: "About {{q}} "\n')[0].context == "About one? Q: one?\nA:"


def test_all_that_it_is_made_from_are_its_files(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(CHOICE)
    task(tmp_path, "include: base.yaml\n")
    found = task_files("t", {"kind": "lm_eval", "path": str(tmp_path / "task.yaml")})
    assert [Path(path).name for path in found] == ["task.yaml", "base.yaml", "data.jsonl"]
