"""Domains that a ladder file names: each must be one of its source's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from stepladder.ladder.read import Location
from stepladder.schema.data import Forbidden, SourceConfig, TokenSource, needs_text
from stepladder.schema.domains import Synthetic
from stepladder.schema.ladder import Ladder
from stepladder.schema.metric import domain_of, metric
from stepladder.schema.mixture import Stage

NAMED: dict[Forbidden, Synthetic] = {"synthetic": "yes", "unknown": "unknown"}
"""What `data.forbid` says, in the words of a domain's provenance."""


def sources(ladder: Ladder) -> Iterator[tuple[Location, SourceConfig]]:
    """The sources that the file names, and where."""
    yield ("data", "source"), ladder.data.source
    for name, corpus in ladder.corpora.items():
        if corpus.source is not None:
            yield ("corpora", name, "source"), corpus.source


def domain_problems(ladder: Ladder) -> Iterator[tuple[Location, str]]:
    """Places of the file where domains and sources do not go with what it says of them, and what to say."""
    yield from unknown_domains(ladder)
    yield from forbidden_domains(ladder)
    yield from tokens_of_no_tokenizer(ladder)
    yield from tokens_of_another_tokenizer(ladder)
    yield from losses_that_do_not_compare(ladder)


def unknown_domains(ladder: Ladder) -> Iterator[tuple[Location, str]]:
    """Places that name a domain which the source they are about does not have, and what to say of them."""
    own = ladder.data.source.domain_names
    yield from _missing(("data", "domain_weights"), ladder.data.domain_weights, own)
    domain = domain_of(ladder.analysis.metric)
    if domain and domain not in ladder.data.domain_weights:
        there = ", ".join(ladder.data.domain_weights)
        yield (
            ("analysis", "metric"),
            f"no held-out domain {domain!r} in data.domain_weights; there are: {there}",
        )
    yield from _of_stages(("data", "mixture"), ladder.data.mixture or (), own)
    for name, corpus in ladder.corpora.items():
        domains = ladder.data_of(name).source.domain_names
        yield from _of_stages(("corpora", name, "mixture"), corpus.mixture or (), domains)
    if isinstance(limits := ladder.data.max_epochs, dict):
        every = dict.fromkeys(domain for _, source in sources(ladder) for domain in source.domain_names)
        yield from _missing(("data", "max_epochs"), limits, [*every])


def forbidden_domains(ladder: Ladder) -> Iterator[tuple[Location, str]]:
    """Sources with domains whose text `data.forbid` keeps out, and what to say of them."""
    banned = {NAMED[word]: word for word in ladder.data.forbid}
    for where, source in sources(ladder):
        for word in banned.values():
            names = [name for name, about in source.provenance.items() if banned.get(about.by_models) == word]
            if names:
                yield where, _kept_out(word, names)


def _kept_out(word: Forbidden, names: Sequence[str]) -> str:
    listed = f"domain{'s' * (len(names) > 1)} {', '.join(names)}"
    if word == "synthetic":
        return f"data.forbid keeps synthetic text out, and models wrote {listed}: remove what they wrote"
    return (
        f"data.forbid keeps out text of which it is not known whether models wrote it, as of {listed}: say "
        "it (`synthetic: no`), or remove it"
    )


def tokens_of_no_tokenizer(ladder: Ladder) -> Iterator[tuple[Location, str]]:
    """Sources of tokens that a tokenizer cannot have made which is to read them, and what to say of them."""
    if problem := needs_text(ladder.data.source, ladder.data.tokenizer):
        yield ("data", "source"), problem
    for name, corpus in ladder.corpora.items():
        if corpus.source is None and corpus.tokenizer is None:
            continue
        data = ladder.data_of(name)
        # its held-out text is that of `data:`, which it must be able to read as well
        for source in (data.source, ladder.data.source):
            if problem := needs_text(source, data.tokenizer):
                yield ("corpora", name, "tokenizer" if corpus.source is None else "source"), problem
                break


def tokens_of_another_tokenizer(ladder: Ladder) -> Iterator[tuple[Location, str]]:
    """Corpora that would read, or be scored on, tokens of another tokenizer, and what to say of them."""
    if isinstance(ladder.data.source, TokenSource):
        for name in ladder.corpora:
            if ladder.data_of(name).tokenizer != ladder.data.tokenizer:
                told = (
                    "data.source holds tokens of data.tokenizer: no other can read them or be scored on them"
                )
                yield ("corpora", name, "tokenizer"), told


def losses_that_do_not_compare(ladder: Ladder) -> Iterator[tuple[Location, str]]:
    """A metric per token where tokenizers differ, and what to say of it."""
    if ladder.tokenizers_differ and not metric(ladder.analysis.metric).per_byte:
        told = (
            f"{ladder.analysis.metric} is per token, and corpora have different tokenizers, whose tokens "
            "are not of one length: use bits_per_byte, domain:<name> or task:<name>"
        )
        yield ("analysis", "metric"), told
    if ladder.tokenizers_differ and ladder.sweep:
        told = (
            "a sweep takes the noise of losses per token as one, and corpora have different tokenizers: "
            "sweep each in a ladder of its own, and set the rates"
        )
        yield ("sweep",), told


def _of_stages(
    where: Location, stages: Sequence[Stage], domains: Sequence[str]
) -> Iterator[tuple[Location, str]]:
    for i, stage in enumerate(stages):
        yield from _missing((*where, i), stage.weights, domains)


def _missing(where: Location, names: Iterable[str], domains: Sequence[str]) -> Iterator[tuple[Location, str]]:
    for name in names:
        if name not in domains:
            yield (*where, name), f"the source has no domain {name!r}; it has: {', '.join(domains)}"
