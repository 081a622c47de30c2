"""A gate in a real climb: what it stops is not trained, and everything else is as ever."""

import json

import pandas as pd

from stepladder.record.gates import GateRecord

RULE = """
  verdict: {minimal_rungs: 3, axes: [flops]}
  noise: {sd: 0.001, dof: 50}
  misfit: {exactly: 0.0, share: 0.0}
  gates: [{after: d3}]
"""
"""As if so much were known of noise that this ladder could tell."""


def test_a_gated_climb(climbed):
    """The climbed smoke ladder gets a further rung and a gate before it."""
    text = climbed.ladder.read_text().replace("  - {depth: 3}\n", "  - {depth: 3}\n  - {depth: 4}\n")
    text = text.replace("  bootstrap_draws: 500", "  bootstrap_draws: 200")
    climbed.ladder.write_text(text.replace("  verdict: {minimal_rungs: 3}\n", RULE.lstrip("\n")))
    said = climbed.snakemake()
    record = GateRecord.read(climbed.results / "gates" / "d3.json")
    over = {arm.variant for arm in record.arms if arm.ended}
    assert over == {"dense-tst", "moe-tst"}, "superposed training is hopeless at this size"
    assert f"After d3 ({record.runs} runs)" in said

    trained = {path.parts[-5] for path in climbed.results.glob("runs/*/d4/*/*/result.json")}
    every = {arm.variant for arm in record.arms}
    assert trained == every - over
    runs = pd.read_parquet(climbed.results / "runs.parquet")
    assert set(runs.loc[runs["rung"] == "d4", "variant"]) == trained
    pairs = json.loads((climbed.results / "comparison.json").read_text())["comparisons"]
    ended = {pair["candidate"]: pair for pair in pairs if pair["gate"]}
    assert set(ended) == over & {pair["candidate"] for pair in pairs}
    assert all(pair["verdict"] == "reject" for pair in ended.values()), "by the rule itself, too"
    assert all("stopped at the gate after d3: the chance that this" in p["because"] for p in ended.values())
    assert (climbed.results / "report.pdf").exists()
    assert climbed.planned() == []

    status = climbed.stepladder("status", "smoke", "--json")
    states = {run["id"]: run["state"] for run in json.loads(status)["runs"]}
    assert {run.split("/")[0] for run, state in states.items() if state == "spared"} == over
    assert set(states.values()) == {"done", "spared"}
    climbed.stepladder("lineage", "results/smoke/report.pdf")  # ends with 0: what was spared is not missing

    spared = climbed.planned(config="gates=off")
    assert {job.split("/")[0] for job in spared if "/d4/" in job} == over, "all of them run if one insists"
