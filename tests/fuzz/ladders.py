"""Ladder files: the shipped ones, with values, keys and text changed.

A file is refused with a `LadderError`, or its runs can be trained as they stand: names that no two share on
any file system, and numbers that are finite and make sense. What makes sense is said here once more, by a
sceptic, and not taken from the code that is tested.
"""

from __future__ import annotations

import copy
import io
import json
import math
import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stepladder.ladder.climb import Climb, LadderError
from stepladder.record.spec import RunSpec
from stepladder.schema.accelerators import accelerators

REPOSITORY = Path(__file__).parents[2]

NASTY_VALUES: tuple[Any, ...] = (
    *(0, -1, 1, 2, 7, 1.5, -0.5, 1e-9, 1e9, 1e-300, 5e-324, 1e308, 1e400, -math.inf, math.nan),
    *(2**31, 2**63, 10**30, 10**400, True, False, None, "", " ", "7", "0x10", "1e-3", "nan", "none", "true"),
    *("a b", "a/b", "../up", "$(touch owned)", "{run}", "d2", "D2", "seed0", "-x", "x" * 300, "é", "\u202e"),
    *("\0", [], {}, [[]], [None], [0, 0], [1, 1.0000001], {"steps": 1}, {"steps": 0}),
    *({"rule": "constant"}, {"kind": "tst"}),
)

NASTY_TEXTS = (
    *(
        "&a ",
        "*a",
        "<<: *a\n",
        "!!python/object:os.system ",
        "!!binary ",
        "!!set ",
        "!!int ",
        "!!float ",
        "? ",
    ),
    *("- ", ": ", "{", "}", "[", "]", "'", '"', "|", ">", "%", "@", "`", "#", "\t", "\r\n", "\0"),
    *(
        "\x85",
        "\ufeff",
        "\u2028",
        "---\n",
        "...\n",
        "%YAML 1.1\n",
        "2001-13-45",
        "0o9",
        "1_000",
        "1:30",
        ".inf",
    ),
    *("-.inf", ".nan", "~", "=", "1e999", "9" * 5000, "[" * 3000, "{a: " * 500, "- " * 3000, "&a [*a]"),
)


@dataclass(frozen=True)
class Case:
    """A ladder file, and how it was made."""

    content: bytes
    made: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([*self.made, self.content.decode(errors="backslashreplace")])


@cache
def shipped() -> tuple[str, ...]:
    """Text of all shipped ladders."""
    return tuple(path.read_text() for path in sorted((REPOSITORY / "configs/ladders").glob("*.yaml")))


@cache
def _trees() -> tuple[Any, ...]:
    return tuple(YAML(typ="safe", pure=True).load(text) for text in shipped())


