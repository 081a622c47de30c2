"""Held-out loss while a run trains: next-token loss on the same text for all runs, at few steps."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from stepladder.data.batches import Corpus, Validation
from stepladder.record.cost import flops_until
from stepladder.record.curve import EVENT, Curve, look_steps
from stepladder.training.attempt import Attempt
from stepladder.training.evaluate import evaluate, target_loss
from stepladder.training.feed import Place


@dataclass(frozen=True)
class Looks:
    """The looks of a run."""

    attempt: Attempt
    curve: Curve
    manifest: Path
    """Of the run's shards."""

    @cached_property
    def steps(self) -> frozenset[int]:
        """Steps after which to look."""
        return look_steps(self.attempt.spec, self.curve)

    @cached_property
    def texts(self) -> dict[str, Validation]:
        """The first tokens of each domain's held-out text."""
        domains = self.attempt.spec.data.domain_weights
        corpus = Corpus.open(self.manifest, self.curve.tokens)
        return {domain: corpus.validation(domain) for domain in domains}

    def look(self, place: Place) -> None:
        """Score the text after the step at `place`, and write down what was seen."""
        attempt, start = self.attempt, time.perf_counter()
        losses = {domain: evaluate(attempt.trainer, text) for domain, text in self.texts.items()}
        mean = target_loss(losses, attempt.spec.data.domain_weights)
        attempt.journal.write(
            EVENT,
            step=place.step + 1,
            phase=place.phase.name,
            tokens=place.tokens,
            flops=flops_until(attempt.spec, place.step + 1),
            loss=mean.nats_per_token,
            bits_per_byte=mean.bits_per_byte,
            losses={domain: loss.nats_per_token for domain, loss in losses.items()},
            held_out_tokens=sum(len(text.tokens) for text in self.texts.values()),
            seconds=time.perf_counter() - start,
        )
