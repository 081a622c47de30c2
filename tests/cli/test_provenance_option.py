"""`stepladder data --provenance`: what is known of a text goes into the manifest, and changes no shard."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stepladder.cli import app
from stepladder.data.manifest import read


def run(folder: Path, provenance: str, code: int = 0) -> str:
    for number in range(30):
        (folder / f"{number}.txt").write_text(f"the text of file {number}")
    source = {"kind": "text", "domains": {"web": [f"{folder}/*.txt"]}}
    settings = {"source": source, "tokenizer": {"kind": "byte"}, "validation_fraction": 0.3}
    words = [
        "data",
        json.dumps(settings),
        "--out",
        str(folder / "data/manifest.json"),
        "--provenance",
        provenance,
    ]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == code, done.output
    return done.output


def test_it_is_in_the_manifest(tmp_path: Path) -> None:
    run(tmp_path, "{}")
    plain = read(tmp_path / "data/manifest.json")
    assert plain.source["domains"] == {"web": [f"{tmp_path}/*.txt"]}
    run(tmp_path, '{"web": {"licence": "CC0-1.0", "synthetic": "no"}}')
    told = read(tmp_path / "data/manifest.json")
    assert told.sha256 == plain.sha256
    assert told.source["domains"]["web"] == {
        "licence": "CC0-1.0",
        "synthetic": "no",
        "paths": [f"{tmp_path}/*.txt"],
    }


@pytest.mark.parametrize(
    ("provenance", "said"),
    [
        ('{"code": {}}', "no domain 'code'; it has: web"),
        ('{"web": {"synthetic": "perhaps"}}', "synthetic"),
        ('{"web": {"license": "x"}}', "license"),
        ("[]", "--provenance"),
        ('{"web": 3}', "--provenance"),
    ],
)
def test_what_it_cannot_be(tmp_path: Path, provenance: str, said: str) -> None:
    assert said in " ".join(
        run(tmp_path, provenance, code=2 if "domain" in said or "--" in said else 1).split()
    )
