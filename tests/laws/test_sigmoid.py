"""The bounded law of rewards and accuracies: recovered, refused where it means nothing, honest where it is
blind."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from stepladder.cli import app
from stepladder.decision.prediction import predict_points
from stepladder.laws.sigmoid import Autoregression, Bounds, fit_curve, invert, reward
from stepladder.laws.sigmoid_fit import CurveFit, fit_curves
from stepladder.report.sections.fits import fit_sentences

TRUE = np.array([0.6, 0.2, 1.2, 3000.0])
COMPUTE = np.geomspace(100, 50_000, 80)


def curve(values: np.ndarray = TRUE, sd: float = 0.0, rho: float = 0.5, seed: int = 0) -> np.ndarray:
    generator, errors = np.random.default_rng(seed), np.zeros(len(COMPUTE))
    for i, step in enumerate(generator.standard_normal(len(COMPUTE))):
        errors[i] = rho * errors[i - 1] + step * np.sqrt(1 - rho**2) if i else step
    return reward(values, COMPUTE) + sd * errors


def table(**curves: np.ndarray) -> pd.DataFrame:
    return pd.concat(
        [
            pd.DataFrame({"run": name, "compute": COMPUTE, "reward": rewards})
            for name, rewards in curves.items()
        ]
    )


def test_the_formula_by_hand() -> None:
    """R0 0.2, A 0.6, B 1, C_mid 10: half of the way at 10; at 30, 0.2 + 0.4 / (1 + 1/3) = 0.5."""
    values = np.array([0.6, 0.2, 1.0, 10.0])
    assert reward(values, np.array([10.0, 30.0])) == pytest.approx([0.4, 0.5])
    assert float(invert(values, 0.5)) == pytest.approx(30)
    assert float(invert(values, 0.7)) == np.inf and float(invert(values, 0.1)) == 0


@settings(max_examples=25, deadline=None)
@given(st.floats(0.4, 3.0), st.floats(200, 20_000), st.floats(0.3, 1.0), st.floats(-1, 0.2))
def test_curves_without_noise_are_recovered(B: float, middle: float, A: float, R0: float) -> None:
    values = np.array([A, R0, B, middle])
    found = fit_curve(COMPUTE, reward(values, COMPUTE), Bounds(), None, 0, 0)
    assert found.values == pytest.approx(values, rel=1e-3, abs=1e-3)


def test_intervals_hold_the_truth_where_errors_hang_together() -> None:
    """20 curves at 95 %: 16 or fewer would happen once in 40 times."""
    held = np.zeros(4)
    for seed in range(20):
        found = fit_curve(COMPUTE, curve(sd=0.01, seed=seed), Bounds(), None, 60, seed)
        low, high = np.quantile(found.draws, [0.025, 0.975], axis=0)
        held += (low <= TRUE) & (high >= TRUE)
    assert (held >= 16).all()


def test_the_bias_of_a_short_series_is_taken_out() -> None:
    found = []
    for seed in range(60):
        errors = curve(np.array([0.0, 0.0, 1.0, 1.0]), sd=1.0, rho=0.6, seed=seed)
        found.append(Autoregression.of(errors).correlation)
    assert np.mean(found) == pytest.approx(0.6, abs=0.08)


def test_a_curve_that_has_not_bent_has_no_asymptote() -> None:
    early = COMPUTE < 600
    found = fit_curves(table(a=curve())[np.tile(early, 1)], "sigmoid", draws=50)
    assert found.parameters["A"] is None and found.intervals["A"][1] is None
    assert "nothing tells its asymptote" in found.warnings[0]
    share = pd.DataFrame({"compute": COMPUTE[early], "accuracy": curve()[early]})
    bounded = fit_curves(share, "accuracy", draws=50)
    assert bounded.parameters["A"] == 1.0 and bounded.intervals["A"][1] == 1.0


def test_curves_are_compared_on_asymptote_and_on_compute() -> None:
    better = np.array([0.66, 0.2, 1.2, 2000.0])
    found = fit_curves(
        table(base=curve(sd=0.004), idea=curve(better, 0.004, seed=1)), "sigmoid", by="run", draws=80
    )
    (row,) = found.contrasts
    assert (row.candidate, row.reference) == ("idea", "base")
    assert row.asymptote_interval[0] < 0.06 < row.asymptote_interval[1] and row.asymptote_interval[0] > 0
    true = float(invert(TRUE, row.level) / invert(better, row.level))
    assert row.efficiency_interval[0] < true < row.efficiency_interval[1] and row.efficiency_interval[0] > 1
    back = fit_curves(
        table(base=curve(sd=0.004), idea=curve(better, 0.004, seed=1)),
        "sigmoid",
        by="run",
        draws=0,
        baseline="idea",
    ).contrasts[0]
    assert back.asymptote == pytest.approx(-row.asymptote)
    assert back.efficiency == pytest.approx(1 / row.efficiency)
    assert "idea against base" in " ".join(fit_sentences(found))


def test_the_first_half_foretells_the_end() -> None:
    (notes,) = fit_curves(table(a=curve(sd=0.003)), "sigmoid", draws=60).curves
    end = notes.held_out
    assert end and end.compute <= 25_000 and end.n == 16
    assert end.interval[0] <= end.observed <= end.interval[1]


def test_what_is_left_out_is_said() -> None:
    found = fit_curves(table(a=curve()), "sigmoid", skip_below=500, draws=0)
    assert found.skipped == int((COMPUTE < 500).sum()) and found.curves[0].least >= 500
    assert fit_sentences(found)[0].startswith(f"{found.skipped} points below compute 500")


@pytest.mark.parametrize(
    ("rows", "law", "message"),
    [
        (
            {"compute": [1.0, 2.0, 3.0], "reward": [0.1, 0.2, 0.3]},
            "sigmoid",
            "3 different amounts of compute",
        ),
        ({"compute": COMPUTE, "reward": -curve()}, "sigmoid", "do not rise"),
        (
            {"compute": COMPUTE, "accuracy": 100 * curve()},
            "accuracy",
            "between 0 and 1; divide per cent by 100",
        ),
    ],
)
def test_meaningless_inputs_are_refused(rows: dict, law: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_curves(pd.DataFrame(rows), law, draws=0)


def test_from_a_table_to_a_prediction(tmp_path) -> None:
    path, out = tmp_path / "curves.csv", tmp_path / "fit.json"
    table(base=curve(), idea=curve(np.array([0.66, 0.2, 1.2, 2000.0]))).to_csv(path, index=False)
    done = CliRunner().invoke(
        app, ["fit", str(path), "--law", "sigmoid", "--by", "run", "--bootstrap", "20", "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    fit = CurveFit.read(out)
    (row,) = predict_points(fit, [{"compute": 3000.0}], "base")
    assert row.predicted == pytest.approx(0.4, abs=1e-3) and row.beyond == {"compute": 1.0}
    with pytest.raises(ValueError, match="depends on compute"):
        predict_points(fit, [{"flops": 1e21}], "base")
    with pytest.raises(ValueError, match="name one with --variant"):
        predict_points(fit, [{"compute": 3000.0}])
