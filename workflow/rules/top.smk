# A ladder whose laws choose the size of its top rung: all other runs to their law, its best size to the top's specs.
# What the laws expect of it is written down in the same file, before it runs.
checkpoint top:
    input:
        results=lambda _: [
            result
            for result in results_left()
            if result
            not in expand(f"{RESULTS}/runs/{{run}}/result.json", run=CLIMB.topped)
        ],
        gates=lambda _: gate_files(),
        evaluations=lambda _: evaluated(CLIMB.ladder.ascending[:-1]),
        plan=f"{RESULTS}/plan.json",
    output:
        top=CLIMB.top_record,
    localrule: True
    params:
        ladder=lambda _: str(CLIMB.path),
        digest=CLIMB.top_digest,
        code=lambda _: CLIMB.analysis_code,
    shell:
        "stepladder top {params.ladder:q} --results {RESULTS:q} --out {output.top:q}"
