"""One workflow in which nearly every job meets trouble, and what is said of each."""

import json
import re

import pytest
from workflows import Workflow

SNAKEFILE = """
rule all:
    input:
        expand("out/{name}.txt", name=["preempted", "evicted", "long", "plain", "failing"]),
        expand("out/{name}.txt", name=["greedy", "killed", "slow", "told"])

rule count:
    output: "out/{name}.txt"
    wildcard_constraints: name="preempted|long|plain|killed|slow|told"
    resources:
        runtime=lambda w: 1 if w.name in ("long", "slow") else 10,
        mem_mb=200,
        cpus_per_task=lambda w: 9 if w.name == "preempted" else 1,
        slurm_partition=lambda w: "low" if w.name == "preempted" else "main",
    params: steps=lambda w: {"plain": 3, "long": 350, "slow": 1500, "killed": 3000}.get(w.name, 150)
    shell:
        "if [ {wildcards.name} = slow ]; then trap '' USR2; sleep 300; else "
        "python counter.py {output} {params.steps} 0.2; fi"

# Its cluster cancels it instead of requeueing, and it does not save
rule evicted:
    output: "out/evicted.txt"
    resources: runtime=10, mem_mb=200, cpus_per_task=9, slurm_partition="cancel"
    shell: "echo evicted 0 $SLURM_JOB_ID >> starts; sleep 15; touch {output}"

rule failing:
    output: "out/failing.txt"
    resources: runtime=10, mem_mb=200
    shell: "echo before; echo the reason is here >&2; exit 7"

rule greedy:
    output: "out/greedy.txt"
    resources: runtime=10, mem_mb=300
    shell: "python -c 'import time; hold = [0] * 90_000_000; time.sleep(60)'"
"""


@pytest.fixture(scope="module")
def troubled(cluster, tmp_path_factory):
    """Run it to the end, with a job that needs both nodes of another partition coming in between."""
    options = ["--keep-going", "--submitit-signal-seconds", "20", "--submitit-max-poll-seconds", "5"]
    work = Workflow(tmp_path_factory.mktemp("trouble"), cluster, SNAKEFILE, options)
    work.start()
    names = {"preempted", "evicted", "long", "killed", "told"}
    work.until(lambda: names <= {start[0] for start in work.starts()}, "the counters to start")
    cluster.run("scancel", work.job_of("count name=killed"))
    cluster.run("scancel", "--signal=TERM", work.job_of("count name=told"))
    # As on a cluster where jobs may not be requeued
    cluster.run("scontrol", "update", f"jobid={work.job_of('evicted')}", "requeue=0")
    # Needs 8 of 16 CPUs on each node; `preempted` and `evicted` hold 9 on one node each
    intruder = ["--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=8", "--mem=100", "--output=/dev/null"]
    cluster.run("sbatch", *intruder, "--wrap=sleep 5")
    status = work.wait(300)
    print(work.log)
    return work, status


def events(work, name):
    """What the record of a job says, over all its submissions."""
    for submission in work.submissions():
        for entry in submission["entries"]:
            if entry["name"] in (f"count name={name}", name):
                lines = (work.folder / entry["record"]).read_text().splitlines()
                return [json.loads(line) for line in lines]
    raise KeyError(name)


def steps_at_start(work, name):
    return [int(step) for start, step, _ in work.starts() if start == name]


def test_the_others_finish(troubled):
    work, status = troubled
    assert status == 1
    done = {path.stem for path in (work.folder / "out").iterdir()}
    assert done == {"preempted", "evicted", "long", "plain", "told"}


def test_a_preempted_job_requeues_itself_and_goes_on(troubled):
    work, _ = troubled
    first, second = steps_at_start(work, "preempted")
    assert first == 0 < second
    assert [event["event"] for event in events(work, "preempted")] == ["start", "requeue", "start", "end"]
    assert "count name=preempted" in work.log and "preemption on n" in work.log


def test_a_job_that_the_cluster_cancels_to_preempt_is_submitted_again(troubled):
    work, _ = troubled
    jobs = [event["job"] for event in events(work, "evicted") if event["event"] == "start"]
    assert len(set(jobs)) == 2
    assert re.search(r"evicted \(\S+\): PREEMPTED on n\d, submitted again", work.log)


def test_a_job_that_saves_on_sigterm_goes_on(troubled):
    """Preemption sends nothing else where Slurm does not have preempt_send_user_signal."""
    work, _ = troubled
    first, second = steps_at_start(work, "told")
    assert first == 0 < second


def test_a_run_longer_than_its_time_limit_climbs_through_several_jobs(troubled):
    work, _ = troubled
    steps = steps_at_start(work, "long")
    assert len(steps) >= 2 and steps == sorted(set(steps))
    assert all(e["reason"] == "time limit" for e in events(work, "long") if e["event"] == "requeue")


def test_a_job_that_does_not_save_fails_at_its_limit(troubled):
    work, _ = troubled
    assert re.search(r"count name=slow: job \S+ on n\d, TIMEOUT.*raise the resource runtime", work.log)


def test_a_failure_shows_node_status_and_the_last_lines(troubled):
    work, _ = troubled
    assert re.search(r"failing: job \S+ on n\d, FAILED, exit status 7", work.log)
    assert "    the reason is here" in work.log


def test_running_out_of_memory_is_named(troubled):
    work, _ = troubled
    assert re.search(r"greedy: job \S+ on n\d, .*out of memory: raise the resource mem_mb", work.log)


def test_a_cancelled_job_is_not_restarted(troubled):
    work, _ = troubled
    assert re.search(r"count name=killed: job \S+ on n\d, CANCELLED", work.log)
    assert len(steps_at_start(work, "killed")) == 1
