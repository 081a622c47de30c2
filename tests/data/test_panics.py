"""A tokenizer.json at which the library panics is refused by name, like any other wrong file."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models
from typer.testing import CliRunner

from stepladder.cli import app
from stepladder.data.errors import DataError
from stepladder.data.panics import panics_in_words, refuse_panicking_tokenizer

PANICS = {
    "normalizer": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": ""}},
    "model": {
        "model": {
            "type": "BPE",
            "vocab": {"a": 0, "b": 1, "ab": 2},
            "merges": [["a", "b"]],
            "continuing_subword_prefix": "##",
        }
    },
}
"""Parts of a tokenizer.json that the library does not check before it uses them."""


def tokenizer_file(folder: Path, changes: dict) -> Path:
    written = json.loads(Tokenizer(models.BPE()).to_str())
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(written | changes))
    return path


@pytest.mark.parametrize("part", PANICS)
def test_a_panic_of_the_library_is_a_sentence(tmp_path, part, capfd):
    path = tokenizer_file(tmp_path, PANICS[part])
    (tmp_path / "a.txt").write_text("text")
    settings = {
        "source": {"kind": "text", "domains": {"web": [str(tmp_path / "a.txt")]}},
        "tokenizer": {"kind": "pretrained", "path": str(path), "vocab_size": 300, "end_of_document": "a"},
        "validation_fraction": 0.1,
    }
    done = CliRunner().invoke(app, ["data", json.dumps(settings), "--out", str(tmp_path / "manifest.json")])
    assert isinstance(done.exception, SystemExit) and done.exit_code == 1, done.exception
    assert f"stepladder: {path}: the library gave up on it (" in done.output
    assert "panicked" not in capfd.readouterr().err


def test_only_panics_are_put_in_words(tmp_path):
    with pytest.raises(KeyboardInterrupt), panics_in_words("x"):
        raise KeyboardInterrupt
    with pytest.raises(DataError, match="x: the library gave up on it"), panics_in_words("x"):
        raise type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})("slice")
    refuse_panicking_tokenizer(str(tokenizer_file(tmp_path, {})))
    refuse_panicking_tokenizer(str(tmp_path / "missing.json"))
