# One job per run. What it trains is `params.spec`, complete: nothing else determines the result.
# Checkpoints and the event log stay beside result.json, undeclared, because Snakemake deletes the
# declared outputs of a job that fails or is killed.


rule train:
    input:
        manifest=f"{RESULTS}/data/manifest.json",
        approved=ancient(f"{RESULTS}/plan.approved"),
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
        spec=lambda wildcards: CLIMB.runs[wildcards.run].to_json(),
    shell:
        "stepladder train {params.spec:q} --manifest {input.manifest} --out {output.result}"
        " --machine '{input.machine}'"
        f" --threads {{threads}} --checkpoint-seconds {CLIMB.ladder.execution.checkpoint_seconds:g}"
