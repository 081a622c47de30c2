"""Settings of the `data:` section: what is refused, and that reading them is cheap."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import TypeAdapter, ValidationError

from stepladder.schema.data import SourceConfig, TokenizerConfig, vocab_size

SOURCE, TOKENIZER = TypeAdapter(SourceConfig), TypeAdapter(TokenizerConfig)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"kind": "web"}', "python_stdlib"),
        ('{"kind": "jsonl", "domains": {}}', "at least 1"),
        ('{"kind": "jsonl", "domains": {"web": []}}', "at least 1"),
        ('{"kind": "jsonl", "domains": {"web": [""]}}', "at least 1"),
        ('{"kind": "jsonl", "domains": {"../web": ["a"]}}', "pattern"),
        ('{"kind": "text", "domains": {"web": ["a"]}, "field": "x"}', "Extra inputs"),
        ('{"kind": "python_stdlib", "domains": {}}', "Extra inputs"),
    ],
)
def test_impossible_sources_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        SOURCE.validate_json(text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"kind": "words"}', "bpe"),
        ('{"kind": "bpe", "vocab_size": 256}', "257"),
        ('{"kind": "byte", "vocab_size": 300}', "Extra inputs"),
        ('{"kind": "pretrained", "vocab_size": 300}', "required"),
    ],
)
def test_impossible_tokenizers_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        TOKENIZER.validate_json(text)


def test_vocabulary_is_known_without_any_file() -> None:
    assert vocab_size(TOKENIZER.validate_json('{"kind": "byte"}')) == 256
    assert vocab_size(TOKENIZER.validate_json('{"kind": "bpe", "vocab_size": 512}')) == 512
    llama = '{"kind": "pretrained", "path": "nowhere.json", "vocab_size": 128256}'
    assert vocab_size(TOKENIZER.validate_json(llama)) == 128_256


def test_settings_import_nothing_heavy() -> None:
    heavy = {"numpy", "pandas", "pyarrow", "tokenizers", "torch"}
    code = f"import sys, stepladder.schema.data; print({heavy} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
