"""Names that runs would share: the later run would replace the earlier without a word."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from stepladder.ladder.domains import sources
from stepladder.ladder.read import Location, key_path
from stepladder.record.spec import RunSpec
from stepladder.schema.budget import Budget, Flops, budget_label
from stepladder.schema.ladder import Kind, Ladder

TAKEN = ("machine.json", "readme.md")
"""Names of what lies beside the ladders' own folders below results/."""


class Named(NamedTuple):
    """Something of a ladder file that becomes part of the names of runs."""

    name: str
    where: Location
    written: str
    """How a message shows it."""


class Shared(NamedTuple):
    """Two things of a ladder file that have one name."""

    where: Location
    """Of the second one."""
    first: Location
    message: str
    """`{first}` stands for where the first one is."""


def same_names(ladder: Ladder) -> Iterator[Shared]:
    """All pairs of names that are the same, or differ in case alone, which some file systems ignore."""
    for axis, items in _axes(ladder):
        seen: dict[str, Named] = {}
        for item in items:
            earlier = seen.setdefault(item.name.casefold(), item)
            if earlier is not item:
                yield _shared(axis, earlier, item)


def _shared(axis: str, earlier: Named, item: Named) -> Shared:
    if earlier.name != item.name:
        reason = f"{item.name!r} differs in case alone from {{first}}: one folder on some file systems"
    elif earlier.written == item.written:
        reason = f"lists a value twice: {{first}} is {axis} {item.name!r} as well"
    else:
        reason = (
            f"{item.written} and {{first}} = {earlier.written} are both {axis} {item.name!r} in names of runs"
        )
    if axis == "rung" and earlier.name == item.name:
        reason = f"a second rung {item.name!r}, beside {{first}}"
        return Shared(item.where, earlier.where, f"{reason}: remove it, or give it another `name`")
    remedy = "rename one" if axis in ("variant", "rung", "domain") else "remove one"
    return Shared(item.where, earlier.where, f"{reason}: {remedy}")


def _axes(ladder: Ladder) -> Iterator[tuple[str, Iterable[Named]]]:
    """Every list whose members must have names of their own."""
    yield "rung", [Named(rung.label, ("rungs", i), rung.label) for i, rung in enumerate(ladder.rungs)]
    yield "variant", _variants(ladder)
    for place, source in sources(ladder):
        yield "domain", [Named(name, (*place, "domains", name), name) for name in source.domain_names]
    lists: list[tuple[Location, tuple[Budget, ...] | None, tuple[int, ...] | None]] = [
        ((), ladder.budgets, ladder.seeds)
    ]
    lists += [(("rungs", i), rung.budgets, rung.seeds) for i, rung in enumerate(ladder.rungs)]
    if ladder.sweep:
        lists.append((("sweep",), None, ladder.sweep.seeds))
    for where, budgets, seeds in lists:
        yield (
            "budget",
            [
                Named(budget_label(value), (*where, "budgets", i), _written(value))
                for i, value in enumerate(budgets or ())
            ],
        )
        yield "seed", [Named(str(n), (*where, "seeds", i), str(n)) for i, n in enumerate(seeds or ())]
    if ladder.sweep:
        for name in ("learning_rate_factors", "batch_factors"):
            factors = getattr(ladder.sweep, name)
            yield "factor", [Named(f"{x:g}", ("sweep", name, i), repr(x)) for i, x in enumerate(factors)]


def _variants(ladder: Ladder) -> list[Named]:
    return [
        Named(
            Kind(a, r, c).variant,
            ("recipes", r) if c is None else ("corpora", c),
            f"architecture {a!r} with recipe {r!r}" + ("" if c is None else f" on corpus {c!r}"),
        )
        for a in ladder.architectures
        for r in ladder.recipes
        for c in ladder.corpora or (None,)
    ]


def _written(budget: Budget) -> str:
    if isinstance(budget, Flops):
        return f"{budget.flops!r} FLOPs"
    return repr(budget) if isinstance(budget, float) else f"{budget.steps} steps"


def check_ids(runs: Iterable[RunSpec], sweep: Iterable[RunSpec]) -> None:
    """Make sure that runs of the same id are the same run: the sweep takes some of the ladder.

    Raises:
        ValueError: two runs would live in one folder; the message says in what they differ.
    """
    seen: dict[str, tuple[str, RunSpec]] = {}
    for origin, specs in (("the ladder", runs), ("the sweep", sweep)):
        for spec in specs:
            first, other = seen.setdefault(spec.id.casefold(), (origin, spec))
            if other is not spec and (first == origin or other != spec):
                raise ValueError(
                    f"run {other.id!r} of {first} and run {spec.id!r} of {origin} would share a folder, and "
                    f"differ in {_difference(other, spec)}: write these values alike, or further apart"
                )


def _difference(one: RunSpec, other: RunSpec) -> str:
    """Fields that differ, with their values where these are short."""
    pairs = [(name, getattr(one, name), getattr(other, name)) for name in RunSpec.model_fields]
    return ", ".join(
        f"{name} ({a!r} and {b!r})" if isinstance(a, float | int | str) else name
        for name, a, b in pairs
        if a != b and name != "id"
    )


def place(where: Location, line_number: int) -> str:
    """`budgets[0] (line 12)`."""
    return f"{key_path(where)} (line {line_number})"
