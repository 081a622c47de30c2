# Text to tokens, once per ladder; the speed of this machine's matrix products, once per machine.


# Small corpora are made where Snakemake runs; those of GPU ladders are a job, with the profile's resources.
rule data:
    output:
        f"{RESULTS}/data/manifest.json",
    localrule: CLIMB.ladder.execution.accelerator == "cpu"
    params:
        data=lambda _: CLIMB.corpora[None],
    shell:
        "stepladder data {params.data:q} --out {output:q}"


# Of a ladder with corpora, those whose shards are not the first one's.
if named := [name for name in CLIMB.corpora if name is not None]:

    rule corpus:
        output:
            f"{RESULTS}/corpora/{{corpus}}/manifest.json",
        wildcard_constraints:
            corpus="|".join(map(re.escape, named)),
        localrule: CLIMB.ladder.execution.accelerator == "cpu"
        params:
            data=lambda wildcards: CLIMB.corpora[wildcards.corpus],
        shell:
            "stepladder data {params.data:q} --out {output:q}"


# On CPU there is no datasheet to take the peak from. All cores are claimed so that nothing disturbs it.
rule calibrate:
    output:
        "results/machine.json",
    localrule: True
    threads: workflow.cores
    params:
        threads=CLIMB.ladder.execution.threads,
    shell:
        "stepladder calibrate --threads {params.threads} --out {output:q}"


# Of a ladder with a parametrization: whether activations keep their scale over width and depth, in a few steps.
rule coordinates:
    output:
        f"{RESULTS}/coordinates.json",
    localrule: True
    params:
        ladder=lambda _: str(CLIMB.path),
        digest=CLIMB.digest,
    shell:
        "stepladder coordinates {params.ladder:q} --out {output:q}"
