"""Multi-token prediction: targets, loss, cost, and that the model itself is what it would be without."""

import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from stepladder.data.batches import Corpus
from stepladder.models.functional import rms_norm
from stepladder.recipes import multi_token
from stepladder.record.cost import recipe_flops_per_position, training_flops_per_position
from stepladder.training.feed import places, read_batch
from stepladder.training.trainer import Trainer

CPU = torch.device("cpu")


def test_targets_are_the_next_tokens(make_run, small_corpus):
    corpus, spec = Corpus.open(small_corpus, 500), make_run(recipe="multi_token")
    place = next(iter(places(spec, corpus.orders)))
    inputs, targets = read_batch(corpus, spec, place, CPU)
    assert targets.shape == (4, 16, 3)
    for further in range(3):
        assert torch.equal(targets[:, : -1 - further, further], inputs[:, 1 + further :, 0])


@pytest.mark.parametrize("architecture", ["dense", "moe", "sliding"])
def test_loss_is_the_sum_by_definition(make_run, architecture):
    spec = make_run(architecture, "multi_token")
    trainer = Trainer(spec, CPU)
    model, heads = trainer.model, trainer.objective.heads
    with torch.no_grad():
        for p in trainer.objective.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(1)), alpha=0.1)
    inputs, targets = (torch.randint(256, (2, 16, n)) for n in (1, 3))
    loss, _ = trainer.objective(inputs, targets)
    x, _ = model.trunk(F.embedding(inputs[..., 0], model.embedding))
    outputs = [(x, model.gain)]
    outputs += [(head.layer(x, model.rotation(16))[0], head.gain) for head in heads]
    single = [
        F.cross_entropy(
            F.linear(rms_norm(y, gain, 1e-6), model.head).flatten(0, 1), targets[..., n].flatten()
        )
        for n, (y, gain) in enumerate(outputs)
    ]
    torch.testing.assert_close(loss, single[0] + 0.3 * (single[1] + single[2]) / 2)


def test_model_starts_as_without_heads_and_is_scored_without_them(make_run):
    plain, more = (Trainer(make_run(recipe=recipe), CPU) for recipe in ("baseline", "multi_token"))
    weights = dict(more.model.named_parameters())
    for name, parameter in plain.model.named_parameters():
        assert torch.equal(parameter, weights[name])
    inputs, targets = (torch.randint(256, (2, 16, 1)) for _ in range(2))
    with torch.no_grad():
        assert torch.equal(plain.objective(inputs, targets)[0], more.objective(inputs, targets)[0])


def test_cost_is_what_torch_counts(make_run, monkeypatch):
    """Heads included, forward only (torch does not know our backward pass); both count the full square."""
    monkeypatch.setattr("stepladder.models.functional.runs_by_hand", lambda x: False)
    spec = make_run(recipe="multi_token")
    trainer = Trainer(spec, CPU)
    x, _ = trainer.model.trunk(F.embedding(torch.randint(256, (2, 16)), trainer.model.embedding))
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        trainer.model(x)
        for head in trainer.objective.heads:
            y = multi_token.predict(head, trainer.model, x)
            F.linear(y, trainer.model.head)
    per_position = recipe_flops_per_position(spec.model, "multi_token", spec.recipe.options, 16, "palm")
    assert counter.get_total_flops() == 32 * per_position / 3
    assert per_position > training_flops_per_position(spec.model, 16, "palm")
