"""Are changes found equivalent that are not, and those that are? Simulated ladders, judged as real ones are.

    python benchmarks/equivalence.py --ladders 2000 --out benchmarks/results/equivalence.json

Four rungs; the candidate's log loss differs from the reference's by nothing, or by exactly the margin at one
rung or at all. A third of the noise's variance is common to the two runs of a seed. Where the difference is
the same at every rung, what `stepladder plan` forecasts stands beside.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from calibration import FOUR, draw, ladder

from stepladder.decision.assumptions import NoiseLine
from stepladder.decision.cells import make_cells
from stepladder.decision.chances import plan_cells
from stepladder.decision.comparison import Outcome
from stepladder.decision.equivalence import decide_equivalent, equivalence
from stepladder.decision.equivalence_chances import Chances, EquivalenceSimulation
from stepladder.decision.noise import measure_noise
from stepladder.schema.analysis import AnalysisConfig, VerdictRule

PAIR = ("dense-idea", "dense-baseline")

SIGMA = 0.0005
"""Standard deviation of one run's log loss."""


def verdicts(seeds: int, margin: float, off: tuple[float, ...], ladders: int) -> Counter[Outcome]:
    """How often each verdict follows where the candidate is off by so much at each rung."""
    scenario = ladder("equivalence", FOUR, seeds, SIGMA, 1.0, shared=1 / 3)
    rule = VerdictRule(kind="equivalent", margin=margin)
    found: Counter[Outcome] = Counter()
    for number in range(ladders):
        runs = draw(scenario, number)
        shift = runs["depth"].map(dict(enumerate(off)))
        mine = runs["variant"] == PAIR[0]
        runs.loc[mine, "loss"] *= np.exp(shift[mine])
        cells = make_cells(runs)
        told = equivalence(cells, measure_noise(cells), *PAIR, rule)
        found[decide_equivalent(told, ()).verdict] += 1
    return found


def forecast(seeds: int, margin: float) -> Chances:
    """What a plan of such a ladder says, were this noise known beforehand."""
    runs = draw(ladder("equivalence", FOUR, seeds, SIGMA, 1.0), 0)
    config = AnalysisConfig(baseline=PAIR[1], verdict=VerdictRule(kind="equivalent", margin=margin))
    noise = NoiseLine(SIGMA, at=FOUR[-1], per_decade=1.0, correlation=1 / 3)
    return EquivalenceSimulation(plan_cells(runs.drop(columns="loss")), noise, config).chances([PAIR])[PAIR]


def main() -> None:
    """Draw, judge, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ladders", type=int, default=2000, help="for each line")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    for seeds in (2, 3, 4):
        for margin in (0.001, 0.002, 0.005):
            edge = float(np.log1p(margin))
            told = forecast(seeds, margin)
            forecasts = {"no difference": told[0.0], "margin at all rungs": told[1.0]}
            truths = {
                "no difference": (0.0,) * 4,
                "margin at the largest rung": (0.0, 0.0, 0.0, edge),
                "margin at all rungs": (edge,) * 4,
                "twice the margin at the largest rung": (0.0, 0.0, 0.0, 2 * edge),
            }
            for truth, off in truths.items():
                found = verdicts(seeds, margin, off, options.ladders)
                shares = {name: count / options.ladders for name, count in sorted(found.items())}
                row = {"seeds": seeds, "margin": margin, "truth": truth, "shares": shares}
                rows.append(row | {"forecast": forecasts.get(truth)})
                line = f"4 x {seeds} seeds, margin {100 * margin:g} %, {truth}: {_percents(shares)}"
                foretold = f" (forecast: {_percents(forecasts[truth])})" if truth in forecasts else ""
                print(line + foretold, flush=True)
                if options.out:  # after each, so that an interrupted run keeps what it has
                    text = json.dumps({"sigma": SIGMA, "ladders": options.ladders, "rows": rows}, indent=1)
                    options.out.write_text(text + "\n")


def _percents(shares: Mapping[Outcome, float]) -> str:
    return ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())


if __name__ == "__main__":
    main()
