"""A prediction on record: made from the smaller rungs, kept, and judged by when the largest one ran."""

import json
import shutil

import pytest

from stepladder.decision.prediction_record import PredictionRecord


@pytest.fixture
def pinned(climbed):
    """The climbed smoke ladder with its floor pinned: two rungs can predict."""
    text = climbed.ladder.read_text()
    climbed.ladder.write_text(text.replace("  bootstrap_draws: 500", "  bootstrap_draws: 200\n  floor: 0.5"))
    return climbed


def test_a_record_is_made_kept_and_judged(pinned, tmp_path):
    refused = pinned.snakemake("preregister", check=False)
    assert "have results already" in refused and "Traceback" not in refused
    record_file = pinned.results / "predictions.json"
    assert not record_file.exists()

    held = [run.parent for run in pinned.results.glob("runs/*/d3/*/*/result.json")]
    for number, run in enumerate(held):
        shutil.move(run, tmp_path / str(number))
    assert pinned.planned("preregister") == ["preregister"], "nothing is trained again"
    pinned.snakemake("preregister")
    record = json.loads(record_file.read_text())
    assert record["rungs"] == ["d3"] and record["sha256"] == PredictionRecord.read(record_file).digest()
    assert {row["variant"] for row in record["predictions"]} == {run.parts[-4] for run in held}
    assert len(record["inputs"]) == record["n_runs"] == 12

    for number, run in enumerate(held):
        shutil.move(tmp_path / str(number), run)
    pinned.snakemake(str(pinned.results / "comparison.json").removeprefix(f"{pinned.folder}/"))
    judged = json.loads((pinned.results / "comparison.json").read_text())["prediction_record"]
    assert judged["whole"] and judged["sha256"] == record["sha256"]
    assert judged["before"] is False, "these runs began long before"
    assert [row["observed"] is not None for row in judged["predictions"]] == [True] * 4
    assert json.loads(record_file.read_text()) == record
