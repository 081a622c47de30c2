"""Anyone's table: read as it is, or refused with rows, values and a way out."""

import gzip
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ladders import runs_table

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


EXPORTS = {
    "semicolons": lambda table: table.to_csv(index=False, sep=";").encode(),
    "decimal commas": lambda table: table.to_csv(index=False, sep=";", decimal=",").encode(),
    "decimal commas, tabs": lambda table: table.to_csv(index=False, sep="\t", decimal=",").encode(),
    "UTF-16": lambda table: table.to_csv(index=False).encode("utf-16"),
    "UTF-16 without a mark": lambda table: table.to_csv(index=False).encode("utf-16-le"),
    "UTF-16 tabs": lambda table: table.to_csv(index=False, sep="\t").encode("utf-16"),
    "byte order mark": lambda table: table.to_csv(index=False).encode("utf-8-sig"),
    "Windows lines": lambda table: table.to_csv(index=False, lineterminator="\r\n").encode(),
    "blank lines": lambda table: b"\n\n" + table.to_csv(index=False).encode() + b"\n\n",
    "row numbers": lambda table: table.to_csv().encode(),
    "row numbers from 1": lambda table: table.set_axis(range(1, 1 + len(table))).to_csv().encode(),
    "padded heading": lambda table: (
        table.rename(columns=lambda name: f"  {name} ").to_csv(index=False).encode()
    ),
    "padded fields": lambda table: table.to_csv(index=False).replace(",", " , ").encode(),
    "quotes": lambda table: table.to_csv(index=False, quoting=1).encode(),
    "gzip by content": lambda table: gzip.compress(table.to_csv(index=False).encode()),
}


@pytest.mark.parametrize("export", EXPORTS)
def test_however_it_was_exported(tmp_path, export):
    """The same numbers and names, NA among them."""
    table = GOOD.assign(variant=["NA", "null", "a b", "ä", "None", "1"])
    (tmp_path / "runs.csv").write_bytes(EXPORTS[export](table))
    read = select(read_table(tmp_path / "runs.csv"), [*NEEDED, "variant"], {})
    pd.testing.assert_frame_equal(read, table, rtol=1e-12, check_dtype=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"loss,flops\n2,1e18,3\n2,1e18,3\n", "more fields than the heading"),
        (b"loss,notes\n2,a\n3,[1, 2, 3]\n", "Expected 2 fields in line 3, saw 4.*quotes"),
        (b"loss, loss\n2,3\n", "two columns are called 'loss'"),
        ("loss,größe\n2,3\n".encode("latin-1"), "line 1 is not UTF-8 text: save it as UTF-8"),
        (b"PK\x03\x04nonsense", "perhaps a workbook: export it as CSV"),
        (b"PAR1nonsense", "is Parquet: call it .parquet"),
        (b"\x1f\x8bnonsense", "runs.csv: "),
        (b"loss\n" + b"2\0" * 600, "zero bytes"),
    ],
)
def test_what_cannot_be_read_says_what_to_do(tmp_path, content, message):
    (tmp_path / "runs.csv").write_bytes(content)
    with pytest.raises(ValueError, match=f"runs.csv: .*{message}|{message}"):
        read_table(tmp_path / "runs.csv")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("2,1;1,5e18\n2,2;2.5e18", "flops has points, and other columns have decimal commas"),
        ("2,1;1.234\n2,2;1.235", "flops has points, and other columns have decimal commas"),
        ("2,1;1.234.567\n2,2;1e18", "flops has points"),
        ('"2,1";"1 000"\n2,2;1e18', "flops is not a number in line 2: '1 000'.*decimal point"),
    ],
)
def test_thousands_are_not_taken_for_decimals(tmp_path, rows, message):
    (tmp_path / "runs.csv").write_text(f"loss;flops\n{rows}\n")
    with pytest.raises(ValueError, match=message):
        select(read_table(tmp_path / "runs.csv"), ["loss", "flops"], {})


SECONDS = GOOD[["loss", "flops"]].assign(seconds=[3723.5, 60.0, 90061.0, 1.0, 2.0, 3.0])
CLOCK = ["1:02:03.5", "00:01:00", "1-01:01:01", "0:00:01", "0 days 00:00:02", "0:00:03"]


