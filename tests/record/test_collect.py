"""Results, specs and event logs to the two tables; what was edited or is from elsewhere is refused."""

import json
import shutil

import pandas as pd
import pytest
from finished import finish, finish_ladder
from golden import golden

from stepladder.documents.document import DocumentError
from stepladder.ladder.load import find_ladder, load_ladder
from stepladder.record.events import DamagedLog
from stepladder.record.paths import LadderFolder
from stepladder.record.tables import collect, read_runs, read_table, write_table


@pytest.fixture
def ladder(tmp_path, make_run):
    """The folder and the plan of three runs."""
    folder = LadderFolder(tmp_path)
    specs = [make_run(), make_run(recipe="tst"), make_run(seed=1)]
    smoke = load_ladder(find_ladder("smoke"))
    rungs = [smoke.rungs[0].model_copy(update={"depth": 2, "name": "d2"})]
    return folder, finish_ladder(folder, smoke.model_copy(update={"rungs": rungs}), specs)


def edit(path, change, keep_digest=False):
    """Change the fields of a JSON file; as a file of before documents had digests, unless told otherwise."""
    fields = json.loads(path.read_text())
    if not keep_digest:
        fields.pop("content_sha256", None)
    change(fields)
    path.write_text(json.dumps(fields))


def test_runs_and_steps_keep_what_is_missing_missing(ladder):
    """Through Parquet and back: a null is not a zero."""
    folder, plan = ladder
    spec = json.loads(folder.run(plan.runs[0].id).spec.read_text())
    edit(folder.run(plan.runs[0].id).result, lambda fields: fields.update(mfu=None))
    log = folder.run(plan.runs[0].id).events
    log.write_text(log.read_text().replace('"loss": 5.0,', '"loss": null,'))
    runs, steps, _ = collect(folder, plan)
    write_table(runs, folder.runs_table)
    first, second, _ = (row for _, row in read_table(folder.runs_table).iterrows())
    assert first["seed"] == spec["seed"] and first["loss_code"] == 2.0
    assert pd.isna(first["mfu_median"]) and second["mfu_median"] == 0.3
    assert list(runs["planned_flops"]) == [run.flops for run in plan.runs]
    assert list(steps["variant"]) == ["dense-baseline"] * 2 + ["dense-tst"] * 4 + ["dense-baseline"] * 2
    assert pd.isna(steps["loss"].iloc[0])
    same = read_runs(folder, [run.id for run in plan.runs], plan)
    assert same.equals(runs.drop(columns="planned_flops"))


def test_a_table_of_another_version_is_named(tmp_path):
    table = pd.DataFrame({"id": ["a"]})
    write_table(table, tmp_path / "runs.parquet")
    assert read_table(tmp_path / "runs.parquet").equals(table)
    table.attrs["schema_version"] = 99
    table.to_parquet(tmp_path / "later.parquet")
    with pytest.raises(DocumentError, match=r"later.parquet: schema_version 99, this code reads 1: run"):
        read_table(tmp_path / "later.parquet")
    (tmp_path / "none.parquet").write_text("no table")
    with pytest.raises(DocumentError, match=r"none.parquet: .*run snakemake again"):
        read_table(tmp_path / "none.parquet")


