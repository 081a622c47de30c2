"""States of checkpoints that have all fields: others are refused."""

from stepladder.record.result import Seconds


def checkpoint_state(step: int, total: float = 0.0, time: float = 1.0) -> dict:
    """After `step` steps; `total` seconds were spent until it was saved at `time`."""
    return {
        "spec_sha256": "a",
        "data_sha256": "b",
        "step": step,
        "time": time,
        "started": "2026-01-01T00:00:00Z",
        "seconds": dict.fromkeys(Seconds.model_fields, 0.0) | {"total": total},
        "health": {"spikes": 0, "skipped_steps": 0, "slow_steps": 0, "notes": []},
        "accelerators": 1,
        "micro_batch_sequences": None,
        "recompute": False,
        "warnings": [],
    }
