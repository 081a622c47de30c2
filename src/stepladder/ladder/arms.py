"""The arm of a ladder whose mixture a swarm of small runs finds: what the file says of it.

Which runs there are and what becomes of them is in `stepladder.ladder.swarm`.
"""

from __future__ import annotations

from collections.abc import Iterator

from stepladder.schema.design import MixtureSwarm
from stepladder.schema.ladder import Kind, Ladder, Rung
from stepladder.schema.mixture import Stage


def with_arm(ladder: Ladder, design: MixtureSwarm) -> Ladder:
    """The ladder with the arm among its corpora, until its mixture is known with that of the baseline.

    Raises:
        ValueError: there is no mixture to draw others about, or the arm is there already.
    """
    baseline = ladder.kinds.get(ladder.analysis.baseline)
    if baseline is None:
        return ladder  # whoever looks at the whole says so
    if baseline.corpus is None:
        raise ValueError(
            "mixtures are drawn about that of the baseline's corpus, and the ladder has no corpora: add "
            "`corpora: {natural: {mixture: {…}}}` and name it in analysis.baseline, as dense-baseline-natural"
        )
    if design.arm in ladder.corpora:
        raise ValueError(f"arm {design.arm!r} is one of corpora: rename one")
    stages = ladder.data_of(baseline.corpus).mixture
    if wrong := _no_centre(stages):
        raise ValueError(
            f"mixtures are drawn about that of corpus {baseline.corpus}, which {wrong}: give it one mixture "
            f"of two domains or more, as corpora.{baseline.corpus}.mixture"
        )
    arm = ladder.corpora[baseline.corpus].model_copy(update={"mixture": stages})
    return ladder.model_copy(update={"corpora": {**ladder.corpora, design.arm: arm}})


def _no_centre(stages: tuple[Stage, ...] | None) -> str | None:
    """Why no mixtures can be drawn about this one; None if they can."""
    if stages is None:
        return "has none"
    if len(stages) > 1:
        return "changes within a run"
    return "is one domain" if sum(weight > 0 for weight in stages[0].weights.values()) < 2 else None


def swarm_problems(ladder: Ladder) -> Iterator[str]:
    """What does not go with a mixture that is found while the ladder climbs."""
    if not isinstance(ladder.design, MixtureSwarm):
        return
    if ladder.optimizer.trunk:
        yield "a trunk is laid out before the arm's mixture is known: set optimizer.trunk to false"
    if ladder.sweep:
        yield "the arm's mixture is not known when a sweep begins: sweep in a ladder of its own"
    labels = [rung.label for rung in ladder.rungs]
    if ladder.design.rung not in (None, *labels):
        yield f"rung: no rung {ladder.design.rung!r}; this ladder has: {', '.join(labels)}"
    elif swarm_rung(ladder, ladder.design).label in _held_out(ladder):
        yield "rung: a swarm runs before what is held out: choose a smaller one"
    if ladder.analysis.baseline in ladder.kinds:
        domains, runs = len(baseline_shares(ladder)), ladder.design.runs
        if runs < (needed := 2 * domains):
            yield f"{runs} runs are too few for the mixture's {domains} domains: at least {needed}"


def _held_out(ladder: Ladder) -> list[str]:
    """Labels of the largest rungs, which predictions are checked on."""
    return ladder.ascending[len(ladder.rungs) - ladder.analysis.holdout_rungs :]


def swarm_rung(ladder: Ladder, design: MixtureSwarm) -> Rung:
    """Where the swarm runs."""
    label = design.rung or ladder.ascending[0]
    return next(rung for rung in ladder.rungs if rung.label == label)


def baseline_kind(ladder: Ladder) -> Kind:
    """What the baseline is made of."""
    return ladder.kinds[ladder.analysis.baseline]


def baseline_shares(ladder: Ladder) -> dict[str, float]:
    """Domain to its share in the baseline's mixture; those that it does not read are left out."""
    (stage,) = ladder.data_of(baseline_kind(ladder).corpus).mixture or ()
    return {name: share for name, share in stage.shares.items() if share}
