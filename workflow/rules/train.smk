# One job per run. What it trains is `params.spec`, complete: nothing else determines the result.
# Checkpoints and the event log stay beside result.json, undeclared, because Snakemake deletes the
# declared outputs of a job that fails or is killed.


# The guard is in the params. As an input it would do harm: Snakemake looks for changed params only in
# jobs none of whose inputs is about to be made again, `ancient` or not, so that an edited spec, which
# changes the plan as well, would go unnoticed; and an error in an input function is passed over where
# the output exists.
def spec_within_limit(run):
    if over_limit := explained(lambda: CLIMB.over_limit):
        raise WorkflowError(over_limit)
    return CLIMB.spec(run).to_json()


# Runs at predicted rates wait for the sweep. Its outcome is `ancient`, and a checkpoint's: Snakemake looks at
# the specs again when it is there, so that those alone are trained whose rate has come out differently.
def learning_rates(run):
    return ancient(checkpoints.tune.get().output.rates) if run in CLIMB.tuned else []


# Runs of a rung that laws size wait for all others, in the same way.
def top_size(run):
    return ancient(checkpoints.top.get().output.top) if run in CLIMB.topped else []


# Runs of the arm whose mixture a swarm finds wait for the swarm, in the same way.
def mixture(run):
    return ancient(checkpoints.swarm.get().output.swarm) if run in CLIMB.mixed else []


# What a branch goes on from: the end of a segment of its trunk. No `ancient` here: a trunk that is trained again
# has other weights, and takes its branches with it.
def fork(run):
    name = CLIMB.fork(run)
    return f"{RESULTS}/trunks/{name}/result.json" if name else []


# How a run executes is in the resources, which Snakemake does not compare: only changed params train again.
# `:q` of what is empty is nothing at all, hence the `=` of options that may be.
TRAIN = (
    "stepladder train {params.spec:q} --manifest {input.manifest:q} --out {output.result:q}"
    " --machine={input.machine:q} --fork={input.fork:q}"
    f" --device {'cpu' if CLIMB.ladder.execution.accelerator == 'cpu' else 'cuda'}"
    " --threads {threads} --ranks {resources.tasks} --engine={resources.engine:q}"
    " --compile-cache {RESULTS:q}/compiled"
    " --max-epochs {resources.max_epochs:q} --held-out={resources.held_out:q}"
    " --curve={resources.curve:q}"
)
MACHINE = (
    ancient("results/machine.json")
    if CLIMB.ladder.execution.accelerator == "cpu"
    else []
)


rule train:
    input:
        manifest=lambda wildcards: CLIMB.manifest(wildcards.run),
        machine=MACHINE,
        rates=lambda wildcards: learning_rates(wildcards.run),
        top=lambda wildcards: top_size(wildcards.run),
        swarm=lambda wildcards: mixture(wildcards.run),
        fork=lambda wildcards: fork(wildcards.run),
    output:
        result=f"{RESULTS}/runs/{{run}}/result.json",
    priority: lambda wildcards: CLIMB.priority(wildcards.run)
    threads: lambda wildcards: CLIMB.execution(wildcards.run).threads
    resources:
        **CLIMB.resources(),
    params:
        spec=lambda wildcards: spec_within_limit(wildcards.run),
    shell:
        TRAIN


# A stretch of the steps that runs of several budgets have in common; one after the other, at constant rate.
rule trunk:
    input:
        manifest=lambda wildcards: CLIMB.manifest(wildcards.run),
        machine=MACHINE,
        rates=lambda wildcards: learning_rates(wildcards.run),
        fork=lambda wildcards: fork(wildcards.run),
    output:
        result=f"{RESULTS}/trunks/{{run}}/result.json",
    priority: 1_000_000
    threads: lambda wildcards: CLIMB.execution(wildcards.run).threads
    resources:
        **CLIMB.resources(),
    params:
        spec=lambda wildcards: spec_within_limit(wildcards.run),
    shell:
        TRAIN