EDITS = {
    "id": lambda r: r.update(id="dense-baseline/d2/1x/seed7"),
    "variant": lambda r: r.update(variant="moe-baseline"),
    "seed": lambda r: r.update(seed=5),
    "learning_rate": lambda r: r.update(learning_rate=0.5),
    "spec_sha256": lambda r: r.update(spec_sha256="0" * 64),
    "parameters": lambda r: r["parameters"].update(active_non_embedding=10),
    "flops": lambda r: r.update(flops=r["flops"] / 2),
    "tokens": lambda r: r.update(tokens=r["tokens"] + 1),
    "loss": lambda r: r.update(loss=r["loss"] - 0.01),
    "losses": lambda r: r["losses"].update(code=1.9),
    "bits_per_byte": lambda r: r.update(bits_per_byte=1.0),
    "bits_per_byte_by_domain.web": lambda r: r["bits_per_byte_by_domain"].update(web=1.0),
    "accelerator_seconds": lambda r: r.update(accelerator_seconds=r["accelerator_seconds"] / 2),
    "tokens_per_second": lambda r: r.update(tokens_per_second=1e9),
    "bits_per_byte_by_domain": lambda r: r.pop("bits_per_byte_by_domain"),
    "validation": lambda r: r.pop("validation"),
    "hardware_flops": lambda r: r.update(hardware_flops=1.0),
    "flops_trained": lambda r: r.update(flops_trained=1.0),
    "passes": lambda r: r.update(training_tokens=10**12, passes=0.1),
    "mfu.median": lambda r: r["mfu"].update(median=0.5),
    "mfu.p90": lambda r: r["mfu"].update(p90=0.9),
    "mfu.palm_median": lambda r: r["mfu"].update(palm_median=0.9),
    "restarts": lambda r: r.update(restarts=2),
    "checkpoint": lambda r: r.update(checkpoint="step-000001"),
    "goodput": lambda r: r.update(goodput=0.99),
    "median_step_seconds": lambda r: r.update(median_step_seconds={"next_token": 1e-9}),
    "lineage.code_fingerprint": lambda r: r["lineage"].update(code_fingerprint="f" * 16),
    "lineage.data_sha256": lambda r: r["lineage"].update(data_sha256="f" * 64),
}


@pytest.mark.parametrize("field", EDITS)
def test_an_edited_result_is_refused_by_field(field, ladder):
    folder, plan = ladder
    path = folder.run(plan.runs[1].id).result
    edit(path, EDITS[field])
    with pytest.raises(
        ValueError, match=f"{field} = .*(says|but).*remove it and run snakemake again"
    ) as raised:
        collect(folder, plan)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("field", ["health", "peak_memory_bytes"])
def test_an_edit_of_what_nothing_else_tells_shows_in_the_digest(field, ladder):
    folder, plan = ladder
    path = folder.run(plan.runs[0].id).result
    value = {"spikes": 9, "skipped_steps": 0, "slow_steps": 0, "notes": []} if field == "health" else 1
    edit(path, lambda fields: fields.update({field: value}), keep_digest=True)
    with pytest.raises(DocumentError, match=r"result.json: changed since it was written.*remove it"):
        collect(folder, plan)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("seconds.total", lambda r: r["seconds"].update(total=-1.0)),
        ("lineage.started", lambda r: r["lineage"].update(started="yesterday")),
    ],
)
def test_what_no_run_can_have_is_refused(ladder, field, change):
    folder, plan = ladder
    path = folder.run(plan.runs[0].id).result
    edit(path, change)
    with pytest.raises(DocumentError, match=rf"result.json.*{field}"):
        collect(folder, plan)


def test_a_result_of_another_plan_is_refused(ladder, make_run):
    """The same id, another learning rate: whole in itself, and not what is planned."""
    folder, plan = ladder
    other = make_run(learning_rate=0.02)
    finish(folder.run(other.id), other)
    with pytest.raises(ValueError, match=r"spec.json: sha256 = .* the plan says"):
        collect(folder, plan)


def test_a_result_in_another_runs_folder_is_refused(ladder):
    folder, plan = ladder
    shutil.copytree(folder.run(plan.runs[2].id).path, folder.run(plan.runs[0].id).path, dirs_exist_ok=True)
    with pytest.raises(ValueError, match=r"spec.json: id = dense-baseline/d2/1x/seed1, but the plan says"):
        collect(folder, plan)


def test_runs_of_other_data_are_refused(ladder, make_run):
    folder, plan = ladder
    lineage = golden()["lineage"] | {"data_sha256": "a" * 64, "code_fingerprint": "0" * 16}
    finish(folder.run(plan.runs[2].id), make_run(seed=1), lineage=lineage)
    with pytest.raises(ValueError, match=r"lineage.data_sha256 = aaaa.* says"):
        collect(folder, plan)
    with pytest.raises(ValueError, match=r"lineage.data_sha256 = .* but data/manifest.json says bbbb"):
        collect(folder, plan, {None: "b" * 64})


@pytest.mark.parametrize("text", [None, "{", "[]", '{"id": 3}'])
def test_a_spec_that_is_none_is_named(text, ladder):
    folder, plan = ladder
    path = folder.run(plan.runs[0].id).spec
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(ValueError, match=r"spec.json: the file = .*the folder of every run"):
        collect(folder, plan)


