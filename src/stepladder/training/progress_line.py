"""The line that a person reads while a run trains."""

from __future__ import annotations

from stepladder.record.events import StepRecord
from stepladder.record.spec import RecipeSpec


def progress_line(record: StepRecord, recipe: RecipeSpec) -> str:
    """A step record as a line for a person. The remaining time assumes this step's pace of positions."""
    done, seconds = record["step"] + 1, record["step_seconds"]
    left = round((recipe.positions - record["positions"]) / record["positions_per_second"])
    mfu = "" if record["mfu"] is None else f"  MFU {record['mfu']:.0%}"
    loss = "not finite" if record["loss"] is None else f"{record['loss']:.4f}"
    return (
        f"step {done}/{recipe.steps}  {record['phase']}  loss {loss}  "
        f"lr {record['learning_rate']:.2e}  {record['tokens_per_second'] / 1e3:.1f}k tok/s  "
        f"{seconds * 1e3:.1f} ms/step{mfu}  {left // 60}:{left % 60:02d} left"
    )
