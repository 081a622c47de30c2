"""What lint-imports cannot see: which imports happen when a module is loaded, which only when it is used."""

import pkgutil
import subprocess
import sys
from importlib import import_module

LIGHT = ("schema", "display", "ladder", "recipes", "architectures")
"""Rooms that each parse of the Snakefile may load, once per remote job."""


def test_a_ladder_is_planned_without_loading_torch_or_pandas():
    names = [
        module.name
        for room in LIGHT
        for module in pkgutil.walk_packages(
            import_module(f"stepladder.{room}").__path__, f"stepladder.{room}."
        )
    ]
    code = f"import sys, {', '.join(names)}; print({{'torch', 'pandas'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
