# Results to tables, tables to laws, laws to a verdict.
# What a sweep found tells how far off rates may be.
SWEPT = CLIMB.learning_rates if CLIMB.sweep else []


rule collect:
    input:
        results=lambda _: results_left(),
        gates=lambda _: gate_files(),
        evaluations=EVALUATED,
        plan=f"{RESULTS}/plan.json",
    output:
        runs=f"{RESULTS}/runs.parquet",
        steps=f"{RESULTS}/steps.parquet",
        looks=f"{RESULTS}/looks.parquet",
    localrule: True
    params:
        gates=gate_options,
        evaluations=lambda wildcards, input: " ".join(
            f"--evaluations {shlex.quote(path)}" for path in input.evaluations
        ),
    shell:
        "stepladder collect {input.plan:q} --runs {output.runs:q} --steps {output.steps:q}"
        " --looks {output.looks:q} {params.gates}"
        " {params.evaluations}"


rule fit:
    input:
        runs=f"{RESULTS}/runs.parquet",
        rates=SWEPT,
    output:
        f"{RESULTS}/fits/{{axis}}.json",
    localrule: True
    params:
        settings=lambda _: CLIMB.analysis,
        code=lambda _: CLIMB.analysis_code,
    shell:
        "stepladder fit {input.runs:q} --axis {wildcards.axis:q} --settings {params.settings:q}"
        " --rates={input.rates:q} --out {output:q}"


# The same verdicts by the metrics that do not decide.
rule metrics:
    input:
        runs=f"{RESULTS}/runs.parquet",
        rates=SWEPT,
    output:
        f"{RESULTS}/metrics.json",
    localrule: True
    params:
        settings=lambda _: CLIMB.analysis,
        code=lambda _: CLIMB.analysis_code,
    shell:
        "stepladder metrics {input.runs:q} --settings {params.settings:q} --rates={input.rates:q}"
        " --out {output:q}"


# What each metric tells at which rung, and what small rungs foretell of tasks.
rule signal:
    input:
        f"{RESULTS}/runs.parquet",
    output:
        signal=f"{RESULTS}/signal.json",
        laws=f"{RESULTS}/task_laws.json" if CLIMB.ladder.evaluation.tasks else [],
    localrule: True
    params:
        settings=lambda _: CLIMB.analysis,
        code=lambda _: CLIMB.analysis_code,
        laws=(
            f"--laws {shlex.quote(f'{RESULTS}/task_laws.json')}"
            if CLIMB.ladder.evaluation.tasks
            else ""
        ),
    shell:
        "stepladder signal {input:q} --settings {params.settings:q} --out {output.signal:q} {params.laws}"


# What a budget is best spent on: of a ladder with several budgets.
rule laws:
    input:
        f"{RESULTS}/runs.parquet",
    output:
        f"{RESULTS}/laws.json",
    localrule: True
    params:
        settings=lambda _: CLIMB.analysis,
        code=lambda _: CLIMB.analysis_code,
    shell:
        "stepladder laws {input:q} --settings {params.settings:q} --out {output:q}"


# By hand, before the largest rungs run: `snakemake preregister`, then `snakemake`. Training does not wait for
# it: an input of `train` would hide edited specs (see train.smk).
rule preregister:
    input:
        results=lambda _: [
            result
            for result in results_left()
            if result
            not in expand(
                f"{RESULTS}/runs/{{run}}/result.json",
                run=explained(lambda: CLIMB.held_out_runs),
            )
        ],
        evaluations=lambda _: evaluated(
            CLIMB.ladder.ascending[: -CLIMB.ladder.analysis.holdout_rungs or None]
        ),
        plan=f"{RESULTS}/plan.json",
    output:
        f"{RESULTS}/predictions.json",
    localrule: True
    params:
        ladder=lambda _: str(CLIMB.path),
    shell:
        "stepladder preregister {params.ladder:q} --results {RESULTS:q} --out {output:q}"


# What was predicted before the runs, if anything was. A param, because nothing makes it again.
RECORD = Path(RESULTS, "predictions.json")


rule compare:
    input:
        runs=f"{RESULTS}/runs.parquet",
        fits=expand(f"{RESULTS}/fits/{{axis}}.json", axis=AXES),
        gates=lambda _: gate_files(),
        rates=SWEPT,
    output:
        report(
            f"{RESULTS}/comparison.json",
            caption="../report/comparison.rst",
            category="Verdict",
        ),
    localrule: True
    params:
        settings=lambda _: CLIMB.analysis,
        code=lambda _: CLIMB.analysis_code,
        record=str(RECORD) if RECORD.exists() else "",
        record_digest=file_digest(RECORD),
        gates=gate_options,
    shell:
        "stepladder compare {input.runs:q} {input.fits:q} --settings {params.settings:q}"
        " --record={params.record:q} --rule {RESULTS:q}/rule.json {params.gates}"
        " --rates={input.rates:q} --out {output:q}"
