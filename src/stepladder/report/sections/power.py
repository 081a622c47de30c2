"""What a ladder will be able to tell, in tables and sentences."""

from __future__ import annotations

from collections.abc import Sequence

from stepladder.decision.power import DECISIVE, Change, Design, PairPower, Power
from stepladder.display import numbers as fmt
from stepladder.display.table import Table, table
from stepladder.schema.ladder import Ladder


def verdict(power: Power) -> str:
    """The first sentence of a plan: whether the ladder can decide, and what."""
    if power.reason:
        return power.reason
    if not power.pairs:
        return "This ladder compares nothing: it has one variant."
    if power.margin is not None:
        return _same_verdict(power) + _way_out(power)
    telling = [pair for pair in power.pairs if pair.tells]
    if not telling:
        best = max(power.pairs, key=lambda pair: pair.chances[-1].promote)
        last = best.chances[-1]
        return (
            f"This ladder cannot decide: a true gain of {last.gain:g} would be promoted with a chance of "
            f"{fmt.percent(last.promote)} ({_pair(best)}; {power.climbs} simulated climbs)."
            + _losses(power)
            + _way_out(power)
        )
    found = "; ".join(f"{_pair(pair)} from EG {pair.tells:g} on" for pair in telling)
    rest = [_pair(pair) for pair in power.pairs if not pair.tells]
    none = f" It cannot decide {', '.join(rest)}." if rest else ""
    sure = f"promoted with a chance of {fmt.percent(DECISIVE)} or more"
    return f"This ladder can decide {found} ({sure}).{none}" + _losses(power) + _way_out(power)


def _same_verdict(power: Power) -> str:
    """Whether variants that do not differ will be found equivalent."""
    within = _within(power)
    telling = [pair for pair in power.pairs if pair.shows_same]
    if not telling:
        best = max(power.pairs, key=lambda pair: pair.same[0].equivalent)
        return (
            f"This ladder cannot decide: variants that do not differ would be found equivalent within "
            f"{within} with a chance of {fmt.percent(best.same[0].equivalent)} ({_pair(best)}; "
            f"{power.climbs} simulated climbs)."
        )
    rest = [_pair(pair) for pair in power.pairs if not pair.shows_same]
    none = f" It cannot show it of {', '.join(rest)}." if rest else ""
    return (
        f"This ladder can show equal losses, within {within}, of {', '.join(map(_pair, telling))} (found "
        f"equivalent with a chance of {fmt.percent(DECISIVE)} or more if nothing differs).{none}"
    )


def _within(power: Power) -> str:
    return f"± {fmt.percent(power.margin, 3)}"


def _losses(power: Power) -> str:
    """How surely it rejects what costs compute, of the gains below 1 that were asked for."""
    told = [
        f"EG {row.gain:g} with {fmt.percent(min(pair.chances[i].reject for pair in power.pairs))}"
        for i, row in enumerate(power.pairs[0].chances)
        if row.gain < 1
    ]
    return f" It rejects {', '.join(told)} or more." if told else ""


def _way_out(power: Power) -> str:
    """The cheapest change that would do, if one was found."""
    if power.weakest is None:
        return ""
    candidate, reference = power.weakest
    claim = "equal losses" if power.goal is None else f"EG {power.goal:g}"
    what = f"{claim} for {candidate} against {reference}"
    if power.cheapest is None:
        return f" No number of seeds that was tried shows {what}."
    return f" Cheapest way to show {what}: {power.cheapest.what}, {_cost(power.cheapest)}."


def _pair(pair: PairPower) -> str:
    return f"{pair.candidate} against {pair.reference}"


def _cost(change: Change) -> str:
    price = "" if change.price is None else f", {fmt.money(change.price, 'USD')}"
    return f"{fmt.significant(change.accelerator_hours)} accelerator-hours{price}"


def power_table(power: Power) -> Table | None:
    """A line per comparison; None where nothing was simulated."""
    if not power.pairs:
        return None
    if power.margin is not None:
        return _same_table(power)
    gains = [chance.gain for chance in power.pairs[0].chances]
    priced = any(pair.price is not None for pair in power.pairs)
    rows = []
    for pair in power.pairs:
        chances = [_shares(row.promote, row.hold, row.reject) for row in pair.chances]
        price = [fmt.money(pair.price, None)] if priced else []
        factors = [_factor(pair.factor_largest), _factor(pair.factor_target)]
        rows.append(
            [
                pair.candidate,
                pair.reference,
                *factors,
                *chances,
                fmt.significant(pair.accelerator_hours),
                *price,
            ]
        )
    return table(
        [
            *("<Candidate", "<Against", "Interval", "At target"),
            *(f"EG {gain:g}" for gain in gains),
            *("Hours", *(["Price (USD)"] if priced else [])),
        ],
        rows,
        title="What it will tell",
        note=f"Interval: half of the {fmt.level(power.confidence)} interval of EG at the largest rung, as a "
        f"factor up or down (median of {power.climbs_whole} simulated climbs); at target: the same there. "
        f"EG: if that were true, chances of promote / hold / reject in per cent ({power.climbs} climbs each, "
        "by this ladder's rule, noise and misfit). Accelerator-hours of both variants' runs.",
    )


