"""From a job's Snakemake resources to what it asks of the cluster; contradictions are refused here."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NAMES = {
    "runtime": "time limit, minutes",
    "mem_mb": "memory per node, MB",
    "mem_mb_per_cpu": "memory per CPU, MB",
    "cpus_per_task": "CPUs per task; default: the rule's threads",
    "cpus_per_gpu": "CPUs per GPU, in place of cpus_per_task",
    "nodes": "nodes; default 1",
    "tasks": "tasks on all nodes together",
    "tasks_per_node": "tasks on each node; default 1",
    "gpus": "GPUs on all nodes together",
    "gpus_per_node": "GPUs on each node",
    "gpu_type": "type of the GPUs, as in --gpus=h100:4",
    "gres": "generic resources per node, as in gpu:h100:4",
    "partition": "partition, or several with commas",
    "account": "account to charge",
    "qos": "quality of service",
    "constraint": "features of the nodes",
    "reservation": "reservation",
    "exclusive": "1: no other jobs on the nodes",
    "slurm_extra": "any further sbatch options, as in --nodelist=n1 --nice",
}
"""Resources that are understood; all but the last also as slurm_<name>."""

ALIASES = {
    "gpu": "gpus",
    "gpu_model": "gpu_type",
    "ntasks": "tasks",
    "ntasks_per_node": "tasks_per_node",
    "slurm_extra": "slurm_extra",
} | {f"slurm_{name}": name for name in NAMES if name != "slurm_extra"}

MANAGED = {
    "array": "setting --submitit-array-size",
    "output": "this executor's log files",
    "error": "this executor's log files",
    "open-mode": "this executor's log files",
    "signal": "setting --submitit-signal-seconds",
    "requeue": "this executor's restarts",
    "no-requeue": "this executor's restarts",
    "job-name": "the rule's name",
    "wrap": "the rule's command",
    "wait": "Snakemake, which waits for jobs",
    "parsable": "this executor",
    "quiet": "this executor",
    "test-only": "this executor",
    "clusters": "nothing: jobs go to the local cluster",
    "export": "the environment that Snakemake runs in",
    "chdir": "the folder that Snakemake runs in",
    "time": "resource runtime",
    "mem": "resource mem_mb",
    "mem-per-cpu": "resource mem_mb_per_cpu",
    "cpus-per-task": "resource cpus_per_task or threads",
    "cpus-per-gpu": "resource cpus_per_gpu",
    "mem-per-gpu": "resource mem_mb or mem_mb_per_cpu",
    "gpus-per-task": "resource gpus or gpus_per_node",
    "gpus-per-socket": "resource gpus_per_node",
    "ntasks-per-gpu": "resource tasks or tasks_per_node",
    "nodes": "resource nodes",
    "ntasks": "resource tasks",
    "ntasks-per-node": "resource tasks_per_node",
    "gpus": "resource gpus",
    "gpus-per-node": "resource gpus_per_node",
} | {
    name: f"resource {name}" for name in ("gres", "partition", "account", "qos", "constraint", "reservation")
}
"""sbatch options that `slurm_extra` may not hold, and what sets them."""


INSTEAD = {
    "mpi": "a command starts its ranks itself, by $SUBMITIT_LAUNCH; remove it, and give tasks",
    "cluster": "jobs go to the local cluster: remove it, and start Snakemake on that cluster",
    "clusters": "jobs go to the local cluster: remove it, and start Snakemake on that cluster",
    "queue": "use partition",
    "walltime": "use runtime, in minutes",
    "time_min": "use runtime, in minutes",
    "mem_per_cpu": "use mem_mb_per_cpu",
    "mem_per_node": "use mem_mb",
    "mem_mb_per_gpu": "use mem_mb or mem_mb_per_cpu",
    "tasks_per_gpu": "use tasks or tasks_per_node",
    "gpu_count": "use gpus",
    "num_gpus": "use gpus",
    "ngpus": "use gpus",
}
"""Resources that other executors know and this one does not, and what to do. Ignored, they would give a job
less than was asked for."""

SBATCH_ONLY = frozenset(
    """
    acctg_freq bb bbf begin cluster_constraint contiguous core_spec cores_per_socket cpu_freq deadline
    delay_boot dependency distribution exclude extra_node_info gpu_bind gpu_freq gres_flags licenses
    mail_type mail_user mcs_label mem_bind mincpus no_kill nodefile nodelist ntasks_per_core
    ntasks_per_socket overcommit oversubscribe prefer resv_ports segment sockets_per_node spread_job
    switches thread_spec threads_per_core tres_bind tres_per_job tres_per_task use_min_nodes
    wait_all_nodes wckey
    """.split()  # noqa: SIM905  (a word a line would fill a page)
)
"""Options of sbatch (23.11) as names of resources: they belong into `slurm_extra`. Words that a workflow may
well use for limits of its own (network, priority, tmp) are not here."""


class BadResources(ValueError):
    """Resources that contradict each other or that no cluster could give; the message names the fix."""


@dataclass(frozen=True)
class Shape:
    """What one job asks for. Jobs of equal shape can share an array."""

    runtime: int
    cpus_per_task: int = 1
    nodes: int = 1
    tasks_per_node: int = 1
    gpus_per_node: int = 0
    gpu_type: str | None = None
    mem_mb: int | None = None
    mem_mb_per_cpu: int | None = None
    gres: str | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    reservation: str | None = None
    exclusive: bool = False
    extra: tuple[tuple[str, str], ...] = ()
    """Further sbatch options; an empty value is a bare flag."""

    @property
    def tasks(self) -> int:
        """Tasks on all nodes: the ranks that a command may start."""
        return self.nodes * self.tasks_per_node

    @classmethod
    def of(cls, resources: Mapping[str, Any], threads: int, *, signal_seconds: int) -> Shape:
        """Shape of a job with these resources.

        Raises:
            BadResources: see there.
        """
        given = canonical(resources)
        check(given, signal_seconds)
        nodes = given.get("nodes", 1)
        tasks_per_node = given.get("tasks_per_node", _share(given, "tasks", nodes) or 1)
        gpus_per_node = given.get("gpus_per_node", _share(given, "gpus", nodes))
        shape = cls(
            runtime=given["runtime"],
            cpus_per_task=_cpus_per_task(given, threads, gpus_per_node, tasks_per_node),
            nodes=nodes,
            tasks_per_node=tasks_per_node,
            gpus_per_node=gpus_per_node,
            exclusive=given.get("exclusive", False),
            extra=tuple(parse_extra(given.get("slurm_extra", ""))),
            **{
                name: given.get(name)
                for name in ("gpu_type", "mem_mb", "mem_mb_per_cpu", "gres", "partition")
            },
            **{name: given.get(name) for name in ("account", "qos", "constraint", "reservation")},
        )
        if shape.gpu_type and not shape.gpus_per_node:
            raise BadResources(f"gpu_type={shape.gpu_type} without GPUs: add gpus=1 or drop gpu_type")
        return shape


def canonical(resources: Mapping[str, Any]) -> dict[str, Any]:
    """The resources that are meant for the cluster, under the names of `NAMES`, without empty ones.

    Raises:
        BadResources: a resource is given twice under two names, is a slurm_<unknown>, is no number where
            one is due, or is a text of several lines.
    """
    given: dict[str, Any] = {}
    for name, value in resources.items():
        target = ALIASES.get(name, name)
        if target not in NAMES:
            if value is not None and value != "":
                _refuse_known(name.removeprefix("slurm_"), value)
            if name.startswith("slurm_"):
                near = difflib.get_close_matches(name, ALIASES, 1)
                hint = f"did you mean {near[0]}?" if near else "put it into slurm_extra as an sbatch option"
                raise BadResources(f"resource {name}={value!r} is not known: {hint}")
            continue
        if value is None or value == "":
            continue
        if target in given and given[target] != value:
            raise BadResources(f"{target} is given twice, as {given[target]!r} and {value!r}: keep one")
        given[target] = value
    for name, value in given.items():
        if name in _NUMBERS:
            given[name] = _whole(name, value)
        elif isinstance(value, str) and not value.isprintable():  # sbatch's script would run the second line
            raise BadResources(f"{name}={value!r}: holds a line break or the like: write it in one line")
    if "exclusive" in given:
        given["exclusive"] = _truth("exclusive", given["exclusive"])
    return given


def _refuse_known(name: str, value: Any) -> None:
    """Refuse what is meant for a cluster and would not reach it; other names are the workflow's own."""
    option = name.replace("_", "-")
    if name in INSTEAD:
        raise BadResources(f"resource {name}={value!r} is not known: {INSTEAD[name]}")
    if name in SBATCH_ONLY:
        flag = f"--{option}" if value is True else f"--{option}={value}"
        raise BadResources(f"resource {name}={value!r} is not known: write slurm_extra='{flag}'")
    if option in MANAGED and MANAGED[option].startswith("resource ") and "-" in option:
        raise BadResources(f"resource {name}={value!r} is not known: use {MANAGED[option]}")


