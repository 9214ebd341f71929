"""Torch's ways of looking at a call from outside: what a fused op cannot answer is refused by name, never left out."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.autograd import forward_ad

from tritoncnn.errors import UnsupportedError

# What torch.func calls are made of, by the name of the transform's kind.
NAMES = {"Grad": "torch.func.grad, vjp or jacrev", "Jvp": "torch.func.jvp or jacfwd", "Vmap": "torch.func.vmap"}


def unwatched() -> bool:
    """Is torch neither tracing, compiling, transforming nor profiling?"""
    return not (
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack()
        or torch._C._len_torch_function_stack()
        or torch._C._functorch.maybe_current_level() is not None
        or torch._C._get_tracing_state()
        or torch._C._autograd._profiler_enabled()
    )


def refuse_transforms(name: str) -> None:
    """Raises UnsupportedError within a transform of torch.func, but for functionalize."""
    if torch.compiler.is_compiling() or torch._C._functorch.maybe_current_level() is None:
        return
    kind = torch._C._functorch.peek_interpreter_stack().key().name
    if kind in NAMES:
        raise UnsupportedError(
            f"{name}: {NAMES[kind]} cannot pass through a fused op; use loss.backward() or torch.autograd.grad, or "
            "torch.nn.functional's op within the transform"
        )


def refuse_tangents(name: str, tensors: Iterable[torch.Tensor | None]) -> None:
    """Raises UnsupportedError for a tensor that has a tangent of forward-mode differentiation."""
    if forward_ad._current_level < 0:
        return
    for x in tensors:
        if x is not None and forward_ad.unpack_dual(x).tangent is not None:
            raise UnsupportedError(
                f"{name}: forward-mode differentiation cannot pass through a fused op; use loss.backward() or "
                "torch.autograd.grad, or torch.nn.functional's op"
            )


def as_it_reads(x: torch.Tensor) -> torch.Tensor:
    """x with its numbers in its own memory, where torch keeps a minus sign aside or stores no zeros at all."""
    if x._is_zerotensor():
        return torch.zeros(x.shape, dtype=x.dtype, device=x.device)
    return x.resolve_neg()
