"""Two runs of one thread each against one run of two threads: which trains more on two cores?

    python benchmarks/threads.py [--rungs 24,32,40,48,64] [--rounds 5]

The two arrangements alternate; each measurement is a process of its own that reports tokens/s over a few
seconds after warm-up. The ratio is that of the sums over both cores, median of the rounds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

SECONDS = 3.0
"""Timed part of one measurement."""


def main() -> None:
    """Print a line per rung; with --measure, be one of the measured processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rungs", default="24,32,40,48,64", help="d_model of the rungs to measure")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--measure", nargs=2, type=int, metavar=("D_MODEL", "THREADS"), help=argparse.SUPPRESS
    )
    arguments = parser.parse_args()
    if arguments.measure:
        print(measure(*arguments.measure))
        return
    print("d_model | two runs, 1 thread each | one run, 2 threads | ratio (median of rounds; tokens/s)")
    for d_model in map(int, arguments.rungs.split(",")):
        pairs = [(total(d_model, 1, 2), total(d_model, 2, 1)) for _ in range(arguments.rounds)]
        apart, together = (median(column) for column in zip(*pairs, strict=True))
        ratio = median(a / b for a, b in pairs)
        print(f"{d_model:7} | {apart:23,.0f} | {together:18,.0f} | {ratio:.2f}", flush=True)


def total(d_model: int, threads: int, processes: int) -> float:
    """Tokens per second of `processes` measurements that run at the same time."""
    command = [sys.executable, __file__, "--measure", str(d_model), str(threads)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    return sum(float(process.communicate()[0]) for process in running)


def measure(d_model: int, threads: int) -> float:
    """Tokens per second of our step in this process."""
    sys.path.insert(0, str(Path(__file__).parent))
    from train_step import POSITIONS, SEQUENCES, batch, make_trainer, our_step

    from stepladder.training.device import keep_freed_memory
    from stepladder.training.process import configure_process

    configure_process(threads=threads)
    keep_freed_memory()
    step, (inputs, targets) = our_step(make_trainer(d_model)), batch(1, seed=0)
    for _ in range(20):
        step(inputs, targets)
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < SECONDS:
        step(inputs, targets)
        steps += 1
    return steps * SEQUENCES * POSITIONS / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
