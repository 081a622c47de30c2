"""A failed job is told of once, by itself; Snakemake's command and stack are left out, all else stays."""

from __future__ import annotations

import logging

import pytest

from stepladder.display.failed_jobs import shorten

COMMAND = """RuleException:
CalledProcessError in file "/clone/workflow/rules/plan.smk", line 17:
Command 'set -euo pipefail;  stepladder train '{"a": 1,
"b": "100%"}' --out result.json' {end}"""

INPUT = """InputFunctionException in rule train in file "/clone/workflow/rules/train.smk", line 44:
Error:
  WorkflowError:
    configs/hardware.yaml: no such file
    in two lines
Wildcards:
  run=dense-tst/d2
Traceback:
  File "/clone/workflow/rules/train.smk", line 57, in <lambda>
  File "/clone/Snakefile", line 30, in explained (rule train, line 44, /clone/workflow/rules/train.smk)"""

PARSING = """WorkflowError in file "/clone/Snakefile", line 30:
no ladder 'nope'
and more
  File "/clone/Snakefile", line 33, in <module>
  File "/clone/Snakefile", line 30, in explained"""

FAILED = "A job of /clone/workflow/rules/plan.smk, line 17, {end}: see above."


@pytest.mark.parametrize(
    ("printed", "left"),
    [
        (
            COMMAND.replace("{end}", "returned non-zero exit status 1."),
            FAILED.format(end="returned non-zero exit status 1"),
        ),
        (
            COMMAND.replace("{end}", "died with <Signals.SIGKILL: 9>."),
            FAILED.format(end="died with <Signals.SIGKILL: 9>"),
        ),
        (INPUT, "configs/hardware.yaml: no such file\nin two lines"),
        (PARSING, "no ladder 'nope'\nand more"),
        ("WorkflowError:\nAt least one job did not complete successfully.", None),
        (INPUT.replace("WorkflowError", "KeyError"), None),
        ("MissingOutputException in rule fit in file x:\nJob completed, but files are missing", None),
    ],
)
def test_what_is_left(printed, left):
    record = logging.LogRecord("snakemake", logging.ERROR, "", 0, printed, (), None)
    assert shorten(record) and record.getMessage() == (left or printed)
