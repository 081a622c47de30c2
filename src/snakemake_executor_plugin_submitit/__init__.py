"""Snakemake executor whose jobs are submitit jobs: Slurm arrays, or processes of this machine.

    snakemake --executor submitit                              # Slurm
    snakemake --executor submitit --submitit-cluster local     # no Slurm at all

Compute nodes import this package as well, once per job, and need nothing but `payload`: what Snakemake looks
for here is imported when it asks.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_WHERE = {"Executor": "executor", "ExecutorSettings": "settings", "common_settings": "settings"}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
