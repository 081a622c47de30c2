"""The swarm of a ladder: small runs on drawn mixtures, and the arm that trains on the mixture they find.

Until swarm.json is there the arm's specs hold the baseline's mixture; `on_mixture` makes them final. How the
best mixture is found is in `stepladder.decision.choose_mixture`.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterable, Mapping
from pathlib import Path

from stepladder.ladder.arms import baseline_kind, baseline_shares, swarm_rung
from stepladder.ladder.expand import expand
from stepladder.ladder.outcome import read_outcome
from stepladder.record.passes import Limit
from stepladder.record.spec import RunSpec
from stepladder.record.swarm import SwarmOutcome
from stepladder.schema.corpora import Corpus
from stepladder.schema.data import MAX_EPOCHS
from stepladder.schema.design import MixtureSwarm
from stepladder.schema.ladder import Ladder
from stepladder.schema.mixture import Stage

DECIMALS = 4
"""Of a drawn share: what is read is what is written."""

ROOM = 0.999
"""Part of what `max_epochs` allows: a run reads its mixture to within a window or two."""


def swarm_design(ladder: Ladder) -> MixtureSwarm:
    """What the ladder says of its swarm.

    Raises:
        ValueError: it has none.
    """
    if not isinstance(ladder.design, MixtureSwarm):
        raise ValueError("no swarm of mixtures: add `design: {kind: mixture_swarm, runs: 32}`")
    return ladder.design


def draw(shares: Mapping[str, float], design: MixtureSwarm) -> list[dict[str, float]]:
    """Mixtures from the Dirichlet distribution about `shares`."""
    generator = random.Random(design.seed)
    found: list[dict[str, float]] = []
    while len(found) < design.runs:
        drawn = {n: generator.gammavariate(design.concentration * p, 1) for n, p in shares.items()}
        total = sum(drawn.values())
        mixture = {name: round(value / total, DECIMALS) for name, value in drawn.items()} if total else {}
        if sum(mixture.values()):
            found.append(mixture)
    return found


def swarm_runs(ladder: Ladder, path: Path) -> list[RunSpec]:
    """The runs on drawn mixtures; none without a swarm.

    Raises:
        LadderError: recipe or budget is impossible at the smallest rung.
    """
    if not isinstance(ladder.design, MixtureSwarm):
        return []
    kind, rung = baseline_kind(ladder), swarm_rung(ladder, ladder.design)
    assert kind.corpus is not None
    corpus, mixtures = ladder.corpora[kind.corpus], draw(baseline_shares(ladder), ladder.design)
    digits = len(str(len(mixtures) - 1))
    drawn = {f"swarm{i:0{digits}}": _reading(corpus, mixture) for i, mixture in enumerate(mixtures)}
    seeds = rung.seeds or ladder.seeds
    budget = (rung.budgets or ladder.budgets)[0]
    narrow = ladder.model_copy(
        update={
            "rungs": (rung.model_copy(update={"budgets": (budget,)}),),
            "architectures": {kind.architecture: ladder.architectures[kind.architecture]},
            "recipes": {kind.recipe: ladder.recipes[kind.recipe]},
            "corpora": {**ladder.corpora, **drawn},
        }
    )
    by_name = {(run.data.corpus, run.seed): run for run in expand(narrow, path, ("design",))}
    return [by_name[name, seeds[i % len(seeds)]] for i, name in enumerate(drawn)]


def _reading(corpus: Corpus, mixture: Mapping[str, float]) -> Corpus:
    return corpus.model_copy(update={"mixture": (Stage(weights=dict(mixture)),)})


def rests_on(ladder: Ladder, runs: Iterable[RunSpec], swarm: Iterable[RunSpec]) -> list[RunSpec]:
    """The runs whose law finds the mixture: the swarm, and the baseline's at its rung and budget."""
    drawn = [*swarm]
    baseline = ladder.analysis.baseline
    places = {(run.rung, run.budget) for run in drawn}
    return drawn + [run for run in runs if run.variant == baseline and (run.rung, run.budget) in places]


def on_mixture(ladder: Ladder, mixture: Mapping[str, float], path: Path) -> dict[str, RunSpec]:
    """The arm's runs on this mixture, by id.

    Raises:
        LadderError: a rung is impossible.
    """
    arm = swarm_design(ladder).arm
    corpora = {**ladder.corpora, arm: _reading(ladder.corpora[arm], mixture)}
    whole = expand(ladder.model_copy(update={"corpora": corpora}), path, ("design",))
    return {run.id: run for run in whole if run.data.corpus == arm}


def swarm_digest(ladder: Ladder, runs: Iterable[RunSpec], arm: Iterable[RunSpec]) -> str:
    """Changes when anything does that the mixture depends on: 16 hex digits."""
    design = ladder.design.model_dump_json() if ladder.design else ""
    analysis = ladder.analysis
    parts = [design, f"swarm.json {SwarmOutcome.VERSION}", f"{ladder.data.max_epochs}"]
    parts += [analysis.baseline, str(analysis.seed), str(analysis.confidence), str(analysis.bootstrap_draws)]
    parts += [str(max(run.recipe.tokens for run in arm))]
    parts += sorted(run.sha256 for run in runs)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def read_mixture(path: Path, digest: str) -> dict[str, float]:
    """The mixture that `stepladder swarm` found, of the ladder with this digest.

    Raises:
        FileNotFoundError: it is not found yet; what there is may be of another ladder.
    """
    return read_outcome(path, digest, _read_mixture, "the arm's mixture is not found yet")


def _read_mixture(path: Path) -> tuple[str, dict[str, float]]:
    found = SwarmOutcome.read(path)
    return found.made_from, found.mixture


def share_caps(
    domains: Iterable[str], tokens: int, limit: Limit, training_tokens: Mapping[str, int]
) -> dict[str, float]:
    """Domain to the largest share that a run may read of it; only those that are less than all.

    Args:
        tokens: raw ones that the run reads.
        limit: passes over a domain above which runs are refused.
        training_tokens: of each domain.
    """
    caps = {}
    for name in domains:
        passes = limit.get(name, MAX_EPOCHS) if isinstance(limit, Mapping) else limit
        cap = ROOM * passes * training_tokens.get(name, 0) / tokens
        if cap < 1:
            caps[name] = math.floor(cap * 1e6) / 1e6
    return caps
