"""Prepared shards in Megatron's format, so that the same tokens can train elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from stepladder.data.errors import DataError
from stepladder.data.manifest import Manifest, Shard, verify
from stepladder.data.megatron import CODES, DTYPES, write_index
from stepladder.documents.files import new_folder

ABOUT = "about.json"
"""What the tokens are: written last."""

BLOCK = 2**24
"""Ids converted at once."""


def export(manifest: Path, out: Path) -> list[str]:
    """Write `<domain>.<split>.bin` and `.idx` of all shards into the folder `out`, which must be new, with
    tokenizer.json and about.json.

    Every document is a sequence of Megatron's and ends with its end-of-document id, as with `--append-eod`
    there. Held-out text stays apart.

    Args:
        manifest: of the shards; every byte of them is checked first.

    Returns:
        Prefixes as Megatron's `--data-path` takes them, without the folder.

    Raises:
        DataError: the shards are not what the manifest describes, or `out` is there.
    """
    told = verify(manifest)
    if out.exists():
        raise DataError(f"{out}: is there already: name a new folder, or remove it")
    with new_folder(out) as folder:
        prefixes = [
            _shard(manifest.parent, told, shard, folder)
            for splits in told.domains.values()
            for shard in splits.values()
            if shard.documents
        ]
        if (tokenizer := manifest.parent / "tokenizer.json").exists():
            shutil.copy(tokenizer, folder)
        about = told.model_dump(
            mode="json", include={"sha256", "description", "tokenizer", "vocab_size", "end_of_document"}
        )
        (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return prefixes


def _shard(data: Path, told: Manifest, shard: Shard, folder: Path) -> str:
    prefix = shard.token_file.name.removesuffix(".tokens")
    kind = np.dtype(DTYPES[CODES[told.dtype]])
    tokens = np.memmap(data / shard.token_file.name, dtype=told.dtype, mode="r")
    with (folder / f"{prefix}.bin").open("wb") as stream:
        for first in range(0, len(tokens), BLOCK):
            stream.write(tokens[first : first + BLOCK].astype(kind).data)
    starts = np.load(data / shard.document_file.name)["start"]
    write_index(folder / f"{prefix}.idx", told.dtype, starts, shard.tokens)
    return prefix
