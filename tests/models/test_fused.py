"""The Triton kernels are the composition that defines them: interpreted on a CPU, if Triton is there."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

COMPARE = """
import sys, torch
from stepladder.models import functional, fused
from stepladder.models.rotary import rotation_table

B, T, H, K, C, fused.ROWS = map(int, sys.argv[1:])
torch.manual_seed(0)

def check(plain, kernels, inputs):
    a, b = plain(*inputs), kernels(*inputs)
    # laid out as attention's kernels give gradients: head by head, or position by position
    d = [torch.randn_like(x.transpose(1, -2).contiguous()).transpose(1, -2) for x in a]
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        torch.autograd.grad(a, inputs, d), torch.autograd.grad(b, inputs, d), rtol=1e-4, atol=1e-5
    )

shapes = ((B, T, H + 2 * K, C), (C,), (C,))
qkv, gain_q, gain_k = inputs = [torch.randn(shape, requires_grad=True) for shape in shapes]
turn = rotation_table(T, C, 10_000.0).turn_TP2
check(
    lambda qkv, gain_q, gain_k: functional.heads(qkv, H, gain_q, gain_k, turn, 1e-6),
    lambda qkv, gain_q, gain_k: fused.NormAndTurn.apply(qkv, gain_q, gain_k, turn, H, 1e-6),
    inputs,
)
fused.BLOCK = 16
gate_up = torch.randn(B * T, 2 * C, requires_grad=True)
check(lambda x: (functional.gated(x),), lambda x: (fused.Gate.apply(x),), [gate_up])
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton comes with CUDA builds of torch")
@pytest.mark.parametrize("sizes", ["2 6 4 2 32 16", "1 5 3 1 24 8", "2 8 2 2 16 4"])
def test_kernels_are_the_composition(sizes: str) -> None:
    command = [sys.executable, "-c", COMPARE, *sizes.split()]
    done = subprocess.run(
        command,
        env={"TRITON_INTERPRET": "1", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
