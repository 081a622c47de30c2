"""Scripts beyond Latin: printed, or warned about on the page and on stderr."""

from __future__ import annotations

import shutil
from pathlib import Path

import matplotlib
import pytest

from stepladder.record.plan import Plan
from stepladder.report.render.plan import build_plan_pdf
from stepladder.report.render.typst import FONTS, unprintable

PRINTED = {
    "Latin": "Tiếng Việt, Łódź, naïve",
    "Greek": "εξοικονομεί",
    "Cyrillic": "Экономит ли это вычисления?",
    "Hebrew": "האם זה חוסך",
    "Arabic": "هل يوفر الحساب",
    "Georgian": "ეკონომია",
    "Devanagari": "हिन्दी",
    "signs": "→ ≤ ∑ × … “quoted” –",
}


@pytest.mark.parametrize("script", PRINTED)
def test_scripts_that_are_printed(script: str) -> None:
    assert unprintable(PRINTED[script]) == ""


@pytest.mark.parametrize(("text", "code"), [("日本", "U+65E5, U+672C"), ("🎉", "U+1F389"), ("한", "U+D55C")])
def test_what_no_font_has_is_named(text: str, code: str) -> None:
    assert code in unprintable(f"a {text} b") and FONTS in unprintable(text)


def test_many_are_counted() -> None:
    assert "and 88 more" in unprintable("".join(map(chr, range(0x4E00, 0x4E00 + 100))))


def test_a_font_that_one_names_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of matplotlib's own, the last resort has a box for everything."""
    fonts = Path(matplotlib.get_data_path(), "fonts", "ttf")
    shutil.copy(next(fonts.glob("LastResort*")), tmp_path / "everything.ttf")
    monkeypatch.setenv(FONTS, str(tmp_path))
    assert unprintable("日本") == ""


def test_a_page_in_any_script(tmp_path: Path, plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    printed = plan.model_copy(update={"question": " ".join(PRINTED.values())})
    build_plan_pdf(printed, tmp_path / "plan.pdf")
    assert capsys.readouterr().err == ""
    boxes = plan.model_copy(update={"question": "節約できるか？"})
    build_plan_pdf(boxes, tmp_path / "boxes.pdf")
    assert "boxes.pdf: no font here has the characters U+" in capsys.readouterr().err
    content = (tmp_path / "plan.pdf").read_bytes()
    assert b"DejaVuSans" in content and b"Libertinus" in content
