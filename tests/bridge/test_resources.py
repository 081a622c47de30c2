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
        ({"partition": "a", "slurm_partition": "b"}, "partition is given twice, as 'a' and 'b'"),
    ],
)
def test_contradictions_are_refused_with_the_fix(resources, message):
    with pytest.raises(BadResources, match=message):
        shape(**resources)


def test_gres_without_gpus_goes_with_gpus():
    assert shape(gres="licence:1", gpus=2).gpus_per_node == 2


@given(st.sampled_from(sorted(ALIASES)), st.text(min_size=1, max_size=5))
def test_any_value_gives_a_shape_or_a_message(name, value):
    try:
        assert isinstance(shape(**{name: value}), Shape)
    except BadResources as error:
        assert str(error)
