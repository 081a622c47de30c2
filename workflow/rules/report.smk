# The document that a group decides from.


rule report:
    input:
        runs=f"{RESULTS}/runs.parquet",
        steps=f"{RESULTS}/steps.parquet",
        fits=expand(f"{RESULTS}/fits/{{axis}}.json", axis=AXES),
        comparison=f"{RESULTS}/comparison.json",
        metrics=f"{RESULTS}/metrics.json",
        signal=f"{RESULTS}/signal.json",
        looks=f"{RESULTS}/looks.parquet",
        laws_of_tasks=(
            f"{RESULTS}/task_laws.json" if CLIMB.ladder.evaluation.tasks else []
        ),
        plan=f"{RESULTS}/plan.json",
        manifests=[str(SHARDS.manifest_of(name)) for name in CLIMB.corpora],
        laws=f"{RESULTS}/laws.json" if CLIMB.ladder.several_budgets else [],
        rates=SWEPT,
        coordinates=(
            f"{RESULTS}/coordinates.json"
            if CLIMB.ladder.optimizer.parametrization
            else []
        ),
        top=CLIMB.top_record if CLIMB.topped else [],
        swarm=CLIMB.swarm_record if CLIMB.mixed else [],
    output:
        report(
            f"{RESULTS}/report.pdf", caption="../report/report.rst", category="Verdict"
        ),
    localrule: True
    params:
        ladder=lambda _: str(CLIMB.path),
        digest=CLIMB.digest,
    shell:
        "stepladder report {params.ladder:q} --results {RESULTS:q} --out {output:q}"
