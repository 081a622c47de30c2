"""What somebody, or a damaged disk, may do to a run's folder: refused or recovered, with the same bits.

Every case changes a run that was stopped after step 39 of 40 with checkpoints of steps 38 and 39, and lets it
go on. Hashes are made right again after each change of a checkpoint: the hash is not what finds it.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.metadata import BytesStorageMetadata

from stepladder.cli.errors import sentence
from stepladder.documents.lock import Held, hold
from stepladder.ladder.trunk import prefix
from stepladder.record.events import read_events, read_log, read_steps
from stepladder.record.paths import RunFolder
from stepladder.schema.execution import EngineOptions
from stepladder.status.files import is_of
from stepladder.status.files import read_log as look
from stepladder.training.checkpoint import BrokenCheckpoint, file_sha256
from stepladder.training.run import train
from stepladder.training.stored_tensors import _Description
from stepladder.training.trainer import Trainer

OPTIONS = EngineOptions(checkpoint_seconds=1e-3, keep_checkpoints=3)


class Stopped(NamedTuple):
    spec: Any
    folder: Path
    losses: dict[str, float]
    """Of the whole run."""


class Case(NamedTuple):
    change: Callable[[Path], Any]
    """Of the newest checkpoint's folder, or of the run's."""
    warning: str | None
    """What the result says of it; None for nothing."""
    steps: int | None = 38
    """Where the run goes on from; None if it starts anew."""


@pytest.fixture(scope="module")
def stopped(make_run, small_corpus, tmp_path_factory) -> Stopped:
    spec = make_run(steps=40)
    folder = tmp_path_factory.mktemp("tampering") / "run"
    result = json.loads(train(spec, small_corpus, folder, device="cpu", options=OPTIONS).read_text())
    (folder / "result.json").unlink()
    shutil.rmtree(folder / "checkpoints/step-000040")
    lines = (folder / "events.jsonl").read_text().splitlines(keepends=True)
    cut = next(n for n, line in enumerate(lines) if '"step": 39,' in line and '"step"' in line[:20])
    (folder / "events.jsonl").write_text("".join(lines[:cut]))
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["step-000038", "step-000039"]
    return Stopped(spec, folder, result["losses"])


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What hostile files make if they are executed."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "executed"


class Hostile:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch executed",)


def state(**fields: Any) -> Callable[[Path], None]:
    """Change fields of state.json."""

    def change(path: Path) -> None:
        found = json.loads((path / "state.json").read_text()) | fields
        (path / "state.json").write_text(json.dumps({k: v for k, v in found.items() if v is not ...}))

    return change


def nested(name: str, **fields: Any) -> Callable[[Path], None]:
    """Change fields of an object in state.json."""
    return lambda path: state(**{name: json.loads((path / "state.json").read_text())[name] | fields})(path)


def text(name: str, content: str | bytes) -> Callable[[Path], None]:
    return lambda path: (path / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def manifest(change: Callable[[dict[str, str]], Any]) -> Callable[[Path], None]:
    """Change the manifest."""

    def apply(path: Path) -> None:
        hashes = json.loads((path / "manifest.json").read_text())
        (path / "manifest.json").write_text(json.dumps(change(hashes)))

    return apply


def without(name: str) -> Callable[[Path], None]:
    return manifest(lambda hashes: {k: v for k, v in hashes.items() if k != name})


def description(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Change .metadata."""

    def apply(path: Path) -> None:
        found = pickle.loads((path / ".metadata").read_bytes())
        (path / ".metadata").write_bytes(pickle.dumps(change(found) or found))

    return apply


def folder_at(name: str) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        (path / name).unlink(missing_ok=True)
        (path / name / "inner").mkdir(parents=True)

    return apply


def first(found: Any) -> str:
    return next(iter(found.state_dict_metadata))


def lead_elsewhere(found: Any) -> None:
    for place in found.storage_data.values():
        place.relative_path = "../step-000038/__0_0.distcp"


def reshape(found: Any) -> None:
    found.state_dict_metadata[first(found)].size = torch.Size([3])


def lose_a_part(found: Any) -> None:
    found.state_dict_metadata[first(found)].chunks.clear()


