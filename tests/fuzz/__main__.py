"""Try many inputs, and list those that end wrongly.

    python -m tests.fuzz --inputs 20000              shared equally among all kinds of files
    python -m tests.fuzz --kind ladders --seed 7     others of one kind
    python -m tests.fuzz --kind ladders --show 12    print one input and what comes of it

Exit status 1 if there is any finding.
"""

from __future__ import annotations

import argparse
import sys
import time

from . import KINDS
from .runner import make, problem, run


def main() -> None:
    """Run the kinds that were asked for."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__, formatter_class=raw)
    parser.add_argument("--inputs", type=int, default=2000, help="in all, of all kinds together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=KINDS, action="append", help="may be given several times")
    parser.add_argument("--show", type=int, metavar="N", help="only input number N of each kind")
    arguments = parser.parse_args()
    kinds = arguments.kind or KINDS
    if arguments.show is not None:
        for kind in kinds:
            case = make(kind, arguments.seed, arguments.show)
            print(f"{case}\n--> {problem(kind, case) or 'as it should be'}")
        return
    findings = 0
    for kind in kinds:
        begun = time.perf_counter()
        outcome = run(kind, arguments.inputs // len(kinds), arguments.seed)
        findings += len(outcome.findings)
        print(
            f"{kind}: {outcome.inputs} inputs in {time.perf_counter() - begun:.0f} s, the slowest took "
            f"{outcome.slowest:.2f} s of CPU; {len(outcome.findings)} findings",
            flush=True,
        )
        for found in outcome.findings:
            print(f"  {found.index}: {found.what}")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
