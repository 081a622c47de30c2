"""Shared by tests: small run specs, a small corpus, and the smoke ladder, climbed once for real."""

from __future__ import annotations

import fcntl
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from climbing import Climbed, climb
from hypothesis import settings

from stepladder.record.spec import (
    DataSpec,
    ModelSpec,
    OptimizerSpec,
    PhaseSpec,
    RecipeSpec,
    RunSpec,
    ScheduleSpec,
)

# `make test` has more workers than cores, as many of them wait; none may take the others' cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What was checked of data is remembered outside results: not in the home of who runs the tests.
CACHE = tempfile.TemporaryDirectory(prefix="stepladder-tests-")
os.environ.setdefault("STEPLADDER_CACHE", CACHE.name)

# No deadlines: a busy machine is not a failure.
settings.register_profile("stepladder", deadline=None)
settings.load_profile("stepladder")


LONGEST = (
    "slurm/test_training.py",
    "slurm/test_heads.py",
    "slurm/test_trouble.py",
    "decision/test_limits.py",
    "workflow/test_sweep_climb.py",
    "workflow/test_smoke.py",
    "workflow/test_kill.py",
    "workflow/test_trunk_climb.py",
    "workflow/test_hostile_paths.py",
    "training/test_distributed.py",
    "bridge/test_local.py",
    "decision/test_compare.py",
    "decision/test_next_and_prediction.py",
    "report/test_report.py",
    "slurm/test_ranks.py",
    "workflow/test_preregister.py",
)
"""Files that start first, so that none is left over at the end; the first three mostly wait."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`--dist loadfile --no-loadscope-reorder` hands out files in this order."""
    place = {Path(__file__).parent / name: index for index, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.fixture(autouse=True)
def denormals() -> Iterator[None]:
    """Training flushes denormals for its whole process; hypothesis refuses to draw floats without them."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)


EXPERTS = {"n_experts": 4, "top_k": 2, "n_shared_experts": 0, "d_expert": 8, "every": 1}


@pytest.fixture(scope="session")
def make_model() -> Callable[..., ModelSpec]:
    """Model shapes: tiny unless told otherwise; options given for a MoE change its defaults."""

    def make(architecture: str = "dense", options: dict | None = None, **changes) -> ModelSpec:
        weights = {"balance_loss_weight": 0.01, "z_loss_weight": 0.0, "bias_rate": 0.0}
        own = {"moe": EXPERTS | weights, "sliding": {"window": 6, "local_per_global": 1}}
        shape = {
            "architecture": architecture,
            "n_layers": 2,
            "d_model": 16,
            "n_heads": 4,
            "n_kv_heads": 2,
            "d_head": 4,
            "d_ff": 16,
            "vocab_size": 256,
            "sequence_length": 16,
            "tied_embeddings": False,
            "qk_norm": True,
            "rope_theta": 10_000.0,
            "options": own.get(architecture, {}) | (options or {}),
        }
        return ModelSpec(**(shape | changes))

    return make


@pytest.fixture(scope="session")
def make_run(make_model) -> Callable[..., RunSpec]:
    """Run specs of some steps; `bag_size` makes the first quarter superposed, `shape` goes to make_model."""

    def make(
        architecture: str = "dense",
        recipe: str = "baseline",
        steps: int = 12,
        bag_size: int = 4,
        seed: int = 0,
        learning_rate: float = 0.01,
        precision: str = "fp32",
        optimizer: str = "adamw",
        **shape,
    ) -> RunSpec:
        model = make_model(architecture, **shape)
        superposed = steps // 4 if recipe == "tst" else 0
        further = {"tokens": 3, "weight": 0.3} if recipe == "multi_token" else {}
        targets = further.get("tokens", 1)
        common = {"sequences": 4, "positions": model.sequence_length}
        phases = [
            PhaseSpec(name="superposed", steps=superposed, bag_size=bag_size, targets=bag_size, **common),
            PhaseSpec(name="next_token", steps=steps - superposed, bag_size=1, targets=targets, **common),
        ]
        variant = f"{architecture}-{recipe}"
        return RunSpec(
            id=f"{variant}/d{model.n_layers}/1x/seed{seed}",
            variant=variant,
            rung=f"d{model.n_layers}",
            budget="1x",
            seed=seed,
            model=model,
            recipe=RecipeSpec(name=recipe, options=further, phases=tuple(p for p in phases if p.steps)),
            optimizer=OptimizerSpec(
                name=optimizer,
                learning_rate=learning_rate,
                beta1=0.9,
                beta2=0.95,
                epsilon=1e-10,
                weight_decay=0.1,
                clip_norm=1.0,
            ),
            schedule=ScheduleSpec(warmup_steps=2, decay_steps=4, decay_shape="linear", final=0.0),
            data=DataSpec(
                source={},
                tokenizer={},
                validation_fraction=0.2,
                max_validation_tokens=500,
                domain_weights={"code": 0.75, "web": 0.25},
            ),
            precision=precision,
            learning_rate_factor=1.0,
            budget_multiple=1.0,
            overrides=(),
            code="0" * 16,
        )

    return make


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of two domains of random words as bytes."""
    from stepladder.data.prepare import prepare

    folder = tmp_path_factory.mktemp("small_corpus")
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefgh", k=4)) for _ in range(50)]
    domains = {}
    for domain in ("code", "web"):
        (folder / domain).mkdir()
        for number in range(40):
            text = f"{domain} {number} " + " ".join(draw.choices(words, k=100))
            (folder / domain / f"{number}.txt").write_text(text)
        domains[domain] = [str(folder / domain / "*.txt")]
    (folder / "data").mkdir()
    return prepare({"kind": "text", "domains": domains}, {"kind": "byte"}, 0.2, folder / "data")


@pytest.fixture(scope="session")
def climbed(tmp_path_factory: pytest.TempPathFactory) -> Climbed:
    """The smoke ladder, climbed once for all workers. Tests that change something take a copy."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    with (base / "climb.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        failed = base / "climb.failed"
        if failed.exists():
            pytest.fail(f"the smoke ladder could not be climbed: {failed.read_text()}")
        if not (base / "climbed").exists():
            failed.write_text("another worker has the error")
            climb(base / "climbing").rename(base / "climbed")
            failed.unlink()
    return Climbed(base / "climbed")
