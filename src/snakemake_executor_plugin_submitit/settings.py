"""Settings of the executor: `--submitit-...` on the command line, `submitit-...:` in a profile."""

# ruff: noqa: UP045  Snakemake makes options from these types; it understands Optional, but not `| None`
from dataclasses import dataclass, field
from typing import Any, Optional

from snakemake_interface_executor_plugins.settings import CommonSettings, ExecutorSettingsBase

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    pass_envvar_declarations_to_cmd=True,
    auto_deploy_default_storage_provider=False,
    init_seconds_before_status_checks=1,
)


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text, "env_var": False, "required": False})


@dataclass
class ExecutorSettings(ExecutorSettingsBase):  # type: ignore[misc]  # the interface has no types
    """How jobs are submitted, watched and restarted. What a job needs is in its resources."""

    cluster: Optional[str] = _setting(
        "slurm", "Where jobs run: slurm, or local (processes of this machine, no scheduler)."
    )
    array_size: Optional[int] = _setting(
        1000,
        "Most tasks per job array; ready jobs with the same resources go as one array. 1 switches arrays "
        "off. Keep below Slurm's MaxArraySize (scontrol show config).",
    )
    array_parallelism: Optional[int] = _setting(
        100_000, "At most this many tasks of one array run at a time (sbatch --array=...%%N)."
    )
    signal_seconds: Optional[int] = _setting(
        120,
        "A job gets SIGUSR2 this many seconds before its time limit, and has them to save and exit "
        "(sbatch --signal).",
    )
    stalled_restarts: Optional[int] = _setting(
        5,
        "A job fails when it was restarted this many times in a row (preemption, time limit, node failure) "
        "without progress. A command shows progress by writing any new text to $SUBMITIT_PROGRESS when it "
        "saves. Restarts do not use up --retries.",
    )
    poll_seconds: Optional[float] = _setting(
        2.0, "Shortest time between two queries of the queue. One query covers all jobs."
    )
    max_poll_seconds: Optional[float] = _setting(
        30.0, "Longest time between two queries; reached by backing off while nothing changes."
    )
    setup: Optional[str] = _setting(
        None, "Shell line to run on the node before each job, such as 'module load cuda'."
    )
    launch_args: Optional[str] = _setting(
        None, "More options for the srun that starts the ranks of a job with several tasks."
    )
    inner_snakemake: bool = _setting(
        False,
        "Start a Snakemake on the node for every job. By default only jobs that need one get it (run, "
        "script, notebook, wrapper, conda, container, envmodules, shadow, storage, benchmark, groups); plain "
        "shell jobs run their command as it was submitted.",
    )
    log_days: Optional[int] = _setting(
        30, "Remove .snakemake/submitit folders of ended submissions after this many days. 0: never."
    )
