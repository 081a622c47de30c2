"""result.json: what was written before types were, and what is written now."""

from __future__ import annotations

import json

import pytest
from golden import GOLDEN, a_result, golden

from stepladder.documents.document import DocumentError
from stepladder.record.events import read_events
from stepladder.record.result import Ended, Result

NAMES = ("dense", "moe", "branch", "segment")


def joined(fields: dict) -> dict:
    """Nested names joined by `_`, as columns were always made."""
    row = {}
    for key, value in fields.items():
        if isinstance(value, dict):
            prefix = {"losses": "loss", "bits_per_byte_by_domain": "bits_per_byte"}.get(key, key)
            row |= {f"{prefix}_{name}": inner for name, inner in joined(value).items()}
        else:
            row[key] = value
    return row


@pytest.mark.parametrize("name", NAMES)
def test_early_results_are_read_and_give_the_same_row(name):
    found = Result.read(GOLDEN / f"{name}.json")
    row = found.row()
    assert row == joined(golden(name))
    assert list(row) == list(joined(golden(name)))
    assert "schema_version" not in row


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_what_was_read(name, tmp_path):
    """Field for field and in their order; only the version is new."""
    found = Result.read(GOLDEN / f"{name}.json")
    found.write(tmp_path / "result.json")
    written = json.loads((tmp_path / "result.json").read_text())
    assert written.pop("schema_version") == 1
    assert written.pop("content_sha256") == found.content_sha256()
    assert written == golden(name)
    assert list(written) == list(golden(name))
    assert Result.read(tmp_path / "result.json") == found


def test_nested_names():
    row = a_result(losses={"code": 1.5}, mfu=None, seed=3).row()
    assert row["loss_code"] == 1.5
    assert row["mfu"] is None
    assert row["seed"] == 3
    assert row["lineage_packages_torch"] == golden()["lineage"]["packages"]["torch"]


def test_the_end_record_tells_what_it_always_told():
    last = read_events(GOLDEN / "moe.events.jsonl")[-1]
    told = Result.read(GOLDEN / "moe.json").ended().model_dump(mode="json")
    assert {"event": "end", "time": last["time"], **told} == last
    assert Ended.model_validate(last).seconds == golden("moe")["seconds"]["total"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": "many"}, "steps = 'many'"),
        ({"health": golden()["health"] | {"hiccups": 3}}, "health.hiccups = 3"),
        ({"schema_version": 2}, "schema_version 2, this code reads 1"),
    ],
)
def test_what_is_no_result_is_named_with_what_to_do(changes, message, tmp_path):
    path = tmp_path / "result.json"
    path.write_text(json.dumps(golden() | changes))
    with pytest.raises(DocumentError, match="remove it and run snakemake again") as raised:
        Result.read(path)
    assert str(path) in str(raised.value) and message in str(raised.value)