def as_bytes(path: Path) -> None:
    """A tensor that claims to be an object: torch would unpickle it without restriction."""

    def change(found: Any) -> None:
        name = first(found)
        found.state_dict_metadata[name] = BytesStorageMetadata()
        index = next(index for index in found.storage_data if index.fqn == name)
        place = found.storage_data.pop(index)
        payload, tensors = io.BytesIO(), path / place.relative_path
        torch.save(Hostile(), payload)
        size = tensors.stat().st_size
        tensors.write_bytes(tensors.read_bytes() + payload.getvalue())
        found.storage_data[type(index)(name)] = replace(place, offset=size, length=payload.tell())

    description(change)(path)


def hostile_tensor(path: Path) -> None:
    """The first tensor's bytes are those of an object."""
    payload = io.BytesIO()
    torch.save(Hostile(), payload)

    def change(found: Any) -> None:
        for place in found.storage_data.values():
            place.offset, place.length = 0, len(payload.getvalue())

    (path / "__0_0.distcp").write_bytes(payload.getvalue())
    description(change)(path)


IN_CHECKPOINT: dict[str, Case] = {
    "step beyond the run": Case(state(step=41), r"step = 41, but the folder is called step-000039"),
    "step below 0": Case(state(step=-1), r"step = -1: .*greater than or equal to 0"),
    "step of another folder": Case(state(step=38), r"step = 38, but the folder is called step-000039"),
    "step as text": Case(state(step="39"), r"step = '39'"),
    "step as truth": Case(state(step=True), r"step = True"),
    "step missing": Case(state(step=...), r"step = "),
    "of another spec": Case(state(spec_sha256="0" * 64), "it is of another spec or of other data"),
    "of other data": Case(state(data_sha256="0" * 64), "it is of another spec or of other data"),
    "time is NaN": Case(state(time=float("nan")), r"time = nan"),
    "began at no date": Case(state(started="yesterday"), r"started = 'yesterday'"),
    "seconds below 0": Case(nested("seconds", lost=-1.0), r"seconds.lost = -1.0"),
    "seconds of no cause": Case(nested("seconds", sleep=1.0), r"sleep differ"),
    "seconds are none": Case(state(seconds={}), r"seconds = {}"),
    "health is a list": Case(state(health=[]), r"health = \[\]"),
    "spikes below 0": Case(nested("health", spikes=-3), r"health.spikes = -3"),
    "no accelerators": Case(state(accelerators=0), r"accelerators = 0"),
    "parts of 0 sequences": Case(state(micro_batch_sequences=0), r"micro_batch_sequences = 0"),
    "parts that are unequal": Case(state(micro_batch_sequences=3), r"3 in its state does not divide"),
    "warnings are numbers": Case(state(warnings=[1]), r"warnings.0 = 1"),
    "state is a list": Case(text("state.json", "[]"), r"state.json: the file"),
    "state is empty": Case(text("state.json", ""), r"state.json: the file"),
    "state is binary": Case(text("state.json", b"\xff\x00"), r"state.json: the file"),
    "state is deep": Case(text("state.json", "[" * 100_000), r"state.json: the file"),
    "state is a folder": Case(folder_at("state.json"), r"state.json are in one only"),
    "metadata calls a command": Case(
        lambda path: (path / ".metadata").write_bytes(pickle.dumps(Hostile())), r"it names posix.system"
    ),
    "metadata has a command inside": Case(
        description(lambda found: setattr(found, "planner_data", Hostile())), r"it names posix.system"
    ),
    "tensor claims to be an object": Case(as_bytes, r"it names \S+\.BytesStorageMetadata"),
    "tensor's bytes call a command": Case(hostile_tensor, r"Weights only load failed|UnpicklingError"),
    "metadata leads elsewhere": Case(description(lead_elsewhere), r"is not in a file of the checkpoint"),
    "metadata of another shape": Case(description(reshape), r"is no tensor of shape"),
    "metadata lost a part": Case(description(lose_a_part), r"parts of .* are missing"),
    "metadata lost a tensor": Case(
        description(lambda found: found.state_dict_metadata.pop(first(found)) and None), "other tensors"
    ),
    "metadata is a number": Case(description(lambda found: 17), "it describes no tensors"),
    "metadata is empty": Case(text(".metadata", b""), "no description of tensors"),
    "metadata is text": Case(text(".metadata", "cos\nsystem\n(S'touch executed'\ntR."), "it names os.system"),
    "tensors are noise": Case(text("__0_0.distcp", b"\x00" * 100_000), "step-000039: "),
}
"""Changes of a checkpoint whose manifest fits them."""

