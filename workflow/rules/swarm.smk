# A ladder whose swarm of small runs finds a mixture: their losses to the law, its lowest point to the arm's specs.
# What the law expects of it is written down in the same file, before the arm runs.
checkpoint swarm:
    input:
        results=expand(f"{RESULTS}/runs/{{run}}/result.json", run=CLIMB.swarm_rests_on),
        manifests=[str(SHARDS.manifest_of(name)) for name in CLIMB.corpora],
        plan=f"{RESULTS}/plan.json",
    output:
        swarm=CLIMB.swarm_record,
    localrule: True
    params:
        ladder=lambda _: str(CLIMB.path),
        digest=CLIMB.swarm_digest,
        code=lambda _: CLIMB.analysis_code,
    shell:
        "stepladder swarm {params.ladder:q} --results {RESULTS:q} --out {output.swarm:q}"
