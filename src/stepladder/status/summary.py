"""From the status of runs to the status of the ladder. Pure."""

from __future__ import annotations

from stepladder.status.model import STATES, Row, RunStatus, Status


def summarise(ladder: str, version: int, runs: list[RunStatus], now: float, slurm: str | None) -> Status:
    """Count by rung and variant, and estimate what is left."""
    groups: dict[tuple[str, str], list[RunStatus]] = {}
    for run in runs:
        groups.setdefault((run.rung, run.variant), []).append(run)
    running = [run for run in runs if run.state == "running"]
    in_use = sum(run.accelerators for run in running)
    pace = pace_of(runs)
    left = sum(hours_left(run, pace or 1.0) for run in runs)
    return Status(
        ladder=ladder,
        version=version,
        time=now,
        slurm=slurm,
        rows=[count(rung, variant, group) for (rung, variant), group in groups.items()],
        total=count("", "", runs),
        pace=pace,
        left_hours=left,
        accelerators_in_use=in_use,
        wall_seconds=wall_seconds(running, left, in_use),
        runs=runs,
    )


def count(rung: str, variant: str, runs: list[RunStatus]) -> Row:
    """A row of the table."""
    return Row(
        rung=rung,
        variant=variant,
        runs=len(runs),
        counts={state: sum(run.state == state for run in runs) for state in STATES},
        used_hours=sum(run.used_hours for run in runs),
        planned_hours=sum(run.planned_hours for run in runs),
    )


def pace_of(runs: list[RunStatus]) -> float | None:
    """Used over planned hours of the done runs: how wrong the plan's speed is. None before the first."""
    done = [run for run in runs if run.state == "done"]
    planned = sum(run.planned_hours for run in done)
    return sum(run.used_hours for run in done) / planned if planned else None


def hours_left(run: RunStatus, pace: float) -> float:
    """Accelerator-hours until the run is done: its own estimate while it runs, else the plan at this pace."""
    if run.state in ("done", "spared"):
        return 0.0
    if run.eta_seconds is not None:
        return run.eta_seconds * run.accelerators / 3600
    return run.planned_hours * (1 - run.share_done) * pace


def wall_seconds(running: list[RunStatus], left_hours: float, in_use: int) -> float | None:
    """Time to the end if as many accelerators stay in use, and no less than the longest running run needs."""
    if not in_use:
        return None
    return max([left_hours * 3600 / in_use, *(run.eta_seconds or 0.0 for run in running)])
