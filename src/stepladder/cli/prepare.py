"""From text to token shards, in one process or as jobs of the workflow."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stepladder.cli.errors import Misuse, naming
from stepladder.cli.files import json_argument, ready, roomy
from stepladder.cli.words import one_of
from stepladder.documents.files import written_below

if TYPE_CHECKING:
    from stepladder.data.request import Request
    from stepladder.data.seen import Seen

OPTIONAL = ("degenerate", "held_out", "held_out_degenerate", "near_duplicates", "part_bytes")
DATA_SETTINGS = ("source", "tokenizer", "validation_fraction", *OPTIONAL)
"""What `stepladder data` reads of a ladder's section `data:`, and what must not be there."""

STEPS = {
    "all": "manifest.json",
    "read": "PART.json",
    "tokenizer": "tokenizer.json",
    "tokenize": "PART.tokens.json",
    "gather": "manifest.json",
}
"""Step to the name of the file that it writes."""


def data(
    settings: Annotated[
        str,
        typer.Argument(help="source, tokenizer, validation_fraction and options, as JSON."),
    ],
    out: Annotated[
        Path, typer.Option(help="manifest.json to write, the shards go beside it; or what a step writes.")
    ],
    step: Annotated[
        str, typer.Option(help="all, or one step of it: read, tokenizer, tokenize, gather.")
    ] = "all",
    provenance: Annotated[
        str,
        typer.Option(
            help="Domain to its licence, synthetic, source and snapshot, as JSON: goes into the manifest."
        ),
    ] = "{}",
) -> None:
    """Turn text into shuffled-by-index token shards with a manifest.

    Reads the text that SETTINGS name, a ladder's section `data:`; writes shards, then OUT. After an error or
    a kill the same command goes on from where it stopped.

    Large sources are cut into parts, which the workflow reads in jobs of their own: `read` writes
    parts/PART.json; for a `bpe` tokenizer `tokenizer` writes parts/tokenizer.json, trained on all of them,
    and `tokenize` parts/PART.tokens.json; `gather` writes the shards, the same as `all` does alone.

    Example: stepladder data '{"source": {"kind": "text", "domains": {"web": ["web/*.txt"]}}, "tokenizer":
    {"kind": "byte"}, "validation_fraction": 0.1}' --out data/manifest.json
    """
    from stepladder.data import parts
    from stepladder.data.panics import panics_in_words, refuse_panicking_tokenizer
    from stepladder.data.prepare import prepare_shards
    from stepladder.data.seen import SEEN
    from stepladder.data.texts import telling

    one_of("--step", step, tuple(STEPS))
    values = _described(_checked(settings), json_argument("--provenance", provenance, "{}"))
    _named(out, step)
    ready(out)
    request, seen = _request(values), _seen(values)
    tokenizer = values["tokenizer"].get("path", "the tokenizer")
    if "path" in values["tokenizer"]:
        refuse_panicking_tokenizer(tokenizer)
    part = out.name.partition(".")[0]
    with written_below(out.parent), panics_in_words(tokenizer), telling() as tell:
        if step == "read":
            parts.read_part(request, part, roomy(out), tell)
        elif step == "tokenizer":
            parts.train_on_parts(request, roomy(out))
        elif step == "tokenize":
            parts.tokenize_part(request, part, roomy(out), tell)
        else:
            prepare_shards(request, roomy(out).parent, tell, gather=step == "gather")
            if seen is not None:
                seen.write(out.parent / SEEN)


def _checked(settings: str) -> dict[str, Any]:
    """SETTINGS as they are, if all that is needed is there and nothing else."""
    from stepladder.data.request import OF_THE_WORKFLOW

    example = '{"source": ..., "tokenizer": ..., "validation_fraction": 0.1}'
    values = json_argument("SETTINGS", settings, example)
    if unknown := [key for key in values if key not in (*DATA_SETTINGS, *OF_THE_WORKFLOW)]:
        near = difflib.get_close_matches(unknown[0], DATA_SETTINGS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise Misuse(f"SETTINGS: no setting {unknown[0]!r}; there are {', '.join(DATA_SETTINGS)}{hint}")
    if missing := [key for key in DATA_SETTINGS if key not in (*OPTIONAL, *values)]:
        raise Misuse(f"SETTINGS {settings:.80}: give {', '.join(missing)} as well, as in {example}")
    for name in ("degenerate", "held_out_degenerate"):
        if values.get(name, "count") not in ("count", "drop"):
            raise Misuse(f"SETTINGS: {name} = {values[name]!r}: there are count, drop")
    fraction = values["validation_fraction"]
    if not isinstance(fraction, int | float) or not 0 < fraction < 1:
        raise Misuse(f"SETTINGS: validation_fraction = {fraction!r}: give a share between 0 and 1")
    if not isinstance(size := values.get("part_bytes", 1), int) or size < 1:
        raise Misuse(f"SETTINGS: part_bytes = {size!r}: give a number of bytes")
    return values


def _described(values: dict[str, Any], provenance: dict[str, Any]) -> dict[str, Any]:
    """The settings, with what is known of where their domains' text comes from."""
    source = values["source"]
    domains = source.get("domains", {}) if isinstance(source, dict) else {}
    for name, about in provenance.items():
        if name not in domains and source != {"kind": "python_stdlib"}:
            raise Misuse(f"--provenance: the source has no domain {name!r}; it has: {', '.join(domains)}")
        if not isinstance(about, dict):
            raise Misuse(f'--provenance: {name} = {about!r:.80}: give an object, as {{"licence": "CC0-1.0"}}')
    described = {
        name: {"paths": paths} | provenance[name] if name in provenance and isinstance(paths, list) else paths
        for name, paths in domains.items()
    }
    return values | ({"source": source | {"domains": described}} if domains else {})


def _request(values: dict[str, Any]) -> Request:
    from pydantic import TypeAdapter

    from stepladder.data.request import Request
    from stepladder.schema.data import PART_BYTES, NearDuplicates, SourceConfig, TokenizerConfig

    kinds: dict[str, Any] = {"source": SourceConfig, "held_out": SourceConfig, "tokenizer": TokenizerConfig}
    for name in (name for name in kinds if values.get(name) is not None):
        with naming(f"SETTINGS: {name} = {values[name]!r:.80}"):
            TypeAdapter(kinds[name]).validate_json(json.dumps(values[name]))
    if values.get("near_duplicates") is not None:
        with naming(f"SETTINGS: near_duplicates = {values['near_duplicates']!r:.80}"):
            NearDuplicates.model_validate(values["near_duplicates"])
    return Request.of(
        values["source"],
        values["tokenizer"],
        values["validation_fraction"],
        drop_degenerate=values.get("degenerate") == "drop",
        held_out=values.get("held_out"),
        held_out_drop=values.get("held_out_degenerate") == "drop",
        near_duplicates=values.get("near_duplicates"),
        part_bytes=values.get("part_bytes", PART_BYTES),
    )


def _seen(values: dict[str, Any]) -> Seen | None:
    from stepladder.data.seen import Seen

    with naming(f"SETTINGS: seen = {values.get('seen')!r:.80}"):
        return Seen.model_validate(values["seen"], strict=True) if "seen" in values else None


def _named(path: Path, step: str) -> None:
    """Refuse another file name than the one that will be written."""
    name = STEPS[step].replace("PART", path.name.partition(".")[0])
    if path.name != name:
        raise Misuse(f"--out {path}: the file is called {name}; give its path, as {path.parent / name}")