def make(rng: random.Random) -> Case:
    """A shipped ladder with one to three changes: of its values and keys, of its text, or of both."""
    made = []
    if rng.random() < 0.6:
        tree = copy.deepcopy(rng.choice(_trees()))
        for _ in range(rng.choice((1, 1, 2, 3))):
            made.append(_change_tree(rng, tree))
        buffer = io.StringIO()
        writer = YAML(typ="safe", pure=True)
        writer.width = 10_000
        writer.dump(tree, buffer)
        text = buffer.getvalue()
    else:
        text = rng.choice(shipped())
    content = text.encode(errors="surrogatepass")
    if not made or rng.random() < 0.2:
        for _ in range(rng.randint(1, 3)):
            change = rng.choice(TEXT_CHANGES)
            made.append(change.__name__.strip("_"))
            content = change(rng, content)
    return Case(content, tuple(made))


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of every value, at any depth."""
    for key, value in list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)):
        yield tree, key
        if isinstance(value, dict | list):
            yield from _places(value)


def _change_tree(rng: random.Random, tree: Any) -> str:
    holder, key = rng.choice(list(_places(tree)))
    change = rng.choice(TREE_CHANGES)
    change(rng, holder, key, tree)
    return f"{change.__name__.strip('_')} at {key!r}"


def _replace(rng: random.Random, holder: Any, key: Any, tree: Any) -> None:
    holder[key] = copy.deepcopy(rng.choice(NASTY_VALUES))


def _remove(rng: random.Random, holder: Any, key: Any, tree: Any) -> None:
    del holder[key]


def _scale(rng: random.Random, holder: Any, key: Any, tree: Any) -> None:
    value = holder[key]
    if isinstance(value, int | float) and not isinstance(value, bool):
        holder[key] = value * rng.choice((-1, 0, 1e-12, 1e-3, 1 + 1e-9, 2, 1000, 10**6, 10**9, 1e30))


def _repeat(rng: random.Random, holder: Any, key: Any, tree: Any) -> None:
    """An item once more, or much more often; a number nearly as before."""
    value = holder[key]
    if isinstance(holder, list):
        near = value * (1 + 1e-8) if isinstance(value, int | float) else copy.deepcopy(value)
        holder[key:key] = [near] * rng.choice((1, 1, 1, 3, 300))
    else:
        holder[rng.choice((f"{key}2", str(key).upper(), f" {key}"))] = copy.deepcopy(value)


def _rename(rng: random.Random, holder: Any, key: Any, tree: Any) -> None:
    if isinstance(holder, dict):
        names = (7, "7", 1.5, True, None, "a-b", "..", str(key).title(), f"{key}-{key}", f"{key}x", "x" * 200)
        holder[rng.choice(names)] = holder.pop(key)


def _move(rng: random.Random, holder: Any, key: Any, tree: Any) -> None:
    """The value, once more, in the place of another."""
    other, place = rng.choice(list(_places(tree)))
    other[place] = copy.deepcopy(holder[key])


def _vary(rng: random.Random, holder: Any, key: Any, tree: Any) -> None:
    """A number that makes sense; in a list, one more of it."""
    value = holder[key]
    if isinstance(value, int | float) and not isinstance(value, bool):
        near = rng.choice((value + 1, value * 2, value * 1.1, value * 0.9, value * (1 + 1e-9), str(value)))
        near = round(near) if isinstance(value, int) and not isinstance(near, str) else near
        if isinstance(holder, list) and rng.random() < 0.7:
            holder.append(near)
        else:
            holder[key] = near


def _label(rng: random.Random, holder: Any, key: Any, tree: Any) -> None:
    """One more architecture or recipe, under a label like another's."""
    parts = tree.get(rng.choice(("architectures", "recipes")))
    if isinstance(parts, dict) and parts:
        label = rng.choice(list(parts))
        names = (7, "7", f"{label}-tst", f"{label}-baseline", f"tst-{label}", str(label).upper(), f"{label}.")
        settings = parts[label] if isinstance(parts[label], dict) else {}
        parts[rng.choice(names)] = {"kind": label} | settings


def _nest(rng: random.Random, holder: Any, key: Any, tree: Any) -> None:
    for _ in range(rng.choice((1, 2, 60))):
        holder[key] = [holder[key]] if rng.random() < 0.5 else {str(key): holder[key]}


def _fill(rng: random.Random, holder: Any, key: Any, tree: Any) -> None:
    """Many numbers."""
    length = rng.choice((2, 30, 2000))
    holder[key] = list(range(length)) if rng.random() < 0.5 else [rng.uniform(0, 3) for _ in range(length)]


TREE_CHANGES: tuple[Callable[[random.Random, Any, Any, Any], None], ...] = (
    *(_replace, _replace, _remove, _scale, _scale, _repeat, _repeat, _rename, _move, _nest, _fill),
    *(_vary, _vary, _vary, _vary, _label, _label),
)


def _insert(rng: random.Random, content: bytes) -> bytes:
    at = rng.randint(0, len(content))
    return content[:at] + rng.choice(NASTY_TEXTS).encode() + content[at:]


def _cut(rng: random.Random, content: bytes) -> bytes:
    at = rng.randint(0, len(content))
    return content[:at] + content[at + rng.choice((1, 2, 10, 100, 10_000)) :]


def _any_bytes(rng: random.Random, content: bytes) -> bytes:
    at = rng.randint(0, len(content))
    return content[:at] + rng.randbytes(rng.choice((1, 2, 20))) + content[at + 1 :]


def _lines(rng: random.Random, content: bytes) -> bytes:
    """A line twice, elsewhere, or indented otherwise."""
    lines = content.split(b"\n")
    line = rng.choice(lines)
    if rng.random() < 0.3:
        lines.remove(line)
        line = rng.choice((b" ", b"  ", b"\t")) + line
    lines.insert(rng.randint(0, len(lines)), line)
    return b"\n".join(lines)


def _number(rng: random.Random, content: bytes) -> bytes:
    """A digit and what stands after it, up to white space, replaced."""
    digits = [at for at, byte in enumerate(content) if chr(byte).isdigit()]
    if not digits:
        return content
    at = rng.choice(digits)
    rest = content[at:].split(maxsplit=1)
    value = rng.choice(NASTY_VALUES)
    text = value if isinstance(value, str) else json.dumps(value) if _is_writable(value) else "9" * 400
    return content[:at] + text.encode() + content[at + len(rest[0]) :]


