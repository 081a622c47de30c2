"""The executor without Slurm: jobs of every kind, failures, retries, a head that is killed."""

import subprocess
import sys
import time

import pytest

KINDS = """
rule all:
    input: "shell.txt", "run.txt", "script.txt", "grouped.txt", "touched.txt", "logged.txt",
           "json.txt", "none.txt"
rule shell:
    output: "shell.txt"
    threads: 3
    params: word="it's"
    shell: "echo {params.word:q} $OMP_NUM_THREADS {resources.mem_mb} > {output}"
rule run:
    output: "run.txt"
    run:
        open(output[0], "w").write("run")
rule script:
    output: "script.txt"
    script: "script.py"
rule first:
    output: temp("first.txt")
    group: "together"
    shell: "echo first > {output}"
rule grouped:
    input: "first.txt"
    output: "grouped.txt"
    group: "together"
    shell: "cat {input} > {output}"
rule folder:
    output: directory("folder")
    shell: "touch folder/inside.txt"
rule touched:
    input: "folder"
    output: touch("touched.txt")
    shell: "true"
rule logged:
    output: "logged.txt"
    log: "logs/logged.log"
    shell: "(echo written; echo hello > {output}) > {log}"
rule quoted:
    output: "{name}.txt"
    resources: options=lambda wildcards: OPTIONS[wildcards.name]
    shell: "printf '<%s>' {resources.options:q} > {output}"
"""
OPTIONS = {"json": '{"compile": "never", "note": "it\'s {output}"}', "none": ""}
KINDS = f"OPTIONS = {OPTIONS!r}\n" + KINDS

FAILING = """
rule all:
    input: "good.txt", "bad.txt"
rule good:
    output: "good.txt"
    shell: "touch {output}"
rule bad:
    output: "bad.txt"
    retries: 2
    resources: attempt=lambda wildcards, attempt: attempt
    shell: "echo attempt {resources.attempt} >> attempts; echo half > {output}; echo went wrong; exit 4"
"""

WAITING = """
rule all:
    input: "0.txt", "1.txt"
rule wait:
    output: "{i}.txt"
    shell: "echo {wildcards.i} >> starts; sleep 6; touch {output}"
"""


def start(folder, snakefile, *arguments):
    (folder / "Snakefile").write_text(snakefile)
    options = ["--executor", "submitit", "--submitit-cluster", "local", "--jobs", "4", "--latency-wait", "3"]
    options += ["--default-resources", "runtime=10", "mem_mb=100", "--nolock", "--rerun-incomplete"]
    with (folder / "log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", *options, *arguments], cwd=folder, stdout=log, stderr=log
        )


def run(folder, snakefile, *arguments):
    """Exit status and all that was printed."""
    status = start(folder, snakefile, *arguments).wait(timeout=400)
    return status, (folder / "log").read_text()


def test_every_kind_of_job(tmp_path):
    (tmp_path / "script.py").write_text("open(snakemake.output[0], 'w').write(snakemake.rule)")
    status, log = run(tmp_path, KINDS)
    assert status == 0, log
    read = {path.name: path.read_text().strip() for path in tmp_path.glob("*.txt")}
    assert read == {
        "shell.txt": "it's 3 100",
        "run.txt": "run",
        "script.txt": "script",
        "grouped.txt": "first",
        "logged.txt": "hello",
        "touched.txt": "",
    } | {f"{name}.txt": f"<{text}>" for name, text in OPTIONS.items()}
    assert (tmp_path / "logs" / "logged.log").read_text() == "written\n"
    assert (tmp_path / "folder" / "inside.txt").exists()
    assert "Nothing to be done" in run(tmp_path, KINDS)[1]


def test_failures_show_and_retries_are_snakemakes(tmp_path):
    status, log = run(tmp_path, FAILING, "--keep-going")
    assert status == 1
    assert (tmp_path / "good.txt").exists()
    assert not (tmp_path / "bad.txt").exists(), "outputs of failed jobs are removed"
    assert (tmp_path / "attempts").read_text() == "attempt 1\nattempt 2\nattempt 3\n"
    assert "FAILED, exit status 4" in log and "    went wrong" in log


@pytest.mark.parametrize(("pause", "kind"), [(0, "shell"), (7, "shell"), (0, "group"), (0, "run")])
def test_a_killed_head_finds_its_processes_again(tmp_path, pause, kind):
    snakefile = WAITING
    if kind == "group":
        snakefile = WAITING.replace("    shell:", "    group: 'all'\n    shell:")
    if kind == "run":
        snakefile = WAITING.replace("    shell: ", "    run:\n        shell(").replace(
            '{output}"', '{output}")'
        )
    head = start(tmp_path, snakefile)
    starts = tmp_path / "starts"
    while not starts.exists() or starts.read_text().count("\n") < 2:
        assert head.poll() is None
        time.sleep(0.1)
    head.kill()
    head.wait()
    time.sleep(pause)
    status, log = run(tmp_path, snakefile)
    assert status == 0, log
    assert sorted(starts.read_text().split()) == ["0", "1"]


def test_what_one_machine_cannot_give_is_refused(tmp_path):
    status, log = run(tmp_path, WAITING, "--set-resources", "wait:nodes=2")
    assert status == 1 and "nodes=2: --submitit-cluster local has one node" in log
    status, log = run(tmp_path, WAITING, "--submitit-cluster", "moon")
    assert status == 1 and "must be one of slurm, local" in log
