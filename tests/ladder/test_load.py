"""Whatever is wrong with a ladder file is said with file, line, key, value and the fix."""

import json

import pytest

from stepladder.ladder.expand import expand
from stepladder.ladder.load import find_ladder, load_ladder
from stepladder.ladder.read import LadderError

# change to the valid ladder -> texts that the error must hold
BROKEN = {
    "unknown key": (
        ("budgets: [1]", "budget: [1]"),
        ["line 12", "budget", "unknown key", "did you mean 'budgets'?"],
    ),
    "unknown nested key": (
        ("d_head: 16", "d_head: 16\n  dhead: 3"),
        ["shape.dhead", "did you mean 'd_head'?", "allowed here: sequence_length"],
    ),
    "a number that is octal for some": (
        ("sequence_length: 128", "sequence_length: 0200"),
        ["line 15", 'shape.sequence_length = "0200"', "valid integer"],
    ),
    "a name of other letters": (
        ("{depth: 3}", "{depth: 3, name: größe}"),
        ["line 5", "rungs[1].name", "letters A to Z, digits, `.`, `_` and single `-`"],
    ),
    "a label of other letters": (
        ("  dense: {}", "  dense: {}\n  a b: {kind: dense}"),
        ["line 8", "architectures.a b: a name is made of the letters A to Z"],
    ),
    "a domain of other letters": (
        ("{kind: python_stdlib}", '{kind: text, domains: {a-b: ["x"]}}'),
        ["data.source.domains.a-b", "a domain's name is made of"],
    ),
    "a merge key": (("  baseline: {}", "  <<: {}"), ["line 10", "merge keys (<<)", "write out"]),
    "no list": (("seeds: [0, 1]", "seeds: 3"), ["line 13", "seeds = 3: a list is needed, as in [a, b]"]),
    "a question with orders to a terminal": (
        ('"A question?"', '"A \\e[2J"'),
        ["line 2", "question", "control character '\\x1b': remove it"],
    ),
    "the name of a file in results/": (("name: tiny", "name: README.md"), ["line 1", "choose another"]),
    "a second line for sbatch": (
        ("plan:", 'execution: {account: "a\\ntouch pwned"}\nplan:'),
        ["execution.account", "write it in one line"],
    ),
    "wrong type": (("seeds: [0, 1]", 'seeds: ["a"]'), ["line 13", "seeds[0]", '"a"', "integer"]),
    "missing key": (("  d_head: 16\n", ""), ["shape.d_head", "required key", "features per head"]),
    "empty axis": (("seeds: [0, 1]", "seeds: []"), ["seeds", "at least 1"]),
    "empty recipes": (
        ("  baseline: {}\n  tst: {bag_size: 4, superposed_fraction: 0.25}", "  {}"),
        ["recipes", "at least 1"],
    ),
    "a task of no kind": (
        ("plan:", "evaluation: {tasks: {callz: {}}}\nplan:"),
        ["evaluation.tasks.callz", "no task 'callz'", "`kind: ...`", "hellaswag"],
    ),
    "a task without its file": (
        ("plan:", "evaluation: {tasks: {hellaswag: {}}}\nplan:"),
        ["evaluation.tasks.hellaswag.path", "required key 'path' is missing"],
    ),
    "a setting of another task": (
        ("plan:", "evaluation: {tasks: {calls: {shots: 2}}}\nplan:"),
        ["evaluation.tasks.calls.shots", "unknown key 'shots'", "context_bytes"],
    ),
    "a suite of tasks that are not there": (
        ("plan:", "evaluation: {tasks: {calls: {}}, suites: {all: [calls, lines]}}\nplan:"),
        ["evaluation.suites.all[1]", "no task 'lines'; there are: calls"],
    ),
    "a metric of a task that is not there": (
        ("analysis:", "analysis:\n  metric: task:calls"),
        ["analysis.metric", "no task 'calls' in evaluation.tasks; there are: none"],
    ),
    "a metric of a suite that is not there": (
        ("analysis:", "analysis:\n  metric: macro:all"),
        ["analysis.metric", "no suite 'all' in evaluation.suites; there are: none"],
    ),
    "duplicate rung": (("{depth: 3}", "{depth: 2}"), ["line 5", "rungs[1]", "second rung 'd2'"]),
    "duplicate seed": (("seeds: [0, 1]", "seeds: [1, 1]"), ["seeds", "twice"]),
    "duplicate key": (
        ("budgets: [1]", "budgets: [1]\nname: twice"),
        ["line 13", "the key name", "duplicate", "line 1"],
    ),
    "top-k over experts": (("top_k: 2", "top_k: 9"), ["line 8", "moe", "top_k 9", "between 1 and 8"]),
    "unknown setting of a recipe": (("bag_size: 4", "bagsize: 4"), ["recipes.tst.bagsize", "'bag_size'"]),
    "unknown recipe": (
        ("tst: {bag", "magic: {bag"),
        ["recipes.magic", "no recipe 'magic'", "baseline, multi_token, tst"],
    ),
    "weights": (("prose: 0.5", "prose: 0.6"), ["data", "sum to 1.1"]),
    "unknown domain": (("code: 0.5", "cod: 0.5"), ["data.domain_weights.cod", "it has: code, prose"]),
    "unknown rule": (("rule: power", "rule: guess"), ["learning_rate.default", "'power'"]),
    "negative rate": (("value: 1e-2", "value: -1"), ["value", "must be from 1e-12 to 1e+12"]),
    "unknown baseline": (
        ("baseline: dense-b", "baseline: sparse-b"),
        ["analysis.baseline", "dense-baseline"],
    ),
    "all rungs held out": (
        ("baseline: dense-b", "holdout_rungs: 2\n  baseline: dense-b"),
        ["analysis.holdout_rungs", "2 of 2 rungs", "hold out fewer"],
    ),
    "more rungs asked for than there are": (
        ("baseline: dense-b", "verdict: {minimal_rungs: 5}\n  baseline: dense-b"),
        ["analysis.verdict.minimal_rungs", "5 rungs are asked for", "ladder has 2", "add rungs"],
    ),
    "sweep of an unknown rung": (
        ("shape:", "sweep: {rungs: [d9], learning_rate_factors: [0.5, 1, 2]}\nshape:"),
        ["sweep.rungs[0]", '"d9"', "this ladder has: d2, d3"],
    ),
    "sweep of too few factors": (
        ("shape:", "sweep: {rungs: [d2], learning_rate_factors: [0.5, 1]}\nshape:"),
        ["sweep.learning_rate_factors", "at least 3"],
    ),
    "sweep of descending factors": (
        ("shape:", "sweep: {rungs: [d2], learning_rate_factors: [2, 1, 0.5]}\nshape:"),
        ["sweep", "learning_rate_factors [2, 1, 0.5]", "smallest first"],
    ),
    "sweep without the ruled batch": (
        ("shape:", "sweep: {rungs: [d2], learning_rate_factors: [0.5, 1, 2], batch_factors: [2]}\nshape:"),
        ["sweep", "batch_factors [2]", "add 1"],
    ),
    "sweep with an unknown choice": (
        ("shape:", "sweep: {rungs: [d2], learning_rate_factors: [0.5, 1, 2], apply: yes}\nshape:"),
        ["sweep.apply", "'unswept', 'all' or 'none'"],
    ),
    "a sweep as it was written before": (
        ("shape:", "learning_rate_factors: [0.5, 1, 2]\nshape:"),
        ["learning_rate_factors", "`sweep: {rungs: [d2, d3]", "apply: none}`"],
    ),
    "bad yaml": (("budgets: [1]", "budgets: [1"), ["line", "not valid YAML"]),
    "warmup and decay": (
        ("  batch:", "  warmup_fraction: 0.9\n  batch:"),
        ["optimizer", "exceed 1"],
    ),
}

