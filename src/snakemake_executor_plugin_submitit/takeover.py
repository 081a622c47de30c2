"""Jobs that a head submitted before it was killed: which of them its successor follows.

Snakemake marks every unfinished job, and the marker names the submission; so what Snakemake has digested is
not looked for, and what it has not is neither submitted nor run twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_submitit import submissions
from snakemake_executor_plugin_submitit.clusters import Cluster
from snakemake_executor_plugin_submitit.states import State
from snakemake_executor_plugin_submitit.submissions import Submission
from snakemake_executor_plugin_submitit.tracking import (
    Ready,
    Tracked,
    interrupted,
    state_of_record,
    succeeded,
)

Query = Callable[[list[str]], dict[str, State]]
Find = Callable[[Submission], str | None]


@dataclass
class Found:
    """What became of the jobs of earlier heads."""

    alive: list[Tracked] = field(default_factory=list)
    """Queued or running, as they would be submitted now."""
    ended: list[Tracked] = field(default_factory=list)
    """Done; their outputs wait to be collected."""
    outdated: list[str] = field(default_factory=list)
    """Ids of jobs that are alive and would be submitted otherwise now: to be cancelled."""
    others: list[Ready] = field(default_factory=list)
    """To be submitted."""


def take_over(ready: list[Ready], cluster: Cluster, persistence: Any, query: Query, find: Find) -> Found:
    """Sort jobs by what an earlier head has made of them.

    Args:
        persistence: Snakemake's, with its markers of unfinished jobs.
        query: states by id of as many jobs as asked; waits for the cluster if it must.
        find: the id of a submission whose sending was cut off; waits as well.
    """
    known = find_earlier(ready, cluster, persistence, find)
    states = query([tracked.task_id for tracked in known.values()]) if known else {}
    found = Found()
    for one in ready:
        tracked = known.get(id(one))
        state = None
        if tracked is not None:
            state = states.get(tracked.task_id) or state_of_record(tracked.record)
        if tracked is None or state is None:
            found.others.append(one)
        elif same_command(tracked) and goes_on(tracked, state):
            found.alive.append(tracked)
        elif same_command(tracked) and succeeded(tracked.record, state) and outputs_exist(one):
            found.ended.append(tracked)
        else:
            found.outdated += [tracked.task_id] if state.alive else []
            one.after = str(tracked.record.path.absolute())
            found.others.append(one)
    return found


def goes_on(tracked: Tracked, state: State) -> bool:
    """Queued, running, or interrupted, as it would be submitted now."""
    if state.alive:
        return same_shape(tracked) or not state.pending
    return interrupted(tracked.record, state) and not succeeded(tracked.record, state)


def outputs_exist(one: Ready) -> bool:
    """Whether what the job made is still there.

    --force is not asked about: --rerun-incomplete is one to Snakemake.
    """
    return all(Path(output).exists() for output in one.job.output)


def same_command(tracked: Tracked) -> bool:
    """Whether what was submitted is what would be submitted now."""
    return tracked.submission.entries[tracked.index].digest == tracked.ready.digest


def same_shape(tracked: Tracked) -> bool:
    """Whether it asked for what it would ask for now."""
    return tracked.submission.shape == repr(tracked.ready.shape)


def find_earlier(ready: list[Ready], cluster: Cluster, persistence: Any, find: Find) -> dict[int, Tracked]:
    """Jobs with an earlier submission, by `id` of the `Ready`."""
    loaded: dict[str, Submission | None] = {}
    by_output: dict[str, str] = {}
    found = {}
    for one in ready:
        markers = persistence.external_jobids(one.job)
        if not markers and is_marked(one, persistence):
            by_output = by_output or newest_by_output()
            markers = [by_output[str(output)] for output in one.job.output if str(output) in by_output][:1]
        for folder, index in filter(None, map(submissions.place, markers)):
            if folder not in loaded:
                loaded[folder] = load_earlier(folder, cluster, find)
            submission = loaded[folder]
            if submission is not None and index < len(submission.entries):
                cluster.watch(submission, index)
                found[id(one)] = Tracked(one, submission, index)
    return found


def is_marked(one: Ready, persistence: Any) -> bool:
    """Whether Snakemake holds the job for unfinished. One on the node marks it anew, without a name."""
    keys = [persistence._get_key(output) for output in one.job.output]
    return bool(persistence._filter_incomplete_keys(keys))


def newest_by_output() -> dict[str, str]:
    """Marker of the newest submission that makes a file."""
    return {
        output: submission.marker(index)
        for submission in submissions.all_submissions()
        for index, entry in enumerate(submission.entries)
        for output in entry.outputs
    }


def load_earlier(folder: str, cluster: Cluster, find: Find) -> Submission | None:
    """A submission whose jobs can be alive or done; None if nothing became of it."""
    submission = Submission.load(submissions.ROOT / folder)
    if submission is None or submission.cluster != cluster.name:
        return None
    if submission.job_id is None and (job_id := find(submission)):
        # The head was killed while it sent this: submitit's files need not be in place
        cluster.cancel([job_id])
    return submission if submission.job_id else None
