"""Where the text that a ladder reads comes from, and how much of it models wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from stepladder.display import numbers as fmt
from stepladder.ladder.domains import sources
from stepladder.record.plan import Plan, PlannedRun
from stepladder.schema.data import Files
from stepladder.schema.domains import Provenance, Synthetic
from stepladder.schema.ladder import Ladder

Tokens = Mapping[str | None, Mapping[str, float]]
"""Name under which shards lie to training tokens of each domain, or their shares."""

BY_MODELS = {"yes": "synthetic", "no": "not synthetic", "unknown": "synthetic or not is unknown"}


def is_told(ladder: Ladder) -> bool:
    """Whether the ladder file says anything of where a domain comes from."""
    every = [source for _, source in sources(ladder) if isinstance(source, Files)]
    return any(about.model_fields_set - {"paths"} for source in every for about in source.provenance.values())


def domains_in_words(ladder: Ladder) -> dict[str, str]:
    """Domain to what is known of its text; where a corpus has a source of its own, with the corpus's name."""
    found: dict[str, str] = {}
    for where, source in sources(ladder):
        corpus = f"{where[1]}: " if where[0] == "corpora" else ""
        found |= {f"{corpus}{name}": in_words(about) for name, about in source.provenance.items()}
    return found


def in_words(about: Provenance) -> str:
    """`synthetic; licence CC0-1.0; from someone/maths; snapshot 2026-06`."""
    parts = [BY_MODELS[about.by_models]]
    parts += [f"licence {about.licence}"] if about.licence else ["licence not said"]
    parts += [f"from {about.source}"] if about.source else []
    parts += [f"snapshot {about.snapshot}"] if about.snapshot else []
    return "; ".join(parts)


def shares(read: Mapping[str, float], provenance: Mapping[str, Provenance]) -> dict[Synthetic, float]:
    """Of the tokens read, those of domains that models wrote, did not write, and of which it is not known.

    Args:
        read: tokens, or shares of them, of each domain.
    """
    found: dict[Synthetic, float] = {"yes": 0.0, "no": 0.0, "unknown": 0.0}
    for domain, tokens in read.items():
        found[provenance[domain].by_models] += tokens / sum(read.values())
    return found


def read_by_variants(ladder: Ladder, plan: Plan, tokens: Tokens) -> Iterator[str]:
    """What each variant reads of synthetic and unknown text, in words; variants alike are told together. Of
    each the run that reads most counts. Those whose proportions are not known yet, or come from a swarm, are
    left out.

    Args:
        tokens: of prepared shards.
    """
    told: dict[str, list[str]] = {}
    largest = _largest(plan)
    for variant in filter(largest.__contains__, ladder.variants):
        run = largest[variant]
        if run.mixed:
            continue
        provenance = ladder.data_of(run.corpus).source.provenance
        read = run.tokens_by_domain or tokens.get(run.prepared) or {}
        trained = {name: n for name, n in read.items() if n and name in provenance}
        if trained:
            part = shares(trained, provenance)
            words = f"{fmt.percent(part['yes'])} synthetic, {fmt.percent(part['unknown'])} unknown"
            told.setdefault(words, []).append(variant)
    for words, variants in told.items():
        yield f"{', '.join(variants)}: {words}"


def provenance_notes(ladder: Ladder, plan: Plan, tokens: Tokens) -> tuple[str, ...]:
    """Sentences on where text comes from, for a plan; none of a ladder that says nothing of it."""
    if not is_told(ladder):
        return ()
    domains = [f"Text of {name}: {words}." for name, words in domains_in_words(ladder).items()]
    read = "; ".join(read_by_variants(ladder, plan, tokens))
    when_prepared = "is known when the data are prepared: then plan again"
    return (*domains, f"Of the tokens read, by models: {read or when_prepared}.")


def _largest(plan: Plan) -> dict[str, PlannedRun]:
    runs = sorted((run for run in plan.runs if not run.trunk), key=lambda run: run.tokens)
    return {run.variant: run for run in runs}
