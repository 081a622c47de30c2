# Stepladder's table of contents. Logic lives in src/stepladder; rules say what is made from what.
#
#   snakemake                          climb the default ladder and typeset results/laptop/report.pdf
#   snakemake plan                     price it, run nothing (while it climbs: stepladder plan laptop)
#   snakemake preregister              train all but the largest rung and write down what is expected of it
#   snakemake --config ladder=smoke    another ladder of configs/ladders, or a path to a file
#   snakemake --config gates=off       every run of a ladder with gates between its rungs, whatever they say
import json
import shlex
import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.utils import min_version

from stepladder.decision.rule_record import record_rule
from stepladder.display.failed_jobs import shorten
from stepladder.ladder.climb import Climb, file_digest
from stepladder.record.paths import LadderFolder
from stepladder.schema.analysis import AXES

min_version("9.13")

logger.addFilter(shorten)


# What a person can mend ends in a sentence. FileNotFoundError is Snakemake's own word for "not known yet".
def explained(ask):
    try:
        return ask()
    except FileNotFoundError:
        raise
    except (ValueError, OSError) as error:
        raise WorkflowError(str(error)) from None


CLIMB = explained(lambda: Climb.open(config.get("ladder", "laptop")))
if str(config.get("gates", "on")) in ("off", "False"):
    CLIMB = CLIMB.without_gates()

SHARDS = LadderFolder.of(CLIMB.ladder.name)
RESULTS = f"results/{CLIMB.ladder.name}"

# Rules call `stepladder` of the environment that runs Snakemake, activated or not. Braces are Snakemake's.
BIN = shlex.quote(str(Path(sys.executable).parent))
BIN = BIN.replace("{", "{{").replace("}", "}}")
shell.prefix(f"set -euo pipefail; export PATH={BIN}:$PATH; ")


wildcard_constraints:
    run="[^/]+/[^/]+/.+",
    shards="data|corpora/[^/]+",
    part="(both|train|validation)-[^/.]+",
    axis="|".join(AXES),
    task=r"\w+",
    rung="[^/]+",


# What is promoted is decided by the rule that stood before the first result: here it is written down.
onstart:
    explained(
        lambda: record_rule(
            LadderFolder.of(CLIMB.ladder.name).rule,
            CLIMB.ladder.analysis,
            [Path(RESULTS, "runs", run, "result.json") for run in CLIMB.every_run],
        )
    )


include: "workflow/rules/plan.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"


if CLIMB.sweep:

    include: "workflow/rules/tune.smk"


include: "workflow/rules/gates.smk"
include: "workflow/rules/evaluate.smk"


if CLIMB.topped:

    include: "workflow/rules/top.smk"


if CLIMB.mixed:

    include: "workflow/rules/swarm.smk"


include: "workflow/rules/analyze.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        f"{RESULTS}/report.pdf",
