# Results to tables, tables to laws, laws to a verdict.
from stepladder.ladder.climb import file_digest


rule collect:
    input:
        results=expand(f"{RESULTS}/runs/{{run}}/result.json", run=CLIMB.runs),
        plan=f"{RESULTS}/plan.json",
    output:
        runs=f"{RESULTS}/runs.parquet",
        steps=f"{RESULTS}/steps.parquet",
    localrule: True
    shell:
        "stepladder collect {input.plan} --runs {output.runs} --steps {output.steps}"


rule fit:
    input:
        f"{RESULTS}/runs.parquet",
    output:
        f"{RESULTS}/fits/{{axis}}.json",
    localrule: True
    params:
        settings=CLIMB.analysis,
        code=lambda _: CLIMB.analysis_code,
    shell:
        "stepladder fit {input} --axis {wildcards.axis} --settings {params.settings:q} --out {output}"


# By hand, before the largest rungs run: `snakemake preregister`, then `snakemake`. Training does not wait for
# it: an input of `train` would hide edited specs (see train.smk).
rule preregister:
    input:
        results=expand(
            f"{RESULTS}/runs/{{run}}/result.json",
            run=[run for run in CLIMB.runs if run not in CLIMB.held_out_runs],
        ),
        plan=f"{RESULTS}/plan.json",
    output:
        f"{RESULTS}/predictions.json",
    localrule: True
    params:
        ladder=CLIMB.path,
    shell:
        "stepladder preregister {params.ladder} --results {RESULTS} --out {output}"


# What was predicted before the runs, if anything was. A param, because nothing makes it again.
RECORD = Path(RESULTS, "predictions.json")


rule compare:
    input:
        runs=f"{RESULTS}/runs.parquet",
        fits=expand(f"{RESULTS}/fits/{{axis}}.json", axis=AXES),
    output:
        report(
            f"{RESULTS}/comparison.json",
            caption="../report/comparison.rst",
            category="Verdict",
        ),
    localrule: True
    params:
        settings=CLIMB.analysis,
        code=lambda _: CLIMB.analysis_code,
        record=RECORD if RECORD.exists() else "",
        record_digest=file_digest(RECORD),
    shell:
        "stepladder compare {input.runs} {input.fits} --settings {params.settings:q}"
        " --record '{params.record}' --rule {RESULTS}/rule.json --out {output}"
