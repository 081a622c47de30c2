"""Tests here edit the ladder and lose results: each file of them has a climbed ladder of its own."""

import pytest
from climbing import Climbed


@pytest.fixture(scope="module")
def climbed(climbed: Climbed, tmp_path_factory: pytest.TempPathFactory) -> Climbed:
    return climbed.copy(tmp_path_factory.mktemp("own") / "clone")
