"""Our training step against a plain eager loop of the same model, side by side.

    python benchmarks/train_step.py [--out results/train_step.json] [--steps 40] [--rungs 24,32,40]

The plain loop is written as one writes it by hand (nanoGPT style): a module per part, nn.Linear for
every projection, F.scaled_dot_product_attention, F.cross_entropy, torch.optim.AdamW(fused=True) over
decayed and undecayed parameters (fused is the fastest of torch's own; nanoGPT uses it where it can),
clip_grad_norm_, zero_grad(set_to_none). Same shapes, same parameters, same batches, one thread, fp32;
the benchmark checks that both give the same loss before it times them.

With `transformers` installed (pip install transformers; it needs no other torch), the same shapes as its
Qwen3ForCausalLM, which has QK-norm as ours does, in an ordinary loop: its own loss, torch.optim.AdamW,
clip_grad_norm_. It gives the same loss, too.

Steps alternate in one process, so that whatever else the machine does hits all. Reported:
the median over rounds of each; the ratio is the median of the paired ratios. Then, with the same
model, a superposed step (bags of 4 and 8 tokens) and a MoE step (8 experts, top 2, equal active
parameters) against our ordinary dense step.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stepladder.record.cost import training_flops_per_position
from stepladder.record.spec import (
    DataSpec,
    ModelSpec,
    OptimizerSpec,
    PhaseSpec,
    RecipeSpec,
    RunSpec,
    ScheduleSpec,
)
from stepladder.training.calibrate import measure_gemm_peak
from stepladder.training.device import keep_freed_memory
from stepladder.training.process import configure_process
from stepladder.training.trainer import Trainer

RUNGS = {24: (2, 1), 32: (3, 2), 40: (4, 2), 48: (5, 3), 64: (4, 4), 128: (5, 4), 192: (6, 6)}
"""d_model to (layers, heads). One key-value head per head: the plain loop has nothing to share."""

SEQUENCES, POSITIONS, VOCABULARY = 8, 128, 256


class PlainLayer(nn.Module):
    """Pre-norm attention with QK-norm and rotary positions, then SwiGLU."""

    def __init__(self, d_model: int, heads: int, d_ff: int) -> None:
        super().__init__()
        self.heads, self.d_head = heads, d_model // heads
        self.norm_1, self.norm_2 = nn.RMSNorm(d_model, 1e-6), nn.RMSNorm(d_model, 1e-6)
        self.norm_q, self.norm_k = nn.RMSNorm(self.d_head, 1e-6), nn.RMSNorm(self.d_head, 1e-6)
        self.q, self.k, self.v, self.o = (nn.Linear(d_model, d_model, bias=False) for _ in range(4))
        self.gate, self.up = (nn.Linear(d_model, d_ff, bias=False) for _ in range(2))
        self.down = nn.Linear(d_ff, d_model, bias=False)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        h = self.norm_1(x)
        q, k, v = (p(h).unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in (self.q, self.k, self.v))
        q, k = rotate(self.norm_q(q), cosine, sine), rotate(self.norm_k(k), cosine, sine)
        o = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(o.transpose(1, 2).flatten(2))
        h = self.norm_2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary turn of neighbouring pairs."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), -1).flatten(-2)


class PlainModel(nn.Module):
    """Embedding, layers, head."""

    def __init__(self, d_model: int, layers: int, heads: int, d_ff: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, d_model)
        self.layers = nn.ModuleList(PlainLayer(d_model, heads, d_ff) for _ in range(layers))
        self.norm = nn.RMSNorm(d_model, 1e-6)
        self.head = nn.Linear(d_model, VOCABULARY, bias=False)
        d_head = d_model // heads
        frequency = 10_000.0 ** (-torch.arange(0, d_head, 2) / d_head)
        angle = torch.outer(torch.arange(POSITIONS), frequency)
        self.register_buffer("cosine", angle.cos())
        self.register_buffer("sine", angle.sin())

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x, self.cosine, self.sine)
        return self.head(self.norm(x))


def plain_step(model: PlainModel) -> Callable[[Tensor, Tensor], Tensor]:
    """The plain loop's body."""
    matrices = [p for n, p in model.named_parameters() if p.ndim > 1 and "embedding" not in n]
    rest = [p for n, p in model.named_parameters() if p.ndim == 1 or "embedding" in n]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-10, fused=True)

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(inputs[..., 0]).flatten(0, 1), targets.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    return step


