"""A prediction on record: made from the smaller rungs, kept, and judged by when the largest one ran."""

import json
import shutil
from dataclasses import replace

import pytest

from stepladder.decision.prediction_record import PredictionRecord


@pytest.fixture(scope="module")
def copy(climbed, tmp_path_factory):
    """The climbed smoke ladder in a folder of its own; with its floor pinned two rungs can predict."""
    folder = tmp_path_factory.mktemp("registered") / "clone"
    shutil.copytree(climbed.folder, folder, symlinks=True)
    mine = replace(climbed, folder=folder)
    text = mine.ladder.read_text()
    mine.ladder.write_text(text.replace("  bootstrap_draws: 500", "  bootstrap_draws: 200\n  floor: 0.5"))
    return mine


def test_a_record_is_made_kept_and_judged(copy, tmp_path):
    refused = copy.snakemake("preregister", check=False)
    assert "have results already" in refused and "Traceback" not in refused
    record_file = copy.results / "predictions.json"
    assert not record_file.exists()

    held = [run.parent for run in copy.results.glob("runs/*/d3/*/*/result.json")]
    for number, run in enumerate(held):
        shutil.move(run, tmp_path / str(number))
    assert copy.planned("preregister") == ["preregister"], "nothing is trained again"
    copy.snakemake("preregister")
    record = json.loads(record_file.read_text())
    assert record["rungs"] == ["d3"] and record["sha256"] == PredictionRecord.read(record_file).digest()
    assert {row["variant"] for row in record["predictions"]} == {run.parts[-4] for run in held}
    assert len(record["inputs"]) == record["n_runs"] == 12

    for number, run in enumerate(held):
        shutil.move(tmp_path / str(number), run)
    copy.snakemake(str(copy.results / "comparison.json").removeprefix(f"{copy.folder}/"))
    judged = json.loads((copy.results / "comparison.json").read_text())["prediction_record"]
    assert judged["whole"] and judged["sha256"] == record["sha256"]
    assert judged["before"] is False, "these runs began long before"
    assert [row["observed"] is not None for row in judged["predictions"]] == [True] * 4
    assert json.loads(record_file.read_text()) == record