def test_losses_cannot_be_left_out(ladder):
    folder, plan = ladder
    edit(folder.run(plan.runs[0].id).result, lambda r: (r.pop("losses"), r.update(loss=1.0)))
    with pytest.raises(ValueError, match=r"losses = None, but its events.jsonl says"):
        collect(folder, plan)


def test_scores_on_other_text_are_refused(ladder):
    folder, plan = ladder
    result = json.loads(folder.run(plan.runs[1].id).result.read_text())
    double = {domain: text | {"tokens": 2 * text["tokens"]} for domain, text in result["validation"].items()}
    bits = {domain: 2 * value for domain, value in result["bits_per_byte_by_domain"].items()}
    changes = {"bits_per_byte": 2 * result["bits_per_byte"], "bits_per_byte_by_domain": bits}
    edit(folder.run(plan.runs[1].id).result, lambda r: r.update(validation=double, **changes))
    with pytest.raises(ValueError, match=r"validation = .*, but .*result.json says"):
        collect(folder, plan)


@pytest.mark.parametrize("field", ["loss", "accelerator_seconds"])
def test_a_table_of_runs_that_somebody_changed_is_refused(ladder, field):
    folder, plan = ladder
    runs, *_ = collect(folder, plan)
    write_table(runs, folder.runs_table)
    assert list(read_table(folder.runs_table)["loss"]) == list(runs["loss"])
    pd.read_parquet(folder.runs_table).assign(**{field: 1.0}).to_parquet(folder.runs_table)
    with pytest.raises(DocumentError, match="changed since it was written: run snakemake again"):
        read_table(folder.runs_table)


def test_a_damaged_log_still_binds(ladder):
    folder, plan = ladder
    run = folder.run(plan.runs[0].id)
    run.events.write_text(run.events.read_text() + "junk\n")
    edit(run.result, lambda r: r.update(losses={name: value / 2 for name, value in r["losses"].items()}))
    with pytest.warns(DamagedLog), pytest.raises(ValueError, match=r"losses = .*its events.jsonl says"):
        collect(folder, plan)


def test_a_broken_result_is_named(ladder):
    folder, plan = ladder
    folder.run(plan.runs[0].id).result.write_text('{"id": ')
    with pytest.raises(DocumentError, match=r"result.json: .*Invalid JSON.*run snakemake again"):
        collect(folder, plan)


def test_a_damaged_line_of_a_log_costs_that_line_and_a_warning(ladder):
    folder, plan = ladder
    log = folder.run(plan.runs[0].id).events
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join([lines[0], '{"ev\n', *lines[2:]]))
    with pytest.warns(DamagedLog, match=r"events.jsonl: not a record, left out: line 2"):
        _, steps, _ = collect(folder, plan)
    assert len(steps) == 1 + 4 + 2


@pytest.mark.parametrize("name", ["events.jsonl", "spec.json"])
@pytest.mark.parametrize("there", ["a folder", "nothing"])
def test_a_file_of_a_run_that_cannot_be_read_is_named_with_the_way_out(ladder, name, there):
    folder, plan = ladder
    path = folder.run(plan.runs[0].id).result.with_name(name)
    path.unlink()
    if there == "a folder":
        path.mkdir()
    with pytest.raises((OSError, ValueError)) as refused:
        collect(folder, plan)
    said = str(refused.value)
    assert name in said and "run snakemake again" in said


@pytest.mark.parametrize("field", ["peak_memory_bytes", "accelerators"])
def test_the_end_of_the_log_binds_too(ladder, field):
    """Figures that neither spec nor steps tell; an end that tells otherwise is of another version."""
    folder, plan = ladder
    run = folder.run(plan.runs[0].id)
    told = json.loads(run.result.read_text())[field]
    with run.events.open("a") as log:
        log.write(json.dumps({"event": "end", "time": 3.0, field: told, "engine": {"older": True}}) + "\n")
    collect(folder, plan)
    edit(run.result, lambda fields: fields.update({field: told + 1}))
    with pytest.raises(ValueError, match=f"{field} = .*the end of its events.jsonl says"):
        collect(folder, plan)
