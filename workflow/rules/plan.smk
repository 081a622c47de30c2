# Price the ladder, and stop one that is dearer than its owner allowed.


rule price:
    input:
        hardware="configs/hardware.yaml",
    output:
        plan=f"{RESULTS}/plan.json",
        table=f"{RESULTS}/plan.tsv",
        pdf=f"{RESULTS}/plan.pdf",
    localrule: True
    params:
        ladder=lambda _: str(CLIMB.path),
        digest=CLIMB.digest,
    shell:
        "stepladder price {params.ladder:q} --hardware {input.hardware:q} --out {output.plan:q}"
        " --table {output.table:q} --pdf {output.pdf:q}"


# No output: it prints whenever it is asked for, and runs nothing.
rule plan:
    input:
        f"{RESULTS}/plan.json",
    localrule: True
    shell:
        "stepladder plan {input:q}"
