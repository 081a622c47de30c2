"""The rung that the laws of the others size: which runs wait for it, and how its size gets into their specs.

Until top.json is there these specs hold a size that is expected; `at_depth` makes them final. How it is
chosen is in `stepladder.decision.choose_top`.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterable
from functools import cache
from math import exp
from pathlib import Path

from stepladder.documents.document import DocumentError
from stepladder.ladder.expand import expand
from stepladder.ladder.grids import top_sizes
from stepladder.record.spec import RunSpec
from stepladder.record.top import TopRung
from stepladder.schema.design import ComputeOptimalTop
from stepladder.schema.ladder import Ladder


def top_design(ladder: Ladder) -> ComputeOptimalTop:
    """What the ladder says of its top rung.

    Raises:
        ValueError: it has none that laws size.
    """
    if not isinstance(ladder.design, ComputeOptimalTop):
        raise ValueError("no rung that laws size: add `design: {kind: compute_optimal_top, flops: …}`")
    return ladder.design


def depths(ladder: Ladder) -> dict[int, float]:
    """Every depth that the top rung may have, to the baseline's active non-embedding parameters.

    Raises:
        ValueError: the ladder has no such rung.
    """
    return {size.rung.depth: exp(size.log_n) for size in top_sizes(ladder, top_design(ladder))}


def top_digest(ladder: Ladder, others: Iterable[RunSpec]) -> str:
    """Changes when anything does that the choice depends on: 16 hex digits."""
    design = ladder.design.model_dump_json() if ladder.design else ""
    analysis = ladder.analysis
    parts = [design, ladder.shape.model_dump_json(), f"top.json {TopRung.VERSION}"]
    parts += [analysis.baseline, str(analysis.floor), str(analysis.seed), str(analysis.confidence)]
    parts += sorted(run.sha256 for run in others)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def read_depth(path: Path, digest: str) -> int:
    """The depth that `stepladder top` chose, of the ladder with this digest.

    Raises:
        FileNotFoundError: it is not chosen yet; what there is may be of another ladder.
    """
    try:
        stat = path.stat()
    except FileNotFoundError:
        raise _not_there(path) from None
    made_from, depth = _read_depth(path, stat.st_mtime_ns, stat.st_size)
    if made_from != digest:
        raise _not_there(path)
    return depth


# The unnamed arguments tell versions of the file apart: it is asked for once per run.
@cache
def _read_depth(path: Path, _mtime_ns: int, _size: int) -> tuple[str, int]:
    try:
        found = TopRung.read(path)
    except DocumentError:
        return "", 0  # of another version, or changed: made from nothing that is known
    return found.made_from, found.depth


def _not_there(path: Path) -> FileNotFoundError:
    # Snakemake recognises the path, and resolves the spec later, when `top` has run.
    return FileNotFoundError(errno.ENOENT, "the top rung's size is not chosen yet", str(path))


def at_depth(ladder: Ladder, depth: int, path: Path) -> dict[str, RunSpec]:
    """The top rung's runs at this depth, by id.

    Raises:
        LadderError: its recipe or budget is impossible there.
    """
    (rung,) = (rung for rung in ladder.rungs if rung.label == ladder.top)
    alone = ladder.model_copy(update={"rungs": (rung.model_copy(update={"depth": depth}),)})
    return {run.id: run for run in expand(alone, path, ("design",))}
