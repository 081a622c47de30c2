"""Files of token ids one after the other, as OLMo, nanoGPT, modded-nanogpt and llm.c write them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepladder.data.documents import CHUNK_BYTES
from stepladder.data.errors import DataError
from stepladder.data.opening import COMPRESSED_NAMES, open_stored

NUMPY = b"\x93NUMPY"
"""First bytes of what `np.save` writes. OLMo's .npy files have no header: they are `np.memmap`'s."""

HEADER = 256
"""int32 before the ids in files of llm.c and modded-nanogpt: magic, version, number of ids, zeros."""

HEADERS = {20240520: "uint16", 20240801: "uint32"}
"""Magic to dtype (github.com/karpathy/llm.c, dev/data/data_common.py)."""

LONGEST = 2**28
"""Tokens without an end of document that are taken for one document."""


class Layout(NamedTuple):
    """How the ids lie in a file."""

    dtype: np.dtype[np.integer]
    begin: int
    """Bytes before the first id."""
    ids: int | None
    """How many there are, where a header says it."""


def flat_blocks(path: str, dtype: str, end: int) -> Iterator[NDArray[np.integer]]:
    """Ids of a file in blocks of whole documents, of about CHUNK_BYTES.

    Args:
        dtype: of an id where no header says it.
        end: id at which a document ends.

    Raises:
        OSError: it cannot be read.
        DataError: it is empty, cut or no such file.
    """
    if path.endswith(COMPRESSED_NAMES):
        raise DataError(f"{path}: tokens are read as they are stored: decompress it")
    with open_stored(path) as stream:
        layout = _layout(path, stream, dtype)
        width, seen = layout.dtype.itemsize, 0
        parts: list[NDArray[np.integer]] = []
        while part := stream.read(CHUNK_BYTES):
            if len(part) % width:
                raise DataError(
                    f"{path}: ends within id {seen + len(part) // width + 1} of {layout.dtype}: it is "
                    "cut, or of another dtype: fetch or write it again, or name its dtype"
                )
            ids = np.frombuffer(part, layout.dtype)
            seen += len(ids)
            last = _last(ids, end)
            if last:
                yield np.concatenate([*parts, ids[:last]])
                parts = []
            parts.append(ids[last:])
            if sum(map(len, parts)) > LONGEST:
                raise DataError(
                    f"{path}: no end of document (id {end}) in {LONGEST:,} tokens: name the tokenizer "
                    "that they were made with, its end_of_document and their dtype"
                )
        if layout.ids not in (None, seen):
            raise DataError(
                f"{path}: its header tells of {layout.ids:,} ids, and it holds {seen:,}: fetch or write "
                "it again"
            )
        if seen == 0:
            raise DataError(f"{path}: is empty: fetch or write it again")
        if sum(map(len, parts)):
            yield np.concatenate(parts)


def _last(ids: NDArray[np.integer], end: int) -> int:
    """How many ids there are up to the last end of document."""
    ends = np.flatnonzero(ids == end)
    return int(ends[-1]) + 1 if ends.size else 0


def _layout(path: str, stream: io.BufferedReader, dtype: str) -> Layout:
    """The file's layout; the stream is then at the first id."""
    begin = stream.peek(4 * HEADER)
    if begin.startswith(NUMPY):
        return _numpy_layout(path, stream)
    magic, version, count = np.frombuffer(begin[:12].ljust(12, b"\0"), "<i4").tolist()
    if magic in HEADERS and len(begin) >= 4 * HEADER and version < 2**8:
        stream.read(4 * HEADER)
        return Layout(np.dtype(HEADERS[magic]).newbyteorder("<"), 4 * HEADER, count)
    return Layout(np.dtype(dtype).newbyteorder("<"), 0, None)


def _numpy_layout(path: str, stream: io.BufferedReader) -> Layout:
    try:
        version = np.lib.format.read_magic(stream)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(stream)
    except ValueError as error:
        raise DataError(f"{path}: not a whole .npy file: {error}: fetch or write it again") from None
    if dtype.kind not in "ui" or len(shape) != 1:
        raise DataError(
            f"{path}: holds {dtype} of shape {shape}: token ids are a flat array of integers: write them so"
        )
    return Layout(dtype, 0, int(shape[0]))