_NUMBERS = {
    "runtime",
    "mem_mb",
    "mem_mb_per_cpu",
    "cpus_per_task",
    "cpus_per_gpu",
    "nodes",
    "tasks",
    "tasks_per_node",
    "gpus",
    "gpus_per_node",
}


def _whole(name: str, value: Any) -> int:
    least = 0 if name.startswith("gpus") else 1
    if isinstance(value, bool) or not re.fullmatch(r"-?\d+", str(value)) or int(value) < least:
        raise BadResources(f"{name}={value!r}: a whole number of at least {least} is needed ({NAMES[name]})")
    return int(value)


def _truth(name: str, value: Any) -> bool:
    truths = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    found = truths.get(str(value).strip().lower())
    if found is None:
        raise BadResources(
            f"{name}={value!r}: 1 or 0 is needed ({NAMES[name]}); other kinds of it go into slurm_extra, as "
            f"in slurm_extra='--{name}=user'"
        )
    return found


def _cpus_per_task(given: Mapping[str, Any], threads: int, gpus_per_node: int, tasks_per_node: int) -> int:
    if "cpus_per_gpu" not in given:
        return int(given.get("cpus_per_task", threads))
    per_gpu = given["cpus_per_gpu"]
    if not gpus_per_node:
        raise BadResources(f"cpus_per_gpu={per_gpu} without GPUs: add gpus=1, or use cpus_per_task")
    if per_gpu * gpus_per_node % tasks_per_node:
        raise BadResources(
            f"cpus_per_gpu={per_gpu} and {gpus_per_node} GPUs per node cannot be shared equally among "
            f"{tasks_per_node} tasks per node: use cpus_per_task"
        )
    return int(per_gpu * gpus_per_node // tasks_per_node)


def check(given: Mapping[str, Any], signal_seconds: int) -> None:
    """Refuse what contradicts itself.

    Raises:
        BadResources: see there.
    """
    if "runtime" not in given:
        raise BadResources(
            "no runtime: a job needs a time limit in minutes; set `runtime` in the rule's resources, or for "
            "all rules with --default-resources runtime=60"
        )
    if given["runtime"] * 60 <= signal_seconds:
        raise BadResources(
            f"runtime={given['runtime']} min is not longer than the {signal_seconds} s that a job has for "
            "saving: raise runtime or lower --submitit-signal-seconds"
        )
    for one, other in (
        ("mem_mb", "mem_mb_per_cpu"),
        ("gres", "gpus"),
        ("gres", "gpus_per_node"),
        ("gpus", "gpus_per_node"),
        ("tasks", "tasks_per_node"),
        ("cpus_per_task", "cpus_per_gpu"),
    ):
        both_gpus = one != "gres" or "gpu" in str(given.get("gres", ""))
        if given.get(one) and given.get(other) and both_gpus:
            raise BadResources(f"both {one}={given[one]} and {other}={given[other]}: keep one of them")


def _share(given: Mapping[str, Any], name: str, nodes: int) -> int:
    total = given.get(name, 0)
    if total % nodes:
        raise BadResources(
            f"{name}={total} cannot be shared equally among nodes={nodes}: make it a multiple, or set "
            f"{name}_per_node"
        )
    return int(total // nodes)


def parse_extra(text: str) -> list[tuple[str, str]]:
    """`--key=value --flag` as pairs; flags have an empty value.

    Raises:
        BadResources: not of that form, or an option that is set elsewhere.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BadResources(f"slurm_extra: {text!r} cannot be split into words: {error}") from None
    options = []
    for word in words:
        match = re.fullmatch(r"--([a-z][a-z0-9-]*)(?:=(.*))?", word)
        if not match:
            raise BadResources(f"slurm_extra: {word!r} is not of the form --option=value or --flag")
        name, value = match[1], match[2] or ""
        if name in MANAGED:
            raise BadResources(f"slurm_extra: --{name} is set by {MANAGED[name]}: use that")
        options.append((name, value))
    return options
