"""muP and CompleteP: what is scaled, that activations keep their scale, and that the best rate holds."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from stepladder.ladder.climb import Climb
from stepladder.record.coordinates import CoordinateCheck
from stepladder.record.spec import ParametrizationSpec, RunSpec
from stepladder.report.figures.coordinates import coordinates_figure
from stepladder.report.sections.coordinates import coordinate_sentences
from stepladder.training.coordinates import coordinate_check, resized
from stepladder.training.parametrization import Factors, factors
from stepladder.training.trainer import Trainer

CPU = torch.device("cpu")


def base() -> RunSpec:
    spec = Climb.open("laptop").runs["dense-baseline/d2/1x/seed0"]
    return spec.model_copy(update={"precision": "fp32"})


def sized(
    width: int,
    parametrization: ParametrizationSpec | None,
    rate: float,
    base_width: int = 32,
    layers: int = 2,
) -> RunSpec:
    spec = base()
    model = resized(spec.model.model_copy(update={"d_head": 16, "vocab_size": 64}), base_width, width, layers)
    optimizer = spec.optimizer.model_copy(update={"learning_rate": rate})
    return spec.model_copy(
        update={"model": model, "optimizer": optimizer, "parametrization": parametrization}
    )


@given(st.floats(0.25, 64), st.floats(0.25, 32))
def test_factors_by_hand(m: float, depth: float) -> None:
    p = ParametrizationSpec(width=m, depth=depth)
    assert factors("model.embedding", 2, p) == Factors(m**0.5, 1.0, 1 / m)
    assert factors("model.unembedding", 2, p) == Factors(m**-0.5, 1 / m, 1.0)
    for name in ("model.layers.0.attention.out", "heads.0.layer.feed_forward.down"):
        assert factors(name, 2, p) == Factors(1.0, 1 / (m * depth), 1 / m)
    for name in ("model.layers.3.attention.qkv", "model.layers.3.feed_forward.router"):
        assert factors(name, 2, p) == Factors(1.0, 1 / m, 1 / (m * depth))
    assert factors("model.gain", 1, p) == Factors(1.0, 1.0, 1 / m)
    assert factors("model.layers.0.attention.gain_q", 1, p) == Factors(1.0, 1.0, 1 / (m * depth))
    assert factors("anything", 2, None) == Factors()


def test_the_base_model_is_the_one_without() -> None:
    """At width and depth 1 nothing is scaled: equal bits after steps."""
    text = torch.randint(0, 64, (4, 65), generator=torch.Generator().manual_seed(0))
    states = []
    for p in (None, ParametrizationSpec(width=1.0, depth=1.0)):
        trainer = Trainer(sized(1, p, 0.01), CPU)
        for _ in range(3):
            trainer.gradients(text[:, :-1, None], text[:, 1:, None])
            trainer.optimizer.step(0.01)
        states.append(trainer.state())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_rates_and_decay_of_single_parameters() -> None:
    """One step from zero moments moves a weight by its own rate (Adam's sign), and decays it by rate times
    decay of the base model, whatever its own rate."""
    p = ParametrizationSpec(width=4.0, depth=2.0)
    spec = sized(4, p, 0.01)
    spec = spec.model_copy(
        update={"optimizer": spec.optimizer.model_copy(update={"epsilon": 1e-30, "weight_decay": 0.5})}
    )
    trainer = Trainer(spec, CPU)
    before = {name: t.detach().clone() for name, t in trainer.objective.named_parameters()}
    text = torch.randint(0, 64, (4, 65), generator=torch.Generator().manual_seed(0))
    trainer.gradients(text[:, :-1, None], text[:, 1:, None])
    trainer.optimizer.step(0.01)
    for name, now in trainer.objective.named_parameters():
        decays = now.ndim > 1 and name.rsplit(".", 1)[-1] != "embedding"
        kept = before[name] * (1 - 0.01 * 0.5 if decays else 1)
        moved = (now.detach() - kept).abs()
        wanted = 0.01 * factors(name, now.ndim, p).rate
        reached = moved > 1e-9  # a token that did not occur has no gradient, nor has what is behind zeros
        assert torch.allclose(moved[reached], torch.tensor(wanted), rtol=2e-2), name


def test_initial_weights_keep_their_scale() -> None:
    """The embedding's is the base model's; logits shrink with the root of the width."""
    small, large = (
        Trainer(sized(w, ParametrizationSpec(width=float(w), depth=1.0), 0.01), CPU).model for w in (1, 16)
    )
    assert abs(large.embedding.std() / small.embedding.std() - 1) < 0.1
    assert abs(large.unembedding.std() / small.unembedding.std() * 16 - 1) < 0.1
    qkv = [model.layers[0].attention.qkv.std() for model in (small, large)]
    assert abs(qkv[1] / qkv[0] * 4 - 1) < 0.1, "1/sqrt(fan-in)"


def check(kind: str, rate: float = 5e-4) -> CoordinateCheck:
    spec = sized(1, None, rate, base_width=128)
    return coordinate_check(spec, kind, 128, 4, steps=10)


def test_activations_keep_their_scale_over_width_and_depth() -> None:
    """Flat within 10 % over four times the width and the depth; without a parametrization they double."""
    found = check("completep")
    assert {row.factor for row in found.rows} == {1, 2, 4}
    assert found.spread("width") < 0.1 and found.spread("depth") < 0.1
    assert all("keep their scale (" in told for told in coordinate_sentences(found))
    figure = coordinates_figure(found)
    assert [axes.get_xlabel() for axes in figure.axes] == ["Width d_model (features)", "Layers"]


def test_large_base_models_are_checked_in_small() -> None:
    spec = sized(1, None, 5e-4, base_width=64, layers=1)
    rows = coordinate_check(spec, "mup", 4096, 1, steps=1).rows
    assert max(row.d_model for row in rows) == 4 * 256


def test_without_depth_in_it_they_grow_with_depth() -> None:
    """muP leaves depth alone, and its check says nothing of it; without any, width alone makes them grow."""
    assert {row.axis for row in check("mup").rows} == {"width"}
    spec = sized(1, None, 5e-4, base_width=64)
    last = []
    for width in (1, 4):
        model = resized(spec.model, 64, width, 2)
        trainer = Trainer(spec.model_copy(update={"model": model}), CPU)
        text = torch.randint(0, 64, (8, 65), generator=torch.Generator().manual_seed(0))
        for _ in range(10):
            trainer.gradients(text[:, :-1, None], text[:, 1:, None])
            trainer.optimizer.step(2e-3)
        with torch.no_grad():
            x, _ = trainer.model.trunk(trainer.model.embedding[text[:, :-1]])
        last.append(float(x.square().mean().sqrt()))
    assert last[1] / last[0] > 1.3


def test_the_best_rate_holds_at_four_times_the_width() -> None:
    """Of three rates a factor 4 apart; without a parametrization the best one is lower at four times the
    width."""
    generator = torch.Generator().manual_seed(1)
    follower = torch.randint(0, 64, (64 * 64,), generator=generator)

    def text(sequences: int) -> torch.Tensor:
        """Most tokens follow from the two before."""
        found = torch.randint(0, 64, (sequences, 33), generator=generator)
        for t in range(1, 32):
            follows = torch.rand(sequences, generator=generator) < 0.8
            following = follower[found[:, t] * 64 + found[:, t - 1]]
            found[:, t + 1] = torch.where(follows, following, found[:, t + 1])
        return found

    steps = [text(16) for _ in range(100)]
    held_out = text(128)

    def loss(width: int, scaled: bool, rate: float) -> float:
        p = ParametrizationSpec(width=float(width), depth=1.0) if scaled else None
        trainer = Trainer(sized(width, p, rate), CPU)
        for number, batch in enumerate(steps):
            trainer.gradients(batch[:, :-1, None], batch[:, 1:, None])
            trainer.optimizer.step(rate * min(1, (number + 1) / 10, (len(steps) - number) / 40))
        with torch.no_grad():
            return float(trainer.objective(held_out[:, :-1, None], held_out[:, 1:, None])[0])

    def best(width: int, scaled: bool) -> float:
        return min((0.004, 0.016, 0.064), key=lambda rate: loss(width, scaled, rate))

    assert best(1, True) == best(4, True) == 0.016
    assert best(4, False) == 0.004
