"""Checkpoints: complete or not used."""

import pytest
import torch

from stepladder.training.checkpoint import (
    BrokenCheckpoint,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)


def save(folder, step):
    flat = torch.arange(6.0) + step
    tensors = {"a": flat[:2], "b": flat[2:].view(2, 2)}  # views of one buffer, as in training
    return save_checkpoint(folder, step, tensors, {"step": step})


def test_round_trip_keeps_two(tmp_path):
    for step in (5, 10, 200):
        save(tmp_path, step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000010", "step-000200"]
    checkpoint, problems = newest_checkpoint(tmp_path)
    assert (checkpoint.state, problems) == ({"step": 200}, [])
    assert checkpoint.tensors["b"].tolist() == [[202, 203], [204, 205]]


def truncate(path):
    tensors = path / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1])


def flip_a_bit(path):
    tensors = path / "tensors.safetensors"
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
        load_checkpoint(newest)
    checkpoint, problems = newest_checkpoint(tmp_path)
    assert checkpoint.state == {"step": 1}
    assert "step-000002" in problems[0]


def test_interrupted_save_leaves_nothing_that_counts(tmp_path):
    save(tmp_path, 1)
    (tmp_path / "partial-000002").mkdir()
    assert newest_checkpoint(tmp_path)[0].state == {"step": 1}
    save(tmp_path, 2)
    assert newest_checkpoint(tmp_path)[0].state == {"step": 2}
    assert not list(tmp_path.glob("partial-*"))


def test_nothing_there(tmp_path):
    assert newest_checkpoint(tmp_path / "missing") == (None, [])


def test_a_checkpoint_survives_being_saved_below_broken_newer_ones(tmp_path):
    for step in (200, 300):
        flip_a_bit(save(tmp_path, step))
    save(tmp_path, 100)
    checkpoint, _ = newest_checkpoint(tmp_path)
    assert checkpoint is not None and checkpoint.state == {"step": 100}
