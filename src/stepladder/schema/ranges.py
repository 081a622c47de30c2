"""Ranges of the numbers in a ladder file, and of those that follow from them by rule.

A number outside its range is a slip: no run would learn from it, or no machine could hold it. The ranges are
far wider than what anybody has published, and none of them reaches infinity. Settings are checked where they
are read; what rules make of them, in `stepladder.ladder.resolved`. docs/ladders.md lists them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core.core_schema import no_info_after_validator_function


@dataclass(frozen=True)
class Range:
    """Numbers from `least` to `most`, both of them included; never NaN.

    In a model's annotation, `Annotated[float, Range(0, 1)]`, it is checked, and the error says all of it.
    """

    least: float
    most: float
    least_excluded: bool = False

    def __contains__(self, value: float) -> bool:
        return self.least <= value <= self.most and not (self.least_excluded and value == self.least)

    def __str__(self) -> str:
        """`from 1 to 1000`, as messages and documentation say it."""
        return f"{'above' if self.least_excluded else 'from'} {shown(self.least)} to {shown(self.most)}"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        number = handler(source)
        if number["type"] == "float":  # infinity, too, is told the range
            number = cast(CoreSchema, {**number, "allow_inf_nan": True})
        return no_info_after_validator_function(self._checked, number)

    def _checked(self, value: float) -> float:
        if value not in self:
            raise PydanticCustomError("out_of_range", "must be {range}", {"range": str(self)})
        return value


def shown(number: float) -> str:
    """A number as one would type it: 1048576, 1e-09, 0.999999."""
    if abs(number) < 1e8 and number == int(number):
        return str(int(number)) if number % 1e6 or not number else f"{number:g}"
    return f"{number:.6g}" if abs(number) < 1e300 else "a number beyond 1e300"


MOST_RUNS = 10_000
"""Runs of a ladder with those of its sweep."""
MOST_RUNGS = 64

# Shape
DEPTH = Range(1, 1000)
"""Layers. The deepest published transformer has 1,000 (Wang et al. 2022, arXiv 2203.00555)."""
WIDTH = Range(1, 2**20)
"""Features of a model, a feed-forward part or an expert; 20 times the widest published."""
HEADS = Range(1, 2**14)
SEQUENCE_LENGTH = Range(1, 2**20)
"""Positions."""
VOCABULARY = Range(2, 2**24)
PARAMETERS = Range(1, 1e14)
"""Stored parameters of one model."""
ROUNDING = Range(1, 2**16)
"""Widths are made a multiple of this."""
LAYER_WIDTH = Range(0, 2**16)
"""Features per layer of depth."""
FEED_FORWARD_RATIO = Range(0.01, 1000)
"""d_ff over d_model."""
ROPE_THETA = Range(2, 1e12)

# Training
LEARNING_RATE = Range(1e-9, 10)
"""Peak rate of AdamW, or of Muon at AdamW's size of update."""
FACTOR = Range(1e-3, 1e3)
"""On the ruled rate or batch, in a sweep."""
RULE_VALUE = Range(1e-12, 1e12)
"""Value of a power law where its quantity is `at`; what comes out has the range of what it is."""
POWERS_VALUE = Range(1e-30, 1e12)
"""The same of a law in several quantities, which may be that of an epsilon."""
RULE_AT = Range(1e-6, 1e40)
"""N, D, C, d_model or positions per step."""
EXPONENT = Range(-10, 10)
BETA = Range(0, 0.999999)
EPSILON = Range(1e-30, 1)
"""Above fp32's smallest normal number (1e-38); AdamW with 1 is momentum SGD."""
WEIGHT_DECAY = Range(0, 10)
PART = Range(0, 1, least_excluded=True)
"""Of the steps."""
SHARE = Range(0, 1)
"""Of the steps, or of the peak rate."""
DECAY_PER_STEP = Range(0, 0.5)
"""Peak learning rate times weight decay: the share of every weight that a step takes away."""
CLIP_NORM = Range(1e-4, 1e9)
WARMUP_STEPS = Range(0, 10**9)
WARMUP_PER_PARAMETER = Range(1e-3, 1000)
"""Tokens of warmup per active non-embedding parameter; OLMo warms up for 1."""
TIMESCALE = Range(1e-4, 1e4)
"""Of weight decay, in shares of a run; Wang and Aitchison expect about 1 of a single pass."""
STEPS = Range(1, 10**9)
SEQUENCES = Range(1, 2**24)
"""Per step."""
SNAPSHOTS = Range(1, 1024)
"""Of weights that a mean is of."""
BAG_SIZE = Range(1, 2**16)
"""Tokens of an input position, or predicted by one."""
TOKENS = Range(1, 1e17)
"""Read in training. The largest published runs read 4e13."""
BUDGET = Range(1e-6, 1e6)
"""Multiples of 20 tokens per active non-embedding parameter."""
RUN_FLOPS = Range(1e6, 1e30)
"""Of a budget that is FLOPs."""
PROFILE_SIZES = Range(3, 64)
"""Of an IsoFLOP design at each budget."""
TOKENS_PER_PARAMETER = Range(0.01, 1e6)
SIZE_RATIO = Range(1, 100, least_excluded=True)
"""Between neighbouring sizes of an IsoFLOP design."""
SWARM_RUNS = Range(4, 1024)
CONCENTRATION = Range(0.1, 1e6)
"""Of mixtures about the baseline's."""
SEED = Range(0, 2**32 - 1)
LOSS_WEIGHT = Range(0, 1000)
"""Of a loss beside the main one."""
BIAS_RATE = Range(0, 1)
TOKENS_AHEAD = Range(1, 64)
"""That one position predicts; each costs a layer."""
EXPERTS = Range(0, 2**16)
OPTION = Range(-1e9, 1e9)
"""Of an architecture or a recipe, whatever it means."""

