"""Schedule by hand; the flat optimizer against torch's ordinary one."""

import pytest
import torch

from stepladder.models.transformer import Transformer
from stepladder.record.spec import ScheduleSpec
from stepladder.training.optimizer import Optimizer, learning_rate_multiplier


def test_schedule_by_hand():
    schedule = ScheduleSpec(warmup_steps=2, decay_steps=4, decay_shape="linear", final=0.2)
    found = [learning_rate_multiplier(step, 8, schedule) for step in range(8)]
    assert found == pytest.approx([0.5, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])


def test_one_minus_sqrt_by_hand():
    schedule = ScheduleSpec(warmup_steps=0, decay_steps=4, decay_shape="one_minus_sqrt", final=0.0)
    found = [learning_rate_multiplier(step, 5, schedule) for step in range(5)]
    assert found == pytest.approx([1, 0.5, 1 - 0.5**0.5, 1 - 0.75**0.5, 0])


def gradients(model, step):
    generator = torch.Generator().manual_seed(step)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def test_equals_adamw_with_clip_grad_norm(make_run):
    """Decay on matrices and head, none on embedding and gains."""
    spec = make_run("moe")
    flat, ordinary = (Transformer(spec.model, seed=0) for _ in range(2))
    names = dict(ordinary.named_parameters())
    plain = {n for n, p in names.items() if p.ndim == 1} | {"embedding"}
    groups = [
        {"params": [p for n, p in names.items() if n not in plain], "weight_decay": 0.1},
        {"params": [p for n, p in names.items() if n in plain], "weight_decay": 0.0},
    ]
    reference = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.95), eps=1e-10)
    optimizer = Optimizer(flat, spec.optimizer)
    for step in range(3):
        gradients(flat, step)
        gradients(ordinary, step)
        optimizer.gather()
        norm = torch.nn.utils.clip_grad_norm_(ordinary.parameters(), 1.0)
        reference.step()
        torch.testing.assert_close(optimizer.step(0.01), norm)
    for name, parameter in flat.named_parameters():
        torch.testing.assert_close(parameter, names[name], rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_state_goes_round(make_run, name):
    """Loaded into a fresh optimizer, the saved moments give the same next update bit for bit."""
    spec = make_run("moe", optimizer=name)
    model, copy = (Transformer(spec.model, seed=0) for _ in range(2))
    optimizer, other = Optimizer(model, spec.optimizer), Optimizer(copy, spec.optimizer)
    for step in range(3):
        gradients(model, step)
        optimizer.gather()
        optimizer.step(0.01)
    with torch.no_grad():
        for mine, theirs in zip(copy.parameters(), model.parameters(), strict=True):
            mine.copy_(theirs)
        for name, tensor in other.state().items():
            tensor.copy_(optimizer.state()[name])
    other.loaded()
    for trained, stepper in ((model, optimizer), (copy, other)):
        gradients(trained, 3)
        stepper.gather()
        stepper.step(0.005)
    assert all(torch.equal(a, b) for a, b in zip(copy.parameters(), model.parameters(), strict=True))


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_gradient_that_is_not_finite_changes_nothing(make_run, name):
    spec = make_run("moe", optimizer=name)
    model = Transformer(spec.model, seed=0)
    optimizer = Optimizer(model, spec.optimizer)
    gradients(model, 0)
    optimizer.gather()
    optimizer.step(0.01)
    before = {name: tensor.clone() for name, tensor in (optimizer.state() | weights(model)).items()}
    gradients(model, 1)
    model.layers[0].attention.qkv.grad[0, 0] = float("nan")
    optimizer.gather()
    assert not optimizer.step(0.01).isfinite()
    for name, tensor in (optimizer.state() | weights(model)).items():
        assert torch.equal(tensor, before[name]), name


def weights(model):
    return {f"model.{name}": parameter.detach() for name, parameter in model.named_parameters()}


def test_muon_equals_torchs_on_single_matrices(make_run):
    """Each expert, and gate and up apart, are matrices of their own; head, router and vectors go to AdamW."""
    spec = make_run("moe", optimizer="muon")
    model, ordinary = (Transformer(spec.model, seed=0) for _ in range(2))
    optimizer = Optimizer(model, spec.optimizer)
    assert {name.rsplit(".", 1)[-1] for name in optimizer.groups[0].parameters} == {
        "qkv",
        "out",
        "gate_up",
        "down",
    }
    gate = torch.nn.Parameter(ordinary.layers[1].feed_forward.gate_up[2].detach().chunk(2)[0].clone())
    muon = torch.optim.Muon([gate], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for step in range(3):
        gradients(model, step)
        optimizer.gather()
        norm = optimizer.norm()
        gradients(ordinary, step)
        gate.grad = ordinary.layers[1].feed_forward.gate_up.grad[2].chunk(2)[0] / (norm + 1e-6)
        optimizer.step(0.01)
        muon.step()
    found = model.layers[1].feed_forward.gate_up[2].chunk(2)[0]
    torch.testing.assert_close(found, gate, rtol=1e-3, atol=1e-5)
