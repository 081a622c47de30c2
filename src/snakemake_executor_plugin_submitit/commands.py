"""The command that a job runs on its node: its own shell command where possible, else a Snakemake."""

from __future__ import annotations

from typing import Any

from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

DIRECT_FLAGS = {"report", "temp", "directory", "ensure", "touch", "multiext"}
"""Of outputs: what needs no preparation on the node, or is handled by the head when the job ends."""
LONGEST = 100_000
"""Bytes that surely fit into one argument of a process."""


def direct_command(job: JobExecutorInterface) -> list[str] | None:
    """The job's shell command with everything filled in, or None if only a Snakemake can run the job.

    The command is the one that the head resolved: files edited while the job waits do not change it. It
    leaves out starting Python and parsing the workflow on the node, more than a CPU-second per job.
    """
    if job.is_group() or not job.is_shell or needs_snakemake(job):
        return None
    from snakemake.shell import shell

    command = job.shellcmd
    executable = job.resources.get("shell_exec") or shell.get_executable() or "bash"
    text = f"{shell._get_process_prefix(executable)} {command} {shell._process_suffix}".strip()
    if "<TBD>" in text or len(text.encode()) > LONGEST:
        return None
    return [executable, "-c", text]


def needs_snakemake(job: Any) -> bool:
    """Whether the job has what the node's Snakemake must prepare."""
    rule, workflow = job.rule, job.dag.workflow
    if job.is_shadow or job.benchmark or job.is_pipe or job.is_service:
        return True
    if workflow.deployment_settings.deployment_method and (
        rule.conda_env or rule.env_modules or rule.container_img or rule.is_containerized
    ):
        return True
    if rule.cache and workflow.workflow_settings.cache is not None:
        return True
    flags = {name for file in (*job.output, *job.log) for name, value in file.flags.items() if value}
    return bool(flags - DIRECT_FLAGS) or any(file.is_storage for file in (*job.input, *job.output, *job.log))


def environment(job: JobExecutorInterface) -> dict[str, str]:
    """Variables that Snakemake sets for a shell command: threads of numerical libraries, and where to put
    temporary files if a resource says it (by default that is for the node to know)."""
    threads = str(job.threads)
    names = ("OMP", "GOTO", "OPENBLAS", "MKL", "NUMEXPR")
    values = {f"{name}_NUM_THREADS": threads for name in names} | {"VECLIB_MAXIMUM_THREADS": threads}
    folder = job.resources.get("tmpdir")
    if type(folder) is str:  # and not Snakemake's placeholder for what the node decides
        values |= dict.fromkeys(("TMPDIR", "TMP", "TEMP", "TEMPDIR"), folder)
    return values


def identity(job: Any) -> str:
    """What a job that needs a Snakemake would do: its rule, code, params and files."""
    jobs = list(job.jobs) if job.is_group() else [job]
    persistence = jobs[0].dag.workflow.persistence
    return repr(
        sorted(
            (one.rule.name, persistence._code(one.rule), persistence._params(one), list(map(str, one.output)))
            for one in jobs
        )
    )
