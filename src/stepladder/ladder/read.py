"""The text of a ladder file as plain values, each with its line.

Bounded: whatever a file holds, it is read or refused within a second and in a few megabytes. YAML 1.2: 1e-3
is a number, `on` is text. Keys are text, those of one mapping are different; aliases are written out; there
are no tags and no merge keys.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

Location = tuple[int | str, ...]

MOST_BYTES = 200_000
"""Of a ladder file: 60 times the longest shipped one."""
MOST_VALUES = 25_000
"""Of a ladder file, those behind aliases counted as often as they are used."""
TOO_MANY = f"more than {MOST_VALUES} values (aliases written out), too many for a ladder file"
DEEPEST = 32
"""Levels of lists and mappings; a ladder file needs six."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C, 15 times as fast

_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_OCTAL = re.compile(r"[-+]?0[0-9]+")
"""Octal for YAML 1.1, decimal for 1.2: 010 is 8 or 10, so it is left a text, which no number may be."""
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
"""What plain scalars are in YAML 1.2's core schema (yaml.org/spec/1.2.2, section 10.3.2)."""


class LadderError(ValueError):
    """A ladder file that cannot be used; the message is meant for the person who wrote it."""


ACCOUNT = re.compile(r"(://)[^\s\"]*@")
PARAMETERS = re.compile(r"(://[^\s\"?#;]*[?#;])[^\s\"]*")
"""What of an address may let in who reads a message: what stands before its @, and its parameters."""


@dataclass(frozen=True)
class Source:
    """A ladder file as it was read."""

    path: Path
    values: Any
    lines: dict[Location, int]
    """Of every key and item."""

    def value(self, where: Location) -> Any:
        """What stands at `where`; None if nothing does."""
        return descend(self.values, where)

    def line_number(self, where: Location) -> int:
        """Line of the deepest part of `where` that stands in the file."""
        parts = (where[:length] for length in range(len(where), 0, -1))
        return next((self.lines[part] for part in parts if part in self.lines), 1)

    def line(self, where: Location, message: str) -> str:
        """`file, line n: key.path = value: message`."""
        value = self.value(where)
        shown = f" = {json.dumps(value):.120}" if isinstance(value, str | int | float | bool) else ""
        shown = PARAMETERS.sub(r"\1…", ACCOUNT.sub(r"\1…@", shown))
        subject = f"{key_path(where)}{shown}: " if where else ""
        return f"{self.path}, line {self.line_number(where)}: {subject}{message}"


