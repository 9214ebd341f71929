"""What ``tritoncnn doctor`` asks: what code is made for here, and whether a kernel compiles and runs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from tritoncnn.errors import KernelError

from . import engine
from .compiler import compile_kernel


@dataclass(frozen=True)
class Facts:
    """lanes is f32 per vector register; openmp is the library whose threads are used, None for one thread."""

    cpu: str
    features: tuple[str, ...]
    lanes: int
    threads: int
    llvm: str
    openmp: str | None


def host() -> Facts:
    """This machine as the CPU backend sees it. Raises InputError when TRITONCNN_CPU names an unknown feature."""
    target = engine.host()
    return Facts(
        target.cpu, target.of_note, target.lanes, engine.threads(), engine.llvm_version(), engine.openmp().path
    )


@triton.jit  # type: ignore[untyped-decorator]
def _square_plus(y_ptr, x_ptr, n, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offs, mask=offs < n, other=0.0)
    tl.store(y_ptr + offs, x * x + 1.0, mask=offs < n)


def self_test() -> str:
    """Compile a small kernel, run it on all threads, check every value; a sentence for people. Raises KernelError."""
    n, block = 1000, 64
    kernel = compile_kernel(_square_plus, {"y_ptr": "*fp32", "x_ptr": "*fp32", "n": "i32"}, {"BLOCK": block})
    x = torch.arange(n, dtype=torch.float32, device="cpu")
    y = torch.full((n + block,), -1.0, device="cpu")
    kernel.launch((triton.cdiv(n, block),), (y, x, n))
    if not torch.equal(y[:n], x * x + 1) or not (y[n:] == -1).all():
        raise KernelError("self-test: a small kernel compiled but its results are wrong on this machine")
    origin = "loaded from the cache" if kernel.from_cache else "compiled"
    return f"a kernel was {origin} and ran on {engine.threads()} thread(s): {n} values as expected."
