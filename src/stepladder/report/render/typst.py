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


def typeset(
    template: str, context: dict[str, Any], figures: dict[str, Path], out: Path, **options: Any
) -> Path:
    """Compile a template of this package with `context` to `out`.

    Args:
        template: file name, e.g. "report.typ".
        context: what the template reads as context.json: strings, and tables for look.typ's `data-table`.
        figures: name used in the context to SVG file.
        out: the PDF (or, with `format="png"`, a name with `{p}` for the page).
        options: passed to `typst.compile`.

    Raises:
        typst.TypstError: the template does not compile; the message names the line.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="stepladder-report-") as folder:
        root = Path(folder)
        for file in (template, "look.typ"):
            (root / file).write_text(resources.files(__package__).joinpath(file).read_text(encoding="utf-8"))
        for name, source in figures.items():
            shutil.copyfile(source, root / name)
        (root / "context.json").write_text(context_json(context), encoding="utf-8")
        # Only the fonts in the wheel: the same pages on every machine.
        typst.compile(root / template, output=out, root=root, ignore_system_fonts=True, **options)
    return out


def context_json(context: dict[str, Any]) -> str:
    """The context as a template reads it: tables become objects of their fields."""
    return json.dumps(context, allow_nan=False, ensure_ascii=False, default=_fields)


def _fields(value: object) -> dict[str, Any]:
    if isinstance(value, Table):
        return asdict(value)
    raise TypeError(f"a template knows strings and tables, not {value!r}")
