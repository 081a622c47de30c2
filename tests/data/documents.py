"""Texts drawn at random, and how they are written for a ladder to read."""

from __future__ import annotations

import json
import random
from pathlib import Path

WORDS = ("ladder", "rung", "depth", "width", "token", "naïve", "漢字", "loss", "🙂", "budget", "seed")


def write_jsonl(path: Path, texts: list[str]) -> Path:
    """One object per line under the key `text`; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def make_texts(seed: int, n: int, words: int = 60) -> list[str]:
    """`n` distinct texts of random words."""
    draw = random.Random(seed)
    return [f"{seed}-{i} " + " ".join(draw.choices(WORDS, k=draw.randint(1, words))) for i in range(n)]
