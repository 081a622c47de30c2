"""The ledger of MFU: from logs as training writes them, and by hand."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from stepladder.cli import app
from stepladder.record.result import Ended
from stepladder.status.versions import EndedRun, Work, ledger, read_entries
from stepladder.training.run import train

MFU = {
    "median": 0.30,
    "p10": 0.28,
    "p90": 0.31,
    "convention": "causal",
    "palm_median": 0.36,
    "peak_flops_per_second": 9.89e14,
    "dtype": "bf16",
    "peak_source": "datasheet",
}
RECORD = {
    "loss": 2.5,
    "seconds": 60.0,
    "mfu": MFU,
    "tokens_per_second": 1000.0,
    "median_step_seconds": {"next_token": 0.5},
    "accelerators": 1,
    "engine": {"compiled": False, "sharding": "none"},
    "peak_memory_bytes": 1e9,
    "goodput": 0.9,
    "code_commit": "a" * 40,
    "code_dirty": False,
    "code_fingerprint": "1" * 16,
    "packages": {"torch": "2.13.0"},
    "hardware": {"cpu": "c", "cores": 2, "accelerator": "H200"},
    "threads": 1,
}


@pytest.fixture(scope="module")
def entry(make_run):
    """A run that ended at time 0, with these fields of its `end` record changed."""
    work = Work.model_validate_json(make_run().to_json())

    def make(**changes) -> EndedRun:
        return EndedRun(0.0, Ended.model_validate(RECORD | changes), work)

    return make


def test_versions_by_hand(entry):
    """Two runs of one version, then one that is compiled and half as fast again."""
    second = entry(mfu=MFU | {"median": 0.34})
    third = entry(engine={"compiled": True, "sharding": "none"}, mfu=MFU | {"median": 0.48})
    first, last = ledger([entry(), second, third])
    assert (first.variant, first.rung, first.machine) == ("dense-baseline", "d2", "1 x H200, fp32")
    assert (first.runs, first.mfu, first.change, first.what) == (2, 0.32, None, [])
    assert (last.runs, last.mfu, last.what) == (1, 0.48, ["compiled False → True"])
    assert last.change == pytest.approx(1.5)
    assert first.step_milliseconds == {"next_token": 500}


def test_machines_are_not_compared(entry):
    versions = ledger([entry(), entry(accelerators=8)])
    assert [version.machine for version in versions] == ["1 x H200, fp32", "8 x H200, fp32"]
    assert [version.change for version in versions] == [None, None]


def test_without_a_peak_tokens_per_second_are_compared(entry):
    slow = entry(mfu=None, tokens_per_second=1000.0)
    quick = entry(mfu=None, tokens_per_second=1250.0, code_fingerprint="2" * 16)
    _, last = ledger([slow, quick])
    assert (last.mfu, last.change) == (None, 1.25)
    assert last.what == ["training code 1111111 → 2222222"]


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"code_commit": "b" * 40}, "commit aaaaaaaaa → bbbbbbbbb"),
        ({"code_dirty": True}, "commit aaaaaaaaa → aaaaaaaaa+"),
        ({"code_commit": None, "code_dirty": None}, "commit aaaaaaaaa → ?"),
        ({"threads": 2}, "threads 1 → 2"),
        ({"packages": {"torch": "2.14.0"}}, "torch 2.13.0 → 2.14.0"),
        ({"mfu": MFU | {"peak_flops_per_second": 1e15}}, "peak FLOP/s 9.89e+14 → 1e+15"),
        ({"mfu": None}, "peak FLOP/s 9.89e+14 → —"),
    ],
)
def test_what_tells_versions_apart(entry, changed, what):
    """A commit counts although the fingerprint is the same: it does not see all that determines speed."""
    _, last = ledger([entry(), entry(**changed)])
    assert last.what == [what]


def test_a_budget_without_steps_of_a_phase(entry):
    longer = entry(median_step_seconds={"superposed": 0.7, "next_token": 0.3})
    (version,) = ledger([entry(), longer])
    assert version.step_milliseconds == {"next_token": 400, "superposed": 700}


def test_logs_that_told_no_figures_are_counted(make_run, tmp_path):
    """Two ends as version 1 of the trainer wrote them, by hand; then one that tells, and one cut off."""
    folder = tmp_path / "runs" / "dense-baseline" / "d2"
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text(make_run().to_json())
    silent = (
        '{"event": "start", "time": 10.0}\n'
        '{"event": "end", "time": 20.0, "loss": 2.5, "seconds": 8.0}\n'
        '{"event": "start", "time": 30.0}\n'
        '{"event": "end", "time": 40.0, "loss": 2.4, "seconds": 5.0}\n'
    )
    log = folder / "events.jsonl"
    log.write_text(silent + '{"event": "end", "time": 50.0, "lo')  # being written
    assert read_entries(tmp_path) == ([], 2)
    cpu = {"cpu": "EPYC", "cores": 2, "accelerator": None}
    told = RECORD | {"mfu": None, "tokens_per_second": 640.0, "goodput": 0.8, "hardware": cpu}
    log.write_text(silent + json.dumps({"event": "end", "time": 60.0, "unknown": 1, **told}) + "\n")
    (entry,), left_out = read_entries(tmp_path)
    assert (left_out, entry.time, entry.machine) == (2, 60.0, "1 x EPYC (2 cores), fp32")
    (version,) = ledger([entry])
    assert (version.commit, version.tokens_per_second, version.goodput) == ("aaaaaaaaa", 640.0, 0.8)
    (folder / "spec.json").unlink()
    assert read_entries(tmp_path) == ([], 3)


def test_history_of_a_real_run(make_run, small_corpus, tmp_path):
    """Trained, then with another batch: the first is moved aside and still part of the ledger."""
    folder = tmp_path / "runs" / "dense-baseline" / "d2" / "1x" / "seed0"
    old = make_run(steps=4)
    phase = old.recipe.phases[0].model_copy(update={"sequences": 2})
    new = old.model_copy(update={"recipe": old.recipe.model_copy(update={"phases": (phase,)})})
    for spec in (old, new):
        train(spec, small_corpus, folder, device="cpu")
        (folder / "result.json").unlink()  # as Snakemake does before a run is trained again
    entries, silent = read_entries(tmp_path)
    first, second = ledger(entries)
    assert silent == 0
    assert second.what == ["micro_batch_sequences 4 → 2", "next_token.sequences 4 → 2"]
    assert second.change == pytest.approx(second.tokens_per_second / first.tokens_per_second)
    done = CliRunner().invoke(app, ["mfu", str(tmp_path), "--rung", "d2"])
    assert done.exit_code == 0 and "sequences 4 → 2" in " ".join(done.output.split())
    assert "No MFU where no peak is known" in done.output
    refused = CliRunner().invoke(app, ["mfu", str(tmp_path), "--rung", "d9"])
    assert refused.exit_code == 1 and "--rung d9: no run of it has ended; there are: d2" in refused.output
    told = CliRunner().invoke(app, ["mfu", str(tmp_path), "--variant", first.variant, "--json"])
    assert [version["what"] for version in json.loads(told.output)] == [[], second.what]
    assert CliRunner().invoke(app, ["mfu", str(tmp_path / "none")]).exit_code == 1
