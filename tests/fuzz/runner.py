"""Make inputs of a kind, check each, and keep what is wrong. Input number n of a seed is always the same."""

from __future__ import annotations

import importlib
import random
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType, ModuleType
from typing import Any

SECONDS = 1.0
"""Longest time that one input may take, CPU seconds of this process: others may keep a machine busy."""

HANGING = 10.0
"""Wall seconds after which an input is given up."""


@dataclass(frozen=True)
class Finding:
    """An input that ends wrongly."""

    index: int
    """Number of the input, from 0: `make` makes it again."""
    what: str
    case: Any


@dataclass
class Outcome:
    """What came of the inputs of one kind."""

    inputs: int = 0
    slowest: float = 0.0
    """CPU seconds of the slowest input."""
    findings: list[Finding] = field(default_factory=list)


class Hanging(BaseException):
    """An input took longer than `HANGING`. No Exception, so that nobody catches it on the way."""


def load(kind: str) -> ModuleType:
    """The module of a kind, imported as a neighbour of this one."""
    return importlib.import_module(f"{__package__}.{kind}")


def make(kind: str, seed: int, index: int) -> Any:
    """Input number `index` of a kind."""
    return load(kind).make(random.Random(f"{seed}/{kind}/{index}"))


def run(kind: str, inputs: int, seed: int = 0, first: int = 0) -> Outcome:
    """Make and check `inputs` inputs of a kind, from number `first` on."""
    outcome = Outcome()
    for index in range(first, first + inputs):
        case = make(kind, seed, index)
        begun = time.process_time()
        what = problem(kind, case)
        seconds = time.process_time() - begun
        outcome.inputs += 1
        outcome.slowest = max(outcome.slowest, seconds)
        if what is None and seconds > SECONDS:
            what = f"took {seconds:.1f} s"
        if what is not None:
            outcome.findings.append(Finding(index, what, case))
    return outcome


def problem(kind: str, case: Any) -> str | None:
    """What is wrong with how an input ends; None if nothing is."""
    try:
        with _alarm():
            found: str | None = load(kind).check(case)
            return found
    except Hanging:
        return f"hangs: given up after {HANGING:g} s"
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} at {place.filename}:{place.lineno}: {str(error)[:300]}"


@contextmanager
def _alarm() -> Iterator[None]:
    def ring(signum: int, frame: FrameType | None) -> None:
        raise Hanging

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, HANGING)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
