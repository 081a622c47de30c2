"""Beyond the ladder: targets, crossings, next runs, predictions on record."""

import re

import numpy as np
import pandas as pd
import pytest
from ladders import ALPHA, FLOPS, A, E, runs_table

from stepladder.decision.cells import make_cells
from stepladder.decision.compare import compare
from stepladder.decision.extrapolate import first_crossing, log_gain
from stepladder.decision.fit import fit
from stepladder.decision.next_runs import rank_runs
from stepladder.decision.prediction import predict_points
from stepladder.decision.prediction_record import PredictionRecord
from stepladder.decision.preregistration import check_record, preregister
from stepladder.schema.analysis import AnalysisConfig, MisfitPrior

BASELINE, IDEA = "dense-baseline", "dense-tst"
CONFIG = AnalysisConfig(baseline=BASELINE, bootstrap_draws=300, target_flops=1e14, leave_one_out=False)
TWO_SEEDS = dict.fromkeys(FLOPS, 2)


def bent(runs, slope):
    """The idea's gain is 1 at d3 and grows as cost^slope."""
    gain = (runs["flops"] / FLOPS["d3"]) ** slope
    loss = E + A * (gain * runs["flops"] / 1e12) ** -ALPHA
    return runs.assign(loss=loss.where(runs["variant"] == IDEA, runs["loss"]))


def test_a_constant_gain_holds_at_the_target():
    runs = runs_table({BASELINE: 1.0, IDEA: 1.3}, sigma=0.001, seeds=TWO_SEEDS)
    laws = {axis: fit(runs, axis, CONFIG) for axis in ("flops", "seconds")}
    for gain in compare(runs, laws, CONFIG).comparisons[0].gains.values():
        row = gain.at_target
        assert row.interval[0] < 1.3 < row.interval[1]
        assert row.beyond == pytest.approx(1e14 / FLOPS["d5"])
    assert row.cost == pytest.approx(1e14 / 3e10, rel=1e-6), "3e10 FLOP/s at every rung"


def test_laws_that_cross_do_so_where_they_should():
    runs = bent(runs_table({BASELINE: 1.0, IDEA: 1.0}, seeds=TWO_SEEDS), 0.1)
    config = CONFIG.model_copy(update={"holdout_rungs": 0})
    laws = {axis: fit(runs, axis, config) for axis in ("flops", "seconds")}
    gain = compare(runs, laws, config).comparisons[0].gains["flops"]
    assert gain.crossover.cost == pytest.approx(FLOPS["d3"], rel=1e-3)
    assert gain.crossover.better_above == IDEA
    truth = np.log((1e14 / FLOPS["d3"]) ** 0.1)
    assert np.log(gain.at_target.gain) == pytest.approx(truth, rel=1e-4)


def test_crossings_by_hand():
    grid = np.array([1.0, 10.0, 100.0, 1000.0])
    found = first_crossing(np.array([[1, 1, -1, -1], [1, 2, 3, 4], [-3, 1, -1, 1]], dtype=float), grid)
    np.testing.assert_allclose(found, [10**1.5, np.nan, 10**0.75])


def law_and_runs(sigma=0.004, seeds=TWO_SEEDS):
    runs = runs_table({BASELINE: 1.0, IDEA: 1.2}, sigma=sigma, seeds=seeds, seed=2)
    return runs, fit(runs, "flops", CONFIG)


def test_the_planned_interval_is_that_of_the_bootstrap():
    """Standard deviation of ln EG at the largest rung, linearised and simulated; the planner adds
    misfit of a third of the noise to every cell and a vague prior."""
    runs, law = law_and_runs()
    plan = rank_runs(runs, law, IDEA, BASELINE, CONFIG, 1.0, FLOPS["d5"])
    logs = log_gain(law.drawn(IDEA), law.drawn(BASELINE), FLOPS["d5"])
    low, high = np.quantile(logs, [0.16, 0.84])
    assert 0.7 < plan.sd_log_gain / ((high - low) / 2) < 1.4


