"""From likelihoods to scores, by hand."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from stepladder.evaluation.score import Answered, scores
from stepladder.record.evaluation import Task
from stepladder.record.items import Item


def answered(gold: int, bits: list[float], sizes: list[int], likeliest: bool = False) -> Answered:
    """An item whose choices cost so many bits."""
    choices = tuple(chr(97 + number) * size for number, size in enumerate(sizes))
    nats = -np.array(bits) * log(2)
    return Answered(Item("1", "?", choices, gold), nats, likeliest, False, False, sum(sizes))


def task(several: bool = True, whole: bool = False) -> Task:
    return Task(
        name="t",
        kind="items",
        settings={},
        format="",
        items=2,
        items_sha256="",
        chance=0.5,
        several_choices=several,
        whole_text=whole,
        searched=None,
    )


def test_choices() -> None:
    """The first item is right by likelihood and wrong per byte, the second one the other way round."""
    found = scores(
        [answered(0, [4, 6], [2, 4]), answered(1, [4, 6], [2, 4])],
        task(),
    )
    assert found.items == 2
    assert found.bits_per_byte == pytest.approx((4 / 2 + 6 / 4) / 2)
    assert found.bits_per_byte_error == pytest.approx(np.std([2, 1.5], ddof=1) / 2**0.5)
    assert (found.accuracy, found.accuracy_per_byte) == (0.5, 0.5)
    assert found.accuracy_error == pytest.approx(0.5)
    assert found.margin == pytest.approx(((1.5 - 2) + (2 - 1.5)) / 2)


def test_a_gold_answer_alone_is_right_where_it_is_the_likeliest() -> None:
    found = scores([answered(0, [3], [3], likeliest=True), answered(0, [6], [3])], task(several=False))
    assert (found.accuracy, found.accuracy_per_byte, found.margin) == (0.5, None, None)
    assert found.bits_per_byte == pytest.approx(1.5)


def test_documents_weigh_their_bytes() -> None:
    found = scores([answered(0, [10], [10]), answered(0, [60], [30])], task(several=False, whole=True))
    assert found.bits_per_byte == pytest.approx(70 / 40)
    assert found.accuracy is None


def test_the_error_of_documents_of_one_size_is_that_of_their_mean() -> None:
    few = [answered(0, [bits], [10]) for bits in (10, 14, 9, 20)]
    found = scores(few, task(several=False, whole=True))
    assert found.bits_per_byte_error == pytest.approx(np.std([1.0, 1.4, 0.9, 2.0], ddof=1) / 2)


def test_one_item_has_no_error() -> None:
    found = scores([answered(0, [3, 4], [3, 3])], task())
    assert (found.bits_per_byte_error, found.accuracy_error) == (None, None)


def test_bytes_are_those_of_utf8() -> None:
    one = Answered(Item("1", "", ("é",), 0), np.array([-2 * log(2)]), False, False, False, 2)
    assert one.bits_per_byte.tolist() == pytest.approx([1.0])


def test_white_space_that_goes_to_the_answer_counts_as_its_bytes() -> None:
    one = Answered(Item("1", "a:\n\n", ("bc",), 0), np.array([-8 * log(2)]), False, False, False, 4)
    assert one.bits_per_byte.tolist() == pytest.approx([2.0])
