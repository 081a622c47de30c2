"""How often runs read their text: in the plan where it is known, and never part of a spec."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.data.manifest import training_tokens
from stepladder.data.prepare import prepare
from stepladder.ladder.climb import Climb
from stepladder.ladder.load import LadderError
from stepladder.record.passes import passes_over, repeats, too_often
from stepladder.record.plan import Plan
from stepladder.report.sections.plan import passes_sentence, rungs_table
from stepladder.schema.accelerators import accelerators
from stepladder.schema.data import MAX_EPOCHS

Edit = Callable[..., Path]


def plan_of(path: Path) -> Plan:
    return Climb.open(str(path)).price(accelerators("configs/hardware.yaml"))


@given(st.integers(1, 10**12), st.integers(1, 10**12), st.floats(0.1, 100))
def test_the_warning_begins_above_once_and_the_refusal_above_the_limit(
    tokens: int, corpus: int, limit: float
) -> None:
    read = passes_over(tokens, None, {"web": corpus // 3, "code": corpus - corpus // 3})
    assert read.most == tokens / corpus
    assert (repeats(read) is not None) == (tokens > corpus)
    assert (too_often(read, limit) is not None) == (read.most > limit)


def test_a_superposed_arm_repeats_first(edit: Edit) -> None:
    plan = plan_of(edit())
    baseline, superposed = (
        next(r for r in plan.runs if r.variant == f"dense-{a}") for a in ("baseline", "tst")
    )
    known = plan.with_passes({None: {"code": 2 * baseline.tokens - 5, "prose": 5}})
    by_id = {run.id: run.passes for run in known.runs}
    assert by_id[baseline.id] == 0.5
    assert by_id[superposed.id] == superposed.tokens / (2 * baseline.tokens) > 0.8
    most = max(plan.runs, key=lambda run: run.tokens)
    assert known.repeats is not None and most.id in known.repeats


def test_what_is_not_known_is_said_to_be(edit: Edit) -> None:
    plan = plan_of(edit())
    assert {run.passes for run in plan.runs} == {None}
    assert plan.with_passes({None: {"code": 10}}).with_passes({}) == plan
    assert (plan.repeats, plan.over_epochs) == (None, None)
    assert "when the data are prepared" in passes_sentence(plan)
    columns = [
        [column.title for column in rungs_table(one).columns]
        for one in (plan, plan.with_passes({None: {"code": 10}}))
    ]
    assert ["Passes" in titles for titles in columns] == [False, True]


@pytest.mark.parametrize("limit", [None, 2, 8.5])
def test_the_limit_is_four_unless_the_ladder_says_another(edit: Edit, limit: float | None) -> None:
    line = "  tokenizer: {kind: byte}\n"
    plan = plan_of(edit((line, line + (f"  max_epochs: {limit}\n" if limit else ""))))
    most = max(run.tokens for run in plan.runs)
    allowed = limit or MAX_EPOCHS
    assert plan.with_passes({None: {"code": int(most / allowed) + 1}}).over_epochs is None
    refused = plan.with_passes({None: {"code": int(most / allowed) - 1}})
    assert refused.over_epochs is not None and f"data.max_epochs is {allowed:g}" in refused.over_epochs
    assert (
        passes_sentence(plan.with_passes({None: {"code": most}}))
        == "No run reads its training text more than once."
    )
    assert "read their training text more than once" in passes_sentence(
        plan.with_passes({None: {"code": most - 1}})
    )


@pytest.mark.parametrize("value", ["0", "-1", ".inf", ".nan", "many"])
def test_impossible_limits_are_refused(edit: Edit, value: str) -> None:
    line = "  tokenizer: {kind: byte}\n"
    with pytest.raises(LadderError, match="max_epochs"):
        Climb.open(str(edit((line, f"{line}  max_epochs: {value}\n"))))


def test_the_limit_is_no_part_of_specs_or_data(edit: Edit) -> None:
    line = "  tokenizer: {kind: byte}\n"
    plain, limited = Climb.open(str(edit())), Climb.open(str(edit((line, line + "  max_epochs: 9\n"))))
    assert plain.runs == limited.runs
    assert plain.corpora == limited.corpora
    assert "max_epochs" not in next(iter(limited.runs.values())).to_json()
    assert plain.digest != limited.digest  # the plan says what will be refused


def test_tokens_count_only_of_data_of_these_settings(edit: Edit, tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number}.txt").write_text(f"text {number}")
    source = f'{{kind: text, domains: {{code: ["{tmp_path}/?.txt"], prose: ["{tmp_path}/??.txt"]}}}}'
    changes = [
        ("{kind: python_stdlib}", source),
        ("{kind: byte}", "{kind: byte}\n  validation_fraction: 0.4"),
    ]
    ladder = Climb.open(str(edit(*changes))).ladder
    manifest = tmp_path / "data/manifest.json"
    assert training_tokens(manifest, ladder.data) is None
    data = ladder.data
    prepare(data.source.model_dump(mode="json"), data.tokenizer.model_dump(mode="json"), 0.4, manifest.parent)
    shards = [json.loads(manifest.read_text())["domains"][name]["train"] for name in ("code", "prose")]
    assert training_tokens(manifest, data) == {
        name: shard["tokens"] for name, shard in zip(("code", "prose"), shards, strict=True)
    }
    for change in ({"validation_fraction": 0.3}, {"degenerate": "drop"}):
        assert training_tokens(manifest, data.model_copy(update=change)) is None
    manifest.write_text("{")
    assert training_tokens(manifest, data) is None
