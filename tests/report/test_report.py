"""The report from a folder of results, whole and with pieces missing."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import typst
from report_results import make_manifest, plan_of, runs_table

from stepladder.decision.axis_fit import AxisFit
from stepladder.decision.comparison import Comparison
from stepladder.record.plan import Plan
from stepladder.report.build import build_report, draw, report_context
from stepladder.report.figures.running import training_figure
from stepladder.report.figures.style import variant_styles
from stepladder.report.render.typst import context_json, typeset
from stepladder.report.results import Results
from stepladder.report.sections.provenance import provenance_table
from stepladder.report.sections.runs import warnings_list
from stepladder.schema.ladder import Ladder


def pages(pdf: Path) -> int:
    """Pages of a PDF written by Typst, which does not compress the page tree."""
    return len(re.findall(rb"/Type/Page\b(?!s)", pdf.read_bytes()))


def context(folder: Path, ladder: Ladder, runs: pd.DataFrame) -> dict:
    results = Results.read(folder)
    return report_context(results, ladder, plan_of(runs), draw(results, ladder))


@pytest.fixture(scope="module")
def shown(folder: Path, ladder: Ladder, runs: pd.DataFrame) -> dict:
    return context(folder, ladder, runs)


def test_builds_a_pdf_and_its_figures(folder: Path, ladder: Ladder, plan: Plan, tmp_path: Path) -> None:
    out = build_report(folder, tmp_path / "report.pdf", ladder, plan)
    assert out.read_bytes().startswith(b"%PDF")
    assert 5 <= pages(out) <= 9
    again = build_report(folder, tmp_path / "again.pdf", ladder, plan)
    assert out.read_bytes() == again.read_bytes(), "a function of the results alone"
    assert {path.stem for path in (folder / "figures").iterdir()} == {
        "loss",
        "gain",
        "training",
        "mfu",
        "time",
    }


def test_verdicts_carry_interval_and_n(shown: dict) -> None:
    columns = [column.title for column in shown["verdicts"].columns]
    rows = [dict(zip(columns, row, strict=True)) for row in shown["verdicts"].rows]
    assert [(row["Candidate"], row["Against"]) for row in rows] == [
        ("dense-tst", "dense-baseline"),
        ("moe-baseline", "dense-baseline"),
        ("moe-tst", "dense-baseline"),
        ("moe-tst", "moe-baseline"),
    ]
    for row in rows:
        assert row["Verdict"] in ("promote", "hold", "reject")
        assert row["n"] == "14 / 4 / 1–2"
        for axis in ("EG on FLOPs", "EG on time"):
            assert row[axis].count("[") == 1 and "no interval" not in row[axis]


def test_a_null_result_is_called_one(shown: dict) -> None:
    [sentence] = [s for s in shown["findings"] if s.startswith("dense-tst against dense-baseline")]
    assert "saves" not in sentence
    assert "EG on FLOPs 0." in sentence or "EG on FLOPs 1." in sentence
    assert "n = 1 + 1 runs" in sentence.replace("\N{NO-BREAK SPACE}", " ")


def test_every_run_is_listed_with_plan_beside_actual(shown: dict, runs: pd.DataFrame) -> None:
    assert len(shown["losses"].rows) == len(runs)
    assert len(shown["costs"].rows) == len(runs) + 1
    total = shown["costs"].rows[-1]
    assert total[:2] == ("All", "28 runs") and total[2] == total[3]
    assert total[-1] == "1", "one restart in all"


def test_nothing_is_left_unformatted(shown: dict) -> None:
    text = context_json({k: v for k, v in shown.items() if k != "rules"})
    assert not re.search(r"\bnan\b|\bNone\b|\binf\b|\de[-+]\d", text)


def test_main_figure_marks_the_held_out_rung(folder: Path, ladder: Ladder) -> None:
    figure = draw(Results.read(folder), ladder)["loss"]
    assert figure is not None
    top, below = figure.axes
    assert "d5 (held out)" in [text.get_text() for text in top.texts]
    assert below.get_xlabel() == "Training compute (TFLOP, causal count)"
    assert top.get_ylabel() == "Held-out loss (nats/token)"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [
        "dense-baseline",
        "dense-tst",
        "moe-baseline",
        "moe-tst",
        "held-out rung, with its prediction",
    ]


def test_training_figure_marks_the_switch(folder: Path, ladder: Ladder) -> None:
    figure = draw(Results.read(folder), ladder)["training"]
    assert figure is not None
    assert {"superposed phase", "switch"} <= {text.get_text() for text in figure.legends[0].get_texts()}
    # Four curves, and for the two TST variants also an earlier phase, a switch line and its mark.
    assert all(len(axes.lines) == 4 + 2 * 3 for axes in figure.axes)


def test_training_figure_sets_other_losses_apart(folder: Path) -> None:
    """A variant that never trains on the next token alone has thin curves and no switch."""
    results = Results.read(folder)
    steps = results.steps[results.steps["variant"] == "dense-baseline"].assign(phase="multi_token")
    figure = training_figure(steps, results.rungs, variant_styles(["dense-baseline"]))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["dense-baseline", "multi_token phase"]
    assert all(line.get_linewidth() < 1 for axes in figure.axes for line in axes.lines)


def test_without_mfu(write_results, ladder: Ladder, tmp_path: Path) -> None:
    runs = runs_table()
    runs = runs.drop(columns=[c for c in runs if c.startswith("mfu_")]).assign(mfu=None)
    folder = write_results(tmp_path, runs)
    shown = context(folder, ladder, runs)
    assert "not known" in shown["figures"]["mfu"]["missing"]
    assert shown["costs"].rows[0][-2] == "—"


def test_one_seed_has_no_intervals(write_results, ladder: Ladder, tmp_path: Path) -> None:
    runs = runs_table(dict.fromkeys(("d2", "d3", "d4", "d5"), (0,)))
    folder = write_results(tmp_path, runs)
    shown = context(folder, ladder, runs)
    assert "no interval" in shown["verdicts"].rows[0][3]
    assert "cannot be told from seed noise" in shown["findings"][0]
    assert "seed noise is unknown" in shown["noise_unknown"]


def test_refused_fit_still_makes_pages(write_results, ladder: Ladder, tmp_path: Path) -> None:
    runs = runs_table()
    runs = runs[runs["rung"].isin(["d2", "d3"])].reset_index(drop=True)
    folder = write_results(tmp_path, runs)
    reason = AxisFit.read(folder / "fits/flops.json").reason
    assert reason, "two rungs cannot carry a law with a floor"
    shown = context(folder, ladder, runs)
    assert shown["verdicts"].rows[0][3] == "—"
    assert reason in shown["findings"][0]
    assert reason in shown["figures"]["gain"]["missing"]
    assert build_report(folder, tmp_path / "report.pdf", ladder, plan_of(runs)).exists()


def test_a_sweep_draws_only_the_best_factor(write_results, ladder: Ladder, tmp_path: Path) -> None:
    runs = runs_table()
    hot = runs.assign(learning_rate_factor=2.0, loss=runs["loss"] + 0.2, id=runs["id"] + "/lr2")
    folder = write_results(tmp_path, pd.concat([runs, hot], ignore_index=True))
    shown = context(folder, ladder, runs)
    assert len(shown["losses"].rows) == 2 * len(runs)
    assert shown["n_judged"] == "28"
    assert any("LR × 2.00" in row[1] for row in shown["losses"].rows)


def test_degenerate_documents_are_listed(runs: pd.DataFrame, ladder: Ladder) -> None:
    def told(**found) -> str | None:
        judged = {"dropped": False, "documents": 2790, "examples": []} | found
        rows = provenance_table(runs, {None: make_manifest(degenerate=judged)}, ladder, plan_of(runs)).rows
        return dict(rows).get("Degenerate documents")

    assert told(counts={"code": {}, "prose": {}}) == "0 of 2 790 documents"
    counts = {"code": {"repetitive": 2}, "prose": {"one_character": 1}}
    examples = ["a.py (repetitive)", "b.py (repetitive)", "c.txt:7 (one_character)"]
    assert told(counts=counts, examples=examples) == (
        "3 of 2 790 documents, counted and kept (code repetitive 2, prose one character 1): "
        "a.py (repetitive), b.py (repetitive), c.txt:7 (one_character)"
    )
    many = told(dropped=True, counts={"code": {"repetitive": 9}}, examples=examples[:1] * 9)
    assert "9 of 2 790 documents, left out" in many and many.endswith("; more in data/manifest.json")
    old = provenance_table(runs, {None: make_manifest(degenerate=None)}, ladder, plan_of(runs)).rows
    assert "Degenerate documents" not in dict(old)


def test_attention_within_documents_is_told_where_it_is(runs: pd.DataFrame, ladder: Ladder) -> None:
    row, manifests = "Attention within documents, of causal attention", {None: make_manifest()}
    assert row not in dict(provenance_table(runs, manifests, ladder, plan_of(runs)).rows)
    shares = runs["variant"].map({"dense-baseline": 0.6}).fillna(0.25)
    within = runs.assign(within_documents_attention_share=shares)
    told = dict(provenance_table(within, manifests, ladder, plan_of(runs)).rows)[row]
    assert told.startswith("dense-baseline 60") and "dense-tst 25" in told


def test_the_origin_of_text_is_told(runs: pd.DataFrame, ladder: Ladder) -> None:
    rows = provenance_table(runs, {None: make_manifest()}, ladder, plan_of(runs)).rows
    told = dict(rows)
    assert told["Text of code"] == "not synthetic; licence PSF-2.0; from Python's standard library"
    variants = ", ".join(dict.fromkeys(run.variant for run in plan_of(runs).runs))
    assert sorted(told["Of the tokens read"].partition(":")[0].split(", ")) == sorted(variants.split(", "))
    assert told["Of the tokens read"].endswith(": 0 % synthetic, 0 % unknown")


def test_warnings_are_counted_once(write_results, ladder: Ladder, tmp_path: Path) -> None:
    runs = runs_table()
    runs["warnings"] = [["loss spiked"] if i < 3 else [] for i in range(len(runs))]
    shown = context(write_results(tmp_path, runs), ladder, runs)
    assert shown["warnings"][0] == "loss spiked (3 of 28 runs)"


def test_folders_of_earlier_files_are_one_warning() -> None:
    """Each run calls its own by another name."""
    told = "the spec or the data changed: earlier files are in superseded-{}/"
    runs = pd.DataFrame({"warnings": [[told.format(f"{number:010x}")] for number in range(34)]})
    assert warnings_list(runs, []) == [f"{told.format('*')} (34 of 34 runs)"]


def widened(document: object, ends: list) -> object:
    """A document's JSON with these ends in place of those of every interval, and as every curve's band."""
    if isinstance(document, dict):
        changed = {name: widened(value, ends) for name, value in document.items()}
        changed |= {
            name: ends for name, value in document.items() if name == "interval" and value is not None
        }
        if "slope_per_decade" in document:
            changed |= {"slope_per_decade": ends[1], "interval": ends}
        if isinstance(document.get("cost"), list):
            changed |= {"low": [ends[0]] * len(document["cost"]), "high": [ends[1]] * len(document["cost"])}
        return changed
    return [widened(value, ends) for value in document] if isinstance(document, list) else document


@pytest.mark.parametrize("ends", [[-1.7e308, 1.7e308], [1e18, 5e-324]])
def test_intervals_of_any_width(
    folder: Path,
    ladder: Ladder,
    plan: Plan,
    tmp_path: Path,
    ends: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing overflows, in no table and no figure; the page does not grow, and no number is too long."""
    printed = []

    def remembering(template: str, shown: dict, *rest: object) -> Path:
        printed.append(context_json(shown))
        return typeset(template, shown, *rest)

    monkeypatch.setattr("stepladder.report.build.typeset", remembering)
    wide = tmp_path / "wide"
    shutil.copytree(folder, wide)
    fits = {}
    for file in (wide / "fits").glob("*.json"):
        fit = AxisFit.model_validate(widened(AxisFit.read(file).model_dump(mode="json"), ends))
        fit.write(file)
        fits[file.stem] = fit.content_sha256()
    told = Comparison.read(wide / "comparison.json").model_dump(mode="json")
    text = json.dumps(widened(told, ends) | {"fits": fits})
    Comparison.model_validate_json(text).write(wide / "comparison.json")
    out = build_report(wide, tmp_path / "report.pdf", ladder, plan)
    assert 5 <= pages(out) <= 10
    assert not re.search(r"\d{16}|\binf\b|\bnan\b", printed[0])
    for figure in (wide / "figures").glob("*.svg"):
        assert not re.search(
            r"\binf\b|\bnan\b|\d{9}", re.sub(r'(id|href|path)="[^"]*"', "", figure.read_text())
        )


