"""Choices of execution that must not change the numbers: micro-batches, recomputation, compilation,
prefetching."""

import pytest
import torch

from stepladder.data.batches import Corpus
from stepladder.schema.execution import EngineOptions
from stepladder.training.distributed import World
from stepladder.training.engine import compile_layers, fit_memory, settle_micro_batch
from stepladder.training.feed import places, read_batch
from stepladder.training.prefetch import Prefetch
from stepladder.training.trainer import Trainer

CPU = torch.device("cpu")
VARIANTS = [("dense", "baseline"), ("moe", "tst"), ("sliding", "multi_token")]


def train_some(spec, manifest, steps=6, change=lambda trainer: None):
    """Losses and gradient norms of some steps, and the weights after them."""
    corpus, trainer = Corpus.open(manifest, 500), Trainer(spec, CPU)
    change(trainer)
    rows = []
    for place in list(places(spec, corpus.orders))[:steps]:
        batch = read_batch(corpus, spec, place, CPU)
        metrics = trainer.update(trainer.gradients(*batch), place.step)
        rows.append((metrics.loss.item(), metrics.gradient_norm.item()))
    return torch.tensor(rows), trainer


def micro(rows):
    def change(trainer):
        trainer.micro_batch = rows

    return change


def recompute(trainer):
    trainer.micro_batch = 2
    trainer.model.recompute = True


@pytest.mark.parametrize("variant", VARIANTS)
def test_micro_batches_add_up(make_run, small_corpus, variant):
    """For the balance loss a micro-batch sees only the load so far: its share of a MoE's gradient differs."""
    spec = make_run(*variant)
    whole, _ = train_some(spec, small_corpus)
    parts, trainer = train_some(spec, small_corpus, change=micro(1))
    tolerance = 2e-2 if variant[0] == "moe" else 1e-4
    torch.testing.assert_close(parts, whole, rtol=tolerance, atol=1e-6)
    assert trainer.loads.parts == (4 if variant[0] == "moe" else 0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_recomputed_activations_give_the_same_bits(make_run, small_corpus, variant):
    spec = make_run(*variant)
    kept, first = train_some(spec, small_corpus, change=micro(2))
    again, second = train_some(spec, small_corpus, change=recompute)
    assert torch.equal(kept, again)
    for name, tensor in first.state().items():
        assert torch.equal(tensor, second.state()[name]), name


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_layers_can_be_captured_by_the_compiler(make_run, small_corpus, variant, precision):
    """Traced and differentiated as on a GPU, without its code generation."""
    spec = make_run(*variant, precision=precision)
    eager, _ = train_some(spec, small_corpus, steps=3)
    compiled, _ = train_some(
        spec, small_corpus, 3, lambda trainer: compile_layers(trainer.objective, precision, "aot_eager")
    )
    torch.testing.assert_close(compiled, eager, rtol=1e-2, atol=1e-3)


def test_a_layer_with_experts_is_one_graph(make_run, small_corpus):
    """Also in micro-batches, whose loads are exchanged outside: a break in the graph costs speed, and what is
    handed over there has to be known to the compiler."""
    counters = torch._dynamo.utils.counters

    def compile_parts(trainer):
        trainer.micro_batch = 2
        compile_layers(trainer.objective, "bf16", "aot_eager")

    counters.clear()
    train_some(make_run("moe", "tst", precision="bf16"), small_corpus, 2, compile_parts)
    assert counters["stats"]["calls_captured"] > 0
    assert not counters["graph_break"]


class Full(Trainer):
    """An accelerator on which so many sequences fit, and so many more if activations are recomputed."""

    fits, fits_recomputed = 2, 4

    def gradients(self, inputs_BTS, targets_BTL, *tick):
        if self.micro_batch > (self.fits_recomputed if self.model.recompute else self.fits):
            raise torch.OutOfMemoryError
        return super().gradients(inputs_BTS, targets_BTL, *tick)


@pytest.mark.parametrize(
    ("fits", "expected"), [(9, (4, False)), (2, (2, False)), (1, (1, False)), (0, (4, True))]
)
def test_micro_batch_is_the_largest_that_fits(make_run, monkeypatch, fits, expected):
    monkeypatch.setattr(Full, "fits", fits)
    trainer = Full(make_run(), CPU)
    before = {name: tensor.clone() for name, tensor in trainer.state().items()}
    fit_memory(trainer, *(torch.randint(256, (4, 16, 1)) for _ in range(2)))
    assert (trainer.micro_batch, trainer.model.recompute) == expected
    for name, tensor in trainer.state().items():
        assert torch.equal(tensor, before[name]), name


def test_a_micro_batch_is_no_larger_than_fills_a_device(make_run, monkeypatch):
    monkeypatch.setattr(Full, "fits", 9)
    monkeypatch.setattr("stepladder.training.engine.ENOUGH_POSITIONS", 40)
    trainer = Full(make_run(), CPU)
    fit_memory(trainer, *(torch.randint(256, (6, 16, 1)) for _ in range(2)))
    assert trainer.micro_batch == 2  # of 16 positions; three sequences divide the batch, and are too many


def test_a_sequence_that_never_fits_is_named(make_run, monkeypatch):
    monkeypatch.setattr(Full, "fits", 0)
    monkeypatch.setattr(Full, "fits_recomputed", 0)
    with pytest.raises(torch.OutOfMemoryError, match=r"one sequence of 16 positions.*execution.sharding"):
        fit_memory(Full(make_run(), CPU), *(torch.randint(256, (4, 16, 1)) for _ in range(2)))


def test_reading_ahead_gives_the_same_batches(make_run, small_corpus):
    spec, corpus = make_run(recipe="tst"), Corpus.open(small_corpus, 500)
    ahead = Prefetch(corpus, spec, torch.device("meta"), World(), 3)
    ahead._device = CPU  # read by a thread as for a GPU, and kept here
    found = [(place, ahead.batch(place)) for place in ahead]
    assert [place for place, _ in found] == list(places(spec, corpus.orders, 3))
    for place, batch in found:
        for tensor, expected in zip(batch, read_batch(corpus, spec, place, CPU), strict=True):
            assert torch.equal(tensor, expected)


def test_a_micro_batch_that_is_set_must_divide_the_share(make_run, small_corpus):
    trainer, corpus = Trainer(make_run(), CPU), Corpus.open(small_corpus, 500)
    settle_micro_batch(trainer, EngineOptions(), corpus)
    assert trainer.micro_batch is None
    settle_micro_batch(trainer, EngineOptions(micro_batch_sequences=2), corpus)
    assert trainer.micro_batch == 2
    with pytest.raises(ValueError, match=r"micro_batch_sequences 3 does not divide the 4.*divisor of 4"):
        settle_micro_batch(trainer, EngineOptions(micro_batch_sequences=3), corpus)


def test_bias_moves_experts_towards_equal_loads(make_run, small_corpus):
    """One step: experts with less than their share are raised by the rate, those with more lowered."""
    spec = make_run("moe", options={"bias_rate": 0.25, "balance_loss_weight": 0.0})
    _, trainer = train_some(spec, small_corpus, steps=1)
    for layer, mixture in enumerate(trainer.mixtures):
        expected = 0.25 * torch.sign(0.25 - trainer.last_load_LE[layer])
        assert torch.equal(mixture.bias, expected)
