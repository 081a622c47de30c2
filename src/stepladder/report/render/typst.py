"""Typst: one template, one JSON of strings, some figures, one PDF."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import typst

from stepladder.display.table import Table
from stepladder.documents.files import write_atomically, written_below


def typeset(template: str, context: dict[str, Any], figures: dict[str, Path], out: Path) -> Path:
    """Compile a template of this package with `context` to `out`, whole or not at all.

    Args:
        template: file name, e.g. "report.typ".
        context: what the template reads as context.json: strings, and tables for look.typ's `data-table`.
        figures: name used in the context to SVG file.
        out: the PDF.

    Raises:
        typst.TypstError: the template does not compile; the message names the line.
        OSError: `out`, or the folder for temporary files, cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="stepladder-report-") as folder, written_below(Path(folder)):
        root = Path(folder)
        for file in (template, "look.typ"):
            (root / file).write_text(resources.files(__package__).joinpath(file).read_text(encoding="utf-8"))
        for name, source in figures.items():
            shutil.copyfile(source, root / name)
        (root / "context.json").write_text(context_json(context), encoding="utf-8")
        # Only the fonts in the wheel: the same pages on every machine.
        pdf = typst.compile(root / template, root=root, ignore_system_fonts=True)
    write_atomically(out, pdf)
    return out


def context_json(context: dict[str, Any]) -> str:
    """The context as a template reads it: tables become objects of their fields."""
    return json.dumps(context, allow_nan=False, ensure_ascii=False, default=_fields)


def _fields(value: object) -> dict[str, Any]:
    if isinstance(value, Table):
        return asdict(value)
    raise TypeError(f"a template knows strings and tables, not {value!r}")
