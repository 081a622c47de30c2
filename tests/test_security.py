"""What docs/security.md says: files are read as data, whoever wrote them."""

from __future__ import annotations

import ast
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepladder.data import cache
from stepladder.data.batches import Corpus
from stepladder.data.errors import DataError
from stepladder.data.tokenization import load_pretrained
from stepladder.documents.document import DocumentError
from stepladder.ladder.load import LadderError, load_ladder
from stepladder.laws.tables import read_table as read_foreign_table
from stepladder.record.kinds import load
from stepladder.record.tables import read_table
from stepladder.schema.accelerators import accelerators
from stepladder.schema.data import PretrainedTokenizer

SOURCE = Path(__file__).parents[1] / "src" / "stepladder"

RUNNING = {
    *("eval", "exec", "compile", "__import__"),
    *("pickle.load", "pickle.loads", "torch.load", "pd.read_pickle", "marshal.load", "marshal.loads"),
    *("shelve.open", "joblib.load", "dill.load", "os.system", "os.popen", "runpy.run_path"),
}
"""Calls that run what they are given."""

UNPICKLERS = {"training/stored_tensors.py": ("_Description", "_Unpickler")}
"""The class that unpickles, with a list of what may be named, and its base as the type checker sees it."""


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch executed",)


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_module_runs_what_it_reads(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in RUNNING, f"line {node.lineno}"
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert options.get("allow_pickle", "False") == "False", f"line {node.lineno}"
            assert options.get("shell", "False") == "False", f"line {node.lineno}"
            assert options.get("weights_only", "True") == "True", f"line {node.lineno}"
            assert options.get("trust_remote_code", "False") == "False", f"line {node.lineno}"
            if ast.unparse(node.func) == "YAML":
                assert options.get("typ") in ("'safe'", "'rt'"), f"line {node.lineno}"
        if isinstance(node, ast.ClassDef) and "Unpickler" in " ".join(map(ast.unparse, node.bases)):
            assert node.name in UNPICKLERS[str(path.relative_to(SOURCE))]


def test_no_template_evaluates_text():
    templates = list(SOURCE.rglob("*.typ"))
    assert templates
    assert not [path.name for path in templates if "eval(" in path.read_text(encoding="utf-8")]


TAGS = (
    "!!python/object/apply:os.system ['touch executed']",
    "!!python/object/new:os.system ['touch executed']",
    "!!python/name:os.system",
    "!!python/module:os",
    "!<tag:yaml.org,2002:python/object/apply:os.system> ['touch executed']",
)


@pytest.mark.parametrize("tag", TAGS)
def test_tags_of_yaml_make_no_objects(tag, tmp_path):
    for text in (f"{tag}\n", f"name: {tag}\n", f"a: &x {tag}\nname: *x\n"):
        path = tmp_path / "ladder.yaml"
        path.write_text(text)
        with pytest.raises(LadderError):
            load_ladder(path)
        with pytest.raises(ValueError):
            accelerators(path)


@pytest.mark.parametrize(
    "name", ["os", "..os", "../../evil", "tst.os", "/tmp/evil", "evil; import os", "__main__", ""]
)
@pytest.mark.parametrize("kind", ["recipes", "architectures"])
def test_a_name_leads_to_no_module_elsewhere(kind, name, tmp_path):
    (tmp_path / "evil.py").write_text("import os; os.system('touch executed')")
    with pytest.raises(ValueError):
        load(kind, name)


def test_cached_documents_hold_no_objects(tmp_path):
    objects = np.array([Hostile()], dtype=object)
    np.savez(tmp_path / "entry.npz", table=objects, flat=objects)
    with pytest.raises(ValueError, match="allow_pickle"):
        cache.load(tmp_path / "entry.npz")


def test_a_corpus_holds_no_objects(small_corpus, tmp_path):
    """numpy maps no objects, and unpickles none unless told to."""
    copy = shutil.copytree(small_corpus.parent, tmp_path / "data")
    objects = np.array([Hostile()], dtype=object)
    np.save(copy / "token_bytes.npy", objects)
    for name in copy.glob("*documents*.npy"):
        np.save(name, objects)
    with pytest.raises(ValueError):
        _ = Corpus.open(copy / "manifest.json", 500).validation("code").bytes


@pytest.mark.parametrize("suffix", ["parquet", "csv", "tsv", "pkl"])
def test_a_pickled_table_is_none(suffix, tmp_path):
    path = tmp_path / f"runs.{suffix}"
    path.write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(ValueError):
        read_foreign_table(path)
    with pytest.raises(DocumentError):
        read_table(path)


def test_a_pickled_tokenizer_is_none(tmp_path):
    (tmp_path / "tokenizer.json").write_bytes(pickle.dumps(Hostile()))
    (tmp_path / "tokenizer.py").write_text("import os; os.system('touch executed')")
    settings = PretrainedTokenizer(
        kind="pretrained", path=str(tmp_path / "tokenizer.json"), end_of_document="<|end|>", vocab_size=300
    )
    with pytest.raises(DataError, match=r"not a tokenizer\.json"):
        load_pretrained(settings)
