"""Dense peaks and prices of accelerators, from configs/hardware.yaml. Unknown is None, never a guess."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stepladder.schema import ranges
from stepladder.schema.settings import Settings


class Accelerator(Settings):
    """One kind of device."""

    match: tuple[str, ...] = Field(min_length=1)
    """Names of the whole device, one of which torch gives it (with or without the vendor before it). A name
    that says more is of another device, or of a slice of this one."""
    peaks: dict[str, Annotated[float, ranges.PEAK]]
    """Dense peak in FLOP/s per device, by dtype of the matrix multiplication."""
    multiprocessors: int | None = Field(default=None, ge=1)
    """Streaming multiprocessors (compute units) of the whole device; None if unknown. A device that shows
    fewer is a slice of one."""
    price_per_hour: Annotated[float, ranges.PRICE_PER_HOUR] | None = None
    """USD per device and hour; None if unset."""
    source: str
    """Where the peaks are from."""


@cache
def accelerators(path: str | Path = "configs/hardware.yaml") -> dict[str, Accelerator]:
    """All devices of the hardware file, by the name that ladder files use.

    Raises:
        ValueError: it is not such a file; the message names it.
    """
    try:
        raw = YAML(typ="safe").load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(
            f"{path}: no such file in {Path.cwd()}; go to the folder that has it, the clone, or give its path"
        ) from None
    except (UnicodeDecodeError, YAMLError) as error:
        raise ValueError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(raw, dict) or not isinstance(raw.get("accelerators"), dict):
        raise ValueError(f"{path}: a hardware file has the key `accelerators`, a mapping by name")
    return {str(name): _entry(path, name, entry) for name, entry in raw["accelerators"].items()}


def _entry(path: str | Path, name: object, entry: object) -> Accelerator:
    try:
        return Accelerator.model_validate(entry, strict=False)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, ("accelerators", name, *problem["loc"])))
        raise ValueError(f"{path}: {where} = {problem['input']!r:.80}: {problem['msg']}") from None


def find_accelerator(device_name: str, table: dict[str, Accelerator]) -> Accelerator | None:
    """The entry for a device as torch names it ("NVIDIA H200"), or None if there is none.

    The whole name must be known: "NVIDIA H200 NVL" is no H200, "NVIDIA H200 MIG 1g.18gb" a part of one.
    """
    bare = re.sub(r"^(NVIDIA|Tesla|AMD Instinct|AMD)\s+", "", device_name.strip())
    return next((entry for entry in table.values() if bare in entry.match), None)