OF_THE_MANIFEST: dict[str, Case] = {
    "lists fewer files": Case(without(".metadata"), r"\.metadata are in one only"),
    "lists no tensors": Case(without("__0_0.distcp"), r"__0_0.distcp are in one only"),
    "lists no state": Case(without("state.json"), r"state.json are in one only"),
    "lists nothing": Case(manifest(lambda hashes: {}), "are in one only"),
    "leads elsewhere": Case(
        manifest(lambda hashes: hashes | {"../../spec.json": "0"}), "spec.json are in one"
    ),
    "a file more": Case(text("extra.bin", b"1"), r"extra.bin are in one only"),
    "a folder more": Case(lambda path: (path / "more").mkdir(), r"more are in one only"),
    "hash is a number": Case(
        manifest(lambda hashes: hashes | {"state.json": 1}), "does not match its sha256"
    ),
    "is a list": Case(manifest(list), "is no manifest"),
    "is deep": Case(text("manifest.json", "[" * 100_000), "is incomplete"),
    "is a folder": Case(folder_at("manifest.json"), "Is a directory"),
    "is missing": Case(lambda path: (path / "manifest.json").unlink(), "is incomplete"),
}
"""Changes of the manifest, or that it does not know."""


def copy_newest(name: str) -> Callable[[Path], Any]:
    newest = "checkpoints/step-000039"
    return lambda run: shutil.copytree(run / newest, run / "checkpoints" / name)


def file_at(name: str) -> Callable[[Path], Any]:
    return lambda run: (run / name).write_text("not what it should be")