def read_source(path: Path) -> Source:
    """Read the file at `path`.

    Raises:
        LadderError: it is no YAML, no mapping, or too large.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise LadderError(f"{path}: more than {MOST_BYTES} bytes, too large for a ladder file")
        return _parse(path, content.decode("utf-8-sig"))
    except OSError as error:
        raise LadderError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise LadderError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark else ""
        raise LadderError(f"{path}{where}: not valid YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:  # a character that no text holds
        raise LadderError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None


@lru_cache(maxsize=1)  # an error that is found after loading looks its line up
def _parse(path: Path, text: str) -> Source:
    source = Source(path, {}, {})
    root = _Tree(path, text).root
    if root is None or root.kind != "mapping":
        what = "empty" if root is None else "a list" if root.kind == "list" else "text"
        raise LadderError(f"{path}: a ladder file is a mapping of keys, this is {what}")
    _Conversion(source).mapping(root, (), source.values)
    return source


class _Node(NamedTuple):
    """A value as it is written."""

    kind: Literal["mapping", "list", "plain", "quoted"]
    line: int
    text: str
    """Of a scalar."""
    parts: list[_Node]
    """Items of a list; keys and values of a mapping, in turn."""


class _Tree:
    """A file's text as nodes, made of YAML's events one by one: yaml.compose has no bounds, and in C a deep
    file kills the process."""

    def __init__(self, path: Path, text: str) -> None:
        """Parse it.

        Raises:
            LadderError: it is too deep, too long, or uses what ladder files do not.
            yaml.YAMLError: it is no YAML.
        """
        self.path, self.seen = path, 0
        self.anchors: dict[str, _Node] = {}
        self.events = yaml.parse(text, Loader=_Loader)
        self.root: _Node | None = None
        for event in self.events:
            if isinstance(event, yaml.NodeEvent):
                if self.root is not None:
                    raise self.error(event, "a second document: a ladder file has one")
                self.root = self.node(event, 0)

    def error(self, event: yaml.Event, message: str) -> LadderError:
        """An error about the place of an event."""
        return LadderError(f"{self.path}, line {event.start_mark.line + 1}: {message}")

    def node(self, event: yaml.NodeEvent, depth: int) -> _Node:
        """The node that an event begins."""
        number = event.start_mark.line + 1
        self.seen += 1
        if depth > DEEPEST:
            raise self.error(event, f"lists and mappings more than {DEEPEST} deep")
        if self.seen > MOST_VALUES:
            raise LadderError(f"{self.path}: {TOO_MANY}")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise self.error(event, f"not valid YAML: no value is marked &{event.anchor:.40}")
            return self.anchors[event.anchor]._replace(line=number)
        if event.tag is not None:
            raise self.error(event, f"tags are not used in ladder files: remove {event.tag:.60}")
        if isinstance(event, yaml.ScalarEvent):
            made = _Node("quoted" if event.style else "plain", number, event.value, [])
        else:
            made = _Node("list" if isinstance(event, yaml.SequenceStartEvent) else "mapping", number, "", [])
        if event.anchor is not None:
            self.anchors[event.anchor] = made
        if isinstance(event, yaml.CollectionStartEvent):
            while not isinstance(event := next(self.events), yaml.CollectionEndEvent):
                made.parts.append(self.node(event, depth + 1))
        return made


class _Conversion:
    """From nodes to values, counting them: an alias may stand for many."""

    def __init__(self, source: Source) -> None:
        self.source, self.seen = source, 0

    def value(self, node: _Node, where: Location) -> Any:
        """One value and all below it."""
        self.seen += 1
        if self.seen > MOST_VALUES:
            raise LadderError(f"{self.source.path}: {TOO_MANY}")
        if len(where) > DEEPEST:
            number = self.source.line_number(where)
            message = f"lists and mappings more than {DEEPEST} deep, aliases written out"
            raise LadderError(f"{self.source.path}, line {number}: {message}")
        if node.kind == "mapping":
            return self.mapping(node, where, {})
        if node.kind == "list":
            return self.items(node, where)
        return scalar(node.text) if node.kind == "plain" else node.text

    def items(self, node: _Node, where: Location) -> list[Any]:
        """A list; its items' lines are noted."""
        values = []
        for i, item in enumerate(node.parts):
            self.source.lines[*where, i] = item.line
            values.append(self.value(item, (*where, i)))
        return values

    def mapping(self, node: _Node, where: Location, into: dict[str, Any]) -> dict[str, Any]:
        """A mapping; its keys' lines are noted."""
        for key, part in zip(node.parts[::2], node.parts[1::2], strict=True):
            if key.kind not in ("plain", "quoted"):
                raise LadderError(f"{self.source.path}, line {key.line}: a key is text, no list or mapping")
            inner = (*where, key.text)
            if key.text in into:
                raise LadderError(
                    f"{self.source.path}, line {key.line}: the key {key_path(inner)} is a duplicate of the "
                    f"one in line {self.source.lines[inner]}: remove or rename one"
                )
            self.source.lines[inner] = key.line
            into[key.text] = self.value(part, inner)
        return into


def scalar(text: str) -> Any:
    """What a scalar without quotes means."""
    if text.lower() in _WORDS and text in (text.lower(), text.upper(), text.capitalize()):
        return _WORDS[text.lower()]
    if _OCTAL.fullmatch(text):
        return text
    if _INTEGER.fullmatch(text) and len(text) < 400:  # longer ones are as infinite as floats of that length
        return int(text, 8 if text.startswith("0o") else 16 if text.startswith("0x") else 10)
    if _FLOAT.fullmatch(text):
        return float(text)
    if match := _NO_NUMBER.fullmatch(text):
        return float(f"{match[1]}inf") if match[2] else float("nan")
    return text


def key_path(where: Location) -> str:
    """`rungs[1].set`."""
    return "".join(f"[{w}]" if isinstance(w, int) else f".{w}" for w in where).lstrip(".")


def descend(values: Any, where: Location) -> Any:
    """What stands at `where` below some values; None if nothing does."""
    for key in where:
        try:
            values = values[key]
        except (KeyError, IndexError, TypeError):
            return None
    return values
