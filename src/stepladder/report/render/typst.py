"""Typst: one template, one JSON of strings, some figures, one PDF."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import matplotlib
import typst
from matplotlib.ft2font import FT2Font

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
        text = context_json(context)
        if missing := unprintable(text):
            print(f"stepladder: {out}: {missing}", file=sys.stderr)
        (root / "context.json").write_text(context_json(context | {"unprintable": missing}), encoding="utf-8")
        fonts = [font_folder(root), *further_fonts()]
        # Only the fonts of wheels, and those that one asks for: the same pages on every machine.
        pdf = typst.compile(root / template, root=root, ignore_system_fonts=True, font_paths=fonts)
    write_atomically(out, pdf)
    return out


FALLBACK = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSans-Oblique.ttf")
"""Of matplotlib's wheel: Greek, Cyrillic, Arabic, Hebrew, Armenian, Georgian and most symbols. Typst's own
fonts come first."""
EMBEDDED = frozenset(map(chr, range(0x900, 0x980)))
"""Devanagari, which Typst's wheel has in New Computer Modern, and `FALLBACK` has not."""
FONTS = "STEPLADDER_FONTS"
"""Environment variable: folders of further fonts, as for Chinese, with colons between them."""


def font_folder(root: Path) -> Path:
    """A folder below `root` with the fallback fonts alone: matplotlib's own holds one that draws boxes for
    everything."""
    folder = root / "fonts"
    folder.mkdir()
    for name in FALLBACK:
        shutil.copyfile(_matplotlib_fonts() / name, folder / name)
    return folder


def further_fonts() -> list[Path]:
    """Folders that `STEPLADDER_FONTS` names."""
    return [Path(folder) for folder in os.environ.get(FONTS, "").split(os.pathsep) if folder]


def unprintable(text: str) -> str:
    """A sentence about the characters that no font of the page has; empty if there are none."""
    wanted = {character for character in text if ord(character) > 0x24F and character.isprintable()}
    if not wanted:
        return ""
    files = [_matplotlib_fonts() / FALLBACK[0]]
    for folder in further_fonts():
        found = sorted(folder.rglob("*"))
        files += [path for path in found if path.suffix.lower() in (".ttf", ".otf")]
    known = {chr(code) for path in files for code in FT2Font(str(path)).get_charmap()}
    missing = sorted(wanted - known - EMBEDDED)
    if not missing:
        return ""
    more = f" and {len(missing) - 12} more" if len(missing) > 12 else ""
    codes = ", ".join(f"U+{ord(character):04X}" for character in missing[:12])
    return (
        f"no font here has the characters {codes}{more}, which appear as boxes: name a folder with a font "
        f"for them in the environment variable {FONTS}"
    )


def _matplotlib_fonts() -> Path:
    return Path(matplotlib.get_data_path(), "fonts", "ttf")


def context_json(context: dict[str, Any]) -> str:
    """The context as a template reads it: tables become objects of their fields."""
    return json.dumps(context, allow_nan=False, ensure_ascii=False, default=_fields)


def _fields(value: object) -> dict[str, Any]:
    if isinstance(value, Table):
        return asdict(value)
    raise TypeError(f"a template knows strings and tables, not {value!r}")
