"""Which tokens of an item are read, and which are scored."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.data.stdlib import cut_docstrings, library
from stepladder.data.tokenization import Bytes, train_bpe
from stepladder.evaluation.requests import Request, moved, requests, rolling
from stepladder.record.items import HeldOut, Item, ItemError
from stepladder.record.kinds import load
from stepladder.schema.data import BPETokenizer

BYTES = Bytes()
TEXT = b"the cat sat on the mat, and the dog sat on the log. " * 30


def ask(item: Item, context: int = 64) -> list[Request]:
    return list(requests([item], BYTES, context, "here"))


def test_an_answer_goes_on_from_its_context() -> None:
    (first, second) = ask(Item("1", "2 + 2 =", (" 4", " 22"), 0))
    assert bytes(first.context.astype(np.uint8)) == b"2 + 2 ="
    assert [bytes(one.answer.astype(np.uint8)) for one in (first, second)] == [b" 4", b" 22"]
    assert (first.choice, second.choice, first.cut) == (0, 1, 0)


def test_white_space_at_the_end_of_a_context_goes_to_the_answer() -> None:
    assert moved("Answer: \n", "yes") == ("Answer:", " \nyes")
    assert bytes(ask(Item("1", "a ", ("b",), 0))[0].answer.astype(np.uint8)) == b" b"


def test_what_is_too_long_is_cut_from_the_left() -> None:
    """The last token of the answer is not read, so that one more than the model's context fits."""
    (one,) = ask(Item("1", "abcdefgh", ("XYZ",), 0), context=6)
    assert bytes(one.context.astype(np.uint8)) == b"efgh"
    assert one.cut == 4
    assert len(one.context) + len(one.answer) - 1 == 6


def test_an_answer_longer_than_the_model_reads_is_refused() -> None:
    with pytest.raises(ItemError, match=r"here: item q7: choice 1 has 9 tokens, and the model reads 8"):
        ask(Item("q7", "abc", ("x", "123456789"), 0), context=8)


def test_an_answer_without_a_token_of_its_own_is_refused() -> None:
    bpe = train_bpe(BPETokenizer(kind="bpe", vocab_size=300), [TEXT])
    words = [f"the {word}" for word in ("cat", "mat", "dog", "log", "sat", "the")]
    cuts = [(word[:place], word[place:]) for word in words for place in range(5, len(word))]

    def tokens(text: str) -> int:
        return len(bpe.encode([text.encode()])[0])

    before, after = next(cut for cut in cuts if tokens("".join(cut)) <= tokens(cut[0]))
    item = Item("1", before, (after,), 0)
    with pytest.raises(ItemError, match="no token of its own"):
        list(requests([item], bpe, 64, "here"))


def test_text_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(ItemError, match="no Unicode text"):
        ask(Item("1", "a\ud800", ("b",), 0))


@given(length=st.integers(1, 60), context=st.integers(1, 20))
def test_windows_of_a_text_predict_every_token_once(length: int, context: int) -> None:
    tokens = np.arange(1, length + 1)
    found = list(rolling(3, 0, tokens, 0, context))
    assert np.concatenate([one.answer for one in found]).tolist() == tokens.tolist()
    whole = [0, *tokens.tolist()]
    for one in found:
        read = len(one.context) + len(one.answer) - 1
        assert read <= context
        end = int(one.answer[-1])
        assert [*one.context, *one.answer] == whole[end - read : end + 1]
        if len(found) > 1:
            assert read == context  # the last window, too, sees as much as it can


def test_a_text_by_itself_begins_after_the_end_of_a_document() -> None:
    (one,) = ask(Item("1", "", ("abc",), 0))
    assert one.context.tolist() == [BYTES.end_of_document]


@given(before=st.text(max_size=20), after=st.text(min_size=1, max_size=20))
def test_context_and_answer_are_all_of_the_text(before: str, after: str) -> None:
    (one,) = ask(Item("1", before, (after,), 0), context=400)
    ids = [*one.context, *one.answer] if before.rstrip() else [*one.answer]
    assert bytes(np.array(ids).astype(np.uint8)) == (before + after).encode()


def test_an_answer_that_begins_within_a_token_of_the_context_is_told() -> None:
    bpe = train_bpe(BPETokenizer(kind="bpe", vocab_size=300), [TEXT])

    def tokens(text: str) -> list[int]:
        return bpe.encode([text.encode()])[0].tolist()

    before, after = next(
        (TEXT[:place].decode(), TEXT[place:60].decode())
        for place in range(5, 12)
        if tokens(TEXT[:60].decode())[: len(was := tokens(TEXT[:place].decode()))] != was
    )
    asked = [Item("1", "the cat", (" sat",), 0), Item("2", before, (after,), 0)]
    assert [one.merged for one in requests(asked, bpe, 64, "here")] == [False, True]


@pytest.mark.parametrize("kind", ["calls", "lines", "docstrings"])
def test_items_that_are_made_leave_no_answer_within_a_token(kind: str) -> None:
    """Whatever the tokenizer: the standard library's own text, cut by a BPE that was trained on it."""
    module = load("tasks", kind)
    names = ["argparse.py", "ast.py", "inspect.py", "typing.py"]
    sources = {name: (library() / name).read_text() for name in names}

    def held_out() -> list[HeldOut]:
        return [HeldOut("code", name, cut_docstrings(text).code) for name, text in sources.items()]

    items = list(module.items(module.Config(items=100), held_out))
    assert len(items) >= 50
    bpe = train_bpe(BPETokenizer(kind="bpe", vocab_size=2000), [text.encode() for text in sources.values()])
    found = list(requests(items, bpe, 512, "here"))
    assert sum(one.merged for one in found) <= 0.01 * len(found)
