"""No option is dropped without a word: it reaches the library, or it is refused with what it applies to."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ladders import runs_table
from typer.testing import CliRunner

from stepladder.cli import app
from stepladder.cli.law_options import FORMULAS, FRONTIERS, LADDER, LAWS, OPTIONS, RISING, flag
from stepladder.cli.laws import fit
from stepladder.laws import forms
from stepladder.laws.sigmoid_fit import fit_curves
from stepladder.laws.table_fit import Options
from stepladder.schema.analysis import AnalysisConfig

DEFAULTS = AnalysisConfig(baseline="")
CURVES = inspect.signature(fit_curves).parameters


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """Rows that every law can be asked of."""
    rows = runs_table({"dense-baseline": 1.0, "dense-tst": 1.3}, sigma=0.003)
    rows = rows[["variant", "rung", "seed", "loss", "flops", "tokens"]]
    rows = rows.assign(parameters=rows["flops"] / 6 / rows["tokens"], active_fraction=0.5)
    rows = rows.assign(compute=rows["flops"], reward=5 - rows["loss"], accuracy=1 / rows["loss"])
    path = tmp_path_factory.mktemp("options") / "table.csv"
    rows.to_csv(path, index=False)
    return path


class Found(dict):
    """In place of a fit, be it a dict or a document."""

    def write(self, path: Path) -> None:
        path.write_text("{}")


@pytest.fixture
def reached(monkeypatch) -> dict:
    """What the library is asked for, instead of fitting."""
    asked: dict = {}

    def fit_table(rows, law, options):
        robust = options.robust
        asked.update(vars(options), law=law.name, rows=len(rows), delta=robust.delta, norm=robust.norm)
        asked["above"] = robust.above
        return Found()

    def frontier(rows, **options):
        asked.update(options, rows=len(rows))
        return Found()

    def fit_curves(rows, law, **options):
        asked.update(options, law=law, rows=len(rows))
        return Found()

    def fit_variants(rows, axis, config):
        asked.update(config.model_dump(), axis=axis, rows=len(rows))
        return Found()

    monkeypatch.setattr("stepladder.laws.table_fit.fit_table", fit_table)
    monkeypatch.setattr("stepladder.laws.isoflop.isoflop", frontier)
    monkeypatch.setattr("stepladder.laws.envelope.envelope", frontier)
    monkeypatch.setattr("stepladder.laws.sigmoid_fit.fit_curves", fit_curves)
    monkeypatch.setattr("stepladder.decision.fit.fit", fit_variants)
    for shown in ("print_fit", "print_axis_fit"):
        monkeypatch.setattr(f"stepladder.report.render.console.{shown}", lambda found: None)
    monkeypatch.setattr(
        "stepladder.report.figures.table_fit.draw_fit", lambda rows, found, path: asked.update(plot=path.name)
    )
    return asked


def stepladder(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


ASKED = {
    "bootstrap": ("200", {"draws": 200}, {"bootstrap_draws": 200}),
    "confidence": ("0.9", {"confidence": 0.9}, {"confidence": 0.9}),
    "seed": ("7", {"seed": 7}, {"seed": 7}),
    "delta": ("0.02", {"delta": 0.02}, {"huber_delta": 0.02}),
    "drop_highest": ("2", {"rows": 16}, None),
    "by": ("variant", {"by": "variant"}, None),
    "share": ("E,alpha", {"shared": ["E", "alpha"]}, None),
    "pin": ("E=1.5", {"pinned": {"E": 1.5}}, None),
    "cluster": ("rung, seed", {"clusters": ["rung", "seed"]}, None),
    "norm": ("squared", {"norm": "squared"}, None),
    "weight_above": ("0.5", {"above": 0.5}, None),
    "plot": ("fit.png", {"plot": "fit.png"}, None),
    "target": ("1e21", {"targets": [1e21]}, None),
    "log_loss": (None, {"log_loss": True}, None),
    "skip_below": ("1e11", {"skip_below": 1e11}, None),
    "start": ("0.25", {"start": 0.25}, None),
    "against": ("dense-tst", {"baseline": "dense-tst"}, None),
    "axis": ("tokens", None, {"axis": "tokens"}),
    "metric": ("target_loss", None, {"metric": "target_loss"}),
    "rates": ("", None, {}),
    "settings": ('{"floor": 1.5, "seed": 3}', None, {"floor": 1.5, "seed": 3}),
}
"""Option to a value (a switch has none), and what the library of a table's and of a ladder's fit is asked
for then."""


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("option", OPTIONS)
def test_every_law_and_option(table, reached, tmp_path, option, law):
    value, of_table, of_ladder = ASKED[option]
    value = tmp_path / value if option == "plot" else value
    out = tmp_path / "fit.json"
    given = [flag(option)] if value is None else [flag(option), value]
    words = ("fit", table, "--law", law, *given, "--out", out)
    if law in OPTIONS[option].laws:
        stepladder(*words)
        wanted = of_ladder if law == LADDER else of_table
        assert wanted.items() <= reached.items() and out.exists()
        return
    said = stepladder(*words, code=2)
    assert f"{flag(option)} does not apply to --law {law}, only to " in said
    assert all(name in said for name in OPTIONS[option].laws)
    assert law != LADDER or OPTIONS[option].ladder in said
    assert not reached and not out.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--pin", "E=nan"], "--pin E=nan: E must be a finite number"),
        (["--by", " "], "--by: name the column of variants"),
        (["--target", "-1"], "'--target': -1.0 is not between 0 and inf"),
        (["--target", "1e20", "--target", "nan"], "'--target': nan is not between 0 and inf"),
        (["--delta", "inf"], "'--delta': inf is not a finite number"),
        (["--confidence", "1"], "'--confidence': 1.0 is not between 0 and 1"),
        (["--confidence", "nan"], "'--confidence': nan is not between 0 and 1"),
        (["--plot", "fit.xyz"], "--plot fit.xyz: a figure is .png, .svg, .pdf"),
    ],
)
def test_values_that_no_fit_takes(table, reached, tmp_path, words, said):
    shown = stepladder("fit", table, "--law", "compute", *words, "--out", tmp_path / "o.json", code=2)
    assert said in " ".join(shown.replace("│", "").split()) and not reached


def test_limits_are_the_schemas():
    """The option takes what --settings takes."""
    limits = {type(limit).__name__: limit for limit in AnalysisConfig.model_fields["confidence"].metadata}
    assert OPTIONS["confidence"].between == (limits["Gt"].gt, limits["Lt"].lt)


def test_several_at_once(table, tmp_path):
    words = ("--pin", "E=1", "--share", "E", "--drop-highest", 0, "--out", tmp_path / "o.json")
    said = stepladder("fit", table, *words, code=2)
    assert [line.split()[-1 - line.split()[::-1].index("does")] for line in said.splitlines()] == ["does"] * 3
    assert all(option in said for option in ("--pin", "--share", "--drop-highest"))


@pytest.mark.parametrize("law", LAWS)
def test_defaults_are_the_librarys(table, reached, tmp_path, law):
    """And help says them."""
    stepladder("fit", table, "--law", law, "--out", tmp_path / "o.json")
    if law in FORMULAS:
        options = Options()
        assert {name: reached[name] for name in ("draws", "seed", "confidence")} == {
            "draws": options.draws,
            "seed": options.seed,
            "confidence": options.confidence,
        }
        assert (reached["delta"], reached["norm"], reached["above"]) == (
            options.robust.delta,
            options.robust.norm,
            options.robust.above,
        )
    elif law == LADDER:
        assert DEFAULTS.model_dump().items() <= reached.items() and reached["axis"] == "flops"
    elif law in RISING:
        assert set(reached) == {"rows", "law"}
    else:
        assert set(reached) == {"rows"}


def test_help_says_the_defaults():
    options, robust = Options(), Options().robust
    said = {name: option.default for name, option in OPTIONS.items()}
    assert said["bootstrap"] == (
        f"{options.draws}; ladder: {DEFAULTS.bootstrap_draws}; sigmoid, accuracy: {CURVES['draws'].default}"
    )
    assert said["delta"] == f"{robust.delta:g}; ladder: {DEFAULTS.huber_delta:g}"
    assert said["confidence"] == f"{options.confidence:g}" == f"{DEFAULTS.confidence:g}"
    assert said["seed"] == str(options.seed) == str(DEFAULTS.seed)
    assert (said["norm"], said["weight_above"]) == (robust.norm, f"{robust.above:g}")


def test_the_table_is_complete():
    assert set(forms.LAWS) == set(FORMULAS)
    assert set(OPTIONS) == set(ASKED)
    of_every_law = {"table", "out", "law", "columns", "any_units", "return"}
    assert set(fit.__annotations__) == {*OPTIONS, *of_every_law}
    settings = [option.setting for option in OPTIONS.values() if option.setting]
    assert set(settings) <= set(AnalysisConfig.model_fields)


def test_the_documented_table():
    """docs/laws.md says which option goes with which law."""
    text = (Path(__file__).parents[2] / "docs" / "laws.md").read_text()
    for name, option in OPTIONS.items():
        groups = ([LADDER], FORMULAS, *([law] for law in FRONTIERS), RISING)
        marks = " | ".join("x" if set(laws) <= set(option.laws) else "" for laws in groups)
        assert f"| `{flag(name)}` | {marks} | {option.default} |".replace("  ", " ") in text


def test_options_beside_settings_count(table, reached, tmp_path):
    settings = '{"confidence": 0.8, "bootstrap_draws": 500}'
    words = ("--settings", settings, "--confidence", 0.9, "--out", tmp_path / "o.json")
    stepladder("fit", table, *words)
    assert (reached["confidence"], reached["bootstrap_draws"]) == (0.9, 500)


def test_limits_of_the_ladders_settings(table, tmp_path):
    said = stepladder("fit", table, "--bootstrap", 5, "--out", tmp_path / "o.json", code=1)
    assert "bootstrap_draws = 5" in said


@pytest.fixture(scope="module")
def ladder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ladder")
    runs = runs_table({"dense-baseline": 1.0, "dense-tst": 1.3, "dense-two": 1.1}, sigma=0.003)
    runs.to_parquet(folder / "runs.parquet")
    settings = json.dumps({"bootstrap_draws": 100})
    for axis in ("flops", "seconds"):
        out = folder / f"{axis}.json"
        stepladder("fit", folder / "runs.parquet", "--axis", axis, "--settings", settings, "--out", out)
    return folder


def compare_with(ladder: Path, *words: object, code: int = 0, draws: int = 100):
    settings = json.dumps({"bootstrap_draws": draws})
    out = ladder / "comparison.json"
    words = ("--baseline", "dense-baseline", "--settings", settings, *words, "--out", out)
    said = stepladder("compare", ladder / "runs.parquet", *words, code=code)
    return said if code else json.loads(out.read_text())


def test_compare_with_fits(ladder):
    fits = (ladder / "flops.json", ladder / "seconds.json")
    found = compare_with(ladder, *fits, "--candidate", "dense-two", "--target", 1e14)
    (pair,) = found["comparisons"]
    assert (pair["candidate"], set(pair["gains"])) == ("dense-two", {"flops", "seconds"})
    assert pair["gains"]["flops"]["at_target"]["flops"] == 1e14


def test_compare_with_fits_and_another_baseline(ladder):
    fits = (ladder / "flops.json", ladder / "seconds.json")
    found = compare_with(ladder, *fits, "--baseline", "dense-tst")
    assert found["baseline"] == "dense-tst"


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (["flops.json", "seconds.json", "--axis", "flops"], "--axis does not go with fits", 2),
        (["flops.json", "flops.json"], "a second fit on flops", 2),
        (["flops.json"], "needs fits on seconds as well", 1),
        (["flops.json", "--candidate", "nope"], "no runs of nope", 1),
        (["flops.json", "--target", 0], "--target", 2),
        (["--axis", "joules"], "verdict.axes", 1),
        (["--columns", "loss=other"], "--columns does not apply", 2),
        (["--settings", '{"confidence": 0.5}', "flops.json"], "was made with confidence 0.95", 2),
        (["--settings", '{"huber_delta": 0.5}', "flops.json"], "was made with huber_delta 0.01", 2),
        (["--settings", '{"floor": "free"}', "flops.json"], "was made with floor shared", 2),
        (["--settings", '{"verdict": 3}', "--axis", "flops"], "verdict = 3", 2),
        (["--any-units"], "--any-units does not apply", 2),
        (["--target", "inf"], "'--target': inf is not a finite number", 2),
    ],
)
def test_compare_refuses(ladder, monkeypatch, words, said, code):
    monkeypatch.chdir(ladder)
    assert said in " ".join(compare_with(ladder, *words, code=code).split())


def plan_next(ladder: Path, *words: object, code: int = 0) -> str:
    chosen = ("--hours", 0.001, "--baseline", "dense-baseline", "--candidate", "dense-tst")
    return stepladder("next", ladder / "runs.parquet", ladder / "flops.json", *chosen, *words, code=code)


def test_next_takes_its_target(ladder, tmp_path):
    out = tmp_path / "next.json"
    for words, target in (
        (("--target", 1e14), 1e14),
        (("--settings", '{"target_flops": 2e13, "baseline": "ignored"}'), 2e13),
    ):
        plan_next(ladder, *words, "--out", out)
        found = json.loads(out.read_text())
        assert (found["target_flops"], found["reference"]) == (target, "dense-baseline")


def test_next_refuses(ladder):
    assert "--target" in plan_next(ladder, "--target", 0, code=2)
    assert "huber_delta" in plan_next(ladder, "--settings", '{"huber_delta": 0.5}', code=2)
    assert "--columns does not apply" in plan_next(ladder, "--columns", "loss=x", code=2)
    assert "'--hours': inf is not a finite number" in plan_next(ladder, "--hours", "inf", code=2)


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        ([], "say where", 2),
        (["--at", "flops"], "NAME=NUMBER", 2),
        (["--at", "flops=1,flops=2"], "twice", 2),
        (["--at", "flops=inf"], "--at flops=inf: flops must be a finite number", 2),
        (["--at", "flops=1e14,tokens=3e9", "--variant", "dense-tst"], "leave out tokens", 1),
        (["--at", "flops=1e14"], "name one with --variant", 1),
        (["--at", "tokens=1e14", "--variant", "dense-tst"], "give flops", 1),
    ],
)
def test_predict_refuses(ladder, words, said, code):
    assert said in stepladder("predict", ladder / "flops.json", *words, code=code)


def test_predict_of_a_table(tmp_path):
    """overtraining depends on tokens per parameter: both, and nothing else, may be given."""
    generator = np.random.default_rng(0)
    N, M = np.geomspace(1e7, 1e9, 30), np.exp(generator.uniform(2, 5, 30))
    C = 6 * N * N * M
    loss = 1.7 + (20 * M**0.1 + 30 * M**-0.1) * C**-0.1 * np.exp(0.001 * generator.standard_normal(30))
    rows, out = tmp_path / "rows.csv", tmp_path / "fit.json"
    pd.DataFrame({"loss": loss, "flops": C, "parameters": N, "tokens": N * M}).to_csv(rows, index=False)
    stepladder("fit", rows, "--law", "overtraining", "--bootstrap", 0, "--out", out)
    stepladder("predict", out, "--at", "flops=1.2e20,parameters=1e9,tokens=2e10")
    for at, said in {
        "flops=1.2e20,parameters=1e9,tokens=2e10,seconds=3": "leave out seconds",
        "flops=1.2e21,parameters=1e9,tokens=2e10": "flops = 1.2e+21 contradicts parameters",
        "flops=1.2e20,parameters=1e9,tokens=-1": "tokens = -1: give a number above 0",
        "flops=1.2e20,parameters=0,tokens=2e10": "parameters = 0: give a number above 0",
        "flops=1.2e20,multiplier=30,parameters=1e9,tokens=2e10": "multiplier = 30 contradicts",
    }.items():
        assert said in " ".join(stepladder("predict", out, "--at", at, code=1).split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["status", "smoke", "--every", 5], "--every goes with --watch"),
        (["status", "smoke", "--watch", "--json"], "choose one"),
        (["train", "{}", "--manifest", "m", "--out", "run/other.json"], "called result.json"),
        (["train", "{}", "--manifest", "m", "--out", "result.json", "--device", "tpu"], "auto, cpu, cuda"),
        (
            ["data", '{"source": 1, "tokenizer": 1, "validation_fraction": 0.1}', "--out", "x.json"],
            "manifest",
        ),
        (
            ["data", '{"source": 1, "degenrate": "drop"}', "--out", "manifest.json"],
            "did you mean degenerate?",
        ),
        (
            ["train", "{}", "--manifest", "m", "--out", "result.json", "--checkpoint-seconds", 30],
            """write --engine '{"checkpoint_seconds": 30}'""",
        ),
    ],
)
def test_arguments_that_do_not_go_together(words, said):
    assert said in stepladder(*words, code=2)


def test_mfu_of_what_never_ended(tmp_path):
    (tmp_path / "runs").mkdir()
    assert "no run of it has ended" in stepladder("mfu", tmp_path, "--rung", "d5", code=1)
