# The sweep of a ladder that has one: bowls to the optimum's law to the rates of the other rungs (train.smk).
# A failed `tune` says which factors or seeds to add; what ran is kept.
checkpoint tune:
    input:
        expand(f"{RESULTS}/runs/{{run}}/result.json", run=CLIMB.sweep),
    output:
        rates=CLIMB.learning_rates,
        table=f"{RESULTS}/sweep.parquet",
    localrule: True
    params:
        ladder=lambda _: str(CLIMB.path),
        digest=CLIMB.sweep_digest,
        code=lambda _: CLIMB.analysis_code,
    shell:
        "stepladder tune {params.ladder:q} --results {RESULTS:q} --out {output.rates:q}"
        " --table {output.table:q}"
