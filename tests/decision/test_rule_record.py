"""The rule of the verdict as it was before the first result, and what becomes of later edits."""

import json

import pandas as pd
import pytest
from ladders import FLOPS, runs_table

from stepladder.decision.compare import compare
from stepladder.decision.comparison import Comparison
from stepladder.decision.fit import fit
from stepladder.decision.rule_record import CHANGED, UNRECORDED, RuleRecord, check_rule, record_rule
from stepladder.documents.document import DocumentError
from stepladder.report.sections.evidence import rule_changes_table, rule_sentence
from stepladder.report.sections.verdict import headline
from stepladder.schema.analysis import AnalysisConfig

CONFIG = AnalysisConfig(baseline="dense-baseline", bootstrap_draws=100)
EASIER = CONFIG.model_copy(update={"verdict": CONFIG.verdict.model_copy(update={"minimal_gain": 1.001})})
LATER = ["2099-01-01T00:00:00Z"]


def test_the_record_follows_the_ladder_file_until_there_is_a_result(tmp_path):
    path, result = tmp_path / "rule.json", tmp_path / "result.json"
    first = record_rule(path, CONFIG, [result])
    assert first.results_then == 0 and record_rule(path, CONFIG, [result]) == first
    assert record_rule(path, EASIER, [result]).settings["verdict"]["minimal_gain"] == 1.001
    result.write_text("{}")
    kept = record_rule(path, CONFIG, [result])
    assert kept == RuleRecord.read(path) and kept.settings["verdict"]["minimal_gain"] == 1.001


def test_a_rule_that_stands_has_no_mark(tmp_path):
    record = record_rule(tmp_path / "rule.json", CONFIG, [])
    found = check_rule(record, CONFIG, LATER)
    assert found.before and found.changes == () and found.mark is None


def test_an_edited_rule_is_marked_with_both_values(tmp_path):
    record = record_rule(tmp_path / "rule.json", CONFIG, [])
    found = check_rule(record, EASIER.model_copy(update={"references": ("moe",)}), LATER)
    assert found.mark == CHANGED
    told = {change.field: (change.then, change.now) for change in found.changes}
    assert told == {"verdict.minimal_gain": (1.02, 1.001), "references": ([], ["moe"])}


def test_a_rule_that_came_late_or_is_missing_is_marked(tmp_path):
    assert check_rule(None, CONFIG, LATER).mark == UNRECORDED
    (tmp_path / "result.json").write_text("{}")
    late = record_rule(tmp_path / "rule.json", CONFIG, [tmp_path / "result.json"])
    assert late.results_then == 1 and check_rule(late, CONFIG, LATER).mark == UNRECORDED
    early = record_rule(tmp_path / "other.json", CONFIG, [])
    assert check_rule(early, CONFIG, ["2020-01-01T00:00:00+00:00"]).mark == UNRECORDED


def test_an_edited_record_is_refused(tmp_path):
    record_rule(tmp_path / "rule.json", CONFIG, [])
    text = (tmp_path / "rule.json").read_text()
    (tmp_path / "rule.json").write_text(text.replace('"minimal_gain": 1.02', '"minimal_gain": 1.001'))
    with pytest.raises(DocumentError, match="changed since it was written"):
        record_rule(tmp_path / "rule.json", EASIER, [tmp_path / "rule.json"])


def test_the_mark_reaches_every_reader(tmp_path):
    runs: pd.DataFrame = runs_table({"dense-baseline": 1.0, "dense-tst": 1.3}, sigma=0.003, rungs=FLOPS)
    found = compare(runs, {axis: fit(runs, axis, EASIER) for axis in ("flops", "seconds")}, EASIER)
    check = check_rule(record_rule(tmp_path / "rule.json", CONFIG, []), EASIER, LATER)
    marked = found.model_copy(update={"rule_check": check})
    marked.write(tmp_path / "comparison.json")
    marked = Comparison.read(tmp_path / "comparison.json")
    assert CHANGED in headline(marked) and "changed after the first result" in rule_sentence(marked)
    assert rule_changes_table(marked).rows == (("verdict.minimal_gain", "1.02", "1.001"),)
    assert rule_changes_table(found) is None and "Mind" not in headline(found)


def test_a_record_without_its_digest_is_refused(tmp_path):
    record_rule(tmp_path / "rule.json", CONFIG, [])
    fields = json.loads((tmp_path / "rule.json").read_text())
    del fields["content_sha256"]
    (tmp_path / "rule.json").write_text(json.dumps(fields))
    with pytest.raises(DocumentError, match="content_sha256"):
        RuleRecord.read(tmp_path / "rule.json")


def test_a_setting_that_is_new_since_then_had_its_default(tmp_path):
    record = record_rule(tmp_path / "rule.json", CONFIG, [])
    settings = {name: value for name, value in record.settings.items() if name != "wanted_gain"}
    assert check_rule(record.model_copy(update={"settings": settings}), CONFIG, LATER).mark is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recorded_at": "yesterday"}, "recorded_at = 'yesterday'.*ISO 8601"),
        ({"results_then": -1}, "results_then = -1"),
    ],
)
def test_a_record_that_cannot_be_is_refused_by_field(tmp_path, changes, message):
    path = tmp_path / "rule.json"
    record_rule(path, CONFIG, []).model_copy(update=changes).write(path)
    with pytest.raises(DocumentError, match=rf"rule\.json: {message}.*restore it"):
        RuleRecord.read(path)
