"""Start one process per rank inside a job's allocation: $SUBMITIT_LAUNCH command ...

On Slurm the ranks are a second step of the job, one task each; a failing rank ends the others. Every rank
gets the variables of torch.distributed's env:// rendezvous and keeps its own log. Elsewhere torchrun starts
them.
"""

from __future__ import annotations

import os
import shlex
import sys
import zlib
from collections.abc import Mapping

from snakemake_executor_plugin_submitit.payload import job_id

KEPT = (
    "SLURM_JOB_",
    "SLURM_ARRAY_",
    "SLURM_CONF",
    "SLURM_RESTART_COUNT",
    "SLURM_JOBID",
    "SLURM_CLUSTER_NAME",
)
"""What of Slurm's variables describes the job. The others describe the step that this runs in, and srun would
take them for the ranks' step ("More processors requested than permitted", wrong CPU bindings)."""


def step_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what describes the current step."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(("SLURM_", "SRUN_", "SBATCH_", "PMI_", "PMIX_")) or name.startswith(KEPT)
    }


def srun_command(command: list[str], environment: Mapping[str, str]) -> list[str]:
    """The step that starts the ranks; SUBMITIT_* variables of the payload say how many."""
    nodes, per_node = int(environment["SUBMITIT_NODES"]), int(environment["SUBMITIT_TASKS_PER_NODE"])
    gpus = int(environment["SUBMITIT_GPUS_PER_NODE"])
    log = f"{environment['SUBMITIT_RANK_LOGS']}_rank%t.log"
    return [
        "srun",
        "--overlap",
        "--kill-on-bad-exit=1",
        "--unbuffered",
        "--open-mode=append",
        f"--output={log}",
        f"--nodes={nodes}",
        f"--ntasks={nodes * per_node}",
        f"--ntasks-per-node={per_node}",
        f"--cpus-per-task={environment['SUBMITIT_CPUS_PER_TASK']}",
        *([f"--gpus-per-node={gpus}"] if gpus else []),
        *shlex.split(environment.get("SUBMITIT_LAUNCH_ARGS", "")),
        sys.executable,
        "-m",
        __spec__.name,
        "rank",
        *command,
    ]


def torchrun_command(command: list[str], environment: Mapping[str, str]) -> list[str]:
    """The same on a machine without Slurm."""
    ranks = environment["SUBMITIT_TASKS_PER_NODE"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    return [*launcher, "--no-python", *command]


def rank_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables of the env:// rendezvous for the Slurm task that this is."""
    return {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": environment["SLURM_NTASKS"],
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        "LOCAL_WORLD_SIZE": environment["SUBMITIT_TASKS_PER_NODE"],
        # The node of the srun, which is the first, as this node reaches it. Its name may mean itself there.
        "MASTER_ADDR": environment["SLURM_LAUNCH_NODE_IPADDR"],
        "MASTER_PORT": environment["SUBMITIT_MASTER_PORT"],
    }


def master_port(job: str) -> int:
    """A port for the job's rendezvous: below the ephemeral ones, and seldom another job's."""
    return 15_000 + zlib.crc32(job.encode()) % 15_000


def main() -> None:
    what, *command = sys.argv[1:]
    environment = dict(os.environ)
    if what == "rank":
        os.execvpe(command[0], command, environment | rank_environment(environment))
    if "SLURM_JOB_ID" not in environment:
        os.execvpe(sys.executable, torchrun_command(command, environment), environment)
    environment["SUBMITIT_MASTER_PORT"] = str(master_port(job_id()))
    os.execvpe("srun", srun_command(command, environment), step_environment(environment))


if __name__ == "__main__":
    main()
