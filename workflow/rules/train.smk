# One job per run. What it trains is `params.spec`, complete: nothing else determines the result.
# Checkpoints and the event log stay beside result.json, undeclared, because Snakemake deletes the
# declared outputs of a job that fails or is killed.


# The guard is in the params. As an input it would do harm: Snakemake looks for changed params only in
# jobs none of whose inputs is about to be made again, `ancient` or not, so that an edited spec, which
# changes the plan as well, would go unnoticed; and an error in an input function is passed over where
# the output exists.
def spec_within_limit(run):
    if CLIMB.over_limit:
        raise WorkflowError(CLIMB.over_limit)
    if CLIMB.ladder.execution.accelerators_per_run > 1:
        raise WorkflowError(
            "execution.accelerators_per_run is more than 1, but a run trains on one device for now: "
            "such a ladder can be planned (snakemake plan), not climbed"
        )
    return CLIMB.runs[run].to_json()


rule train:
    input:
        manifest=f"{RESULTS}/data/manifest.json",
        machine=(
            ancient("results/machine.json")
            if CLIMB.ladder.execution.accelerator == "cpu"
            else []
        ),
    output:
        result=f"{RESULTS}/runs/{{run}}/result.json",
    priority: lambda wildcards: CLIMB.priority(wildcards.run)
    threads: CLIMB.ladder.execution.threads
    resources:
        mem_mb=CLIMB.ladder.execution.memory_mb,
        runtime=CLIMB.ladder.execution.runtime_minutes,
    params:
        spec=lambda wildcards: spec_within_limit(wildcards.run),
    shell:
        "stepladder train {params.spec:q} --manifest {input.manifest} --out {output.result}"
        " --machine '{input.machine}'"
        f" --device {'cpu' if CLIMB.ladder.execution.accelerator == 'cpu' else 'cuda'}"
        f" --threads {{threads}} --checkpoint-seconds {CLIMB.ladder.execution.checkpoint_seconds:g}"
