"""Dense peaks and prices of accelerators, from configs/hardware.yaml. Unknown is None, never a guess."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from pydantic import Field
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stepladder.schema.settings import Settings


class Accelerator(Settings):
    """One kind of device."""

    match: tuple[str, ...]
    """Whole words of which one must stand in the device's name."""
    peaks: dict[str, float]
    """Dense peak in FLOP/s per device, by dtype of the matrix multiplication."""
    price_per_hour: float | None = Field(default=None, ge=0)
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
    return {
        name: Accelerator.model_validate(entry, strict=False) for name, entry in raw["accelerators"].items()
    }


def find_accelerator(device_name: str, table: dict[str, Accelerator]) -> Accelerator | None:
    """The entry for a device as torch names it ("NVIDIA H200"), or None if there is none."""
    matches = [
        (len(word), entry)
        for entry in table.values()
        for word in entry.match
        if re.search(rf"\b{re.escape(word)}\b", device_name)
    ]
    return max(matches, key=lambda match: match[0])[1] if matches else None