def _same_table(power: Power) -> Table:
    """A line per comparison: how often it is found equivalent, and how often not."""
    priced = any(pair.price is not None for pair in power.pairs)
    rows = [
        [
            pair.candidate,
            pair.reference,
            *(_shares(row.equivalent, row.unknown, row.not_equivalent) for row in pair.same),
            fmt.significant(pair.accelerator_hours),
            *([fmt.money(pair.price, None)] if priced else []),
        ]
        for pair in power.pairs
    ]
    return table(
        [
            *("<Candidate", "<Against"),
            *(_difference(row.margins) for row in power.pairs[0].same),
            *("Hours", *(["Price (USD)"] if priced else [])),
        ],
        rows,
        title="What it will tell",
        note=f"If losses differed by so much at every rung (margin: {_within(power)}), chances of equivalent "
        f"/ unknown / not equivalent in per cent ({power.climbs} climbs, by this ladder's rule and noise). "
        "Accelerator-hours of both variants' runs.",
    )


def _difference(margins: float) -> str:
    return f"{margins:g} × margin" if margins else "No difference"


def _shares(*shares: float) -> str:
    return " / ".join(fmt.percent(share)[:-2] for share in shares)


def _factor(value: float | None) -> str:
    return "unbounded" if value is None else f"× ÷ {fmt.significant(value)}"


def changes_table(power: Power) -> Table | None:
    """A line per change; None where there is none to tell of."""
    if not power.changes:
        return None
    goal = "" if power.goal is None else f"Promote at EG {power.goal:g}"
    if power.margin is not None and power.weakest is not None:
        goal = "Equivalent, if nothing differs"
    priced = any(change.price is not None for change in power.changes)
    rows = [
        [
            change.what,
            fmt.signed(change.accelerator_hours),
            *([fmt.money(change.price, None)] if priced else []),
            *([fmt.MISSING if change.promote is None else fmt.percent(change.promote)] if goal else []),
        ]
        for change in power.changes
    ]
    who = "" if power.weakest is None else f" Chance of {power.weakest[0]} against {power.weakest[1]}."
    return table(
        ["<Change", "Hours", *(["Price (USD)"] if priced else []), *([goal] if goal else [])],
        rows,
        title="What would change it",
        note="Accelerator-hours on top of the plan, or saved. Seeds are of every variant." + who,
    )


def assumed_table(power: Power) -> Table | None:
    """What the simulation rests on; None where there was none."""
    if power.assumed is None:
        return None
    assumed = power.assumed
    smallest, largest = fmt.percent(assumed.sd_smallest, 3), fmt.percent(assumed.sd_log_loss, 3)
    law = f"{assumed.E:.3g} + {assumed.A:.3g} (C / {fmt.flops(assumed.unit_cost)})^−{assumed.alpha:.3g}"
    rows = [
        [
            "Seed noise (s.d. of a run's log loss)",
            f"{smallest} at the smallest rung, {largest} at the largest",
        ],
        ["Where it is from", assumed.noise_source],
        ["Correlation of variants with one seed", fmt.fixed(assumed.correlation, 2)],
    ]
    if power.margin is None:  # equal losses are asked of no law
        rows += [
            ["Law of a variant without gain", f"{law} {assumed.law_unit}"],
            ["Where it is from", assumed.law_source],
        ]
    return table(["<", "<"], rows, title="What that rests on")


def tables(power: Power) -> list[Table]:
    """All tables there are."""
    return [found for found in (power_table(power), changes_table(power), assumed_table(power)) if found]


def designs_table(found: Sequence[Design]) -> Table:
    """A line per proposed ladder."""
    decide = found[0].weakest.chances[-1].gain
    priced = any(design.price is not None for design in found)
    rows = [
        [
            ", ".join(f"d{rung.depth} × {rung.seeds}" for rung in design.rungs),
            fmt.whole(design.runs),
            fmt.significant(design.accelerator_hours),
            *([fmt.money(design.price, None)] if priced else []),
            _factor(design.weakest.factor_largest),
            _factor(design.weakest.factor_target),
            fmt.percent(design.weakest.chances[-1].promote),
            fmt.percent(design.weakest.chances[0].promote),
        ]
        for design in found
    ]
    return table(
        [
            *("<Rungs × seeds", "Runs", "Hours", *(["Price (USD)"] if priced else [])),
            *("Interval", "At target", f"Promote at EG {decide:g}", "At EG 1"),
        ],
        rows,
        title=f"Ladders that could decide EG {decide:g}",
        note="Interval: half-width at the largest rung, as a factor; target: `analysis.target_flops`, else "
        "one rung up. Chances are of the comparison that is decided least, from "
        f"{found[0].climbs} simulated climbs each.",
    )


def design_lines(design: Design, ladder: Ladder) -> str:
    """What a ladder file says of the design."""
    known = {rung.depth: rung.label for rung in ladder.rungs}
    lines = ["The first of them, for a ladder file:", "", "rungs:"]
    for rung in design.rungs:
        name = known.get(rung.depth, f"d{rung.depth}")
        named = "" if name == f"d{rung.depth}" else f", name: {name}"
        lines.append(f"  - {{depth: {rung.depth}{named}, seeds: {list(range(rung.seeds))}}}")
    return "\n".join(lines)
