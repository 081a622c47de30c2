# Text to tokens, once per corpus; the speed of this machine's matrix products, once per machine.


# Shards lie in data/, those of further corpora in corpora/<name>/.
def name_of(shards):
    return shards.partition("/")[2] or None


def shards_of(wildcards):
    return name_of(wildcards.shards)


# Files are looked at when jobs are planned: one that is added is a job more, one that changed is read again. They
# are listed once per start: by the head, and by jobs of the rules named. Others ask as well, and need not know.
def looks(*rules):
    asking = {job.rulename for job in workflow.dag_settings.target_jobs}
    return workflow.is_main_process or not asking.isdisjoint(rules)


@cache
def part_names(shards):
    if not looks("data", "tokenizer"):
        return []
    from stepladder.data.parts import names_of
    from stepladder.data.request import Request

    asked = Request.of_json(CLIMB.corpora[name_of(shards)])
    return explained(lambda: names_of(asked, Path(RESULTS, shards)))


def parts(wildcards, ending):
    folder = f"{RESULTS}/{wildcards.shards}/parts"
    return [f"{folder}/{name}{ending}" for name in part_names(wildcards.shards)]


# With what a change is noticed by: of the tokenizer that was brought, and of files that are no part's.
@cache
def settings_of(shards, files=False):
    asked = CLIMB.corpora[name_of(shards)]
    if not looks("data", "read", "tokenizer", "tokenize"):
        return asked
    from stepladder.data.seen import with_seen

    files = files and not part_names(shards)
    return explained(lambda: with_seen(asked, Path(RESULTS, shards), files))


def trained(wildcards):
    return json.loads(CLIMB.corpora[shards_of(wildcards)])["tokenizer"]["kind"] == "bpe"


# Small corpora are made where Snakemake runs; those of GPU ladders are a job, with the profile's resources.
rule data:
    input:
        lambda wildcards: parts(
            wildcards, ".tokens.json" if trained(wildcards) else ".json"
        ),
    output:
        f"{RESULTS}/{{shards}}/manifest.json",
    localrule: CLIMB.ladder.execution.accelerator == "cpu"
    resources:
        # No parameter: what is said of a text makes no other shards, and trains nothing again.
        provenance=lambda wildcards: CLIMB.provenance[shards_of(wildcards)],
    params:
        data=lambda wildcards: settings_of(wildcards.shards, files=True),
        step=lambda wildcards, input: "gather" if input else "all",
    shell:
        "stepladder data {params.data:q} --out {output:q} --step {params.step}"
        " --provenance {resources.provenance:q}"


# Of sources that are large enough to be worth it: a part of the files read, judged and, if it can be, tokenized.
rule read:
    output:
        f"{RESULTS}/{{shards}}/parts/{{part}}.json",
    localrule: CLIMB.ladder.execution.accelerator == "cpu"
    params:
        data=lambda wildcards: settings_of(wildcards.shards),
    shell:
        "stepladder data {params.data:q} --out {output:q} --step read"


rule tokenizer:
    input:
        lambda wildcards: parts(wildcards, ".json"),
    output:
        f"{RESULTS}/{{shards}}/parts/tokenizer.json",
    localrule: CLIMB.ladder.execution.accelerator == "cpu"
    params:
        data=lambda wildcards: settings_of(wildcards.shards),
    shell:
        "stepladder data {params.data:q} --out {output:q} --step tokenizer"


rule tokenize:
    input:
        f"{RESULTS}/{{shards}}/parts/{{part}}.json",
        f"{RESULTS}/{{shards}}/parts/tokenizer.json",
    output:
        f"{RESULTS}/{{shards}}/parts/{{part}}.tokens.json",
    localrule: CLIMB.ladder.execution.accelerator == "cpu"
    params:
        data=lambda wildcards: settings_of(wildcards.shards),
    shell:
        "stepladder data {params.data:q} --out {output:q} --step tokenize"


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
