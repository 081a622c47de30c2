"""No recipe lets a document know of another, with any architecture."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.attention import flex_attention

from stepladder.models import documents, functional
from stepladder.training.engine import compile_layers
from stepladder.training.feed import split
from stepladder.training.objective import Objective
from stepladder.training.trainer import Trainer

END = 255
ARCHITECTURES = ("dense", "moe", "sliding")
RECIPES = ("baseline", "tst", "multi_token")
ROUNDING = {"dense": 1e-9, "sliding": 1e-9, "moe": 1e-3}
"""Differences of losses of some hundred nats in double and in single precision; leaks are far larger."""


def within(spec, choice: str = "within"):
    data = spec.data.model_copy(update={"document_attention": choice})
    return spec.model_copy(update={"data": data})


def objective_of(spec) -> Objective:
    """In double precision where its products have it, with every part having an effect."""
    objective = Objective(spec, END)
    if spec.model.architecture != "moe":
        objective = objective.double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    return objective


def layout(lengths: list[int], total: int) -> torch.Tensor:
    """Which document each of `total` tokens belongs to: its last token is the one that ends it."""
    number = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    rest = torch.full((max(0, total - len(number)),), len(lengths))
    return torch.cat((number, rest))[:total]


def texts(number: torch.Tensor, document: int, seed: int) -> tuple[torch.Tensor, ...]:
    """Four texts of one layout: two versions of one document, each with two versions of all others."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(END, (2, 2, len(number)), generator=generator)
    ends = torch.cat((number[1:] != number[:-1], torch.tensor([False])))
    return tuple(
        torch.where(number == document, own, others).masked_fill(ends, END)[None]
        for own in drawn[0]
        for others in drawn[1]
    )


