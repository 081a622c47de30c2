"""The plan in print and in the terminal: one table, two renderers."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepladder.documents.document import DocumentError
from stepladder.record.plan import Plan
from stepladder.report.render.plan import build_plan_pdf, print_plan
from stepladder.report.sections.plan import plan_context, rungs_table, totals_table


def test_builds_a_pdf(plan: Plan, tmp_path: Path) -> None:
    assert build_plan_pdf(plan, tmp_path / "plan.pdf").read_bytes().startswith(b"%PDF")


def test_rungs_add_up_their_seeds(plan: Plan) -> None:
    table = rungs_table(plan)
    columns = [column.title for column in table.columns]
    rows = [dict(zip(columns, row, strict=True)) for row in table.rows]
    assert len(rows) == 16
    assert [row["Rung"] for row in rows] == ["d2"] * 4 + ["d3"] * 4 + ["d4"] * 4 + ["d5"] * 4
    assert (rows[0]["Runs"], rows[-1]["Runs"]) == ("2", "1")
    assert rows[0]["N"] == "19.0k" and rows[0]["FLOPs"] == "57.0 GFLOP"


def test_price_is_printed_where_it_is_known(plan: Plan) -> None:
    assert "USD" not in plan_context(plan)["answer"]
    priced = plan.model_copy(
        update={
            "totals": plan.totals.model_copy(update={"price": 12.5}),
            "runs": tuple(run.model_copy(update={"price": 0.5}) for run in plan.runs),
        }
    )
    assert plan_context(priced)["answer"].endswith("for 12.50 USD.")
    assert rungs_table(priced).columns[-1].title == "Price (USD)"
    assert rungs_table(priced).rows[0][-1] == "1.00", "two seeds at 0.50"
    assert "Price (USD)" not in {column.title for column in rungs_table(plan).columns}


def test_the_terminal_prints_the_tables_of_the_page(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    print_plan(plan)
    told = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for table in plan_context(plan)["tables"]:
        assert {" ".join(" ".join(row).split()) for row in table.rows} <= set(told)
    assert plan_context(plan)["answer"] in told and not any("will not start" in line for line in told)


def test_a_dear_plan_says_that_it_will_not_start(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    limit = plan.assumptions.model_copy(update={"max_accelerator_hours": 0.001})
    dear = plan.model_copy(update={"assumptions": limit})
    print_plan(dear)
    assert "will not start: ladder 'laptop' needs" in capsys.readouterr().out
    assert "plan.max_accelerator_hours" in plan_context(dear)["over_limit"]
    assert dict(totals_table(dear).rows)["Accelerator-hours"].endswith("(limit 0.001)")


def test_a_plan_comes_back_as_written(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    plan.write(path)
    assert Plan.read(path) == plan
    path.write_text(path.read_text().replace('"schema_version": 2', '"schema_version": 0'))
    with pytest.raises(DocumentError, match=r"plan\.json: schema_version 0, .*snakemake plan"):
        Plan.read(path)


def test_a_row_of_the_table_per_run(plan: Plan, tmp_path: Path) -> None:
    plan.write_table(tmp_path / "plan.tsv")
    head, *rows = (tmp_path / "plan.tsv").read_text().splitlines()
    assert len(rows) == len(plan.runs) and head.split("\t")[:3] == ["id", "spec_sha256", "variant"]
    assert rows[0].startswith("dense-baseline/d2/1x/seed0\t")
    assert "\tdense-baseline\td2\t1x\t0\t2\t24\t" in rows[0]
