"""The head is killed, reboots, meets a Slurm that is away, or is started twice."""

import os
import signal

import pytest
from workflows import Workflow, until

SNAKEFILE = """
rule all:
    input: expand("out/{name}.txt", name=["quick0", "quick1", "slow0", "slow1", "late"])

rule count:
    output: "out/{name}.txt"
    resources:
        runtime=10,
        mem_mb=200,
        slurm_extra=lambda w: "--begin=now+15" if w.name == "late" else ""
    params: steps=lambda w: 10 if w.name.startswith("quick") else int(70 * float(config.get("factor", 1)))
    shell: "python counter.py {output} {params.steps} 0.2"
"""


@pytest.fixture
def work(cluster, tmp_path):
    work = Workflow(tmp_path, cluster, SNAKEFILE, ["--submitit-max-poll-seconds", "3"])
    yield work
    if work.head and work.head.poll() is None:
        work.kill_head()
    for submission in work.submissions():
        if submission["job_id"]:
            cluster.run("scancel", submission["job_id"], check=False)


def test_a_killed_head_finds_all_its_jobs_again(work):
    """Finished ones are collected, running and pending ones followed: each is submitted and started once."""
    work.start()
    work.until(lambda: len(work.starts()) == 4, "the jobs to start")
    work.kill_head()
    until(lambda: (work.folder / "out" / "quick1.txt").exists(), "jobs to end while nobody watches")
    until(lambda: (work.folder / "out" / "quick0.txt").exists(), "jobs to end while nobody watches")
    before = work.submissions()
    assert work.run() == 0
    assert work.submissions() == before
    assert sorted(name for name, *_ in work.starts()) == ["late", "quick0", "quick1", "slow0", "slow1"]
    assert "Reattached to 3 jobs" in work.log and "collecting 2" in work.log
    assert work.run() == 0
    assert "Nothing to be done" in work.log


def test_a_head_killed_while_it_submits_leaves_nothing_behind(work, cluster):
    """The submission was sent, and its id is written nowhere."""
    work.start()
    work.until(lambda: len(work.starts()) == 4, "the jobs to start")
    work.kill_head()
    folders = sorted((work.folder / ".snakemake" / "submitit").glob("*-count-*"))
    for folder in folders:
        text = (folder / "submission.json").read_text()
        job = work.submissions()[folders.index(folder)]["job_id"]
        (folder / "submission.json").write_text(text.replace(f'"{job}"', "null"))
    assert work.run() == 0
    assert not cluster.run("squeue", "-h", "-n", "count")
    assert all((work.folder / "out" / f"{name}.txt").exists() for name in ("quick0", "slow1", "late"))


def test_a_changed_command_is_not_taken_over(work):
    work.start()
    work.until(lambda: len(work.starts()) == 4, "the jobs to start")
    work.kill_head()
    assert work.run("--config", "factor=1.1") == 0
    assert "earlier jobs whose command or resources have changed" in work.log
    assert (work.folder / "out" / "slow0.txt").read_text() == "77\n"


def test_ctrl_c_cancels_the_jobs(work, cluster):
    work.start()
    work.until(lambda: len(work.starts()) == 4, "the jobs to start")
    os.kill(work.head.pid, signal.SIGINT)
    assert work.wait() != 0
    ids = ",".join(submission["job_id"] for submission in work.submissions())
    until(lambda: not cluster.run("squeue", "-h", "-j", ids), "the jobs to leave the queue")


def test_one_head_per_folder(work):
    work.start()
    work.until(lambda: len(work.starts()) == 4, "the jobs to start")
    first = work.head
    assert work.run() == 1
    assert f"another Snakemake drives the jobs of this folder (process {first.pid}" in work.log
    work.head = first


def test_slurm_away_and_accounting_away_are_waited_out(work, cluster):
    cluster.stop("slurmdbd")
    work.start()
    work.until(lambda: len(work.starts()) == 4, "the jobs to start")
    cluster.stop("slurmctld", signal.SIGTERM)
    work.until(lambda: "Slurm does not answer" in work.log, "the head to notice")
    cluster.start_controller()
    assert work.wait() == 0
    assert "Slurm answers again" in work.log
    assert len(work.starts()) == 5
    cluster.up()


def test_what_sbatch_refuses_fails_with_its_words(cluster, tmp_path):
    snakefile = SNAKEFILE.replace("mem_mb=200", "mem_mb=200, slurm_account='nobody'")
    work = Workflow(tmp_path, cluster, snakefile.replace("runtime=10", "slurm_partition='moon', runtime=10"))
    assert work.run() == 1
    assert "count name=slow0 was refused by sbatch" in work.log
    assert "invalid partition specified: moon" in work.log


def test_impossible_resources_are_refused_before_anything_is_submitted(cluster, tmp_path):
    work = Workflow(tmp_path, cluster, SNAKEFILE.replace("runtime=10", "runtime=10, gres='gpu:2', gpus=2"))
    assert work.run() == 1
    assert "both gres=gpu:2 and gpus=2: keep one of them" in work.log
    assert not work.submissions()
