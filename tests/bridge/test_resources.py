"""What jobs ask for, and what is refused before anything is submitted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakemake_executor_plugin_submitit.resources import ALIASES, BadResources, Shape


def shape(threads=1, signal_seconds=120, **resources):
    return Shape.of({"runtime": 60} | resources, threads, signal_seconds=signal_seconds)


def test_defaults():
    assert shape(threads=3) == Shape(runtime=60, cpus_per_task=3)


def test_totals_are_shared_among_nodes():
    job = shape(nodes=2, tasks=8, gpus=8, gpu_type="h100", mem_mb=1000)
    assert (job.tasks_per_node, job.gpus_per_node, job.tasks) == (4, 4, 8)


def test_names_of_other_executors_mean_the_same():
    assert shape(slurm_partition="a", slurm_account="b", gpu=2, gpu_model="x") == shape(
        partition="a", account="b", gpus=2, gpu_type="x"
    )


def test_empty_and_foreign_resources_do_not_count():
    assert shape(slurm_qos="", disk_mb=100, tmpdir="/tmp", mem="1 GB") == shape()


def test_extra_options():
    job = shape(slurm_extra="--nodelist=n1 --nice --comment='two words'")
    assert job.extra == (("nodelist", "n1"), ("nice", ""), ("comment", "two words"))


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"runtime": None}, "no runtime: .*--default-resources runtime=60"),
        ({"runtime": 2}, "runtime=2 min is not longer than the 120 s"),
        ({"gres": "gpu:2", "gpus": 2}, "both gres=gpu:2 and gpus=2"),
        ({"mem_mb": 1, "mem_mb_per_cpu": 1}, "both mem_mb=1 and mem_mb_per_cpu=1"),
        ({"nodes": 2, "gpus": 3}, "gpus=3 cannot be shared equally among nodes=2"),
        ({"nodes": 2, "tasks": 3}, "tasks=3 cannot be shared equally among nodes=2"),
        ({"gpu_type": "h100"}, "gpu_type=h100 without GPUs"),
        ({"nodes": 0}, "nodes=0: a whole number of at least 1"),
        ({"gpus": "two"}, "gpus='two': a whole number of at least 0"),
        ({"slurm_partitoin": "main"}, "did you mean slurm_partition"),
        ({"slurm_extra": "--time=5"}, "--time is set by resource runtime"),
        ({"slurm_extra": "-p main"}, "'-p' is not of the form --option=value"),
        ({"cpus_per_gpu": 4}, "cpus_per_gpu=4 without GPUs: add gpus=1"),
        ({"cpus_per_gpu": 4, "cpus_per_task": 4, "gpus": 1}, "both cpus_per_task=4 and cpus_per_gpu=4"),
        ({"cpus_per_gpu": 3, "gpus": 1, "tasks": 2}, "cannot be shared equally among 2 tasks per node"),
        ({"clusters": "other"}, "clusters='other' is not known: jobs go to the local cluster"),
        ({"slurm_cluster": "other"}, "cluster='other' is not known: jobs go to the local cluster"),
        ({"mpi": "srun"}, "mpi='srun' is not known: a command starts its ranks itself"),
        ({"tasks_per_gpu": 2}, "use tasks or tasks_per_node"),
        ({"ntasks_per_gpu": 2}, "use resource tasks or tasks_per_node"),
        ({"gpus_per_task": 1}, "use resource gpus or gpus_per_node"),
        ({"mem_per_gpu": "4G"}, "use resource mem_mb"),
        ({"slurm_extra": "--mem-per-gpu=4G"}, "--mem-per-gpu is set by resource mem_mb"),
        ({"nodelist": "n1"}, "write slurm_extra='--nodelist=n1'"),
        ({"slurm_licenses": "a:2"}, "write slurm_extra='--licenses=a:2'"),
        ({"contiguous": True}, "write slurm_extra='--contiguous'"),
        ({"walltime": "1:00"}, "use runtime, in minutes"),
        ({"queue": "long"}, "use partition"),
        ({"exclusive": "user"}, "exclusive='user': 1 or 0 is needed.*slurm_extra='--exclusive=user'"),
        *(
            ({name: "a\ntouch pwned\n#"}, f"{name}='a.ntouch pwned.n#': holds a line break")
            for name in ("partition", "account", "qos", "constraint", "reservation", "gres", "slurm_extra")
        ),
        ({"partition": "a", "slurm_partition": "b"}, "partition is given twice, as 'a' and 'b'"),
    ],
)
def test_contradictions_are_refused_with_the_fix(resources, message):
    with pytest.raises(BadResources, match=message):
        shape(**resources)


@pytest.mark.parametrize("value", [False, 0, "0", "false", "False", "no", "", None])
def test_not_exclusive(value):
    assert shape(exclusive=value).exclusive is False


@pytest.mark.parametrize("value", [True, 1, "1", "true", "yes", "True"])
def test_exclusive(value):
    assert shape(slurm_exclusive=value).exclusive is True


def test_cpus_per_gpu():
    assert shape(cpus_per_gpu=8, gpus=8, nodes=2, tasks=8, threads=3).cpus_per_task == 8
    assert shape(cpus_per_gpu=6, gpus_per_node=4, tasks=1).cpus_per_task == 24


def test_limits_of_a_workflows_own_are_left_alone():
    """Names that say nothing to a cluster, and what Snakemake itself derives."""
    assert shape(downloads=1, network=2, priority=3, _cores=4, disk="1 GB", mem_mib=954, mpi="") == shape()


def test_gres_without_gpus_goes_with_gpus():
    assert shape(gres="licence:1", gpus=2).gpus_per_node == 2


@given(st.sampled_from(sorted(ALIASES)), st.text(min_size=1, max_size=5))
def test_any_value_gives_a_shape_or_a_message(name, value):
    try:
        assert isinstance(shape(**{name: value}), Shape)
    except BadResources as error:
        assert str(error)
