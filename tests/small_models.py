"""Models of a few thousand weights, all of them drawn."""

import torch

from stepladder.models.transformer import Transformer
from stepladder.record.spec import ModelSpec

MOE = {
    "n_experts": 4,
    "top_k": 2,
    "n_shared_experts": 1,
    "d_expert": 16,
    "every": 1,
    "balance_loss_weight": 0.01,
    "z_loss_weight": 0.0,
    "bias_rate": 0.0,
}
OPTIONS = {"dense": {}, "moe": MOE, "sliding": {"window": 5, "local_per_global": 1}}
CONTEXT = 24


def model_of(architecture: str, n_kv_heads: int = 2, qk_norm: bool = True) -> Transformer:
    spec = ModelSpec(
        architecture=architecture,
        n_layers=2,
        d_model=32,
        n_heads=4,
        n_kv_heads=n_kv_heads,
        d_head=8,
        d_ff=48,
        vocab_size=50,
        sequence_length=CONTEXT,
        tied_embeddings=False,
        qk_norm=qk_norm,
        rope_theta=10_000.0,
        options=OPTIONS[architecture],
    )
    model = Transformer(spec, seed=0).requires_grad_(False)
    for name, weight in model.named_parameters():
        if name.endswith((".out", ".down")):  # which begin at zero
            weight.normal_(0, 0.2, generator=torch.Generator().manual_seed(1))
    return model