def test_the_old_report_stays_if_the_new_one_fails(
    folder: Path, ladder: Ladder, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "report.pdf"
    old.write_text("the old one")

    def fails(*_: object, **__: object) -> None:
        raise typst.TypstError("no such function")

    monkeypatch.setattr(typst, "compile", fails)
    with pytest.raises(typst.TypstError):
        build_report(folder, old, ladder, plan)
    assert old.read_text() == "the old one" and [*tmp_path.iterdir()] == [old]


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("runs.parquet", lambda runs: runs.drop(columns="steps"), "no column 'steps'"),
        ("runs.parquet", lambda runs: runs.assign(loss="x"), "column loss is"),
        ("runs.parquet", lambda runs: runs.assign(variant=None), "column variant holds no text in row 1"),
        ("steps.parquet", lambda steps: steps.drop(columns="phase"), "no column 'phase'"),
        (
            "runs.parquet",
            lambda runs: runs.assign(variant=runs["variant"].replace("moe-tst", "moe-other")),
            "flops.json: made from other runs than .*runs.parquet",
        ),
    ],
)
def test_tables_that_somebody_changed(folder: Path, tmp_path: Path, file: str, change, said: str) -> None:
    shutil.copytree(folder, tmp_path / "ladder")
    path = tmp_path / "ladder" / file
    change(pd.read_parquet(path)).to_parquet(path)
    with pytest.raises(ValueError, match=f"{said}.*run snakemake again"):
        Results.read(tmp_path / "ladder")