# Data
HELD_OUT_SHARE = Range(1e-6, 0.9)
HELD_OUT_TOKENS = Range(2, 10**12)
"""Per domain; the first is only read, so one would score nothing."""
DOMAIN_WEIGHT = Range(1e-6, 1)
MIXTURE_WEIGHT = Range(0, 1e6)
"""A domain's part of what is read, against the others'."""
MOST_STAGES = 64
"""Of a mixture."""
TRAINING_BYTES = Range(1, 10**12)
PART_BYTES = Range(1, 10**15)
SIMILARITY = Range(0.5, 0.99)
RUN_WORDS = Range(1, 100)
EPOCHS = Range(1e-3, 10**4)

# Evaluation
MOST_TASKS = 256
LOOKS = Range(0, 1000)
ITEMS = Range(1, 10**6)
ITEM_BYTES = Range(1, 10**6)
SHOTS = Range(0, 64)

# Execution
ACCELERATORS = Range(1, 10**6)
NODES = Range(1, 10**5)
THREADS = Range(1, 4096)
MEMORY_MB = Range(1, 10**9)
RUNTIME_MINUTES = Range(1, 10**6)
"""Two years."""
PARALLEL_RUNS = Range(1, 10**5)
MICRO_BATCH = Range(0, 2**24)
CHECKPOINT_SECONDS = Range(0.001, 1e7)
KEEP_CHECKPOINTS = Range(1, 10**4)
SKIPPED_STEPS = Range(0, 10**6)

# Plan
MFU = Range(0.001, 1)
FLOPS_PER_SECOND = Range(1e6, 1e17)
"""Of one accelerator. Today's fastest is at 1e16 in its narrowest type: a larger figure switches the guard
off."""
PEAK = Range(1e9, 1e17)
"""FLOP/s of one accelerator, dense."""
OVERHEAD_SECONDS = Range(0, 1e6)
PRICE_PER_HOUR = Range(0, 1e4)
"""USD per accelerator; 0 for one that is paid for."""
ACCELERATOR_HOURS = Range(1e-6, 1e9)

# Analysis
DRAWS = Range(100, 10**5)
HUBER_DELTA = Range(1e-9, 100)
"""Log loss."""
LOSS = Range(0, 100)
"""Nats per token."""
MISFIT = Range(0, 10)
"""Log loss."""
MISFIT_SHARE = Range(0, 0.5)
NOISE = Range(0, 1)
"""Log loss."""
NOISE_DOF = Range(0, 1e6)
RUNGS = Range(0, MOST_RUNGS)
SHARED_RUNGS = Range(2, MOST_RUNGS)
FLOPS = Range(1, 1e35)
"""Of one run."""
GAIN = Range(0.01, 1000)
"""Efficiency gain: a factor on compute."""
WANTED_GAIN = Range(1, 1000, least_excluded=True)
LEVEL = Range(1e-6, 0.5)
FUTILITY = Range(0, 0.5)
MARGIN = Range(1e-6, 0.1)
"""Of a test."""
COST_RATIO = Range(1, 1000)
UNCERTAINTY = Range(1, 1000, least_excluded=True)
"""A factor."""
VERSION = Range(1, 10**9)
