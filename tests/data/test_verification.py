"""Every byte is checked before it is read, once per machine; nothing that was touched passes."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stepladder.data import verification
from stepladder.data.errors import DataError
from stepladder.data.manifest import Manifest, parse, sealed, verify
from stepladder.data.prepare import prepare
from stepladder.data.verification import memory_of, verify_once

BPE = {"kind": "bpe", "vocab_size": 320}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, source: dict) -> Path:
    """A manifest whose folder holds every kind of file."""
    return prepare(source, BPE, 0.2, tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def copied(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that a test may damage, and a memory of its own that takes young files as well."""
    monkeypatch.setenv("STEPLADDER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(verification, "SETTLED_SECONDS", -10.0)
    shutil.copytree(prepared.parent, tmp_path / "data")
    return tmp_path / "data/manifest.json"


def flip(path: Path) -> None:
    """Change one bit in the middle; size and time of change stay what they were."""
    about, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    time.sleep(0.02)  # the clock of the file system
    path.write_bytes(content)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def test_what_is_right_is_read_once(copied: Path) -> None:
    size = sum(file.size for file in parse(copied).files)
    assert verify_once(copied).bytes == size
    assert verify_once(copied).bytes == 0


@pytest.mark.parametrize("before", ["never", "checked"])
def test_a_bit_that_flipped_in_any_file_is_found(copied: Path, before: str) -> None:
    if before == "checked":
        verify_once(copied)
    for file in parse(copied).files:
        path = copied.parent / file.name
        whole = path.read_bytes()
        flip(path)
        with pytest.raises(DataError, match=rf"{file.name} is not what .*manifest.json describes.*prepare"):
            verify_once(copied)
        path.write_bytes(whole)
    assert verify_once(copied).bytes > 0


def test_only_what_changed_is_read_again(copied: Path) -> None:
    verify_once(copied)
    tokens = copied.parent / "web.train.tokens"
    tokens.touch()
    assert verify_once(copied).bytes == tokens.stat().st_size
    assert verify_once(copied).bytes == 0


def test_a_young_file_is_not_remembered(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "SETTLED_SECONDS", 3600.0)
    assert verify_once(copied).bytes == verify_once(copied).bytes > 0


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"web.train.tokens": 1}', b"\xff\x00"])
def test_a_damaged_memory_is_none(copied: Path, content: bytes) -> None:
    whole = verify_once(copied).bytes
    record = memory_of(copied)
    assert record is not None
    record.write_bytes(content)
    assert verify_once(copied).bytes == whole


def test_a_machine_without_a_place_to_remember_checks_each_time(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("STEPLADDER_CACHE", str(tmp_path / "file"))
    assert memory_of(copied) is None
    assert verify_once(copied).bytes == verify_once(copied).bytes > 0


@pytest.mark.parametrize("full", ["write_atomically", "TemporaryFile"])
def test_a_full_disk_costs_the_memory_not_the_run(
    copied: Path, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    def no_space(*arguments: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    holder = verification if full == "write_atomically" else verification.tempfile
    monkeypatch.setattr(holder, full, no_space)
    assert verify_once(copied).bytes == verify_once(copied).bytes > 0


def test_no_field_of_the_manifest_can_be_edited(copied: Path) -> None:
    told = json.loads(copied.read_text())
    edited = 0
    for change in edits(told):
        change()
        copied.write_text(json.dumps(told))
        with pytest.raises(DataError, match=r"manifest.json.*(prepare|delete)"):
            verify_once(copied)
        edited += 1
        change.undo()
    assert edited > 40


class Edit:
    """A leaf of a tree of JSON that is changed to another value of its type, and back."""

    def __init__(self, holder: Any, key: Any) -> None:
        self.holder, self.key, self.old = holder, key, holder[key]

    def __call__(self) -> None:
        old = self.old
        self.holder[self.key] = (
            not old if isinstance(old, bool) else old + 1 if isinstance(old, int | float) else f"{old}x"
        )

    def undo(self) -> None:
        self.holder[self.key] = self.old


def edits(tree: Any) -> Iterator[Edit]:
    """One for each leaf that is there."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        if isinstance(value, dict | list):
            yield from edits(value)
        elif value is not None:
            yield Edit(tree, key)


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "uint8"},
        {"vocab_size": 70_000},
        {"sha256": "0" * 64},
        {"other_files": []},
    ],
)
def test_manifests_without_a_digest_are_checked_by_what_runs_rely_on(copied: Path, change: dict) -> None:
    told = json.loads(copied.read_text())
    del told["digest"]
    copied.write_text(json.dumps(told))
    verify(copied)
    copied.write_text(json.dumps(told | change))
    with pytest.raises(DataError, match=r"manifest.json.*prepare"):
        verify(copied)


@pytest.mark.parametrize("field", ["tokens", "documents"])
def test_counts_of_older_manifests_are_checked(copied: Path, field: str) -> None:
    told = json.loads(copied.read_text())
    del told["digest"]
    told["domains"]["web"]["train"][field] += 1
    copied.write_text(json.dumps(told))
    with pytest.raises(DataError, match=r"domains.web.train: .* but its files hold"):
        verify(copied)


def test_a_digest_holds_for_later_versions_with_more_fields(copied: Path) -> None:
    class Later(Manifest):
        more: int | None = None

    told = Later.model_validate_json(copied.read_text())
    assert sealed(told).digest == told.digest
