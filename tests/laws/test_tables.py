"""Anyone's table: read as it is, or refused with rows, values and a way out."""

import numpy as np
import pandas as pd
import pytest

from stepladder.decision.foreign import as_runs
from stepladder.laws.tables import drop_highest, parse_columns, read_table, select

N = np.geomspace(1e7, 1e9, 6)
GOOD = pd.DataFrame({"loss": 2 + N**-0.1, "flops": 120 * N**2, "parameters": N, "tokens": 20 * N})
NEEDED = list(GOOD)


def changed(column, row, value):
    table = GOOD.copy()
    table[column] = table[column].astype(object if isinstance(value, str) else float)
    table.loc[row, column] = value
    return table


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "tsv", "parquet"])
def test_a_table_is_what_was_written(tmp_path, suffix):
    path = tmp_path / f"runs.{suffix}"
    if suffix == "parquet":
        GOOD.to_parquet(path)
    else:
        GOOD.to_csv(path, index=False, sep="\t" if suffix == "tsv" else ",")
    pd.testing.assert_frame_equal(select(read_table(path), NEEDED, {}), GOOD, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.csv", None, "no such file"),
        ("runs.xlsx", "x", "not a .csv"),
        ("runs.csv", "loss,flops\n", "no rows"),
        ("runs.parquet", "nonsense", "runs.parquet: "),
    ],
)
def test_what_is_no_table(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_table(tmp_path / name)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            GOOD.rename(columns={"loss": "val_loss"}),
            r"no column 'loss'.*did you mean val_loss.*--columns loss=val_loss",
        ),
        (changed("loss", 2, np.nan), "loss is missing in line 4"),
        (changed("flops", 0, np.inf), "flops is infinite in line 2"),
        (changed("tokens", 5, 0.0), "tokens is zero or negative in line 7"),
        (changed("parameters", 1, -3.0), "parameters is zero or negative in line 3"),
        (changed("loss", 3, "n/a"), "loss is not a number in line 5: 'n/a'"),
        (pd.concat([GOOD, GOOD.tail(1)], ignore_index=True), "lines 7, 8 are the same in every column"),
        (changed("parameters", 1, 12.0), "parameters is below 1000 in line 3.*--any-units"),
        (GOOD.assign(flops=GOOD["flops"] / 1e15), "flops is below 1e.06 in lines 2, 3, 4, 5, 6 and 1 more"),
        (changed("tokens", 2, GOOD["tokens"][2] * 1e3), "in line 4 flops is about 0.001 times"),
        (
            GOOD.assign(tokens=GOOD["tokens"] / 1e3),
            "about 1000 times 6 x parameters x tokens in the whole table",
        ),
        (GOOD.assign(loss=np.exp(GOOD["loss"]) * 10), "not perplexities"),
    ],
)
def test_what_cannot_be_right_is_named(table, message):
    with pytest.raises(ValueError, match=message):
        select(table, NEEDED, {})


def test_units_can_be_meant():
    table = GOOD.assign(flops=GOOD["flops"] / 1e18)
    assert len(select(table, NEEDED, {}, any_units=True)) == 6


def test_mixtures_and_attention_are_no_error():
    """FLOPs of a mixture count active parameters: a sixty-fourth of the total is no mistake in units."""
    assert len(select(GOOD.assign(flops=GOOD["flops"] / 64), NEEDED, {})) == 6


def test_columns():
    assert parse_columns("loss=val, flops=C") == {"loss": "val", "flops": "C"} and parse_columns("") == {}
    for text, message in (("loss", "NAME=COLUMN"), ("x=y", "no quantity 'x'"), ("loss=a,loss=b", "twice")):
        with pytest.raises(ValueError, match=message):
            parse_columns(text)


def test_the_highest_losses_go():
    shuffled = GOOD.sample(frac=1, random_state=0)
    left = drop_highest(shuffled, 2)
    assert sorted(left["loss"]) == sorted(GOOD["loss"])[:-2]
    pd.testing.assert_frame_equal(left, shuffled.loc[left.index])
    with pytest.raises(ValueError, match="leaves nothing"):
        drop_highest(GOOD, 6)


def ladder():
    return pd.DataFrame(
        [
            {"model": v, "size": r, "seed": s, "loss": 3.0 - 0.1 * i - 0.01 * s, "C": 10.0 ** (18 + i)}
            for v in ("dense", "moe")
            for i, r in enumerate(("small", "medium", "large"))
            for s in (0, 1)
        ]
    )


def test_a_ladder_needs_no_more_than_names_loss_and_cost():
    columns = {"variant": "model", "rung": "size", "flops": "C"}
    runs = as_runs(ladder(), columns)
    assert list(runs["variant"].unique()) == ["dense", "moe"] and runs["id"].is_unique
    with pytest.raises(ValueError, match=r"dense at small has several rows.*--columns seed="):
        as_runs(ladder().drop(columns="seed"), columns)
    with pytest.raises(ValueError, match="no cost axis"):
        as_runs(ladder(), {"variant": "model", "rung": "size"})
    twice = ladder().assign(note=range(12))
    twice.loc[1, "seed"] = 0
    with pytest.raises(ValueError, match="lines 2, 3 are the same in variant, rung, seed"):
        as_runs(twice, columns)


def test_whole_numbers_do_not_overflow():
    """6 x parameters x tokens of a 10B model is beyond 64-bit integers."""
    table = GOOD.assign(parameters=[10**10] * 6, tokens=[2 * 10**11 + i for i in range(6)], flops=1.2e22)
    assert len(select(table.astype({"parameters": int, "tokens": int}), NEEDED, {})) == 6


def test_names_may_be_numbers_but_not_missing():
    table = GOOD.assign(variant=[1, 1, 1, 2, 2, 2])
    assert list(select(table, ["loss", "variant"], {})["variant"]) == list("111222")
    with pytest.raises(ValueError, match="variant is missing in line 3"):
        select(table.assign(variant=["a", None, "a", "b", "b", "b"]), ["loss", "variant"], {})


def test_lists_in_other_columns_are_no_error():
    """health_notes and warnings of a runs.parquet are arrays, which cannot be hashed."""
    notes = [np.array(["slow"]), [], {"a": 1}, None, "fast", np.array([])]
    table = GOOD.assign(warnings=pd.Series(notes, dtype=object))
    pd.testing.assert_frame_equal(select(table, NEEDED, {}), GOOD)
    with pytest.raises(ValueError, match="lines 2, 8 are the same in every column"):
        select(pd.concat([table, table.head(1)], ignore_index=True), NEEDED, {})


def test_a_wide_table_is_not_listed_as_a_whole():
    wide = GOOD.drop(columns="parameters").assign(
        parameters_total=1.0, **{f"lineage_{i}": i for i in range(80)}
    )
    with pytest.raises(ValueError, match="of the 84 that there are the nearest are: ") as refused:
        select(wide, NEEDED, {})
    assert "parameters_total" in str(refused.value) and len(str(refused.value)) < 400