IMPOSSIBLE = {
    "heads do not divide width": (
        ("{depth: 2}", "{depth: 2, set: {n_heads: 3}}"),
        ["line 4", "rungs[0]", "n_heads 3 does not divide d_model 32", "[1, 2, 4"],
    ),
    "odd heads": (("{depth: 2}", "{depth: 2, set: {d_model: 45, n_heads: 3}}"), ["d_head 15 is odd"]),
    "head wider than model": (("d_head: 16", "d_head: 64"), ["d_head 64 is more than d_model 32"]),
    "kv heads": (("{depth: 3}", "{depth: 3, set: {n_kv_heads: 2}}"), ["rungs[1]", "n_kv_heads 2", "[1, 3]"]),
    "queries per key": (("d_head: 16", "d_head: 16\n  queries_per_key: 4"), ["queries_per_key 4", "[1, 2]"]),
    "experts do not divide": (("top_k: 2", "top_k: 5"), ["d_ff 96 does not divide among 5", "multiple of 5"]),
    "bag does not divide the sequence": (
        ("bag_size: 4,", "bag_size: 6, superpose: batch,"),
        ["bag_size 6 does not divide sequence_length 128", "superpose: length"],
    ),
    "budget too small": (("budgets: [1]", "budgets: [0.0001]"), ["phase", "raise `budgets`"]),
    "warmup too long": (
        ("  batch:", "  warmup_steps: 100000\n  batch:"),
        ["warmup of 100000", "do not fit"],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_explained(edit, name):
    change, expected = BROKEN[name]
    path = edit(change)
    with pytest.raises(LadderError) as error:
        load_ladder(path)
    for text in [str(path), *expected]:
        assert text in str(error.value), f"{text!r} not in: {error.value}"


@pytest.mark.parametrize("change", [("budgets: [1]", "budgets: [0]"), ("seeds: [0, 1]", "seeds: [x]")])
def test_one_slip_is_one_line(edit, change):
    with pytest.raises(LadderError) as error:
        load_ladder(edit(change))
    assert len(str(error.value).splitlines()) == 1, error.value


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_an_impossible_ladder_is_explained(edit, name):
    change, expected = IMPOSSIBLE[name]
    path = edit(change)
    with pytest.raises(LadderError) as error:
        expand(load_ladder(path), path)
    for text in [str(path), *expected]:
        assert text in str(error.value), f"{text!r} not in: {error.value}"


def test_all_problems_are_reported_at_once(edit):
    with pytest.raises(LadderError) as error:
        load_ladder(edit(("budgets: [1]", "budget: [1]"), ("seeds: [0, 1]", "seeds: []")))
    assert "budget" in str(error.value) and "seeds" in str(error.value)


def test_a_missing_ladder_lists_those_that_exist():
    with pytest.raises(LadderError, match=r"laptop, .*smoke"):
        find_ladder("no-such-ladder")


@pytest.mark.parametrize(
    "name", ["smoke", "laptop", "laptop-lr-sweep", "smoke-sweep", "tst-dense", "tst-moe"]
)
def test_shipped_ladders_expand(name):
    path = find_ladder(name)
    assert expand(load_ladder(path), path)


@pytest.mark.parametrize(
    "path",
    [
        "https://example.org/f?token=HUSH",
        "https://example.org/f#token=HUSH",
        "S3://KEY:HUSH@bucket/f",
        "s3://KEY:HU/SH@b",
    ],
)
@pytest.mark.parametrize("written", ["[{}]", "{}"])
def test_a_refused_path_is_not_shown_with_its_secret(edit, path, written):
    source = f"{{kind: text, domains: {{code: {written.format(json.dumps(path))}, prose: [a.txt]}}}}"
    with pytest.raises(LadderError) as error:
        load_ladder(edit(("{kind: python_stdlib}", source)))
    said = str(error.value)
    assert "HUSH" not in said and "HU/SH" not in said and "data.source" in said
