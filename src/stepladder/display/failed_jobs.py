"""What Snakemake prints of a failed job, shorter: the job has said itself, in a sentence, why it failed."""

from __future__ import annotations

import logging
import re
import textwrap

COMMAND_FAILED = re.compile(
    r'\s*RuleException:\s*CalledProcessError in file "(?P<file>[^"]*)", line (?P<line>\d+):\s*'
    r"Command .*(?P<end>(?:returned non-zero exit status|died with) [^\n]*?)\.?\s*",
    re.DOTALL,
)
"""Snakemake's own report of a shell command: with the command, which in training holds a whole spec."""

EXPLAINED = re.compile(
    r"\s*(?:InputFunctionException in rule .*\nError:\n  WorkflowError"
    r'|WorkflowError in file "[^"]*", line \d+):\n'
    r"(?P<said>(?:.*\n)+?)"
    r"(?:Wildcards:\n(?:  .*\n)+)?(?:Traceback:\n)?(?:  File .*\n?)*\s*"
)
"""An error that the Snakefile or a rule raised in order to say something to a person, with the stack."""


def shorten(record: logging.LogRecord) -> bool:
    """A filter for Snakemake's logger: failed commands and explained errors without commands and stacks."""
    text = record.getMessage()
    if found := COMMAND_FAILED.fullmatch(text):
        record.msg, record.args = (
            "A job of {file}, line {line}, {end}: see above.".format(**found.groupdict()),
            (),
        )
    elif found := EXPLAINED.fullmatch(text):
        record.msg, record.args = textwrap.dedent(found["said"]).strip(), ()
    return True
