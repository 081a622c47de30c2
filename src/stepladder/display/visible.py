"""Text from files, such that printing it shows it and does nothing else to a terminal."""

from __future__ import annotations

CONTROLS = frozenset((*range(0x20), *range(0x7F, 0xA0))) - {ord("\n"), ord("\t")}
"""They move the cursor, clear the screen or rename the window (ECMA-48)."""
DIRECTIONS = frozenset((*range(0x202A, 0x202F), *range(0x2066, 0x206A)))
"""They make text read as another one than stands there (Unicode TR 36, section 3.2)."""

_ESCAPES = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in CONTROLS | DIRECTIONS}


def visible(text: str) -> str:
    """The text with such characters as Python writes them, and without what is no Unicode at all."""
    return text.translate(_ESCAPES).encode("utf-8", "replace").decode("utf-8")
