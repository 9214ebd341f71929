"""What must hold between several runs of one kernel: laws that need no reference.

A law is a function law(apply, problem) -> None, or a sentence that says how it is broken. ``apply(problem, *inputs)`` runs
the kernel and returns its outputs. Values are whole numbers or normal; a law that does not fit a problem passes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from tritoncnn.ir import TensorType

from .oracle import error_bound
from .problems import Conv, Norm, as_held

Apply = Callable[..., list[torch.Tensor]]
Law = Callable[[Apply, Any], "str | None"]


def additive(apply: Apply, problem: Any) -> str | None:
    """f(a + b) = f(a) + f(b) in the first input, for kernels linear in it."""
    if (inputs := _plain(problem)) is None:
        return None
    a, *rest = inputs
    b = as_held(a.flip(-1) if a.ndim else a, problem.inputs[0])
    together = as_held(a + b, problem.inputs[0])
    b = as_held(together - a, problem.inputs[0])
    if not torch.equal(a + b, together):
        return None
    (fa,), (fb,), (fab,) = apply(problem, a, *rest), apply(problem, b, *rest), apply(problem, together, *rest)
    size = problem.magnitude(a, *rest) + problem.magnitude(b, *rest)
    return _compare("f(a + b) is not f(a) + f(b)", problem, fab, fa.double() + fb.double(), size)


def homogeneous(apply: Apply, problem: Any) -> str | None:
    """f(-2 a) = -2 f(a), to the last bit, in the first input, for kernels linear in it."""
    if (inputs := _plain(problem)) is None:
        return None
    a, *rest = inputs
    (once,), (twice,) = apply(problem, a, *rest), apply(problem, -2 * a, *rest)
    wrong = (twice.double() != -2 * once.double()) & (once.double().abs() > 2.0**-10)  # f16 below is denormal
    return f"f(-2 a) is not -2 f(a) at {_first(wrong)}" if bool(wrong.any()) else None


def batch_split(apply: Apply, problem: Any) -> str | None:
    """A batch gives what its parts give, for kernels that treat pictures (or rows) alone."""
    if (inputs := _plain(problem)) is None or problem.inputs[0].shape[0] < 2:
        return None
    if isinstance(problem, Norm) and problem.kind == "batch":
        return None
    x, *rest = inputs
    (whole,) = apply(problem, x, *rest)
    size = problem.magnitude(*inputs)
    for n in range(x.shape[0]):
        part = _with_first(problem, _resized(problem.inputs[0], 0, 1), _resized(problem.outputs[0], 0, 1))
        (one,) = apply(part, x[n : n + 1], *rest)
        if complaint := _compare(
            f"picture {n} alone differs", problem, one, whole[n : n + 1].double(), size[n : n + 1]
        ):
            return complaint
    return None


def channel_permutation(apply: Apply, problem: Any) -> str | None:
    """Channels in another order: a Conv (of one group) gives the same, what treats channels alone the same order."""
    if (inputs := _plain(problem)) is None or problem.inputs[0].rank < 3:
        return None
    x, *rest = inputs
    order = torch.arange(x.shape[1]).flip(0)
    if isinstance(problem, Conv):
        if problem.groups != 1 or type(problem) is not Conv:
            return None
        (before,), (after,) = apply(problem, x, *rest), apply(problem, x[:, order], rest[0][:, order])
        wanted = before.double()
    else:
        if rest:
            return None
        (before,), (after,) = apply(problem, x), apply(problem, x[:, order])
        wanted = before[:, order].double()
    size = problem.magnitude(*inputs)
    size = size if isinstance(problem, Conv) else size[:, order]
    return _compare("with permuted channels", problem, after, wanted, size)


def shift(apply: Apply, problem: Any) -> str | None:
    """Convolutions and pools without padding: x without its first columns gives y without its first column."""
    if (inputs := _plain(problem)) is None or not hasattr(problem, "stride") or type(problem).__name__.endswith("Grad"):
        return None
    x, *rest = inputs
    y, step = problem.outputs[0], problem.stride[-1]
    if any(problem.padding) or y.shape[-1] < 2 or getattr(problem, "ceil_mode", False):
        return None
    (whole,) = apply(problem, x, *rest)
    x_type = _resized(problem.inputs[0], -1, x.shape[-1] - step)
    part = _with_first(problem, x_type, _resized(y, -1, y.shape[-1] - 1))
    (moved,) = apply(part, x[..., step:], *rest)
    return _compare(
        "of the shifted input", problem, moved, whole[..., 1:].double(), problem.magnitude(*inputs)[..., 1:]
    )


LAWS: dict[str, Law] = {
    "additive": additive, "homogeneous": homogeneous, "batch split": batch_split,
    "channel permutation": channel_permutation, "shift": shift,
}  # fmt: skip


def _plain(problem: Any) -> list[torch.Tensor] | None:
    """The problem's values, unless they are special or there is nothing to compute."""
    empty = any(t.numel == 0 for t in (*problem.inputs, *problem.outputs))
    return None if problem.values == "special" or empty else problem.fill()


def _resized(type: TensorType, dim: int, size: int) -> TensorType:
    """A smaller tensor of the same strides: a slice."""
    shape = list(type.shape)
    shape[dim] = size
    return TensorType(type.dtype, tuple(shape), type.strides)


def _with_first(problem: Any, x: TensorType, y: TensorType) -> Any:
    return replace(problem, inputs=(x, *problem.inputs[1:]), outputs=(y, *problem.outputs[1:]))


def _first(wrong: torch.Tensor) -> str:
    return str(wrong.nonzero()[0].tolist())


def _compare(what: str, problem: Any, found: torch.Tensor, wanted: torch.Tensor, size: torch.Tensor) -> str | None:
    """A sentence when two results of the kernel differ by more than the errors of three."""
    bound = 3 * error_bound(torch.maximum(wanted.abs(), size), size, problem.terms(), found.dtype)
    wrong = ~((found.double() - wanted).abs() <= bound)
    if not bool(wrong.any()):
        return None
    at = tuple(wrong.nonzero()[0].tolist())
    return f"{what}: {problem.names[-1]}{list(at)} is {found[at].item():.9g}, wanted {wanted[at].item():.9g}"
