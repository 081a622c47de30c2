"""Reading a checkpoint's tensors without running anything that its files say.

torch.distributed.checkpoint describes the tensors in `.metadata`, a pickle, and a pickle may call whatever it
names. Here it may name the classes of such a description and nothing else. The description is not believed
either: it may lead only to tensors, in files of the checkpoint's own folder, and torch reads these as weights
alone.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from stepladder.record.checkpoints import MANIFEST, STATE
from stepladder.training.checkpoint import BrokenCheckpoint, reason

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup
    from torch.distributed.checkpoint import Metadata

    class _Unpickler(pickle._Unpickler):
        """With those of its parts that typeshed leaves out."""

        stack: list[object]

        def load_build(self) -> None: ...

        def load_setitem(self) -> None: ...

        def load_setitems(self) -> None: ...
else:
    _Unpickler = pickle._Unpickler

METADATA = ".metadata"

_DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")

ALLOWED = frozenset(
    {
        ("torch", "Size"),
        *(("torch", dtype) for dtype in _DTYPES),
        ("torch.serialization", "_get_layout"),
        *(
            ("torch.distributed.checkpoint.metadata", name)
            for name in (
                "Metadata",
                "MetadataIndex",
                "StorageMeta",
                "TensorStorageMetadata",
                "TensorProperties",
                "ChunkStorageMetadata",
                "_MEM_FORMAT_ENCODING",
            )
        ),
        ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
        ("pathlib", "PosixPath"),
        ("pathlib._local", "PosixPath"),  # its place in Python 3.13
    }
)
"""Module and name of all that a description is made of."""


class _Description(_Unpickler):
    """A pickle that can name only `ALLOWED`.

    The one written in Python: that in C reserves as much memory as a damaged file asks for.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(_Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise BrokenCheckpoint(f"it names {module}.{name}, which no checkpoint of ours does")
        return super().find_class(module, name)

    def load_build(self) -> None:
        """Set fields of a description; of a class or a function it would change this process."""
        target, state = self.stack[-2], self.stack[-1]
        if isinstance(target, type) or not is_dataclass(target):
            raise BrokenCheckpoint(f"it changes {target!r:.80}, which is no part of a description")
        if not hasattr(type(target), "__setstate__"):
            names = {field.name for field in fields(target)}
            if not isinstance(state, dict) or not {*state} <= names:
                raise BrokenCheckpoint(f"it sets what a {type(target).__name__} does not have")
        super().load_build()

    def load_setitem(self) -> None:
        """Put an entry into a mapping by a key that is quickly hashed: nested tuples would take hours."""
        _check_key(self.stack[-2])
        super().load_setitem()

    def load_setitems(self) -> None:
        """Put entries into a mapping; see `load_setitem`."""
        for key in self.stack[::2]:  # since the newest mark
            _check_key(key)
        super().load_setitems()

    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
    for code in (
        pickle.EMPTY_SET,
        pickle.ADDITEMS,
        pickle.FROZENSET,
    ):  # they hash, too
        del dispatch[code[0]]


def _check_key(key: object) -> None:
    offset = getattr(key, "offset", None)
    flat = offset is None or (isinstance(offset, tuple) and all(isinstance(n, int) for n in offset))
    named = isinstance(getattr(key, "fqn", None), str)
    if not (isinstance(key, str) or (type(key).__name__ == "MetadataIndex" and named and flat)):
        raise BrokenCheckpoint(f"a key of it is a {type(key).__name__}, which no checkpoint of ours has")


def read_tensors(
    path: Path, tensors: dict[str, Tensor], group: ProcessGroup | None = None, *, some: bool = False
) -> None:
    """Read a checkpoint into tensors of the same names and shapes, in whatever way they are sharded now.

    Args:
        group: process group of all ranks, which all raise if one does; None for a single rank.
        some: whether the checkpoint may hold others besides, such as moments, which are not read.

    Raises:
        BrokenCheckpoint: it does not hold these tensors; some of them may have been written to.
    """
    from torch.distributed import checkpoint as dcp

    problem, metadata = None, dcp.Metadata({}, storage_data={})
    try:
        metadata = read_description(path, tensors, some)
    except (OSError, BrokenCheckpoint) as error:
        problem = f"{path}: {error}"  # with an empty description loading fails, which the other ranks learn

    class Reader(dcp.FileSystemReader):
        """One that unpickles nothing."""

        def read_metadata(self) -> dcp.Metadata:
            return metadata

    try:
        dcp.load(tensors, storage_reader=Reader(path), process_group=group, no_dist=group is None)
    # What a rank raises reaches all of them as a CheckpointException, which is no Exception.
    except (Exception, dcp.CheckpointException) as error:
        raise BrokenCheckpoint(problem or f"{path}: {reason(error)}") from error


def read_description(path: Path, tensors: Mapping[str, Tensor], some: bool = False) -> Metadata:
    """What the checkpoint's `.metadata` says of these tensors.

    Args:
        some: whether it may tell of others besides.

    Raises:
        OSError: it cannot be read.
        BrokenCheckpoint: it is no description of them, or leads out of the checkpoint.
    """
    files = {file.name for file in path.iterdir()} - {STATE, MANIFEST, METADATA}
    with (path / METADATA).open("rb") as file:
        try:
            found: Metadata = _Description(file).load()
            check_description(found, tensors, files, some)
        except BrokenCheckpoint as error:
            raise BrokenCheckpoint(f"{METADATA} is not used: {error}") from None
        # A damaged pickle raises whatever its classes raise, and its objects may have any attributes.
        except Exception as error:
            raise BrokenCheckpoint(f"{METADATA} is no description of tensors ({error})") from error
    return found


def check_description(
    found: object, tensors: Mapping[str, Tensor], files: set[str], some: bool = False
) -> None:
    """Refuse a description that is not of these tensors, or leads to other files.

    Raises:
        BrokenCheckpoint: it does.
    """
    from torch.distributed.checkpoint.filesystem import _StorageInfo
    from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex, TensorStorageMetadata

    if not isinstance(found, Metadata):
        raise BrokenCheckpoint("it describes no tensors")
    described = found.state_dict_metadata
    others = tensors.keys() - described.keys() if some else described.keys() ^ tensors.keys()
    if differing := sorted(map(str, others)):
        raise BrokenCheckpoint(f"it has other tensors than the run: {', '.join(differing[:5])}")
    for name, tensor in tensors.items():
        entry = described[name]
        # An entry of another kind would be unpickled without restriction.
        if not isinstance(entry, TensorStorageMetadata) or entry.size != tensor.size():
            raise BrokenCheckpoint(f"{name} is no tensor of shape {tuple(tensor.size())}")
        if sum(chunk.sizes.numel() for chunk in entry.chunks) != tensor.numel():
            raise BrokenCheckpoint(f"parts of {name} are missing")
        if entry.properties.dtype != tensor.dtype:
            raise BrokenCheckpoint(f"{name} is of {entry.properties.dtype}, not {tensor.dtype}")
    for index, place in found.storage_data.items():
        if not isinstance(index, MetadataIndex) or not isinstance(place, _StorageInfo):
            raise BrokenCheckpoint("it does not say where the tensors are")
        if place.relative_path not in files or place.transform_descriptors:
            raise BrokenCheckpoint(f"{index.fqn} is not in a file of the checkpoint")
