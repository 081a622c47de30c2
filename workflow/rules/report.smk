# The document that a group decides from.
import os

from stepladder.ladder.climb import file_digest

REPORT = Path(RESULTS, "report.pdf")
OLD_REPORT = (
    (file_digest(REPORT), REPORT.stat().st_mtime_ns) if REPORT.is_file() else None
)


# `update` keeps the old report until there is a new one. If that fails, Snakemake puts the old one back as of now,
# which would pass for a new one: it gets its time back as well.
onerror:
    if OLD_REPORT and REPORT.is_file() and file_digest(REPORT) == OLD_REPORT[0]:
        os.utime(REPORT, ns=(OLD_REPORT[1], OLD_REPORT[1]))


rule report:
    input:
        runs=f"{RESULTS}/runs.parquet",
        steps=f"{RESULTS}/steps.parquet",
        fits=expand(f"{RESULTS}/fits/{{axis}}.json", axis=AXES),
        comparison=f"{RESULTS}/comparison.json",
        plan=f"{RESULTS}/plan.json",
        manifest=f"{RESULTS}/data/manifest.json",
        rates=CLIMB.learning_rates if CLIMB.sweep else [],
    output:
        report(
            update(f"{RESULTS}/report.pdf"),
            caption="../report/report.rst",
            category="Verdict",
        ),
    localrule: True
    params:
        ladder=lambda _: str(CLIMB.path),
        digest=CLIMB.digest,
    shell:
        "stepladder report {params.ladder:q} --results {RESULTS:q} --out {output:q}"
