# Results to tables, tables to laws, laws to a verdict.


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
        code=CLIMB.analysis_code,
    shell:
        "stepladder fit {input} --axis {wildcards.axis} --settings {params.settings:q} --out {output}"


rule compare:
    input:
        runs=f"{RESULTS}/runs.parquet",
        fits=expand(
            f"{RESULTS}/fits/{{axis}}.json", axis=["flops", "seconds", "tokens"]
        ),
    output:
        report(
            f"{RESULTS}/comparison.json",
            caption="../report/comparison.rst",
            category="Verdict",
        ),
    localrule: True
    params:
        settings=CLIMB.analysis,
        code=CLIMB.analysis_code,
    shell:
        "stepladder compare {input.runs} {input.fits} --settings {params.settings:q} --out {output}"
