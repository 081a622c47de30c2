"""Any ladder file is accepted or refused within a second and 200 MB, ten thousand runs within five."""

import subprocess
import sys
import time

import pytest

from stepladder.ladder.climb import Climb
from stepladder.ladder.read import LadderError

SECONDS, MEGABYTES = 1.0, 200


def bomb(levels: int) -> str:
    """Ten to the power of `levels` values, in a kilobyte."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels)]
    return "\n".join(lines)


HOSTILE = {
    "alias bomb": bomb(12),
    "merge bomb": bomb(12).replace("[", "{<<: [").replace("]", "]}"),
    "an alias of itself": "a: &a [*a]",
    "an alias of nothing": "a: *b",
    "deep brackets": "a: " + "[" * 190_000,
    "deep braces": "a: " + "{a: " * 45_000,
    "deep dashes": "- " * 90_000,
    "deep question marks": "? " * 90_000,
    "deep lines": "".join(" " * i + "-\n" for i in range(600)),
    "brackets between quotes": "a: " + '["]", ' * 30_000,
    "many values": "a: [" + "1," * 90_000 + "]",
    "many keys": "\n".join(f"{i}:" for i in range(25_000)),
    "many anchors": "\n".join(f"k{i}: &a{i} 1" for i in range(12_000)),
    "many merges": "a: &a {x: 1}\n" + "\n".join(f"b{i}: {{<<: *a}}" for i in range(10_000)),
    "many wrong seeds": "seeds: [" + "x, " * 20_000 + "]",
    "a hundred thousand seeds": f"seeds: {list(range(100_000))}",
    "a long number": "version: " + "9" * 190_000,
    "a long line": "question: " + "x y " * 45_000,
    "comments": "#\n" * 90_000,
    "a large file": "question: " + "x" * 10_000_000,
    "a tag": "name: !!python/object/apply:os.system [true]",
    "two documents": "name: a\n---\nname: b",
    "nothing": "",
    "a byte that is no text": "name: \x00",
}

# changes to the valid ladder that would make something enormous of it
ENORMOUS = {
    "a billion layers": ("{depth: 2}", "{depth: 1000000000}"),
    "a thousand layers of a million features": ("{depth: 2}", "{depth: 1000, set: {d_model: 1048576}}"),
    "a width without divisors": ("{depth: 2}", "{depth: 2, set: {d_model: 1048573}}"),
    "a billion parallel runs": ("plan:", "execution: {parallel_runs: 1000000000}\nplan:"),
    "a long sequence": ("sequence_length: 128", "sequence_length: 1000000000"),
    "a long sequence in bags": ("sequence_length: 128", "sequence_length: 1048573"),
    "a billion bags": ("bag_size: 4", "bag_size: 1000000000"),
    "a billion experts": ("n_experts: 8", "n_experts: 1000000000"),
    "ten thousand seeds of four variants": ("seeds: [0, 1]", f"seeds: {list(range(10_000))}"),
    "many budgets and seeds": (
        "budgets: [1]\nseeds: [0, 1]",
        f"budgets: {[1 + i / 100 for i in range(5000)]}\nseeds: {list(range(5000))}",
    ),
    "many labels": (
        "  dense: {}",
        "\n".join(["  dense: {}", *(f"  d{i}: {{kind: dense}}" for i in range(5000))]),
    ),
    "many rungs": ("  - {depth: 2}", "\n".join(f"  - {{depth: 2, name: r{i}}}" for i in range(4000))),
}


def opened(path) -> float:
    """CPU seconds until the file is accepted or refused."""
    begun = time.process_time()
    try:
        assert Climb.open(str(path)).price
    except LadderError as error:
        assert str(path) in str(error) and len(str(error)) < 20_000
    return time.process_time() - begun


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_a_second(tmp_path, name):
    path = tmp_path / "hostile.yaml"
    path.write_text(HOSTILE[name])
    with pytest.raises(LadderError):
        Climb.open(str(path))
    assert opened(path) < SECONDS


@pytest.mark.parametrize("name", ENORMOUS)
def test_an_enormous_ladder_is_read_or_refused_in_a_second(edit, name):
    assert opened(edit(ENORMOUS[name])) < SECONDS


TEN_THOUSAND = {
    "seeds": [("seeds: [0, 1]", f"seeds: {list(range(1250))}")],
    "budgets": [
        ("budgets: [1]\nseeds: [0, 1]", f"budgets: {[1 + i / 100 for i in range(1250)]}\nseeds: [0]"),
    ],
    "deep rungs": [
        ("  - {depth: 2}\n  - {depth: 3}\n", "".join(f"  - {{depth: {d}}}\n" for d in range(937, 1000))),
        ("budgets: [1]\nseeds: [0, 1]", f"budgets: {[i / 1e5 for i in range(1, 40)]}\nseeds: [0]"),
        ("sequences: 8", "sequences: 256"),
        ("top_k: 2", "top_k: 2, d_expert: 64"),
        ("exponent: -1", "exponent: 0"),
    ],
}


@pytest.mark.parametrize("name", TEN_THOUSAND)
def test_ten_thousand_runs_take_less_than_five_seconds(edit, name):
    path = edit(*TEN_THOUSAND[name])
    begun = time.process_time()
    assert 9_500 < len(Climb.open(str(path)).runs) <= 10_000
    assert time.process_time() - begun < 5


MEASURE = """
import sys
from pathlib import Path
from stepladder.ladder.climb import Climb, LadderError
for path in sys.argv[1:]:
    try:
        Climb.open(path)
    except LadderError:
        pass
(peak,) = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line]
print(peak)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_below_200_mb(tmp_path, edit):
    """Of a process of its own, for all hostile files and ten thousand runs, one after the other."""
    paths = []
    for i, text in enumerate(HOSTILE.values()):
        paths.append(tmp_path / f"{i}.yaml")
        paths[-1].write_text(text)
    paths.append(edit(*TEN_THOUSAND["budgets"]))
    done = subprocess.run([sys.executable, "-c", MEASURE, *map(str, paths)], capture_output=True, check=True)
    assert int(done.stdout) / 1024 < MEGABYTES


def test_the_limits_hold_without_libyaml(tmp_path, monkeypatch):
    """PyYAML's own parser is slower, and stops at the same places."""
    import yaml

    from stepladder.ladder import read

    monkeypatch.setattr(read, "_Loader", yaml.SafeLoader)
    for name in ("alias bomb", "deep brackets", "deep braces", "an alias of itself", "a tag"):
        read._parse.cache_clear()
        path = tmp_path / "hostile.yaml"
        path.write_text(HOSTILE[name])
        with pytest.raises(LadderError):
            Climb.open(str(path))
    read._parse.cache_clear()