def checkpoints_as_file(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    file_at("checkpoints")(run)


def log_line(line: str, at: int = 3) -> Callable[[Path], None]:
    """Insert a line into the log."""

    def change(run: Path) -> None:
        lines = (run / "events.jsonl").read_text().splitlines(keepends=True)
        (run / "events.jsonl").write_text("".join([*lines[:at], line + "\n", *lines[at:]]))

    return change


def lose_steps(run: Path) -> None:
    lines = (run / "events.jsonl").read_text().splitlines(keepends=True)
    (run / "events.jsonl").write_text("".join(line for line in lines if '"event": "step"' not in line))


def break_both(run: Path) -> None:
    for path in (run / "checkpoints").glob("step-*"):
        (path / "manifest.json").unlink()


def copy_as_beyond(run: Path) -> None:
    copy_newest("step-000077")(run)
    beyond = run / "checkpoints/step-000077"
    state(step=77)(beyond)
    rehash(beyond)


OF_THE_RUN: dict[str, Case] = {
    "a whole one of a step beyond": Case(
        copy_as_beyond, "step = 77 in its state, and the run has 40 steps", 39
    ),
    "a copy called .bak": Case(copy_newest("step-000039.bak"), None, 39),
    "a copy called (copy)": Case(copy_newest("step-000039 (copy)"), None, 39),
    "a short name": Case(copy_newest("step-39"), None, 39),
    "a name with zeros": Case(copy_newest("step-0000000000000041"), None, 39),
    "digits of another script": Case(copy_newest("step-٠٠٠٠٣٩"), None, 39),
    "a number beyond all": Case(copy_newest("step-" + "9" * 200), None, 39),
    "a copy as another step": Case(copy_newest("step-000040"), "step = 39, but the folder is called", 39),
    "a copy as a step beyond": Case(copy_newest("step-000077"), "step = 39, but the folder is called", 39),
    "a file called as a checkpoint": Case(
        file_at("checkpoints/step-000040"), "step-000040 is incomplete", 39
    ),
    "a file where one is written": Case(file_at("checkpoints/partial-000040"), None, 39),
    "a link to nothing": Case(
        lambda run: (run / "checkpoints/step-000040").symlink_to("nowhere"), "step-000040 is incomplete", 39
    ),
    "a link to itself": Case(
        lambda run: (run / "checkpoints/step-000040").symlink_to("step-000040"), "step-000040", 39
    ),
    "checkpoints is a file": Case(checkpoints_as_file, "checkpoints is no folder: it is now called", None),
    "both checkpoints broken": Case(break_both, "step-000038 is incomplete", None),
    "log is a folder": Case(folder_at("events.jsonl"), "events.jsonl is no file: it is now called", None),
    "log is missing": Case(
        lambda run: (run / "events.jsonl").unlink(), "earlier files are in superseded", None
    ),
    "log is empty": Case(lambda run: (run / "events.jsonl").write_bytes(b""), "earlier files are in", None),
    "log lost its steps": Case(lose_steps, "the log has no steps of phase next_token any more", None),
    "log.txt is a folder": Case(folder_at("log.txt"), "log.txt is no file", 39),
    "spec is a folder": Case(folder_at("spec.json"), "spec.json is no file", 39),
    "result is a folder": Case(folder_at("result.json"), "result.json is no file", 39),
    "lock is a folder": Case(folder_at("lock.json"), None, 39),
    "lock is of a killed process": Case(file_at("lock.json"), None, 39),
    "log has noise": Case(log_line("\x00\x01nonsense"), r"left out: line 4 \(not JSON\)", 39),
    "log has a step without number": Case(log_line('{"event": "step", "time": 1}'), r"line 4 \(step: ", 39),
    "log has a step of text": Case(
        log_line('{"event": "step", "time": 1, "step": 3, "loss": "low"}'), r"line 4 \(loss: ", 39
    ),
    "log has a step of little": Case(log_line('{"event": "step", "time": 1, "step": 3}', -1), None, 39),
    "log has a step beyond the run": Case(log_line('{"event": "step", "time": 1, "step": 99}'), None, 39),
    "log lost its first line": Case(log_line("cut", 0), r"line 1 \(not JSON\)", 39),
    "log ends in the middle of a line": Case(
        lambda run: (run / "events.jsonl").open("a").write('{"event": "st'), None, 39
    ),
}
"""Changes of the run's folder."""

CASES = (
    {f"checkpoint: {name}": (case, "rehash") for name, case in IN_CHECKPOINT.items()}
    | {f"manifest: {name}": (case, "newest") for name, case in OF_THE_MANIFEST.items()}
    | {f"run: {name}": (case, "run") for name, case in OF_THE_RUN.items()}
)


@pytest.mark.parametrize("name", CASES)
def test_a_touched_run_goes_on_and_ends_with_the_same_bits(name, stopped, small_corpus, tmp_path, marker):
    (change, warning, steps), where = CASES[name]
    run = shutil.copytree(stopped.folder, tmp_path / "run")
    newest = run / "checkpoints/step-000039"
    change(run if where == "run" else newest)
    if where == "rehash":
        rehash(newest)
    result = json.loads(train(stopped.spec, small_corpus, run, device="cpu").read_text())
    assert result["losses"] == stopped.losses
    assert not marker.exists()
    said = [text for text in result["warnings"] if "no peak" not in text]
    assert len(said) >= (warning is not None)
    assert (warning is None and not said) or any(matches(warning, text) for text in said), said
    begins = [r for r in read_log(run / "events.jsonl").records if r["event"] in ("start", "resume")]
    assert begins[-1].get("step") == steps
    assert (run / "checkpoints/step-000040/manifest.json").exists(), "it cannot save any more"
    assert not (run / "lock.json").exists()


def matches(pattern: str, text: str) -> bool:
    return re.search(pattern, text, re.DOTALL) is not None


def rehash(path: Path) -> None:
    files = [file for file in path.iterdir() if file.is_file() and file.name != "manifest.json"]
    (path / "manifest.json").write_text(json.dumps({file.name: file_sha256(file) for file in files}))


@pytest.mark.parametrize("name", ["metadata calls a command", "metadata has a command inside"])
def test_these_files_do_run_where_they_are_believed(name, stopped, tmp_path, marker):
    newest = shutil.copytree(stopped.folder / "checkpoints/step-000039", tmp_path / "step-000039")
    IN_CHECKPOINT[name].change(newest)
    pickle.loads((newest / ".metadata").read_bytes())
    assert marker.exists()


def test_a_tensor_that_claims_to_be_an_object_would_run(stopped, tmp_path, marker):
    newest = shutil.copytree(stopped.folder / "checkpoints/step-000039", tmp_path / "step-000039")
    tensors = Trainer(stopped.spec, torch.device("cpu")).state()
    as_bytes(newest)
    dcp.load(tensors, storage_reader=dcp.FileSystemReader(newest), no_dist=True)
    assert marker.exists()


@pytest.mark.filterwarnings("ignore::stepladder.record.events.DamagedLog")
@pytest.mark.parametrize("name", CASES)
def test_who_looks_at_a_touched_run_gets_an_answer_or_a_sentence(name, stopped, tmp_path):
    """`status` the first, `collect` and `mfu` one of them."""
    (change, _, _), where = CASES[name]
    run = shutil.copytree(stopped.folder, tmp_path / "run")
    change(run if where == "run" else run / "checkpoints/step-000039")
    look(RunFolder(run))
    is_of(stopped.spec, RunFolder(run))
    for read in (read_steps, partial(read_events, kind="end")):
        try:
            read(run / "events.jsonl")
        except OSError as error:
            assert sentence(error).startswith(str(run / "events.jsonl"))


def test_a_second_training_in_the_same_folder_is_refused_and_named(stopped, small_corpus, tmp_path):
    """Also while the first is only starting; and the first ends as if nothing had been."""
    run = shutil.copytree(stopped.folder, tmp_path / "run")
    code = (
        "import sys, time; from pathlib import Path; from stepladder.documents.lock import hold\n"
        "with hold(Path(sys.argv[1]), beat=0.05): print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(run / "lock.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        before = (run / "events.jsonl").read_bytes()
        patient = partial(hold, patience=0.3)
        with (
            pytest.MonkeyPatch.context() as patch,
            pytest.raises(Held, match=rf"process {other.pid} on"),
        ):
            patch.setattr("stepladder.record.folder.hold", patient)
            train(stopped.spec, small_corpus, run, device="cpu")
        assert (run / "events.jsonl").read_bytes() == before
        other.kill()  # and nobody has to remove anything
    result = json.loads(train(stopped.spec, small_corpus, run, device="cpu").read_text())
    assert result["losses"] == stopped.losses


def test_a_branch_says_how_to_mend_the_damaged_end_of_its_trunk(make_run, small_corpus, tmp_path):
    """One that has a checkpoint of its own needs it no more."""
    spec = make_run(steps=12)
    trunk, branch = tmp_path / "trunk", tmp_path / "branch"
    settings = {"device": "cpu", "options": OPTIONS, "fork": trunk / "result.json"}
    train(prefix(spec, 6), small_corpus, trunk, device="cpu")
    whole = json.loads(train(spec, small_corpus, branch, **settings).read_text())
    end = trunk / "checkpoints/step-000006"
    state(step=5)(end)
    rehash(end)
    for name in ("result.json", "checkpoints/step-000012/manifest.json"):
        (branch / name).unlink()
    lines = (branch / "events.jsonl").read_text().splitlines(keepends=True)
    (branch / "events.jsonl").write_text("".join(lines[:-1]))
    assert json.loads(train(spec, small_corpus, branch, **settings).read_text())["losses"] == whole["losses"]
    shutil.rmtree(branch)
    with pytest.raises(BrokenCheckpoint, match=r"step = 5, but .*to train this trunk again, remove it and"):
        train(spec, small_corpus, branch, **settings)
    state(step=6)(end)
    rehash(end)
    lose_steps(trunk)
    with pytest.raises(BrokenCheckpoint, match=r"no steps of phase next_token any more: to train this trunk"):
        train(spec, small_corpus, branch, **settings)


@pytest.mark.parametrize(
    ("pickled", "said"),
    [
        (b"cpathlib\nPosixPath\n(N(dS'exists'\nI1\nstb.", "no part of a description"),
        (b"ctorch.serialization\n_get_layout\n(N(dS'__defaults__'\nI1\nstb.", "no part of a description"),
        (b"})\x85I1\ns.", "a key of it is a tuple"),
        (b"}()\x85I1\nu.", "a key of it is a tuple"),
        (b"\x8f(I1\n\x90.", ""),
    ],
    ids=["class", "function", "key", "keys", "set"],
)
def test_a_description_changes_nothing_and_ends(pickled: bytes, said: str) -> None:
    """Neither classes nor functions of this process, and no key that takes hours to hash."""
    with pytest.raises((BrokenCheckpoint, KeyError), match=said):
        _Description(io.BytesIO(pickled)).load()
    assert callable(Path.exists)
