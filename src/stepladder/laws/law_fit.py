"""One law fitted to one table: what `table_fit` makes, `stepladder fit TABLE --law chinchilla` writes and
`stepladder predict` reads."""

from __future__ import annotations

from stepladder.documents.document import Part
from stepladder.laws.document import TableFit
from stepladder.laws.numbers import Interval


class Refits(Part):
    """How the bootstrap went."""

    scheme: str
    """What was resampled, in words."""
    draws: int
    """Fits to resampled rows."""
    clusters: int
    """Clusters that are drawn as wholes."""
    converged: float
    """Share of the draws whose fit converged, of those that were fitted in full (`scheme` says how many)."""
    other_optima: float
    """Share of the draws that were searched from other starts in which one of these ended lower."""


class Uncertainty(Part):
    """How sure a fit is; all but the delta method's errors are null without a bootstrap."""

    standard_errors: dict[str, float | None] | None = None
    """Standard deviation of each parameter over the bootstrap draws."""
    standard_errors_delta: dict[str, float | None]
    """The same by the delta method, as a check."""
    intervals: dict[str, Interval | None] | None = None
    """Percentile interval of each parameter."""
    intervals_bca: dict[str, Interval | None] | None = None
    """Bias-corrected and accelerated interval of each parameter."""
    bootstrap: Refits | None = None
    """How the draws were made."""


class Residuals(Part):
    """What the law leaves of the log losses."""

    sd: float
    """Standard deviation of log loss, by the degrees of freedom that the parameters leave."""
    values: tuple[float, ...]
    """Observed less predicted log loss of every row, in the table's order."""


class AllocationErrors(Part):
    """Standard deviations over the bootstrap draws."""

    a: float | None
    """Of the exponent of parameters."""


class AllocationIntervals(Part):
    """Percentile intervals of `Allocation`'s numbers."""

    a: Interval | None
    """Of the exponent of parameters."""
    b: Interval | None
    """Of the exponent of tokens."""
    G: Interval | None
    """Of the coefficient."""


class Allocation(Part):
    """Compute-optimal sizes that a Chinchilla law implies: N* = G (C/6)^a and D* = (C/6)^b / G."""

    a: float | None
    """Exponent of parameters."""
    b: float | None
    """Exponent of tokens."""
    G: float | None
    """Coefficient: N* in parameters, C in FLOPs."""
    standard_errors: AllocationErrors | None = None
    """Null without a bootstrap."""
    intervals: AllocationIntervals | None = None
    """Null without a bootstrap."""


class PinnedFloor(Part):
    """All else fitted again with the floor pinned."""

    E: float
    """The floor, nats/token."""
    objective: float
    """Summed over the rows."""
    converged: bool
    """Whether the fit did."""
    parameters: dict[str, float | None]
    """Estimates of the others."""


class LawFit(Uncertainty, TableFit):
    """One law fitted to a table, for all rows or one law per group of them."""

    law: str
    """Name of the law, a key of `forms.LAWS`."""
    formula: str
    """The law in symbols."""
    source: str
    """Where the law is from."""
    groups: tuple[str, ...]
    """Variants that have parameters of their own; empty for one law."""
    by: str | None
    """Column of the groups."""
    shared: tuple[str, ...]
    """Parameters that the groups have in common."""
    pinned: dict[str, float]
    """Parameters that were given, not fitted."""
    norm: str
    """How residuals count: huber, log_cosh or squared."""
    delta: float
    """Residual of log loss from which rows count linearly."""
    weight_above: float
    """Weight of rows above the law; below 1 undertuned runs pull less."""
    units: dict[str, str]
    """Unit of every parameter."""
    objective: float
    """Summed over the rows."""
    converged: bool
    """Whether the best start did."""
    starts: int
    """Starts that were screened."""
    starts_polished: int
    """Searches on all rows; of a table of more than 2,000 one from each of the best optima of a sample."""
    starts_agreeing: int
    """Of `starts_polished`, those that ended at the best objective."""
    condition: float
    """Condition number of the problem at its optimum."""
    residuals: Residuals
    """What the law leaves."""
    range: dict[str, tuple[float, float]]
    """Smallest and largest value of every input of the law."""
    flops_per_parameter_token: tuple[float, float] | None = None
    """Smallest and largest C/(N D) of the rows, 6 as a rule; null where the table lacks one of the three."""
    allocation: Allocation | None
    """Compute-optimal sizes; only of a Chinchilla law with nothing pinned, for all rows at once."""
    floor_sensitivity: tuple[PinnedFloor, ...]
    """The fit under other floors; empty where the floor is pinned or the law has none."""
    draws: dict[str, tuple[float | None, ...]] | None
    """Every parameter in each bootstrap draw; null where a draw does not tell it."""
    seconds: float
    """What the fit took."""
