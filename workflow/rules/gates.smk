# Looks between rungs: what has become hopeless is not trained further. A ladder without gates has no such job.
from stepladder.record.gates import GateRecord


# A checkpoint's output: Snakemake asks again for what depends on it when it is there, and only then are the runs
# known that are left.
def gate_files(until=None):
    names = list(CLIMB.gates)
    passed = names[: names.index(until)] if until else names
    return [checkpoints.gate.get(after=name).output.record for name in passed]


def results_left(until=None):
    records = [GateRecord.read(Path(path)) for path in gate_files(until)]
    runs = explained(lambda: CLIMB.runs_left(records, until))
    return expand(f"{RESULTS}/runs/{{run}}/result.json", run=runs)


# `--gate FILE` for each, quoted: what a shell command takes.
def gate_options(wildcards, input):
    return " ".join(f"--gate {shlex.quote(path)}" for path in input.gates)


checkpoint gate:
    input:
        results=lambda wildcards: results_left(wildcards.after),
        gates=lambda wildcards: gate_files(wildcards.after),
        evaluations=lambda wildcards: evaluated(CLIMB.gates[wildcards.after]),
        plan=f"{RESULTS}/plan.json",
    output:
        record=f"{RESULTS}/gates/{{after}}.json",
    localrule: True
    params:
        ladder=lambda _: str(CLIMB.path),
        settings=lambda _: CLIMB.analysis,
        code=lambda _: CLIMB.analysis_code,
    shell:
        "stepladder gate {params.ladder:q} {wildcards.after:q} --results {RESULTS:q} --out {output.record:q}"
