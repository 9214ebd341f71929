"""Kernels of random numbers and plain arithmetic, for our backend and, in another process, Triton's interpreter.

``TRITON_INTERPRET=1 python -m tests.cpu.random_kernels FILE`` writes what the interpreter makes of them.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl

N = 256
SEEDS = (0, 42, -7, 2**31 - 1)
SHIFTS = (0, 1, 31, 32, 33, 200, -1, 7)


@triton.jit
def random_kernel(F, G, I, J, seed, BLOCK: tl.constexpr):
    """F: rand and rand4x; G: randn; I: randint and randint4x; J: numbers of 64 bits."""
    at = tl.arange(0, BLOCK)
    tl.store(F + at, tl.rand(seed, at))
    a, b, c, d = tl.rand4x(seed, at * 3)
    tl.store(F + BLOCK + at, tl.maximum(tl.minimum(a, b), tl.minimum(c, d)))
    tl.store(G + at, tl.randn(seed, at))
    tl.store(I + at, tl.randint(seed, at, n_rounds=7))
    p, q, r, s = tl.randint4x(seed, at)
    tl.store(I + BLOCK + at, p ^ q ^ r ^ s)
    tl.store(J + at, tl.randint(seed, at.to(tl.int64) + 4294967296 * 5))


@triton.jit
def arithmetic_kernel(Y, Z, A, B, X, BLOCK: tl.constexpr):
    """Y, int32: shifts past the width, high halves, extremes. Z, f32: fma, clamps, roots and quotients."""
    at = tl.arange(0, BLOCK)
    a, b = tl.load(A + at), tl.load(B + at)
    tl.store(Y + at, a << b)
    tl.store(Y + BLOCK + at, a >> b)
    tl.store(
        Y + 2 * BLOCK + at, (a.to(tl.uint32, bitcast=True) >> b.to(tl.uint32, bitcast=True)).to(tl.int32, bitcast=True)
    )
    ua, ub = a.to(tl.uint32, bitcast=True), b.to(tl.uint32, bitcast=True)
    tl.store(Y + 3 * BLOCK + at, tl.umulhi(ua, ub).to(tl.int32, bitcast=True))
    tl.store(Y + 4 * BLOCK + at, tl.maximum(a, b) - tl.minimum(a, b) + tl.abs(a))
    x = tl.load(X + at)
    y = tl.load(X + BLOCK + at)
    tl.store(Z + at, tl.fma(x, y, x))
    tl.store(Z + BLOCK + at, tl.clamp(x, -0.5, 0.5))
    tl.store(Z + 2 * BLOCK + at, tl.clamp(x, -0.5, 0.5, propagate_nan=tl.PropagateNan.ALL))
    tl.store(Z + 3 * BLOCK + at, tl.div_rn(x, y))
    tl.store(Z + 4 * BLOCK + at, tl.sqrt_rn(tl.abs(x)))
    tl.store(Z + 5 * BLOCK + at, tl.floor(x) + tl.ceil(y))


def tensors(seed: int) -> dict[str, torch.Tensor]:
    return {
        "F": torch.zeros(2 * N), "G": torch.zeros(N), "I": torch.zeros(2 * N, dtype=torch.int32),
        "J": torch.zeros(N, dtype=torch.int64),
    }  # fmt: skip


def inputs() -> dict[str, torch.Tensor]:
    generator = np.random.default_rng(3)
    a = torch.from_numpy(generator.integers(-(2**31), 2**31, N, dtype=np.int64)).int()
    x = torch.from_numpy(generator.standard_normal(2 * N)).float()
    x[:4] = torch.tensor([float("nan"), float("inf"), float("-inf"), -0.0])
    return {
        "Y": torch.zeros(5 * N, dtype=torch.int32), "Z": torch.zeros(6 * N), "A": a,
        "B": torch.tensor(SHIFTS, dtype=torch.int32).repeat(N // len(SHIFTS)), "X": x,
    }  # fmt: skip


def results() -> dict[str, Any]:
    """By name; launches both kernels in the way that this process has active."""
    found = {}
    for seed in SEEDS:
        t = tensors(seed)
        random_kernel[(1,)](*t.values(), seed, BLOCK=N)
        found |= {f"{name}{seed}": x.numpy() for name, x in t.items()}
    t = inputs()
    arithmetic_kernel[(1,)](*t.values(), BLOCK=N)
    return found | {"Y": t["Y"].numpy(), "Z": t["Z"].numpy()}


if __name__ == "__main__":
    np.savez(sys.argv[1], **results())
