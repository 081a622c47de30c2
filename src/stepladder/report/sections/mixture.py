"""What each variant reads of each domain, where domains are mixed."""

from __future__ import annotations

from stepladder.display import numbers as fmt
from stepladder.display.table import Table, table
from stepladder.record.plan import Plan, PlannedRun


def mixture_table(plan: Plan) -> Table | None:
    """A row per variant and domain; None for a ladder without a mixture."""
    mixed = [run for run in plan.runs if run.tokens_by_domain and not run.trunk and not run.swarm]
    if not mixed:
        return None
    most = {run.variant: run for run in sorted(mixed, key=lambda run: run.tokens)}
    known = any(run.passes_by_domain for run in most.values())
    rows = [
        row for variant in dict.fromkeys(run.variant for run in mixed) for row in _rows(most[variant], known)
    ]
    return table(
        ["<Variant", "<Domain", "Share", "Tokens", *(["Passes"] if known else [])],
        rows,
        title="Mixture",
        note="Of the run of each variant that reads most: share of the text that it reads, raw tokens, and "
        + ("passes over the domain." if known else "once the data are prepared, passes over the domain."),
    )


def _rows(run: PlannedRun, known: bool) -> list[list[str]]:
    read = run.tokens_by_domain or {}
    passes = run.passes_by_domain or {}
    return [
        [
            run.variant,
            domain,
            fmt.percent(tokens / sum(read.values())),
            fmt.count(tokens),
            *([fmt.significant(passes.get(domain), 2)] if known else []),
        ]
        for domain, tokens in read.items()
    ]