def hugging_face_model(d_model: int, trainer: Trainer) -> nn.Module | None:
    """The same shapes and weights in transformers' Qwen3; None where transformers is not installed."""
    try:
        from transformers import Qwen3Config, Qwen3ForCausalLM
    except ImportError:
        return None
    layers, heads = RUNGS[d_model]
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=d_model,
        intermediate_size=round_up(8 * d_model / 3),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=d_model // heads,
        max_position_embeddings=POSITIONS,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        use_cache=False,
        attn_implementation="sdpa",
    )
    model = Qwen3ForCausalLM(config)
    ours = dict(trainer.model.named_parameters())
    # Qwen3 turns feature i with i + C/2, we turn 2i with 2i + 1
    order = torch.arange(d_model).view(heads, -1, 2).transpose(1, 2).reshape(-1)
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(ours["embedding"])
        model.lm_head.weight.copy_(ours["unembedding"])
        for i, layer in enumerate(model.model.layers):
            q, k, v = ours[f"layers.{i}.attention.qkv"].chunk(3)
            gate, up = ours[f"layers.{i}.feed_forward.gate_up"].chunk(2)
            attention, mlp = layer.self_attn, layer.mlp
            pairs = [(attention.q_proj, q[order]), (attention.k_proj, k[order]), (attention.v_proj, v)]
            pairs += [(attention.o_proj, ours[f"layers.{i}.attention.out"])]
            pairs += [(mlp.gate_proj, gate), (mlp.up_proj, up)]
            pairs += [(mlp.down_proj, ours[f"layers.{i}.feed_forward.down"])]
            for linear, weight in pairs:
                linear.weight.copy_(weight)
    return model