def test_more_runs_never_widen_and_larger_ones_tell_more():
    runs, law = law_and_runs()
    plan = rank_runs(runs, law, IDEA, BASELINE, CONFIG, 1e9)
    rows = {(row.rung, len(row.runs)): row for row in plan.candidates}
    assert all(row.narrowing > -1e-9 for row in plan.candidates)
    assert rows["d5", 2].narrowing > rows["d2", 2].narrowing
    assert rows["d5", 2].narrowing > rows["d5", 1].narrowing
    assert rows["at the target", 2].narrowing == max(row.narrowing for row in plan.candidates)
    ranks = [row.narrowing_per_hour for row in plan.candidates if row.worthwhile]
    assert ranks == sorted(ranks, reverse=True)
    assert plan.unaffordable == 0


def test_the_plan_keeps_to_its_budget_and_narrows_more_the_more_it_has():
    runs, law = law_and_runs()
    plans = [rank_runs(runs, law, IDEA, BASELINE, CONFIG, hours).plan for hours in (0.01, 0.1, 1.0)]
    for plan, hours in zip(plans, (0.01, 0.1, 1.0), strict=True):
        assert plan.accelerator_hours <= hours
    assert plans[0].narrowing < plans[1].narrowing < plans[2].narrowing


def test_the_plan_begins_with_the_first_of_the_ranking():
    """Even where a run of the smallest rung is so cheap that it is best per hour, and tells too little."""
    runs = runs_table({BASELINE: 1.0, IDEA: 1.2}, sigma=0.004, seeds=TWO_SEEDS | {"d2": 60}, seed=2)
    runs = runs.assign(accelerator_seconds=100 * (runs["flops"] / FLOPS["d5"]) ** 6)
    found = rank_runs(runs, fit(runs, "flops", CONFIG), IDEA, BASELINE, CONFIG, 1.0)
    best, step = found.candidates[0], found.plan.steps[0]
    assert (step.rung, step.runs) == (best.rung, best.runs)
    assert max(found.candidates, key=lambda row: row.narrowing_per_hour).rung == "d2" != best.rung
    worthwhile = [row.worthwhile for row in found.candidates]
    assert worthwhile == sorted(worthwhile, reverse=True)
    assert min(row.narrowing for row in found.candidates) < 0, "an unpaired seed is noise of its own"


def test_planning_needs_seed_noise():
    runs, law = law_and_runs(seeds=dict.fromkeys(FLOPS, 1))
    with pytest.raises(ValueError, match="seed noise is unknown"):
        rank_runs(runs, law, IDEA, BASELINE, CONFIG, 1.0)


def test_the_target_decides_where_the_rule_says_so():
    rule = CONFIG.verdict.model_copy(update={"at": "target", "axes": ("flops",), "held_out_within": 2.0})
    config = CONFIG.model_copy(update={"verdict": rule})
    runs = bent(runs_table({BASELINE: 1.0, IDEA: 1.0}, sigma=0.0005, seeds=TWO_SEEDS), 0.1)
    noise = np.exp(0.0005 * np.random.default_rng(0).standard_normal(len(runs)))
    runs = runs.assign(loss=runs["loss"] * noise)
    found = compare(runs, {"flops": fit(runs, "flops", config)}, config).comparisons[0]
    (row,) = [c for c in found.criteria if c.name.startswith("EG on FLOPs at the target")]
    assert row.passed and row.value > 1.4


def test_the_target_is_one_rung_up_where_none_is_named():
    config = CONFIG.model_copy(update={"target_flops": None})
    runs = runs_table({BASELINE: 1.0, IDEA: 1.2}, sigma=0.0005, seeds=TWO_SEEDS)
    target = compare(
        runs, {"flops": fit(runs, "flops", config), "seconds": fit(runs, "seconds", config)}, config
    )
    found = target.comparisons[0].gains["flops"].at_target
    sizes = sorted(FLOPS.values())
    assert found.flops == pytest.approx(sizes[-1] * (sizes[-1] / sizes[0]) ** (1 / 3))
    assert found.interval[0] < 1.2 < found.interval[1]


