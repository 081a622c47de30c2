# Price the ladder, and stop one that is dearer than its owner allowed.


rule price:
    input:
        hardware="configs/hardware.yaml",
    output:
        plan=f"{RESULTS}/plan.json",
        table=f"{RESULTS}/plan.tsv",
    localrule: True
    params:
        ladder=lambda _: str(CLIMB.path),
        digest=CLIMB.digest,
    shell:
        "stepladder price {params.ladder:q} --hardware {input.hardware:q} --out {output.plan:q}"
        " --table {output.table:q}"


# What the ladder will be able to tell, simulated under the noise and the law of its earlier runs, if it has any: a
# param, because they rest on the plan themselves.
EARLIER = Path(RESULTS, "runs.parquet")


rule power:
    input:
        plan=f"{RESULTS}/plan.json",
    output:
        power=f"{RESULTS}/power.json",
        pdf=f"{RESULTS}/plan.pdf",
    localrule: True
    params:
        ladder=lambda _: str(CLIMB.path),
        settings=lambda _: CLIMB.analysis,
        code=lambda _: CLIMB.analysis_code,
        earlier=file_digest(EARLIER),
    shell:
        "stepladder power {params.ladder:q} {input.plan:q} --out {output.power:q} --pdf {output.pdf:q}"


# No output: it prints whenever it is asked for, and runs nothing.
rule plan:
    input:
        plan=f"{RESULTS}/plan.json",
        power=f"{RESULTS}/power.json",
    localrule: True
    shell:
        "stepladder plan {input.plan:q}"
