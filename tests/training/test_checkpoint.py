"""Checkpoints: complete or not used."""

import json
import re
import shutil
import subprocess
from contextlib import suppress

import pytest
import torch
from checkpoint_states import checkpoint_state
from hypothesis import given, settings
from hypothesis import strategies as st

from stepladder.training.checkpoint import (
    BrokenCheckpoint,
    Saver,
    checkpoint_path,
    file_sha256,
    newest_checkpoint,
    verify,
)
from stepladder.training.stored_tensors import read_tensors

json_texts = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
).map(lambda value: json.dumps(value).encode())


def tensors_of(step):
    flat = torch.arange(6.0) + step
    return {"a": flat[:2], "b": flat[2:].view(2, 2)}  # views of one buffer, as in training


def save(folder, step, keep=2):
    saver = Saver(folder, keep=keep)
    saver.start(step, tensors_of(step), checkpoint_state(step))
    assert saver.wait().problem is None
    return checkpoint_path(folder, step)


def test_round_trip_keeps_two(tmp_path):
    for step in (5, 10, 200):
        save(tmp_path, step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000010", "step-000200"]
    checkpoint, problems = newest_checkpoint(tmp_path)
    assert (checkpoint.state, problems) == (checkpoint_state(200), [])
    found = {"a": torch.empty(2), "b": torch.empty(2, 2)}
    read_tensors(checkpoint.path, found)
    assert found["b"].tolist() == [[202, 203], [204, 205]]


def test_keeps_as_many_as_told(tmp_path):
    for step in range(1, 6):
        save(tmp_path, step, keep=3)
    assert len(list(tmp_path.iterdir())) == 3


def test_training_may_go_on_while_it_is_written(tmp_path):
    """What is saved is what was there when the save began; the save after it waits for its end."""
    saver, weights = Saver(tmp_path, keep=2), {"a": torch.zeros(1000)}
    for step in (1, 2, 3):
        weights["a"].fill_(step)
        before = saver.start(step, weights, checkpoint_state(step))
        weights["a"].fill_(-1)
        assert before is None or (before.step, before.problem) == (step - 1, None)
    assert saver.wait().step == 3
    assert saver.wait() is None
    found = {"a": torch.empty(1000)}
    for step in (2, 3):
        read_tensors(checkpoint_path(tmp_path, step), found)
        assert found["a"].unique().tolist() == [step]


@pytest.fixture
def full_disk(tmp_path):
    """A file system of 256 KiB; needs root."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("cannot mount a small file system here (no root)")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk_costs_the_save_and_not_the_one_before(full_disk):
    saver, tensors = Saver(full_disk, keep=1), {"a": torch.ones(10_000)}
    saver.start(1, tensors, checkpoint_state(1))
    assert saver.wait().problem is None
    filler = full_disk / "filler"
    filler.write_bytes(bytes(200_000))
    saver.start(2, tensors, checkpoint_state(2))
    assert re.search(r"[\d,]+ bytes are free", saver.wait().problem)
    assert [path.name for path in full_disk.glob("*-*")] == ["step-000001"]
    checkpoint, problems = newest_checkpoint(full_disk)
    assert (checkpoint.state, problems) == (checkpoint_state(1), [])
    filler.unlink()
    saver.start(3, tensors, checkpoint_state(3))
    assert saver.wait().problem is None
    assert newest_checkpoint(full_disk)[0].state["step"] == 3


def data_file(path):
    """Where the tensors' bytes are."""
    (found,) = path.glob("*.distcp")
    return found


def truncate(path):
    tensors = data_file(path)
    tensors.write_bytes(tensors.read_bytes()[:-1])


def flip_a_bit(path):
    tensors = data_file(path)
    content = bytearray(tensors.read_bytes())
    content[-1] ^= 1
    tensors.write_bytes(content)


DAMAGE = {
    "truncated": truncate,
    "bit flipped": flip_a_bit,
    "manifest missing": lambda path: (path / "manifest.json").unlink(),
    "manifest cut": lambda path: (path / "manifest.json").write_text('{"state'),
    "state missing": lambda path: (path / "state.json").unlink(),
}


@pytest.mark.parametrize("damage", list(DAMAGE))
def test_broken_checkpoint_is_skipped_and_named(tmp_path, damage):
    save(tmp_path, 1)
    newest = save(tmp_path, 2)
    DAMAGE[damage](newest)
    with pytest.raises(BrokenCheckpoint):
        verify(newest)
    checkpoint, problems = newest_checkpoint(tmp_path)
    assert checkpoint.state["step"] == 1
    assert "step-000002" in problems[0]


def test_interrupted_save_leaves_nothing_that_counts(tmp_path):
    save(tmp_path, 1)
    (tmp_path / "partial-000002").mkdir()
    assert newest_checkpoint(tmp_path)[0].state["step"] == 1
    save(tmp_path, 2)
    assert newest_checkpoint(tmp_path)[0].state["step"] == 2
    assert not list(tmp_path.glob("partial-*"))


def test_nothing_there(tmp_path):
    assert newest_checkpoint(tmp_path / "missing") == (None, [])


def test_a_checkpoint_survives_being_saved_below_broken_newer_ones(tmp_path):
    for step in (200, 300):
        flip_a_bit(save(tmp_path, step))
    save(tmp_path, 100)
    checkpoint, _ = newest_checkpoint(tmp_path)
    assert checkpoint is not None and checkpoint.state["step"] == 100


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return save(tmp_path_factory.mktemp("whole"), 2)


CONTENTS = {
    "manifest.json": st.binary(max_size=100) | json_texts,
    "state.json": st.binary(max_size=100) | json_texts,
    ".metadata": st.binary(max_size=100),
    "__0_0.distcp": st.binary(max_size=100),
}


@settings(max_examples=60, derandomize=True)
@given(st.data())
def test_whatever_a_file_holds_a_checkpoint_is_whole_or_broken(whole, data):
    """With right hashes; no other error comes out than the one that a run recovers from."""
    path = whole.with_name("step-000007")
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(whole, path)
    name = data.draw(st.sampled_from(sorted(CONTENTS)))
    content = bytearray((path / name).read_bytes())
    if data.draw(st.booleans()):  # a few other bytes at some place
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    else:
        content = data.draw(CONTENTS[name])
    (path / name).write_bytes(content)
    if name != "manifest.json":
        hashes = {file.name: file_sha256(file) for file in path.iterdir() if file.name != "manifest.json"}
        (path / "manifest.json").write_text(json.dumps(hashes))
    with suppress(BrokenCheckpoint):
        verify(path)
    with suppress(BrokenCheckpoint):
        read_tensors(path, {"a": torch.empty(2), "b": torch.empty(2, 2)})