@pytest.mark.parametrize(
    "durations",
    [
        pd.to_timedelta(SECONDS["seconds"], unit="s"),
        pd.to_timedelta(SECONDS["seconds"], unit="s").astype("timedelta64[ms]"),
        pd.to_timedelta(SECONDS["seconds"], unit="s").astype(object),
        pd.Series(CLOCK),
    ],
    ids=["ns", "ms", "objects", "text"],
)
def test_durations_are_seconds_where_seconds_are_asked_for(durations):
    read = select(SECONDS.assign(seconds=durations), ["loss", "flops", "seconds"], {})
    pd.testing.assert_frame_equal(read, SECONDS)
    with pytest.raises(ValueError, match="flops is not a number in lines 2, 3"):
        select(SECONDS.assign(flops=durations), ["loss", "flops"], {})


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pd.date_range("2026-01-01", periods=6), "flops is not a number"),
        ([True] * 6, "flops is not a number"),
        ([1e18 + 2e18j] * 6, "flops is not a number"),
        ([[1e18]] * 6, "flops is not a number in lines 2.*: \\[1e"),
        ([{"a": 1}] * 6, "flops is not a number"),
        (["1_000_000_000"] * 6, "flops is not a number"),
        ([10**400] * 6, "flops is not a number"),
        (["3 h"] * 6, "flops is not a number in lines 2, 3, 4, 5, 6 and 1 more: '3 h'; write it in FLOPs"),
        (pd.array([10**18, None] * 3, dtype="Int64"), "flops is missing in lines 3, 5, 7"),
        (["1e18", " "] * 3, "flops is missing in lines 3, 5, 7"),
    ],
)
def test_what_pandas_would_make_a_number_of(column, message):
    with pytest.raises(ValueError, match=message):
        select(GOOD[["loss"]].assign(flops=column, note=range(6)), ["loss", "flops"], {})


def test_numbers_and_names_of_all_types():
    """As Parquet holds them: decimals, texts, categories, pandas' own types, bytes."""
    odd = pd.DataFrame(
        {
            "loss": [Decimal(str(value)) for value in GOOD["loss"]],
            "flops": GOOD["flops"].map(str).astype("category"),
            "parameters": pd.array(GOOD["parameters"], dtype="Float64"),
            "tokens": GOOD["tokens"].astype(object),
            "variant": pd.Series([b"a", "b", 3, "c", "d", "e"], dtype=object),
        }
    )
    read = select(odd, [*NEEDED, "variant"], {})
    pd.testing.assert_frame_equal(read[NEEDED], GOOD, rtol=1e-12)
    assert list(read["variant"]) == ["a", "b", "3", "c", "d", "e"]
    with pytest.raises(ValueError, match=r"variant is no name in lines 2, 3.*: \['a'\]"):
        select(odd.assign(variant=[["a"]] * 6), [*NEEDED, "variant"], {})


def test_an_index_that_has_a_name_is_a_column(tmp_path):
    table = GOOD.assign(variant=list("aabbcc"), rung=list("xyxyxy"))
    table.set_index(["variant", "rung"]).to_parquet(tmp_path / "runs.parquet")
    read = read_table(tmp_path / "runs.parquet")
    pd.testing.assert_frame_equal(read[table.columns], table, check_dtype=False)
    GOOD.set_index("loss", drop=False).to_parquet(tmp_path / "runs.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "runs.parquet")[NEEDED], GOOD)


def test_rows_of_parquet_count_from_1(tmp_path):
    changed("loss", 2, np.nan).to_parquet(tmp_path / "runs.parquet")
    with pytest.raises(ValueError, match="loss is missing in row 3"):
        select(read_table(tmp_path / "runs.parquet"), NEEDED, {})


def test_a_log_of_steps_is_no_table_of_runs():
    """Neither for a comparison nor for a law, but the envelope is of curves."""
    log = pd.concat(
        [ladder().assign(step=step, loss=5.0 - 0.01 * step - 0.1 * ladder().index) for step in (1, 2)]
    )
    log = log.reset_index(drop=True)
    columns = {"variant": "model", "rung": "size", "flops": "C"}
    for read in (as_runs, lambda table, columns: select(table, ["loss", "flops"], columns)):
        with pytest.raises(
            ValueError, match=r"are steps of runs \(column 'step'; the first of dense small 0\)"
        ):
            read(log, columns)
    assert len(select(log, ["loss", "flops"], columns, curves=True)) == 24
    assert len(as_runs(ladder().assign(step=100), columns)) == 12


def test_a_runs_parquet_that_somebody_changed():
    runs = runs_table({"dense-baseline": 1.0})
    assert as_runs(runs, {}) is runs
    for broken, message in (
        (runs.drop(columns="rung"), "no column 'rung'"),
        (runs.assign(loss="x"), "column loss is .* and not a number"),
        (runs.assign(accelerator_seconds=pd.Timedelta("1h")), "column accelerator_seconds is timedelta64"),
        (runs.assign(seed=[None, *range(1, len(runs))]), "column seed holds no finite number in row 1"),
        (runs.assign(rung=runs["rung"].astype("category")), "column rung is category and not text"),
        (runs.assign(variant=[None, *runs["variant"][1:]]), "column variant holds no text in row 1"),
    ):
        with pytest.raises(ValueError, match=f"{message}.*stepladder collect"):
            as_runs(broken, {})


@pytest.mark.parametrize("separator", [",", ";"])
def test_names_that_are_one_number_stay_two_names(tmp_path, separator):
    """1 and 01, or 1e3 and 1000: as numbers they would be one variant with two seeds."""
    rows = ["variant,rung,seed,loss,flops", "1,1e3,0,3.25,1e18", "01,1e3,1,3.5,2e18", "1,1000,0,3.0,4e18"]
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(rows).replace(",", separator) + "\n")
    runs = as_runs(read_table(path), {})
    assert list(runs["variant"]) == ["1", "01", "1"] and list(runs["rung"]) == ["1e3", "1e3", "1000"]
    assert list(runs["loss"]) == [3.25, 3.5, 3.0]


