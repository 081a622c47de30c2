"""Megatron's indexed dataset: `NAME.bin`, the ids one after the other, and `NAME.idx`, where documents lie.

Layout of the index, little-endian (megatron-core, core/datasets/indexed_dataset.py): `MMIDIDX` and two zeros,
version 1 (u64), code of the ids' dtype (u8), numbers of sequences and of document marks (u64 each), length of
each sequence in ids (i32), its first byte in the .bin (i64), and the marks: the first sequence of each
document and, last, the number of sequences (i64).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepladder.data.documents import CHUNK_BYTES
from stepladder.data.errors import DataError
from stepladder.data.opening import open_stored, stored

MAGIC = b"MMIDIDX\x00\x00"
HEAD = struct.Struct("<9sQBQQ")
"""Magic, version, dtype, sequences, marks."""

DTYPES = {1: "<u1", 4: "<i4", 5: "<i8", 8: "<u2"}
"""Code to dtype, of those that hold ids; the others are signed and short, or no integers."""

CODES = {"uint8": 1, "uint16": 8, "uint32": 4}
"""dtype of shards to code: Megatron has no uint32, and ids below 2^31 are the same as int32."""


class Index(NamedTuple):
    """What an index tells."""

    dtype: np.dtype[np.integer]
    starts: NDArray[np.int64]
    """First id of each document in the file, and last the number of ids (documents + 1,)."""


def megatron_blocks(path: str) -> Iterator[tuple[NDArray[np.integer], NDArray[np.int64], int]]:
    """Ids of a .bin file in blocks of whole documents, of about CHUNK_BYTES; in each where documents start,
    and the number of the first in the file, from 1.

    Raises:
        OSError: a file cannot be read.
        DataError: the two do not go together, or are cut, empty or no such files.
    """
    index = read_index(f"{path.removesuffix('.bin')}.idx")
    width = index.dtype.itemsize
    told, there = int(index.starts[-1]) * width, stored(path).size
    if told != there:
        raise DataError(
            f"{path}: has {there:,} bytes, and its index tells of {told:,}: one of them is cut or of another "
            "file: fetch or write both again"
        )
    first, last = 0, len(index.starts) - 1
    with open_stored(path) as stream:
        while first < last:
            until = int(
                np.searchsorted(index.starts, index.starts[first] + CHUNK_BYTES // width, side="right")
            )
            until = min(max(first + 1, until - 1), last)
            begin, end = int(index.starts[first]), int(index.starts[until])
            content = stream.read((end - begin) * width)
            if len(content) < (end - begin) * width:
                raise DataError(f"{path}: ends before document {until} does: fetch or write it again")
            yield np.frombuffer(content, index.dtype), index.starts[first:until] - begin, first + 1
            first = until


def read_index(path: str) -> Index:
    """Read an .idx file.

    Raises:
        OSError: it cannot be read.
        DataError: it is no index, cut, or tells what cannot be.
    """
    with open_stored(path) as stream:
        content = stream.read()
    if len(content) < HEAD.size or not content.startswith(MAGIC):
        raise DataError(
            f"{path}: not an index of Megatron's ({len(content):,} bytes): fetch or write it again"
        )
    _, version, code, sequences, marks = HEAD.unpack_from(content)
    if version != 1 or code not in DTYPES:
        raise DataError(
            f"{path}: version {version}, dtype {code}: ids of version 1 and dtype "
            f"{', '.join(map(str, DTYPES))} are read: write it by megatron-core"
        )
    if len(content) < HEAD.size + 12 * sequences + 8 * marks:
        raise DataError(
            f"{path}: has {len(content):,} bytes, and tells of {sequences:,} sequences in {marks - 1:,} "
            "documents: it is cut: fetch or write it again"
        )
    lengths = np.frombuffer(content, "<i4", sequences, HEAD.size)
    pointers = np.frombuffer(content, "<i8", sequences, HEAD.size + 4 * sequences)
    documents = np.frombuffer(content, "<i8", marks, HEAD.size + 12 * sequences)
    dtype = np.dtype(DTYPES[code])
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
    wrong = (lengths < 0).any() or (pointers != ends[:-1] * dtype.itemsize).any()
    if wrong or not marks or documents[0] or documents[-1] != sequences or (np.diff(documents) < 0).any():
        raise DataError(
            f"{path}: its sequences do not follow one another, or its documents do not: write it by "
            "megatron-core's IndexedDatasetBuilder"
        )
    if marks == 1:
        raise DataError(f"{path}: tells of no document: fetch or write it again")
    return Index(dtype, ends[documents])


def write_index(path: Path, dtype: str, starts: NDArray[np.integer], tokens: int) -> None:
    """Write an .idx file in which every document is a sequence.

    Args:
        dtype: of the shard: uint8, uint16 or uint32.
        starts: first id of each document.
        tokens: ids in all.

    Raises:
        DataError: a document is too long for the format.
    """
    lengths = np.diff(starts.astype(np.int64), append=tokens)
    if lengths.max(initial=0) >= 2**31:
        raise DataError(f"{path}: a document of {lengths.max():,} tokens is too long for Megatron's format")
    width = np.dtype(DTYPES[CODES[dtype]]).itemsize
    with path.open("wb") as stream:
        stream.write(HEAD.pack(MAGIC, 1, CODES[dtype], len(lengths), len(lengths) + 1))
        stream.write(lengths.astype("<i4").tobytes())
        stream.write((starts.astype("<i8") * width).tobytes())
        stream.write(np.arange(len(lengths) + 1, dtype="<i8").tobytes())
        os.fsync(stream.fileno())
