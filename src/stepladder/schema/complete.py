"""Complete recipes of hyperparameters: what a source tuned together, set together.

A published learning rate is the best one for the batch, beta2, warmup and decay that it was tuned with.
`optimizer: {hyperparameters: olmo}` takes all of them; a field beside it replaces that part, and `stepladder
check`, the plan and the report say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

EITHER = (("warmup", "warmup_steps", "warmup_fraction"), ("final", "final_rate"))
"""Fields of which one takes the place of the others."""


@dataclass(frozen=True)
class Complete:
    """One source's hyperparameters."""

    source: str
    """Where every number is from."""
    settings: Mapping[str, Any]
    """Fields of `optimizer:` as a ladder file would have them."""
    caveat: str
    """What the source leaves open, and what this engine does otherwise; empty for nothing."""

    def beside(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Its settings where a file says nothing, and the file's own."""
        own = {name: value for name, value in given.items() if value is not None}
        settled = {name for names in EITHER if own.keys() & set(names) for name in names}
        return {name: value for name, value in self.settings.items() if name not in settled} | own


# OLMo-core (fa6c501), model_ladder/wsds_chinchilla_run_configurator.py and transformer_model_configurator.py.
# The rate is Porian et al.'s (arXiv 2406.19146), halved; epsilon is the default of its AdamW.
OLMO = Complete(
    source="OLMo-core model ladder (fa6c501), after Porian et al. 2024, arXiv 2406.19146",
    settings={
        "learning_rate": {"default": {"rule": "olmo"}},  # 0.0047 * (N / 108e6)^(-1/3) / 2
        "batch": {"rule": "olmo"},  # 2048 * 160 * (N / 108e6)^(2/3) tokens
        "beta1": 0.9,
        "beta2": {"rule": "olmo"},  # 0.95 from 524288 tokens per step on, else 0.99
        "epsilon": 1e-8,
        "weight_decay": 0.1,  # at every size; not on embeddings, nor here
        "clip_norm": 1.0,
        "warmup": {"rule": "parameters"},  # one token per parameter
        "decay_fraction": 0.1,
        "decay_shape": "linear",
        "final": 0.0,
    },
    caveat="the rate is for budgets of 1x; OLMo decays at the end of each of several periods (WSD-S), a run "
    "here once, over a tenth of its steps",
)

# nanochat (92d63d4), scripts/base_train.py and nanochat/gpt.py. D12 = 1.32e9 tokens, see NANOCHAT_D12.
NANOCHAT = Complete(
    source="nanochat (92d63d4), batch after arXiv 2505.13738 and weight decay after arXiv 2405.13698",
    settings={
        "name": "muon",
        # Its Muon takes steps of 0.02 * max(1, rows / columns)^0.5 times an orthogonal matrix, this one's of
        # rate * 0.2 * max(rows, columns)^0.5: the same at 0.02 / (0.2 * columns^0.5), 0.00361 at width 768.
        "learning_rate": {
            "default": {
                "rule": "powers",
                "value": 0.02 / (0.2 * 768**0.5),
                "of": {"d_model": {"at": 768, "exponent": -0.5}, "batch": {"at": 2**19, "exponent": 0.5}},
            }
        },
        "batch": {"rule": "nanochat"},  # 2^19 * (D / D12)^0.383, to a power of two
        "beta1": 0.8,
        "beta2": 0.96,  # the head's
        "epsilon": 1e-10,
        # 0.28 * (B / 2^19)^0.5 * D12 / D at a rate of 0.02 * (B / 2^19)^0.5: B / (rate * decay * D) stays at
        # 2^19 / (0.02 * 0.28 * D12) = 0.0709
        "weight_decay": {"rule": "timescale", "value": 0.0709},
        "warmup_steps": 40,
        "decay_fraction": 0.65,
        "decay_shape": "linear",
        "final": 0.05,
    },
    caveat="one rate serves all weights here, nanochat's embedding and head have their own (0.3 and 0.008 at "
    "width 768) and the embedding its own beta2 (0.995); nanochat decays only weights that the update "
    "moves towards 0, and less and less, so that the same τ decays more here; it clips nothing",
)

# marin experiments/scaling_law_sweeps/completed_adamh.py (054a715); its reference is at B0 = 64 sequences of
# 4096 and D0 = 2.5e9 tokens.
DELPHI = Complete(
    source="Marin's Delphi, completed_adamh.py (054a715)",
    settings={
        "learning_rate": {"default": {"rule": "delphi"}},  # 0.0063 (B / B0)^0.5 (D0 / D)^0.3, at most 0.01
        "batch": {"rule": "delphi"},  # about 2^16 steps
        "beta1": 0.9,
        "beta2": {"rule": "half_life", "value": 0.9999, "at": 2**18, "least": 0.9, "most": 0.9999},
        "epsilon": {  # 1.85e-8 * (r0 / r)^0.5, r = B / D
            "rule": "powers",
            "value": 1.85e-8,
            "of": {"batch": {"at": 2**18, "exponent": -0.5}, "d": {"at": 2.5e9, "exponent": 0.5}},
        },
        "weight_decay": 0.0,
        "clip_norm": 0.1,
        "warmup_fraction": 0.1,
        "decay_fraction": 0.2,
        "decay_shape": "linear",
        "final": 0.0,
    },
    caveat="tuned for AdamH, which holds the norms of matrices and needs no weight decay; this engine has "
    "AdamW, of which the source says nothing: check the rate by a sweep. Delphi's second rate (6.56e-4) and "
    "its z-loss are left out",
)

# Step Law, arXiv 2503.04715. The last rate is in the names of the runs of step-law/steplaw (32a8f4c),
# data/dense_lr_bs_loss.csv.
STEP_LAW = Complete(
    source="Step Law, arXiv 2503.04715",
    settings={
        "learning_rate": {"default": {"rule": "step_law"}},  # 1.79 * N^(-0.713) * D^0.307
        "batch": {"rule": "step_law"},  # 0.58 * D^0.571 tokens
        "final_rate": 1e-5,  # the same at every size
    },
    caveat="beta2, epsilon, weight decay, warmup and schedule of its runs are not in what was read: these "
    "are the ladder's own",
)

COMPLETE: Mapping[str, Complete] = {
    "olmo": OLMO,
    "nanochat": NANOCHAT,
    "delphi": DELPHI,
    "step_law": STEP_LAW,
}
