"""Files that commands write and read again, and anyone's tables: changed, cut off, exported otherwise.

A file is refused in a sentence that names it, or what was read is finite and equal to what the file says.
What is read can then be used: a document printed, a fit asked for a loss, a table of runs put in cells.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import math
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stepladder.cli.errors import naming, sentence
from stepladder.decision.axis_fit import AxisFit
from stepladder.decision.cells import make_cells
from stepladder.decision.compare import compare
from stepladder.decision.comparison import Comparison
from stepladder.decision.fit import fit
from stepladder.decision.foreign import as_runs
from stepladder.decision.prediction import predict_points, read_fit
from stepladder.decision.prediction_record import PredictionRecord
from stepladder.decision.preregistration import check_record, preregister
from stepladder.documents.document import Document
from stepladder.ladder.climb import Climb
from stepladder.laws.forms import compute
from stepladder.laws.law_fit import LawFit
from stepladder.laws.table_fit import Options, fit_table
from stepladder.laws.tables import read_table, select
from stepladder.record.learning_rates import Tuning
from stepladder.record.plan import Plan
from stepladder.record.result import Result
from stepladder.report.render.console import print_comparison, print_fit, print_tuning
from stepladder.report.render.plan import print_plan
from stepladder.report.sections.evidence import gains_table, held_out_table, laws_table, sensitivity_table
from stepladder.report.sections.verdict import findings, headline, verdict_table
from stepladder.schema.accelerators import accelerators
from stepladder.schema.analysis import AnalysisConfig
from stepladder.tuning.tune import Target, tune

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY / "tests"))

from ladders import runs_table  # noqa: E402

BASELINE, IDEA = "dense-baseline", "dense-tst"
CONFIG = AnalysisConfig(baseline=BASELINE, bootstrap_draws=100, leave_one_out=False)

NASTY: tuple[Any, ...] = (
    *(
        0,
        -1,
        1,
        3,
        0.5,
        -0.5,
        1e-300,
        5e-324,
        1e18,
        1e300,
        1.7e308,
        2**63,
        10**30,
        10**400,
        True,
        False,
        None,
    ),
    *(
        math.inf,
        -math.inf,
        math.nan,
        "",
        " ",
        "7",
        "nan",
        "1e3",
        "NaN",
        "x" * 400,
        "é",
        "\u202e",
        "\ud800",
        "[bold]",
    ),
    *(
        [],
        {},
        [[]],
        [None],
        {"a": 1},
        [1, 2],
        [2, 1],
        [None, None],
        [1e300, -1e300],
        "2026-01-01T00:00:00+00:00",
    ),
)
NASTY_TEXTS = (
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b",",
        b":",
        b"\\",
        b"\\ud800",
        b"\0",
        b"\xff",
        b"\n",
        b"NaN",
        b"-Infinity",
        b"1e999",
    ),
    *(
        b"null",
        b"true",
        b"'",
        b"//",
        b"\xef\xbb\xbf",
        b"0x10",
        b"-",
        b"9" * 5000,
        b"[" * 3000,
        b'{"a":' * 3000,
    ),
)


@dataclass(frozen=True)
class Case:
    """A file, what it pretends to be, and how it was made."""

    kind: str
    content: bytes
    made: tuple[str, ...]
    same: bool = False
    """Whether it says the same as the file that it was made from."""

    def __str__(self) -> str:
        return "\n".join([self.kind, *self.made, self.content.decode(errors="backslashreplace")[:5000]])


# What the files are made from.


@cache
def _runs() -> pd.DataFrame:
    extra = runs_table({BASELINE: 1.0, IDEA: 1.2}, 0.003, rungs={"d1": 8e9}, seeds={"d1": 2})
    runs = pd.concat([extra, runs_table({BASELINE: 1.0, IDEA: 1.2}, 0.003)], ignore_index=True)
    return runs.assign(lineage_started="2026-01-02T00:00:00Z", warnings=[[] for _ in range(len(runs))])


@cache
def _originals() -> dict[str, Document]:
    runs = _runs()
    fits = {axis: fit(runs, axis, CONFIG) for axis in CONFIG.verdict.axes}
    table = runs[["loss", "flops"]].reset_index(drop=True)
    held = runs["rung"] == "d5"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "result.json")
        file.write_text("{}")
        planned = runs[held].drop(columns=["loss", "accelerator_seconds", "tokens"])
        record = preregister(runs[~held], planned, CONFIG, "code", dict.fromkeys(runs[~held]["id"], file))
    with contextlib.chdir(REPOSITORY):
        plan = Climb.open("smoke").price(accelerators("configs/hardware.yaml"))
    return {
        "result": Result.read(REPOSITORY / "tests/record/golden/dense.json"),
        "fit of a ladder": fits["flops"],
        "fit of a table": fit_table(table, compute(), Options(draws=50)),
        "comparison": compare(runs, fits, CONFIG),
        "predictions": record,
        "plan": plan,
        "learning rates": _tuning(),
    }


def _tuning() -> Tuning:
    runs = [
        {"variant": variant, "rung": rung, "budget": "1x", "seed": seed, "factor": factor}
        | {
            "batch_factor": 1.0,
            "batch_sequences": 8,
            "base_rate": 0.01,
            "rule_rate": 0.01,
            "quantity": quantity,
        }
        | {
            "loss": 2
            + 0.05 * math.log(factor / 1.3) ** 2
            + 0.003 * math.sin(40 * factor + seed + len(variant))
        }
        for variant in (BASELINE, IDEA)
        for rung, quantity in (("d2", 24.0), ("d3", 32.0))
        for factor in (0.25, 0.5, 1.0, 2.0, 4.0)
        for seed in (0, 1)
    ]
    targets = [
        Target(variant=v, rung=r, budget="1x", quantity=q, rule_rate=0.01, ruled_rate=0.01, applied=False)
        for v in (BASELINE, IDEA)
        for r, q in (("d2", 24.0), ("d3", 32.0), ("d4", 40.0))
    ]
    return tune(pd.DataFrame(runs), targets, "d_model", 0.95, 4.0)


@cache
def _written(kind: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "document.json")
        _originals()[kind].write(path)
        return path.read_bytes()


@cache
def _table() -> pd.DataFrame:
    """The runs as somebody else would export them."""
    named = {"accelerator_seconds": "seconds", "parameters_active_non_embedding": "parameters"}
    names = ["variant", "rung", "seed", "loss", "flops", "tokens", *named]
    table = _runs()[names].rename(columns=named).reset_index(drop=True)
    return table.assign(variant=table["variant"].replace(IDEA, "NA"), note="a, b; c")


# How they are changed.


def make(rng: random.Random) -> Case:
    """A document, a table of text or a Parquet file with one to three changes."""
    kind = rng.choice((*_originals(), "table", "table", "parquet", "runs.parquet"))
    if kind in _originals():
        return _document(rng, kind)
    return _text_table(rng) if kind == "table" else _parquet(rng, kind)


def _document(rng: random.Random, kind: str) -> Case:
    content, made = _written(kind), []
    if rng.random() < 0.7:
        tree = json.loads(content)
        for _ in range(rng.randint(1, 3)):
            places = list(_places(tree))
            if places:
                made.append(_change(rng, *rng.choice(places)))
        content = json.dumps(tree, ensure_ascii=rng.random() < 0.5).encode(errors="surrogatepass")
    if not made or rng.random() < 0.1:
        made.append("text")
        content = _change_text(rng, content)
    return Case(kind, content, tuple(made))


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of every value, of long lists only the first few."""
    for key, value in list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree[:6])):
        yield tree, key
        if isinstance(value, dict | list):
            yield from _places(value)


