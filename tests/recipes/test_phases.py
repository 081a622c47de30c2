"""Phases of the recipes: equal positions, more tokens."""

import pytest
from pydantic import ValidationError

from stepladder.recipes import baseline, tst


def test_baseline_is_one_phase():
    (phase,) = baseline.phases(baseline.Config(), 128, 8)
    assert (phase.fraction, phase.bag_size, phase.sequences, phase.positions) == (1.0, 1, 8, 128)


@pytest.mark.parametrize(("superpose", "sequences", "positions"), [("length", 8, 128), ("batch", 32, 32)])
def test_tst_keeps_positions_and_multiplies_tokens(superpose, sequences, positions):
    config = tst.Config(bag_size=4, superposed_fraction=0.25, superpose=superpose)
    superposed, recovery = tst.phases(config, 128, 8)
    assert (superposed.sequences, superposed.positions) == (sequences, positions)
    assert superposed.sequences * superposed.positions == recovery.sequences * recovery.positions
    assert (superposed.fraction, recovery.fraction) == (0.25, 0.75)
    assert (superposed.bag_size, recovery.bag_size) == (4, 1)


def test_no_superposed_steps_leave_one_phase():
    phases = tst.phases(tst.Config(bag_size=4, superposed_fraction=0.0), 128, 8)
    assert [phase.name for phase in phases] == ["next_token"]


def test_bag_that_does_not_divide():
    config = tst.Config(bag_size=5, superposed_fraction=0.3, superpose="batch")
    with pytest.raises(ValueError, match=r"bag_size 5 does not divide .* use a divisor \(2, 4"):
        tst.phases(config, 128, 8)


@pytest.mark.parametrize("settings", [{"bag_size": 0}, {"superposed_fraction": 1.0}, {"bags": 2}])
def test_impossible_settings(settings):
    with pytest.raises(ValidationError):
        tst.Config.model_validate({"bag_size": 2, "superposed_fraction": 0.3} | settings)
