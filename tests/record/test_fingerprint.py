"""The code fingerprint sees code, and nothing else."""

import pytest

from stepladder.record import fingerprint as code


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.setattr(code, "PACKAGE", tmp_path)

    def fingerprint(text: str) -> str:
        (tmp_path / "module.py").write_text(text)
        code.fingerprint.cache_clear()
        return code.fingerprint(("*.py",))

    yield fingerprint
    code.fingerprint.cache_clear()


def test_comments_docstrings_and_layout_do_not_count(package):
    assert package('def f(x):\n    """Doc."""\n    return x + 1\n') == package(
        "# why\ndef f(x):\n    '''Other words.'''\n\n    return (x + 1)  # because\n"
    )


def test_code_counts(package):
    assert package("def f(x):\n    return x + 1\n") != package("def f(x):\n    return x + 2\n")


def test_a_file_that_went_away_is_an_error(package):
    package("")
    with pytest.raises(FileNotFoundError, match="gone"):
        code.fingerprint(("gone.py",))


def test_recipes_are_fingerprinted_apart():
    assert code.run_fingerprint("dense", "baseline") != code.run_fingerprint("dense", "tst")
