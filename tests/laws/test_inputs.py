"""What laws refuse to be asked, and sizes that look rounded."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.decision.prediction import predict_points
from stepladder.laws.envelope import envelope
from stepladder.laws.forms import LAWS
from stepladder.laws.inputs import refuse_contradiction
from stepladder.laws.isoflop import isoflop
from stepladder.laws.rounding import rounded_sizes
from stepladder.laws.table_fit import Options, fit_table

TRUE = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}
ODD = [-1, 0, -0.0, -1e300, float("nan"), float("inf"), -float("inf"), 0.5, "1e9", None, True, 1j]


def rows(sizes=(67108864, 134217728, 268435456, 536870912), shown=None, per_token=6.0):
    """A loss for each size and token count; `shown` are the sizes that the table gives."""
    N, D = (part.ravel() for part in np.meshgrid(sizes, np.geomspace(1e9, 3e10, 4), indexing="ij"))
    loss = TRUE["E"] + TRUE["A"] * N ** -TRUE["alpha"] + TRUE["B"] * D ** -TRUE["beta"]
    written = N if shown is None else np.repeat(shown, 4).astype(float)
    return pd.DataFrame({"loss": loss, "flops": per_token * N * D, "parameters": written, "tokens": D})


@pytest.fixture(scope="module")
def fits():
    """One of each law; the table of `sparsity` lacks FLOPs."""
    table = rows()
    C = table["flops"]
    sparse = pd.concat(
        [table.assign(active_fraction=f, loss=table["loss"] + 0.4 * f**0.2) for f in (1.0, 0.5)]
    )
    made = {
        "compute": table.assign(loss=1.7 + 1500 * C**-0.16),
        "chinchilla": table,
        "overtraining": table.assign(loss=1.8 + 800 * (table["tokens"] / table["parameters"] / C) ** 0.178),
    }
    pinned = {"overtraining": {"b": 0.0}}
    found = {
        name: fit_table(rows_, LAWS[name](), Options(draws=0, pinned=pinned.get(name, {})))
        for name, rows_ in made.items()
    }
    alone = {"c": 0.4, "lambda": -0.2, "d": 0.0}
    options = Options(draws=0, pinned=alone)
    return found | {"sparsity": fit_table(sparse.drop(columns="flops"), LAWS["sparsity"](), options)}


POINT = {"flops": 1.2e19, "parameters": 1e8, "tokens": 2e10, "active_fraction": 0.5, "multiplier": 200.0}


@pytest.mark.parametrize("value", ODD, ids=str)
@pytest.mark.parametrize("law", LAWS)
def test_meaningless_inputs_are_refused_by_name_and_value(fits, law, value):
    inputs = LAWS[law]().inputs
    good = {name: POINT[name] for name in inputs}
    (row,) = predict_points(fits[law], [good])
    assert np.isfinite(row.predicted)
    for name in inputs:
        if value == 0.5 and name not in ("parameters", "tokens"):
            continue
        shown = (
            f"{value:g}" if isinstance(value, float | int) and not isinstance(value, bool) else repr(value)
        )
        said = f"{name} = {shown}: give a number above 0"
        for ask in (
            lambda point: predict_points(fits[law], [good, point]),
            lambda point: LAWS[law]().loss(fits[law].pinned | fits[law].parameters, point),
        ):
            with pytest.raises(ValueError) as error:
                ask(good | {name: value})
            assert str(error.value).startswith(said)


def test_arrays_are_looked_at_throughout():
    law, N = LAWS["chinchilla"](), np.array([1e8, 1e9])
    assert law.loss(TRUE, {"parameters": N, "tokens": 1e10}).shape == (2,)
    with pytest.raises(ValueError, match=r"parameters = -3: give"):
        law.loss(TRUE, {"parameters": np.array([1e8, -3.0]), "tokens": 1e10})
    with pytest.raises(ValueError, match=r"the chinchilla law needs parameters, tokens: give tokens"):
        law.loss(TRUE, {"parameters": N})


def test_an_active_fraction_is_at_most_one(fits):
    point = {"parameters": 1e8, "tokens": 2e10, "active_fraction": 1.5}
    with pytest.raises(ValueError, match=r"active_fraction = 1.5: give a number above 0, at most 1"):
        predict_points(fits["sparsity"], [point])


def test_names_that_a_law_has_not(fits):
    with pytest.raises(ValueError, match=r"depends on parameters, tokens: leave out data"):
        predict_points(fits["chinchilla"], [{"parameters": 1e8, "tokens": 2e10, "data": 2e10}])
    with pytest.raises(ValueError, match=r"needs flops, multiplier: give multiplier"):
        predict_points(fits["overtraining"], [{"flops": 1e19, "tokens": 2e10}])


@given(
    ratio=st.floats(1, 20),
    off=st.floats(1.01, 1e6),
    N=st.floats(1e3, 1e13),
    D=st.floats(1e3, 1e15),
    up=st.booleans(),
)
def test_flops_that_contradict(ratio, off, N, D, up):
    """Within twice of what the rows take nothing contradicts, beyond it all does; 10 times where unknown."""
    for known, apart in (((ratio, 1.1 * ratio), 2.0), (None, 10.0)):
        low, high = known or (6.0, 6.0)
        inside = {"flops": (high * apart if up else low / apart) * N * D * (0.999 if up else 1.001)}
        refuse_contradiction(inside | {"parameters": N, "tokens": D}, known)
        beyond = {"flops": (high * apart * off if up else low / apart / off) * N * D}
        with pytest.raises(ValueError, match="contradicts parameters"):
            refuse_contradiction(beyond | {"parameters": N, "tokens": D}, known)
    refuse_contradiction(inside | {"parameters": N}, None)


def test_the_rows_say_what_flops_fit(fits):
    law = fits["overtraining"]
    assert law.flops_per_parameter_token == pytest.approx((6, 6))
    assert fits["sparsity"].flops_per_parameter_token is None
    at = {"parameters": 1e9, "tokens": 2e10}
    (row,) = predict_points(law, [at | {"flops": 1.2e20}])
    assert row.at == at | {"flops": 1.2e20}
    with pytest.raises(ValueError, match=r"flops = 1.2e\+21 .*6 to 6 in the fitted rows; give flops from 6e"):
        predict_points(law, [at | {"flops": 1.2e21}])
    with pytest.raises(ValueError, match=r"multiplier = 30 contradicts .* give their ratio, 20"):
        predict_points(law, [at | {"flops": 1.2e20, "multiplier": 30.0}])
    with pytest.raises(ValueError, match="contradicts"):
        predict_points(fits["chinchilla"], [at | {"flops": 1e23}])


@pytest.mark.parametrize("value", [-1.0, 0.0, np.nan, np.inf])
@pytest.mark.parametrize("fit", [isoflop, envelope])
def test_targets_are_budgets(fit, value):
    with pytest.raises(ValueError, match=rf"flops = {value:g}: give a number above 0"):
        fit(rows(), 0, targets=[1e20, value])


TRUE_SIZES = (67108864, 134217728, 268435456, 536870912)


def test_rounded_sizes_are_warned_of_and_exact_ones_not():
    assert rounded_sizes(rows()) == []
    (said,) = rounded_sizes(rows(shown=[70e6, 130e6, 270e6, 540e6]))
    assert "4 of 4 sizes have at most 2 significant digits, 7e+07 may be off by 7.1%" in said
    assert "jumps by" in said
    (said,) = rounded_sizes(rows(shown=[70e6, 130e6, 270e6, 536870912]))
    assert "3 of 4 sizes" in said
    assert rounded_sizes(rows(shown=[70e6, 130e6, 268435456, 536870912])) == []
    # Three digits of the true size are exact enough; of another count they are not, which FLOPs betray.
    assert rounded_sizes(rows(shown=[671e5, 134e6, 268e6, 537e6])) == []
    (said,) = rounded_sizes(rows(shown=[671e5, 125e6, 268e6, 537e6]))
    assert "jumps by" in said
    # Attention makes the ratio fall smoothly, and rows of one size may differ: neither is rounding.
    exact = rows()
    smooth = exact.assign(flops=exact["flops"] * (exact["parameters"] / 1e8) ** -0.05)
    assert rounded_sizes(smooth) == []
    assert rounded_sizes(rows(sizes=(1e8, 2e8))) == []


def test_fits_pass_the_warning_on():
    blunt = rows(shown=[70e6, 130e6, 270e6, 540e6])
    found = fit_table(blunt, LAWS["chinchilla"](), Options(draws=0))
    assert any("parameters look rounded" in said for said in found.warnings)
    alone = fit_table(
        blunt.assign(loss=1.7 + 1500 * blunt["flops"] ** -0.16), LAWS["compute"](), Options(draws=0)
    )
    assert not any("rounded" in said for said in alone.warnings)
