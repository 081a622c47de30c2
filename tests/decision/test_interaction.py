"""The 2 x 2 of architectures and recipes: does a recipe save the same on both?"""

import pytest
from ladders import runs_table

from stepladder.decision.cells import make_cells
from stepladder.decision.compare import compare
from stepladder.decision.fit import fit
from stepladder.decision.interaction import squares
from stepladder.schema.analysis import AnalysisConfig

CONFIG = AnalysisConfig(baseline="dense-baseline", bootstrap_draws=300, leave_one_out=False)


def interactions(runs):
    fits = {axis: fit(runs, axis, CONFIG) for axis in ("flops", "seconds")}
    return compare(runs, fits, CONFIG).interactions


def test_ratio_of_gains_by_hand():
    """TST gains 1.2 on dense and 1.5 / 1.25 = 1.2 on MoE; then 1.2 and 1.0 / 1.25 = 0.8: ratios 1 and 2/3."""
    for moe_tst, expected in ((1.5, 1.0), (1.0, 0.8 / 1.2)):
        gains = {"dense-baseline": 1.0, "dense-tst": 1.2, "moe-baseline": 1.25, "moe-tst": moe_tst}
        rows = interactions(runs_table(gains))
        assert [(row.recipe, row.architecture, row.axis) for row in rows] == [
            ("tst", "moe", "flops"),
            ("tst", "moe", "seconds"),
        ]
        assert rows[0].pooled.gain == pytest.approx(expected, rel=1e-5)
        assert rows[0].at_largest.gain == pytest.approx(expected, rel=1e-5)


def test_interval_holds_the_ratio():
    gains = {"dense-baseline": 1.0, "dense-tst": 1.2, "moe-baseline": 1.25, "moe-tst": 1.5}
    low, high = interactions(runs_table(gains, sigma=0.005, seed=1))[0].pooled.interval
    assert low < 1 < high < 2


def test_no_square_without_all_four():
    gains = {"dense-baseline": 1.0, "dense-tst": 1.2, "moe-tst": 1.5}
    assert squares(make_cells(runs_table(gains)), "dense-baseline") == []
    assert interactions(runs_table(gains)) == ()