def test_ladder_fits_predict_with_noise():
    _, law = law_and_runs()
    (row,) = predict_points(law, [{"flops": 1e13}], IDEA)
    truth = E + A * (1.2 * 1e13 / 1e12) ** -ALPHA
    assert row.interval[0] < truth < row.interval[1]
    assert row.run_interval[0] < row.interval[0] and row.run_interval[1] > row.interval[1]
    assert row.beyond["flops"] == pytest.approx(1e13 / FLOPS["d5"])
    with pytest.raises(ValueError, match="name one with --variant"):
        predict_points(law, [{"flops": 1e13}])
    with pytest.raises(ValueError, match="give flops"):
        predict_points(law, [{"tokens": 1e13}], IDEA)


@pytest.fixture
def registered(tmp_path):
    """The three smaller rungs done, the largest planned: a record, and the table with all runs."""
    runs = runs_table({BASELINE: 1.0, IDEA: 1.2}, sigma=0.003, seeds=TWO_SEEDS)
    runs = pd.concat(
        [
            runs_table({BASELINE: 1.0, IDEA: 1.2}, sigma=0.003, seeds={"d1": 2}, rungs={"d1": 8e9}),
            runs,
        ],
        ignore_index=True,
    ).assign(lineage_started="2026-01-02T00:00:00Z")
    held = runs["rung"] == "d5"
    file = tmp_path / "result.json"
    file.write_text("{}")
    planned = runs[held].drop(columns=["loss", "accelerator_seconds", "tokens"])
    record = preregister(runs[~held], planned, CONFIG, "code", dict.fromkeys(runs[~held]["id"], file))
    record.write(tmp_path / "predictions.json")
    return PredictionRecord.read(tmp_path / "predictions.json"), runs


def test_a_record_is_what_leaving_out_predicts(registered):
    record, runs = registered
    law = fit(runs, "flops", CONFIG)
    for on_record, held_out in zip(record.predictions, law.held_out.predictions, strict=True):
        assert on_record.predicted == pytest.approx(held_out.predicted, rel=1e-9)
        assert on_record.interval == pytest.approx(held_out.interval, rel=1e-9)
        assert "observed" not in on_record.model_dump()


def test_a_record_made_before_comes_true_or_not(registered):
    record, runs = registered
    early = record.model_copy(update={"made_at": "2026-01-01T00:00:00+00:00"})
    early = early.model_copy(update={"sha256": early.digest()})
    found = check_record(early, runs, CONFIG, "code")
    assert found.whole and found.before and found.came_true is True
    off = runs.assign(loss=runs["loss"].where(runs["rung"] != "d5", runs["loss"] * 1.2))
    assert check_record(early, off, CONFIG, "code").came_true is False


def test_a_record_that_was_changed_or_came_late_is_found_out(registered):
    record, runs = registered
    assert check_record(record, runs, CONFIG, "code").before is False, "the runs began in January"
    first, *others = record.predictions
    off = first.model_copy(update={"predicted": first.predicted * 1.01})
    changed = record.model_copy(update={"predictions": (off, *others)})
    assert check_record(changed, runs, CONFIG, "code").whole is False


def test_who_did_not_run_the_largest_rung_is_not_promoted():
    runs = runs_table(
        {BASELINE: 1.0, IDEA: 1.5}, sigma=0.001, seeds=TWO_SEEDS | {"d1": 2}, rungs=FLOPS | {"d1": 8e9}
    )
    config = CONFIG.model_copy(update={"verdict": CONFIG.verdict.model_copy(update={"axes": ("flops",)})})

    def verdict(table):
        return compare(table, {"flops": fit(table, "flops", config)}, config).comparisons[0]

    assert verdict(runs).verdict == "promote"
    less = verdict(runs[(runs["variant"] != IDEA) | (runs["rung"] != "d5")])
    assert less.verdict == "hold"
    failed = {c.name for c in less.criteria if not c.passed}
    assert "both ran the ladder's largest rung" in failed and any("held-out" in name for name in failed)