def _change(rng: random.Random, holder: Any, key: Any) -> str:
    value = holder[key]
    change = rng.choice(("replace", "replace", "replace", "remove", "scale", "rename", "repeat", "nest"))
    if change == "remove":
        del holder[key]
    elif change == "scale" and isinstance(value, int | float) and not isinstance(value, bool):
        holder[key] = value * rng.choice((-1, 0, 1e-30, 1e-3, 1000, 1e30, 10**30))
    elif change == "rename" and isinstance(holder, dict):
        holder[rng.choice(("schema_version", "id", f"{key}2", ""))] = holder.pop(key)
    elif change == "repeat" and isinstance(holder, list):
        holder[key:key] = [copy.deepcopy(value)] * rng.choice((1, 3, 300))
    elif change == "nest":
        holder[key] = [value]
    else:
        holder[key] = copy.deepcopy(rng.choice(NASTY))
    return f"{change} {key!r} = {value!r:.60}"


def _change_text(rng: random.Random, content: bytes) -> bytes:
    at = rng.randint(0, len(content))
    what = rng.choice(("insert", "cut", "end", "flip", "twice", "lines"))
    if what == "insert":
        return content[:at] + rng.choice(NASTY_TEXTS) + content[at:]
    if what == "cut":
        return content[:at] + content[at + rng.choice((1, 3, 40, 4000)) :]
    if what == "end":
        return content[:at]
    if what == "flip":
        return content[:at] + rng.randbytes(rng.choice((1, 4))) + content[at + 1 :]
    if what == "twice":
        return content + content
    lines = content.split(b"\n")
    lines.insert(rng.randint(0, len(lines)), rng.choice(lines))
    return b"\n".join(lines)


