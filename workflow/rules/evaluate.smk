# Tasks: their items once per ladder, then the end of every finished run scored on all of them, a job per rung. What
# was scored before and still holds is kept beside the run, so that another task, or another run, costs only itself.
rule task:
    input:
        manifests=[str(SHARDS.manifest_of(name)) for name in CLIMB.corpora],
        files=lambda wildcards: explained(lambda: CLIMB.task_files(wildcards.task)),
    output:
        task=f"{RESULTS}/tasks/{{task}}.json",
        table=f"{RESULTS}/tasks/{{task}}.items.parquet",
    localrule: CLIMB.ladder.execution.accelerator == "cpu"
    params:
        settings=lambda wildcards: CLIMB.tasks[wildcards.task],
        search="--search" if CLIMB.ladder.evaluation.contamination else "--no-search",
    shell:
        "stepladder task {wildcards.task:q} {params.settings:q} {input.manifests:q} {params.search}"
        " --out {output.task:q}"


TASKS = expand(f"{RESULTS}/tasks/{{task}}.json", task=CLIMB.ladder.evaluation.tasks)


def gates_before(rung):
    return [
        checkpoints.gate.get(after=name).output.record
        for name in CLIMB.gates_before(rung)
    ]


def results_of_rung(rung):
    records = [GateRecord.read(Path(path)) for path in gates_before(rung)]
    runs = [run for run in CLIMB.runs_left(records) if CLIMB.runs[run].rung == rung]
    return expand(f"{RESULTS}/runs/{{run}}/result.json", run=runs)


rule evaluate:
    input:
        results=lambda wildcards: results_of_rung(wildcards.rung),
        gates=lambda wildcards: gates_before(wildcards.rung),
        tasks=TASKS,
        # Which runs a rung has is in the results: the plan of another rung scores nothing again.
        plan=ancient(f"{RESULTS}/plan.json"),
    output:
        f"{RESULTS}/evaluations/{{rung}}.json",
    threads: CLIMB.ladder.execution.threads
    resources:
        **CLIMB.evaluation_resources(),
    params:
        code=lambda _: CLIMB.evaluation_code,
        gates=gate_options,
        suites=CLIMB.suites,
        tasks=lambda wildcards, input: " ".join(
            f"--task {shlex.quote(path)}" for path in input.tasks
        ),
    shell:
        "stepladder evaluate-rung {input.plan:q} {wildcards.rung:q} {params.tasks} {params.gates}"
        " --suites {params.suites:q}"
        f" --device {'cpu' if CLIMB.ladder.execution.accelerator == 'cpu' else 'cuda'}"
        " --threads {threads} --out {output:q}"


# What is decided before all have run waits for scores only if it goes by them.
def evaluated(rungs):
    found = expand(f"{RESULTS}/evaluations/{{rung}}.json", rung=rungs)
    return found if CLIMB.decides_on_tasks else []


EVALUATED = (
    expand(
        f"{RESULTS}/evaluations/{{rung}}.json",
        rung=[rung.label for rung in CLIMB.ladder.rungs],
    )
    if CLIMB.ladder.evaluation.tasks
    else []
)
