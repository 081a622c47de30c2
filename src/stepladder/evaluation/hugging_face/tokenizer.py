"""Tokenizers as `transformers` reads them: `AutoTokenizer` gives exactly our ids, and adds none.

Text that spells a special token stays text, which `split_special_tokens` says.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stepladder.data.decode import TOKENIZER
from stepladder.data.errors import DataError
from stepladder.data.manifest import Manifest
from stepladder.data.tokenization import BYTE_OF_LETTER, Bytes

END = "<|endoftext|>"
"""What ends a document where the tokenizer itself has no name for it."""


def files(told: Manifest, manifest: Path, context: int) -> dict[str, dict[str, Any]]:
    """Contents of the files that make up a tokenizer, by name.

    Args:
        told: of the shards, at `manifest`.
        context: most tokens that the model reads.

    Raises:
        DataError: tokenizer.json is missing or none.
    """
    content = byte_level() if told.tokenizer["kind"] == "byte" else _read(manifest.parent / TOKENIZER)
    end = name_end(content, told.end_of_document)
    for what in ("truncation", "padding", "post_processor"):  # none of which the ids of our shards have
        content[what] = None
    if "dropout" in content["model"]:
        content["model"]["dropout"] = None
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": None,
        "eos_token": end,
        "add_bos_token": False,
        "add_eos_token": False,
        "split_special_tokens": True,
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
    }
    return {TOKENIZER: content, "tokenizer_config.json": settings}


def byte_level() -> dict[str, Any]:
    """Contents of a tokenizer.json whose ids are bytes: GPT-2's alphabet without merges. 0xFF is left out, as
    it occurs in no UTF-8 text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {letter: byte for letter, byte in BYTE_OF_LETTER.items() if byte != Bytes.end_of_document}
    inner = Tokenizer(models.BPE(vocabulary, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    content: dict[str, Any] = json.loads(inner.to_str())
    return content


def name_end(content: dict[str, Any], end: int) -> str:
    """Name of the special token with the id `end`, which is added if there is none."""
    added, vocabulary = content["added_tokens"], content["model"]["vocab"]
    for token in added:
        if token["id"] == end:
            return str(token["content"])
    taken = {*vocabulary, *(token["content"] for token in added)}
    name = next(
        name for name in (END, *(f"<|endoftext{n}|>" for n in range(len(taken)))) if name not in taken
    )
    vocabulary[name] = end  # ids may be left out between the others and this one
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added.append({"id": end, "content": name, **plain, "special": True})
    return name


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        content["model"]["vocab"], content["added_tokens"]
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}: prepare the data again") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DataError(f"{path}: not a tokenizer.json: prepare the data again") from None
    return dict(content)