def _text_table(rng: random.Random) -> Case:
    """Exported otherwise, which must not matter, or changed, which may."""
    table, made = _table(), []
    separator = rng.choice((",", ",", ";", "\t"))
    decimal = rng.choice((".", ",")) if separator != "," else "."
    heading = rng.choice((lambda name: name, lambda name: f" {name}  "))
    same = rng.random() < 0.4
    if not same:
        for _ in range(rng.randint(1, 2)):
            table = _change_table(rng, table, made)
    text = table.rename(columns=heading).to_csv(index=rng.random() < 0.3, sep=separator, decimal=decimal)
    content = text.encode(rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16")), errors="replace")
    if not same and rng.random() < 0.3:
        made.append("text")
        content = _change_text(rng, content)
    return Case("table", content, (f"separator {separator!r}, decimal {decimal!r}", *made), same)


def _change_table(rng: random.Random, table: pd.DataFrame, made: list[str]) -> pd.DataFrame:
    column, row = rng.choice(list(table.columns)), rng.randrange(len(table))
    change = rng.choice(("cell", "cell", "column", "drop", "row", "type", "order"))
    made.append(f"{change}: {column}, {row}")
    if change == "cell":
        cells = table[column].astype(object).copy()
        cells.iloc[row] = rng.choice(NASTY)
        return table.assign(**{column: cells})
    if change == "column":
        value = rng.choice(NASTY)
        return table.assign(**{column: pd.Series([value] * len(table), dtype=object)})
    if change == "drop":
        return table.drop(columns=column)
    if change == "row":
        return pd.concat([table, table.iloc[[row]]], ignore_index=True)
    if change == "order":
        return table.sample(frac=1, random_state=row).reset_index(drop=True)
    types: tuple[Callable[[pd.Series], Any], ...] = (
        lambda values: pd.to_timedelta(range(len(values)), unit="s"),
        lambda values: pd.date_range("2026-01-01", periods=len(values)),
        lambda values: values.astype(str).str.encode("utf-8"),
        lambda values: values.astype(str).astype("category"),
        lambda values: values.astype("string"),
        lambda values: [[value] for value in values],
        lambda values: pd.array(range(len(values)), dtype="Int8"),
        lambda values: pd.array([value == values.iloc[0] for value in values], dtype="boolean"),
    )
    return table.assign(**{column: rng.choice(types)(table[column])})


def _parquet(rng: random.Random, kind: str) -> Case:
    table, made = (_table() if kind == "parquet" else _runs()), []
    for _ in range(rng.randint(1, 2)):
        table = _change_table(rng, table, made)
    buffer = io.BytesIO()
    try:
        table.to_parquet(buffer)
    except Exception:  # what Arrow cannot write need not be read
        table = _table()
        table.to_parquet(buffer)
    content = buffer.getvalue()
    if rng.random() < 0.2:
        made.append("bytes")
        content = _change_text(rng, content)
    return Case(kind, content, tuple(made))


# What must come of them.


def check(case: Case) -> str | None:
    """Read the file as commands do, and use it. Nonsense that is accepted is a finding."""
    is_table = case.kind not in _originals()
    suffix = ".json" if not is_table else ".parquet" if "parquet" in case.kind else ".csv"
    with tempfile.TemporaryDirectory() as folder, _silent():
        path = Path(folder, f"file{suffix}")
        path.write_bytes(case.content)
        try:
            with naming(path):
                return _use_table(case, path) if is_table else _use_document(case, path)
        except Exception as error:
            said = sentence(error)
            if said is None:
                raise
            if case.same:
                return f"refused, though it says the same: {said}"
            if str(path) not in said:
                return f"the file is not named: {said}"
            return f"{len(said)} characters of error: {said[:200]}" if len(said) > 1500 else None


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def _use_document(case: Case, path: Path) -> str | None:
    kind = type(_originals()[case.kind])
    found: Any = read_fit(path) if kind in (AxisFit, LawFit) else kind.read(path)
    again = path.with_name("again.json")
    found.write(again)
    if type(found).read(again) != found:
        return "written and read again it is another"
    told, kept = json.loads(case.content), json.loads(again.read_text())
    if where := _differs(told, kept):
        return f"it is read otherwise than it says at {where}"
    if not all(math.isfinite(number) for number in _numbers(kept)):
        return "a number is not finite"
    USES[type(found)](found)
    return None


def _differs(told: Any, kept: Any, where: str = "the file") -> str | None:
    """Where a document that was read is not what its file says; what the file leaves out has a default."""
    if isinstance(told, dict) and isinstance(kept, dict):
        parts = [(told[name], kept.get(name), f"{where}.{name}") for name in told]
    elif isinstance(told, list) and isinstance(kept, list) and len(told) == len(kept):
        parts = [(a, b, f"{where}[{i}]") for i, (a, b) in enumerate(zip(told, kept, strict=True))]
    else:
        if type(told) is int and type(kept) is float:  # a whole number where any is allowed
            told = float(told)
        return None if told == kept and isinstance(told, bool) == isinstance(kept, bool) else where
    return next((found for a, b, place in parts if (found := _differs(a, b, place))), None)


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _numbers(part)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _use_fit(found: Any) -> None:
    variant = next(iter(found.laws), None) if isinstance(found, AxisFit) else None
    for row in predict_points(found, [{"flops": 1e15}], variant):
        numbers = [row.predicted, *(row.interval or ()), *(row.run_interval or ())]
        assert all(number is None or math.isfinite(number) for number in numbers)
    if isinstance(found, AxisFit):
        laws_table(found), held_out_table(found)
    else:
        print_fit(found)


def _use_comparison(found: Comparison) -> None:
    print_comparison(found)
    if all({"flops", "seconds"} <= set(pair.gains) for pair in found.comparisons):
        headline(found), findings(found), verdict_table(found), gains_table(found)
        fitted = _originals()["fit of a ladder"]
        assert isinstance(fitted, AxisFit)
        sensitivity_table(found, fitted)


USES: dict[type, Callable[[Any], object]] = {
    Result: Result.row,
    AxisFit: _use_fit,
    LawFit: _use_fit,
    Comparison: _use_comparison,
    PredictionRecord: lambda record: check_record(record, _runs(), CONFIG, "code"),
    Plan: print_plan,
    Tuning: print_tuning,
}
"""What commands do with a document that was read."""


def _use_table(case: Case, path: Path) -> str | None:
    table = read_table(path)
    if case.kind == "runs.parquet":
        runs = as_runs(table, {})
    else:
        rows = select(table, ["loss", "flops"], {}, ("tokens", "parameters"))
        runs = as_runs(table, {})
        if not (rows["loss"].to_numpy() == runs["loss"].to_numpy()).all():
            return "a law and a comparison read other losses"
    make_cells(runs)
    numbers = runs.select_dtypes("number").to_numpy(float)
    if not np.isfinite(numbers).all() or not (runs[["loss", "flops"]] > 0).all().all():
        return "a number is not finite, or a loss or FLOPs are not above 0"
    if case.same:
        wanted = _table()
        for name, of in {
            "accelerator_seconds": "seconds",
            "loss": "loss",
            "tokens": "tokens",
            "seed": "seed",
        }.items():
            if not np.allclose(runs[name].astype(float), wanted[of].astype(float), rtol=1e-12):
                return f"{of} is read otherwise than it was written"
        if list(runs["variant"]) != list(wanted["variant"]):
            return "a name is read otherwise than it was written"
    return None
