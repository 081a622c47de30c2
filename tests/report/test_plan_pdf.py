"""The plan in print."""

from __future__ import annotations

import copy
from pathlib import Path

from stepladder.report.sections.plan import build_plan_pdf, plan_context


def test_builds_a_pdf(plan: dict, tmp_path: Path) -> None:
    assert build_plan_pdf(plan, tmp_path / "plan.pdf").read_bytes().startswith(b"%PDF")


def test_rungs_add_up_their_seeds(plan: dict) -> None:
    table = plan_context(plan)["rungs"]
    columns = [column.title for column in table.columns]
    rows = [dict(zip(columns, row, strict=True)) for row in table.rows]
    assert len(rows) == 16
    assert [row["Rung"] for row in rows] == ["d2"] * 4 + ["d3"] * 4 + ["d4"] * 4 + ["d5"] * 4
    assert (rows[0]["Runs"], rows[-1]["Runs"]) == ("2", "1")
    assert rows[0]["N"] == "19.0k" and rows[0]["FLOPs"] == "57.0 GFLOP"


def test_price_is_printed_where_it_is_known(plan: dict) -> None:
    assert "USD" not in plan_context(plan)["answer"]
    priced = copy.deepcopy(plan)
    priced["totals"]["price"] = 12.5
    for run in priced["runs"]:
        run["price"] = 0.5
    shown = plan_context(priced)
    assert shown["answer"].endswith("for 12.50 USD.")
    assert shown["rungs"].rows[0][-1] == "1.00", "two seeds at 0.50"