def hugging_face_step(model: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """An ordinary loop's body around it."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.1)

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = model(
            input_ids=inputs[..., 0], labels=inputs[..., 0], shift_labels=targets[..., 0].contiguous()
        ).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    return step


def our_step(trainer: Trainer) -> Callable[[Tensor, Tensor], Tensor]:
    """Stepladder's step at a constant learning rate."""

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        return trainer.update(trainer.gradients(inputs, targets), 0).loss

    return step


def make_trainer(d_model: int, architecture: str = "dense", recipe: str = "baseline") -> Trainer:
    """Our model of a rung."""
    layers, heads = RUNGS[d_model]
    d_ff = round_up(8 * d_model / 3)
    weights = {"balance_loss_weight": 0.01, "z_loss_weight": 0.0, "bias_rate": 0.0}
    moe = {"n_experts": 8, "top_k": 2, "n_shared_experts": 0, "d_expert": d_ff // 2, "every": 1}
    phase = PhaseSpec(name="-", steps=1, bag_size=1, sequences=SEQUENCES, positions=POSITIONS, targets=1)
    spec = RunSpec(
        id="benchmark",
        variant=f"{architecture}-{recipe}",
        rung=f"d{layers}",
        budget="-",
        seed=0,
        model=ModelSpec(
            architecture=architecture,
            n_layers=layers,
            d_model=d_model,
            n_heads=heads,
            n_kv_heads=heads,
            d_head=d_model // heads,
            d_ff=d_ff,
            vocab_size=VOCABULARY,
            sequence_length=POSITIONS,
            tied_embeddings=False,
            qk_norm=True,
            rope_theta=10_000.0,
            options=moe | weights if architecture == "moe" else {},
        ),
        recipe=RecipeSpec(name=recipe, options={}, phases=(phase,)),
        optimizer=OptimizerSpec(
            name="adamw",
            learning_rate=1e-3,
            beta1=0.9,
            beta2=0.95,
            epsilon=1e-10,
            weight_decay=0.1,
            clip_norm=1.0,
        ),
        schedule=ScheduleSpec(warmup_steps=0, decay_steps=0, decay_shape="linear", final=1.0),
        data=DataSpec(
            source={}, tokenizer={}, validation_fraction=0, max_validation_tokens=1, domain_weights={}
        ),
        precision="fp32",
        learning_rate_factor=1.0,
        budget_multiple=1.0,
        overrides=(),
        code="-",
    )
    return Trainer(spec, torch.device("cpu"))


def round_up(width: float, multiple: int = 16) -> int:
    """The next multiple."""
    return -int(-width // multiple) * multiple


def copy_weights(trainer: Trainer, model: PlainModel) -> None:
    """Give the plain model our weights, which get random values where they start at zero."""
    ours = dict(trainer.model.named_parameters())
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in ours.items():
            if name.endswith((".out", ".down")):
                p.normal_(0, p.shape[-1] ** -0.5, generator=generator)
        model.embedding.weight.copy_(ours["embedding"])
        model.head.weight.copy_(ours["unembedding"])
        for i, layer in enumerate(model.layers):
            parts = ours[f"layers.{i}.attention.qkv"].chunk(3) + ours[
                f"layers.{i}.feed_forward.gate_up"
            ].chunk(2)
            linears = (layer.q, layer.k, layer.v, layer.gate, layer.up)
            for linear, part in zip(linears, parts, strict=True):
                linear.weight.copy_(part)
            layer.o.weight.copy_(ours[f"layers.{i}.attention.out"])
            layer.down.weight.copy_(ours[f"layers.{i}.feed_forward.down"])


def batch(bag: int, seed: int) -> tuple[Tensor, Tensor]:
    """Skewed random tokens: inputs and targets (B, T, S)."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.rand(SEQUENCES, (POSITIONS + 1) * bag, generator=generator).pow(3).mul(VOCABULARY).long()
    length, shape = POSITIONS * bag, (SEQUENCES, POSITIONS, bag)
    return tokens[:, :length].reshape(shape), tokens[:, bag:].reshape(shape)


def time_alternating(steps: dict[str, tuple[Callable, int]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each step in each round; the steps alternate within a round."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for round_ in range(-5, rounds):
        for name, (step, bag) in steps.items():
            inputs, targets = batch(bag, round_)
            start = time.perf_counter()
            step(inputs, targets)
            if round_ >= 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def measure(d_model: int, rounds: int, peak: float) -> dict[str, float]:
    """One rung's row of the table."""
    layers, heads = RUNGS[d_model]
    trainer, plain = make_trainer(d_model), PlainModel(d_model, layers, heads, round_up(8 * d_model / 3))
    copy_weights(trainer, plain)
    hugging_face = hugging_face_model(d_model, trainer)
    steps = {
        "ours": (our_step(trainer), 1),
        "plain": (plain_step(plain), 1),
        "bag4": (our_step(make_trainer(d_model, recipe="tst")), 4),
        "bag8": (our_step(make_trainer(d_model, recipe="tst")), 8),
        "moe": (our_step(make_trainer(d_model, "moe")), 1),
    }
    if hugging_face is not None:
        steps["hugging_face"] = (hugging_face_step(hugging_face), 1)
    compared = ["ours", "plain"] + ["hugging_face"] * (hugging_face is not None)
    for seed in range(3):  # same weights, same batches: the same losses
        ours, *others = (steps[name][0](*batch(1, seed)) for name in compared)
        for loss in others:
            torch.testing.assert_close(loss, ours, rtol=1e-4, atol=0)
        compared = compared[:2]  # transformers' loop decays all weights: it parts from the second step on
    seconds = time_alternating(steps, rounds)
    positions = SEQUENCES * POSITIONS
    flops = positions * training_flops_per_position(trainer.spec.model, POSITIONS)

    def over(name: str, other: str) -> float:
        return median(a / b for a, b in zip(seconds[name], seconds[other], strict=True))

    return {
        "d_model": d_model,
        "layers": layers,
        "heads": heads,
        "parameters": sum(p.numel() for p in plain.parameters()),
        "plain_tokens_per_second": positions / median(seconds["plain"]),
        "our_tokens_per_second": positions / median(seconds["ours"]),
        "our_flops_per_second": flops / median(seconds["ours"]),
        "plain_share_of_peak": flops / median(seconds["plain"]) / peak,
        "our_share_of_peak": flops / median(seconds["ours"]) / peak,
        "speedup": over("plain", "ours"),
        "speedup_over_hugging_face": None if hugging_face is None else over("hugging_face", "ours"),
        "bag4_over_ordinary": over("bag4", "ours"),
        "bag8_over_ordinary": over("bag8", "ours"),
        "moe_over_dense": over("moe", "ours"),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rungs", default=",".join(map(str, RUNGS)), help="d_model of the rungs to measure")
    parser.add_argument("--steps", type=int, default=40, help="timed rounds (d_model > 64: a quarter)")
    parser.add_argument("--out", type=Path, help="also write the rows as JSON")
    arguments = parser.parse_args()
    configure_process(threads=1)
    keep_freed_memory()
    peak = measure_gemm_peak(1, "fp32")["flops_per_second"]
    print(
        f"torch {torch.__version__}, one thread, fp32, largest matrix-product rate {peak / 1e9:.1f} GFLOP/s"
    )
    print(
        "d_model layers | tok/s plain    ours | over plain    HF | GFLOP/s of peak (plain) | bag4  bag8   moe"
    )
    rows = []
    for d_model in map(int, arguments.rungs.split(",")):
        row = measure(d_model, arguments.steps if d_model <= 64 else arguments.steps // 4, peak)
        rows.append(row)
        print(
            f"{d_model:7} {row['layers']:6} | {row['plain_tokens_per_second']:11.0f} "
            f"{row['our_tokens_per_second']:7.0f} | {row['speedup']:9.2f}x "
            f"{row['speedup_over_hugging_face'] or float('nan'):6.2f}x | "
            f"{row['our_flops_per_second'] / 1e9:7.1f} {row['our_share_of_peak']:8.0%} "
            f"({row['plain_share_of_peak']:5.0%}) | {row['bag4_over_ordinary']:4.2f}  "
            f"{row['bag8_over_ordinary']:4.2f}  {row['moe_over_dense']:4.2f}",
            flush=True,
        )
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        record = {"torch": torch.__version__, "peak_flops_per_second": peak, "rungs": rows}
        arguments.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