def _is_writable(value: Any) -> bool:
    """Whether Python writes the value as text at all: it refuses integers of thousands of digits."""
    return not isinstance(value, int) or abs(value) < 10**300


def _twice(rng: random.Random, content: bytes) -> bytes:
    return content + rng.choice((b"", b"\n", b"\n---\n")) + content


TEXT_CHANGES: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    *(_insert, _insert, _cut, _any_bytes, _lines, _lines, _number, _number, _twice),
)


def check(case: Case) -> str | None:
    """Open the file as the workflow does. Nonsense that is accepted is a finding."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ladder.yaml")
        path.write_bytes(case.content)
        try:
            climb = Climb.open(str(path))
            jobs = climb.every_job
        except LadderError as error:
            return None if str(path) in str(error) else f"the file is not named: {error}"
    if not 0 < len(climb.every_run) <= 20_000:
        return f"{len(jobs)} runs"
    plan = climb.price(_hardware()) if len(jobs) < 1000 and _can_be_priced(climb) else None
    if len({name.casefold() for name in jobs}) < len(climb.ladder.variants):
        return "names that differ in case alone"
    expected = sum(
        len(climb.ladder.variants)
        * len(rung.budgets or climb.ladder.budgets)
        * len(rung.seeds or climb.ladder.seeds)
        for rung in climb.ladder.rungs
    )
    if len({name.casefold() for name in climb.runs}) != expected:
        return f"{len(climb.runs)} runs of {expected}: some share a name"
    if not all(0 <= spec.seed < 2**63 for spec in jobs.values()):
        return "a seed that is none"
    if plan is not None and not 0 < plan.totals.accelerator_hours < math.inf:
        return f"priced at {plan.totals.accelerator_hours} hours"
    if wrong := [name for name, spec in jobs.items() if name != spec.id or not _is_safe(name)]:
        return f"{wrong[0]!r} is no name of a folder"
    distinct = {name.rpartition("/")[0]: spec for name, spec in jobs.items()}
    for name, spec in distinct.items():
        if what := nonsense(spec):
            return f"{name}: {what}"
    return None


def _hardware() -> Any:
    return accelerators(REPOSITORY / "configs/hardware.yaml")


def _can_be_priced(climb: Climb) -> bool:
    """Otherwise `plan` says that the accelerator is unknown."""
    known = climb.ladder.execution.accelerator in _hardware()
    return known or climb.ladder.plan.flops_per_second is not None


def _is_safe(name: str) -> bool:
    parts = name.split("/")
    letters = all((c.isalnum() and c.isascii()) or c in "-._+" for part in parts for c in part)
    return letters and all(0 < len(part) <= 200 and part not in (".", "..") for part in parts)


def nonsense(spec: RunSpec) -> str | None:
    """What in a resolved spec cannot be trained, or would learn nothing."""
    if not all(math.isfinite(number) for number in _numbers(spec.model_dump())):
        return "a number is not finite"
    o, s, m, r = spec.optimizer, spec.schedule, spec.model, spec.recipe
    wrong = {
        "learning rate": not 1e-12 < o.learning_rate < 100,
        "betas": not (0 <= o.beta1 < 1 and 0 <= o.beta2 < 1),
        "epsilon": not 1e-38 < o.epsilon <= 1,
        "weight decay": not 0 <= o.weight_decay * o.learning_rate < 1,
        "clip": not 1e-6 < o.clip_norm < 1e12,
        "schedule": not 0 <= s.warmup_steps + s.decay_steps <= r.steps,
        "final rate": not 0 <= s.final <= 1,
        "steps": not 0 < r.steps < 1e12 or any(phase.steps < 1 for phase in r.phases),
        "tokens": not 0 < r.tokens < 2**63,
        "heads": m.n_heads % m.n_kv_heads != 0 or m.d_head % 2 != 0,
        "width": not 0 < m.d_model < 10**6 or not 0 < m.n_layers < 10**5,
        "weights of domains": abs(sum(spec.data.domain_weights.values()) - 1) > 1e-6,
        "held-out share": not 0 < spec.data.validation_fraction < 1,
    }
    return ", ".join(name for name, is_wrong in wrong.items() if is_wrong) or None


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for part in value:
            yield from _numbers(part)
    elif isinstance(value, int | float):
        yield value