OTHER_RUNS = {
    "loss": lambda runs: runs.assign(loss=runs["loss"] * 1.001),
    "cost": lambda runs: runs.assign(flops=runs["flops"] * 2),
    "time": lambda runs: runs.assign(accelerator_seconds=runs["accelerator_seconds"] * 2),
    "seed": lambda runs: runs.assign(seed=runs["seed"] + 1, id=runs["id"] + "b"),
    "fewer": lambda runs: runs.iloc[1:],
}
OTHER_SETTINGS = {
    "seed": 7,
    "bootstrap_draws": 101,
    "floor": "free",
    "huber_delta": 0.1,
    "misfit": MisfitPrior(by=0.01),
}


@pytest.fixture(scope="module")
def judged_on_flops():
    config = CONFIG.model_copy(update={"verdict": CONFIG.verdict.model_copy(update={"axes": ("flops",)})})
    runs = runs_table({BASELINE: 1.0, IDEA: 1.5}, sigma=0.001, seeds=TWO_SEEDS)
    return runs, fit(runs, "flops", config), config


@pytest.mark.parametrize("other", OTHER_RUNS)
def test_fits_of_other_runs_are_refused(judged_on_flops, other):
    runs, law, config = judged_on_flops
    with pytest.raises(ValueError, match=r"made from other runs or settings \(.*rows_sha256"):
        compare(OTHER_RUNS[other](runs), {"flops": law}, config)
    with pytest.raises(ValueError, match="made from other runs than these: make it again"):
        rank_runs(OTHER_RUNS[other](runs), law, IDEA, BASELINE, config, 1.0)


@pytest.mark.parametrize("name", OTHER_SETTINGS)
def test_fits_made_with_other_settings_are_refused_by_name(judged_on_flops, name):
    runs, law, config = judged_on_flops
    field = name.removeprefix("bootstrap_")
    here = re.escape(str(OTHER_SETTINGS[name]))
    with pytest.raises(ValueError, match=rf"settings \({field} .*, here {here}\)"):
        compare(runs, {"flops": law}, config.model_copy(update={name: OTHER_SETTINGS[name]}))


def test_the_order_of_rows_and_other_columns_do_not_matter(judged_on_flops):
    runs, law, _ = judged_on_flops
    again = runs.sample(frac=1, random_state=0).assign(note="other")
    assert make_cells(again).rows_sha256 == law.made_from.rows_sha256 == make_cells(runs).rows_sha256


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t[(t["variant"] != IDEA) | (t["rung"] != "d5")], "has not run"),
        (lambda t: t[(t["seed"] == 0) | (t["rung"] != "d5")], "1 seeds ran, 2 were predicted"),
        (
            lambda t: t.assign(flops=t["flops"].where(t["rung"] != "d5", t["flops"] * 50)),
            "ran at 1.5e.14 FLOPs",
        ),
    ],
)
def test_a_record_is_judged_on_what_it_predicted(registered, change, reason):
    record, runs = registered
    found = check_record(record, change(runs), CONFIG, "code")
    assert found.came_true is None
    assert any(re.match(reason, row.reason or "") for row in found.predictions)


def test_a_record_rests_on_the_runs_it_was_made_from(registered):
    record, runs = registered
    off = runs.assign(loss=runs["loss"].where(runs["rung"] != "d2", runs["loss"] * 1.3))
    assert len(check_record(record, off, CONFIG, "code").inputs_changed) == 4
    unknown = runs.assign(lineage_started=runs["lineage_started"].where(runs["variant"] != IDEA, None))
    assert check_record(record, unknown, CONFIG, "code").before is None


def test_a_record_says_which_settings_and_code_were_others(registered):
    record, runs = registered
    same = check_record(record, runs, CONFIG, "code")
    assert same.settings_changed == () and same.code_changed is False
    rule = CONFIG.verdict.model_copy(update={"minimal_gain": 1.001})
    found = check_record(record, runs, CONFIG.model_copy(update={"verdict": rule, "seed": 3}), "other")
    told = {change.field: (change.then, change.now) for change in found.settings_changed}
    assert told == {"seed": (0, 3), "verdict.minimal_gain": (CONFIG.verdict.minimal_gain, 1.001)}
    assert found.code_changed is True
