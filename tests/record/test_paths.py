"""Where things lie, and the names and order of checkpoints."""

from __future__ import annotations

from pathlib import Path

from stepladder.record.checkpoints import checkpoint_path, complete_newest_first, newest_first, step_of
from stepladder.record.paths import LadderFolder, RunFolder
from stepladder.record.spec import TRUNK


def test_runs_and_segments_lie_apart(make_run):
    folder = LadderFolder.of("smoke")
    run = make_run()
    segment = run.model_copy(update={"id": "dense-baseline/d2/seed0/step5", "budget": TRUNK})
    assert folder.job(run).result == Path("results/smoke/runs", run.id, "result.json")
    assert folder.job(run) == folder.run(run.id)
    assert folder.job(segment).result == Path("results/smoke/trunks", segment.id, "result.json")
    assert RunFolder.of_result(folder.job(run).result) == folder.job(run)


def test_checkpoints_are_ordered_by_step_and_not_by_name(tmp_path):
    """A million steps have one digit more; what is half written or has another name is none."""
    steps = (5, 200, 1_000_000)
    for step in steps:
        checkpoint_path(tmp_path, step).mkdir()
    for name in ("partial-000300", "step-old"):
        (tmp_path / name).mkdir()
    assert [step_of(path) for path in newest_first(tmp_path)] == [1_000_000, 200, 5]
    assert complete_newest_first(tmp_path) == []
    (checkpoint_path(tmp_path, 200) / "manifest.json").touch()
    assert complete_newest_first(tmp_path) == [tmp_path / "step-000200"]
    assert newest_first(tmp_path / "missing") == []
