"""A results folder of a synthetic ladder, analysed by the real analysis."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from report_results import LADDER, make_manifest, plan_of, runs_table, steps_table

from stepladder.decision.compare import compare
from stepladder.decision.fit import fit
from stepladder.record.plan import Plan
from stepladder.schema.analysis import AXES, AnalysisConfig
from stepladder.schema.ladder import Ladder


def write_results(folder: Path, runs: pd.DataFrame) -> Path:
    """Write what the workflow would have written for `runs`."""
    config = AnalysisConfig(baseline="dense-baseline", bootstrap_draws=100)
    fits = {axis: fit(runs, axis, config) for axis in AXES}
    for axis in AXES:
        fits[axis].write(folder / "fits" / f"{axis}.json")
    compare(runs, fits, config).write(folder / "comparison.json")
    (folder / "data").mkdir()
    (folder / "data/manifest.json").write_text(make_manifest().model_dump_json())
    runs.to_parquet(folder / "runs.parquet")
    steps_table(runs).to_parquet(folder / "steps.parquet")
    return folder


@pytest.fixture(scope="session")
def runs() -> pd.DataFrame:
    return runs_table()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, runs: pd.DataFrame) -> Path:
    return write_results(tmp_path_factory.mktemp("ladder"), runs)


@pytest.fixture(scope="session")
def ladder() -> Ladder:
    return LADDER


@pytest.fixture(scope="session")
def plan(runs: pd.DataFrame) -> Plan:
    return plan_of(runs)


@pytest.fixture(scope="session", name="write_results")
def _write_results():
    return write_results
