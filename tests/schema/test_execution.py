"""An option of the engine is written once: in a ladder's `execution`, on its way to a run, and by a rung."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.schema.execution import EngineOptions, Execution, RunExecution
from stepladder.schema.ladder import Rung

OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "compile": st.sampled_from(["auto", "always", "never"]),
        "sharding": st.sampled_from(["auto", "none", "full", "hybrid"]),
        "micro_batch_sequences": st.integers(0, 2**24),
        "checkpoint_seconds": st.floats(1e-3, 1e7),
        "keep_checkpoints": st.integers(1, 100),
        "keep": st.lists(st.sampled_from(["phases", "log-spaced", "end"]), max_size=3).map(tuple),
        "max_skipped_steps": st.integers(0, 100),
    },
)


@given(OPTIONS)
def test_what_a_ladder_says_reaches_the_engine(options):
    execution = Execution.model_validate(options | {"memory_mb": 7, "accelerators_per_run": 2})
    assert EngineOptions.from_text(execution.engine) == EngineOptions.model_validate(options)


def test_defaults_need_no_words():
    assert Execution(threads=3).engine == "" and EngineOptions.from_text("") == EngineOptions()
    assert Execution(compile="never", keep_checkpoints=2).engine == '{"compile":"never"}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"sharding": "half"}', "sharding = 'half'.*'auto', 'none', 'full' or 'hybrid'"),
        ('{"threads": 2}', "threads = 2: Extra inputs are not permitted.*max_skipped_steps"),
        ("compile=never", r"""options = 'compile=never': Invalid JSON.*as in '\{"compile": "never"\}'"""),
    ],
)
def test_impossible_options_are_refused_with_the_fix(text, message):
    with pytest.raises(ValueError, match=message):
        EngineOptions.from_text(text)


def test_a_rung_says_only_what_is_its_own():
    """Also where it says the default, and after a round trip through JSON."""
    whole = Execution(threads=4, compile="never", partition="big")
    rung = Rung(depth=2, execution=RunExecution(threads=1, partition=None))
    again = Rung.model_validate_json(rung.model_dump_json())
    for own in (rung.execution, again.execution):
        found = whole.of_rung(own)
        assert (found.threads, found.partition, found.compile) == (1, None, "never")


def test_ranks_and_nodes_are_checked_together():
    with pytest.raises(ValueError, match=r"accelerators_per_run 1 cannot be shared equally among"):
        Execution().of_rung(RunExecution(nodes_per_run=2))
    assert Execution(accelerators_per_run=4).of_rung(RunExecution(nodes_per_run=2)).nodes_per_run == 2


TEXTS = [name for name, field in RunExecution.model_fields.items() if "str" in str(field.annotation)]


@pytest.mark.parametrize("name", [name for name in TEXTS if name not in ("compile", "sharding")])
@given(st.characters(categories=["Cc", "Zl", "Zp"]))
def test_no_text_for_slurm_has_a_second_line(name, letter):
    """In the script for sbatch it would be a command."""
    with pytest.raises(ValueError, match="write it in one line"):
        RunExecution.model_validate({name: f"a{letter}touch pwned"})
    assert getattr(RunExecution.model_validate({name: "a --b='c d'"}), name) == "a --b='c d'"