def test_a_column_of_steps_does_not_make_runs_a_log(tmp_path):
    """How long each run trained, in a table whose only other name is one seed for all."""
    path = tmp_path / "runs.csv"
    path.write_text(
        "seed,step,parameters,tokens,loss\n0,100,1e7,2e8,3.5\n0,200,1e7,4e8,3.2\n0,100,2e7,2e8,3.3\n"
    )
    assert len(select(read_table(path), ["loss", "parameters", "tokens"], {})) == 3


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("seconds", "gpu_hours"),
        ("seconds", "wall (ms)"),
        ("seconds", "Minutes"),
        ("loss", "val_ppl"),
        ("loss", "bits per byte"),
        ("flops", "train PFLOPs"),
        ("tokens", "tokens [B]"),
        ("parameters", "params_M"),
    ],
)
def test_a_column_that_names_another_unit_is_not_taken(name, column):
    """Numbers alone do not always show it: hours are a plausible count of seconds."""
    table = GOOD.assign(seconds=GOOD["flops"] / 1e14).rename(columns={name: column})
    needed = [*NEEDED, "seconds"]
    with pytest.raises(ValueError, match=f"--columns {name}=.*, and {name} is in .*--any-units"):
        select(table, needed, {name: column})
    assert len(select(table, needed, {name: column}, any_units=True)) == 6


@pytest.mark.parametrize("columns", [{"flops": "loss"}, {"tokens": "flops"}, {"loss": "C", "tokens": "C"}])
def test_one_column_is_one_quantity(columns):
    with pytest.raises(ValueError, match=r"column '\w+' is taken for both \w+ and \w+: name a column"):
        select(GOOD.assign(C=GOOD["loss"]), NEEDED, columns)
    named = GOOD.assign(seed=range(6))
    assert len(select(named, ["loss", "parameters", "rung"], {"rung": "parameters"}, ["seed"])) == 6


@pytest.mark.parametrize(
    ("headings", "hint"),
    [
        (["loss [nats]", "flops"], "did you mean loss .nats.. Name it with --columns loss=loss .nats."),
        (["flops", "tokens"], r"there are: flops, tokens. Name it with --columns loss=COLUMN"),
    ],
)
def test_a_column_that_is_something_else_is_not_proposed(headings, hint):
    table = pd.DataFrame([[2.0, 1e18]], columns=headings)
    with pytest.raises(ValueError, match=hint):
        select(table, ["loss"], {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"loss|flops\n2|1e18\n", r"its first line is 'loss.flops', one column: .*separate fields by commas"),
        (b"| loss | flops |\n|---|---|\n", "one column"),
        (b"loss flops\n2 1e18\n", "one column"),
        (b"# runs of May\nloss,flops\n2,1e18\n", "its first line is '# runs of May', one column"),
        (b"sep=;\nloss;flops\n2;1e18\n", "remove its first line, 'sep=;'"),
        (b"runs, of May\nloss,flops,note\n2,1e18,a\n", "remove what stands above their names"),
        (b'[{"loss": 2, "flops": 1e18}]', "is JSON: export the table as CSV"),
        (b'{"loss": 2, "flops": 1e18}\n', "is JSON: export the table as CSV"),
        (b'loss,flops,note\n2,1e18,"a\n3,1e18,b\n', "a quotation mark is opened and never closed"),
        (gzip.compress(b"loss,flops\n2,1e18\n", mtime=0)[:-9], "damaged.*write it again"),
    ],
)
def test_what_is_no_table_of_text_says_what_to_do(tmp_path, content, message):
    (tmp_path / "runs.csv").write_bytes(content)
    with pytest.raises(ValueError, match=f"runs.csv: .*{message}"):
        read_table(tmp_path / "runs.csv")


def test_parquet_that_pandas_cannot_read_says_what_to_do(tmp_path):
    path = tmp_path / "runs.parquet"
    good = pa.Table.from_pandas(GOOD.assign(variant="a"))
    pq.write_table(good.append_column("loss", good["loss"]), path)
    with pytest.raises(
        ValueError, match=r"runs.parquet: two columns are called 'loss': rename or remove one"
    ):
        read_table(path)
    lists = pa.array([["a"]] * 6)
    pq.write_table(good.set_column(good.schema.get_field_index("variant"), "variant", lists), path)
    with pytest.raises(ValueError, match=r"runs.parquet: .*write it again"):
        read_table(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"runs.parquet: .*write it again"):
        read_table(path)
