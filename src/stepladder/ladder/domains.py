"""Domains that a ladder file names: each must be one of its source's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from stepladder.ladder.read import Location
from stepladder.schema.data import SourceConfig
from stepladder.schema.ladder import Ladder
from stepladder.schema.mixture import Stage


def sources(ladder: Ladder) -> Iterator[tuple[Location, SourceConfig]]:
    """The sources that the file names, and where."""
    yield ("data", "source"), ladder.data.source
    for name, corpus in ladder.corpora.items():
        if corpus.source is not None:
            yield ("corpora", name, "source"), corpus.source


def unknown_domains(ladder: Ladder) -> Iterator[tuple[Location, str]]:
    """Places that name a domain which the source they are about does not have, and what to say of them."""
    own = ladder.data.source.domain_names
    yield from _missing(("data", "domain_weights"), ladder.data.domain_weights, own)
    yield from _of_stages(("data", "mixture"), ladder.data.mixture or (), own)
    for name, corpus in ladder.corpora.items():
        domains = ladder.data_of(name).source.domain_names
        yield from _of_stages(("corpora", name, "mixture"), corpus.mixture or (), domains)
    if isinstance(limits := ladder.data.max_epochs, dict):
        every = dict.fromkeys(domain for _, source in sources(ladder) for domain in source.domain_names)
        yield from _missing(("data", "max_epochs"), limits, [*every])


def _of_stages(
    where: Location, stages: Sequence[Stage], domains: Sequence[str]
) -> Iterator[tuple[Location, str]]:
    for i, stage in enumerate(stages):
        yield from _missing((*where, i), stage.weights, domains)


def _missing(where: Location, names: Iterable[str], domains: Sequence[str]) -> Iterator[tuple[Location, str]]:
    for name in names:
        if name not in domains:
            yield (*where, name), f"the source has no domain {name!r}; it has: {', '.join(domains)}"