def leak(objective, phase, number, document, seed) -> float:
    """How much the effect of a document's tokens on the loss depends on what the other documents are.

    Where documents do not know of each other the loss is a sum over them, and this is 0.
    """
    losses = [
        objective(*split(text, phase))[0].item() * phase.positions for text in texts(number, document, seed)
    ]
    return abs(losses[0] - losses[1] - losses[2] + losses[3])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_loss_is_a_sum_over_documents(make_run, architecture, recipe):
    spec = make_run(architecture, recipe, bag_size=3)
    objective, leaky = (objective_of(within(spec, choice)) for choice in ("within", "across"))
    phase = spec.recipe.phases[0]
    total = phase.positions * phase.bag_size + phase.targets

    @settings(max_examples=15, derandomize=True)
    @given(st.lists(st.integers(1, 9), min_size=2, max_size=12), st.integers(0, 5), st.integers(0, 99))
    def holds(lengths, document, seed):
        assert leak(objective, phase, layout(lengths, total), document, seed) < ROUNDING[architecture]

    holds()
    assert leak(leaky, phase, layout([9, 5, 8], total), 1, 0) > 0.03


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("recipe", RECIPES)
def test_no_gradient_crosses(make_run, architecture, recipe):
    """The last document's loss alone moves no embedding of tokens that only others have."""
    spec = within(make_run(architecture, recipe, bag_size=3))
    objective, phase = objective_of(spec), spec.recipe.phases[0]
    total = phase.positions * phase.bag_size + phase.targets
    number = layout([7, total // 3], total)
    generator = torch.Generator().manual_seed(0)
    text = torch.randint(100, (total,), generator=generator) + 100 * (number == 2)
    text[torch.cat((number[1:] != number[:-1], torch.tensor([False])))] = END
    inputs, targets = split(text[None], phase)
    last = (inputs == END).flatten(1).cumsum(1).view_as(inputs)[..., -1] == 2
    outputs = []

    def keep(x_BTD, *_, **__):
        outputs.append(x_BTD)
        return x_BTD.sum() * 0

    objective.model.cross_entropy = keep
    objective(inputs, targets)
    for x in outputs:  # of the trunk, and of every further head
        (moved,) = torch.autograd.grad(x[last].square().sum(), objective.model.embedding, retain_graph=True)
        assert moved[100:200].abs().sum() > 0
        assert moved[:100].abs().max() == 0


def test_recipes_without_bags_keep_every_target_and_bags_of_one_are_the_baseline(make_run):
    text = torch.randint(END, (2, 17), generator=torch.Generator().manual_seed(0))
    text[:, [3, 4, 11]] = END
    losses = []
    for recipe in ("baseline", "tst"):
        spec = within(make_run(recipe=recipe, bag_size=1))
        losses.append(objective_of(spec)(*split(text, spec.recipe.phases[-1]))[0])
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize("recipe", RECIPES)
def test_text_without_ends_is_read_as_across(make_run, recipe):
    spec = make_run(recipe=recipe)
    phase = spec.recipe.phases[0]
    length = phase.positions * phase.bag_size + phase.targets
    text = torch.randint(END, (2, length), generator=torch.Generator().manual_seed(0))
    losses = [objective_of(within(spec, c))(*split(text, phase))[0] for c in ("within", "across")]
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize("architecture, recipe", [("dense", "multi_token"), ("sliding", "tst")])
def test_compiled_layers_see_the_same(make_run, architecture, recipe):
    spec = within(make_run(architecture, recipe))
    phase = spec.recipe.phases[0]
    length = phase.positions * phase.bag_size + phase.targets
    text = torch.randint(END, (2, length), generator=torch.Generator().manual_seed(0))
    text[:, ::9] = END
    losses = []
    for compiled in (False, True):
        torch._dynamo.reset()
        objective = objective_of(spec)
        if compiled:
            compile_layers(objective, "fp32", "aot_eager")
        loss, _ = objective(*split(text, phase))
        losses.append([loss, *torch.autograd.grad(loss, list(objective.parameters()))])
    for one, other in zip(*losses, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("architecture, recipe", [("dense", "tst"), ("sliding", "multi_token")])
def test_the_path_of_gpus_gives_the_same(make_run, monkeypatch, architecture, recipe):
    """Blocks of each batch, through layers that are compiled once: flex_attention's reference on a CPU."""
    monkeypatch.setattr(flex_attention, "_validate_device", lambda *_: None)  # it knows no gradients on CPUs
    options = {"window": 40} if architecture == "sliding" else {}
    spec = within(make_run(architecture, recipe, sequence_length=128, options=options))
    phase = spec.recipe.phases[0]
    length = phase.positions * phase.bag_size + phase.targets
    plain, in_blocks = objective_of(spec), objective_of(spec)
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    compile_layers(in_blocks, "fp32", counter)
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        text = torch.randint(END, (2, length), generator=generator)
        text[torch.rand(text.shape, generator=generator) < 0.03] = END
        found = []
        for objective in (plain, in_blocks):
            own = objective is in_blocks
            monkeypatch.setattr(documents, "goes_in_blocks", lambda device, own=own: own)
            monkeypatch.setattr(functional, "runs_by_hand", lambda x, own=own: not own)
            loss, _ = objective(*split(text, phase))
            found.append([loss, *torch.autograd.grad(loss, list(objective.parameters()))])
        for one, two in zip(*found, strict=True):
            torch.testing.assert_close(one, two)
    assert counter.frame_count == len({layer.attention.window for layer in in_blocks.layers()})


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("cut", ["micro-batches", "recomputed"])
def test_how_a_batch_is_computed_changes_nothing(make_run, recipe, cut):
    """Sequences with more and with fewer documents, in one batch or one by one."""
    spec = within(make_run("sliding", recipe))
    phase = spec.recipe.phases[0]
    length = phase.positions * phase.bag_size + phase.targets
    text = torch.randint(END, (2, length), generator=torch.Generator().manual_seed(0))
    text[0, ::5] = END
    found = []
    for other in (False, True):
        trainer = Trainer(spec, torch.device("cpu"), end_of_document=END)
        if other and cut == "recomputed":
            trainer.model.recompute = True
        elif other:
            trainer.micro_batch = 1
        metrics = trainer.gradients(*split(text, phase))
        found.append((metrics.loss, trainer.optimizer.gradient))
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)


def test_the_held_out_loss_stays_within_documents(make_run):
    spec = make_run()
    objective, across = (objective_of(within(spec, choice)) for choice in ("within", "across"))
    number = layout([5, 6], 17)
    with torch.no_grad():
        found, other = (leak(o, spec.recipe.phases[0], number, 0, 0) for o in (objective, across))
    assert found < 1e-9 < 1e-3 < other


def test_a_run_that_is_not_told_what_ends_documents_is_refused(make_run):
    with pytest.raises(ValueError, match="no token is named that ends them"):
        Objective(within(make_run()))
