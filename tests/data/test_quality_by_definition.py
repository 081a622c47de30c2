"""The fast judge against the definitions as they are written down, on texts at and around every limit."""

import base64
import random
import zlib

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stepladder.data import quality
from stepladder.data.quality import (
    MAX_CHARACTER_SHARE,
    MAX_COMPRESSED_SHARE,
    MAX_REPEATED_LINES,
    MAX_RUN_SHARE,
    MIN_COMPRESSED_SHARE,
    SHORTEST,
    find_flaw,
)


def find_flaw_by_definition(text):
    """What a flaw is, measure by measure and without any short cut."""
    if len(text) < SHORTEST["one_character"]:
        return None
    if is_one_character(text.decode()):
        return "one_character"
    if len(text) < SHORTEST["repetitive"]:
        return None
    compressed = len(zlib.compress(text, 1)) / len(text)
    if compressed < MIN_COMPRESSED_SHARE or repeated_line_share(text) > MAX_REPEATED_LINES:
        return "repetitive"
    if len(text) >= SHORTEST["not_text"] and compressed > MAX_COMPRESSED_SHARE:
        return "not_text"
    return None


def is_one_character(text):
    counts, run, longest = {}, 0, 0
    before = None
    for character in text:
        run = run + 1 if character == before else 1
        before = character
        if character not in " \t\n\r":
            counts[character] = counts.get(character, 0) + 1
            longest = max(longest, run)
    most = max(counts.values(), default=0)
    return most > MAX_CHARACTER_SHARE * sum(counts.values()) or longest > MAX_RUN_SHARE * len(text)


def repeated_line_share(text):
    seen = set()
    total = repeated = 0
    for line in map(bytes.strip, text.split(b"\n")):
        total += len(line)
        if line in seen:
            repeated += len(line)
        seen.add(line)
    return repeated / max(1, total)


SCRIPTS = ["ab \n", "aé", "กขค ", "漢字か\n", "🙂a", "\x00\t", "ЖжЩ ", "=-", "abcdefgh ijklmnop"]


@st.composite
def texts(draw):
    """Runs, draws of letters and repeated lines, one after another, of up to some thousand bytes."""
    parts = []
    for _ in range(draw(st.integers(1, 4))):
        generator, size = random.Random(draw(st.integers(0, 99))), draw(st.integers(0, 1500))
        letters = draw(st.sampled_from(SCRIPTS))
        kind = draw(st.sampled_from(["run", "draw", "lines", "any"]))
        if kind == "run":
            parts.append(letters[0] * size)
        elif kind == "draw":
            parts.append("".join(generator.choices(letters, k=size)))
        elif kind == "lines":
            line = "".join(generator.choices(letters, k=draw(st.integers(1, 40))))
            parts.append(f"{line}\n \n" * (1 + size // 20))
        else:
            parts.append(draw(st.text(max_size=200)))
    return "".join(parts).encode()


@given(texts())
def test_any_text_has_the_flaw_that_the_definitions_give(text):
    assert find_flaw(text) == find_flaw_by_definition(text)


def one_character(share, scale):
    """`share` of the visible characters are one of three bytes, the others all different."""
    n = round(share * 200 * scale)
    others = [chr(0x4E00 + 7 * number) for number in range(200 * scale - n)]
    mixed = ["。"] * n + others
    random.Random(n).shuffle(mixed)
    return "".join(mixed) + "  \n"


@given(st.floats(0.25, 0.75), st.integers(1, 3), st.booleans())
@example(0.5, 1, False)
@example(0.3, 1, True)
def test_characters_of_several_bytes_around_their_limits(share, scale, in_a_run):
    text = one_character(share, scale)
    if in_a_run:
        text = text.replace("。", "") + "。" * text.count("。")
    assert find_flaw(text.encode()) == find_flaw_by_definition(text.encode())


@given(st.integers(0, 10**6), st.floats(0.8, 1.0), st.integers(3, 60))
def test_repeated_lines_around_their_limit(seed, share, distinct):
    """Lines of which `share` came before, in any order, so that the first ones tell little."""
    generator = random.Random(seed)
    lines = [base64.b64encode(generator.randbytes(generator.randint(2, 40))) for _ in range(distinct)]
    n = round(distinct / max(0.02, 1 - share))
    chosen = lines + [b"  " * generator.randint(0, 2) + generator.choice(lines) for _ in range(n - distinct)]
    if seed % 2:
        generator.shuffle(chosen)
    text = b"\n".join(chosen)
    assert (repeated_line_share(text) > MAX_REPEATED_LINES) == quality.has_repeated_lines(text)
    assert repeated_line_share(text) == quality.repeated_line_share(text)
    assert find_flaw(text) == find_flaw_by_definition(text)


def letters(generator, size):
    """Letters of an alphabet of any size, of even to very uneven frequencies."""
    n = generator.integers(2, 200)
    shares = generator.dirichlet(np.full(n, generator.choice([0.05, 0.2, 1, 10])))
    return (generator.choice(n, size, p=shares) % 100 + 20).astype(np.uint8).tobytes()


def words(generator, size):
    """Words of random letters, of one length and all as frequent."""
    length, n = generator.integers(2, 12), int(np.exp(generator.uniform(1, 10)))
    vocabulary = generator.integers(20, 20 + generator.integers(2, 100), (n, length)).astype(np.uint8)
    return vocabulary[generator.integers(0, n, size // length + 1)].tobytes()


def mutated(generator, size):
    """A page over and over, a few letters of it changed."""
    page = np.frombuffer(letters(generator, generator.integers(5, 40_000)), np.uint8)
    text = np.tile(page, size // len(page) + 1)
    changed = np.flatnonzero(generator.random(len(text)) < np.exp(generator.uniform(-10, -2)))
    text[changed] = generator.integers(20, 120, len(changed))
    return text.tobytes()


def encoded(generator, size):
    """Words, then base64: both sides of the upper limit."""
    part = generator.uniform()
    return words(generator, int(size * part)) + base64.b64encode(generator.bytes(int(size * (1 - part))))


def far_repeated(generator, size):
    """A page of random lines four times, as far apart as one compressor sees and the other does not."""
    page = b"".join(b"\n<line> " + base64.b64encode(generator.bytes(200)) for _ in range(150))
    return page[: generator.integers(32_300, 32_900)] * 4


@pytest.mark.parametrize("kind", [letters, words, mutated, encoded, far_repeated])
@pytest.mark.parametrize("seed", range(25))
def test_the_quick_compressor_is_on_the_same_sides_of_both_limits(kind, seed):
    generator = np.random.default_rng(seed)
    text = kind(generator, int(np.exp(generator.uniform(7, 11))))
    quick, exact = quality.compressed_share(text), len(zlib.compress(text, 1)) / len(text)
    assert (quick < MIN_COMPRESSED_SHARE) == (exact < MIN_COMPRESSED_SHARE)
    if len(text) >= SHORTEST["not_text"]:
        assert (quick > MAX_COMPRESSED_SHARE) == (exact > MAX_COMPRESSED_SHARE)
    assert find_flaw(text) == find_flaw_by_definition(text)
