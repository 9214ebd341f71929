"""hypothesis strategies: layouts and problems. The first choice of each is the simplest, to which a failure shrinks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from tritoncnn.errors import InputError
from tritoncnn.ir import TensorType

from .problems import Conv, ConvFilterGrad, ConvInputGrad, Norm, Pointwise, Pool, Problem, Resize

NHWC = (0, 2, 3, 1)
DTYPES = ("f32", "bf16", "f16")
seeds = st.integers(0, 2**31)


def dtypes(names: Sequence[str] = DTYPES) -> st.SearchStrategy[str]:
    """One of the dtypes; the first is the simplest."""
    return st.sampled_from(tuple(names))


@st.composite
def layouts(
    draw: Any, shape: Sequence[int], fast: Sequence[int] | None = None, dtype: str = "f32", expand: bool = False
) -> TensorType:
    """A type of this shape: half of the time dense in the ``fast`` order, else in any order, perhaps with gaps as a
    slice with a step or a margin has them; with ``expand`` some dims may have stride 0.
    """
    kind = draw(st.sampled_from(("dense", "dense", "any", "any", "expanded") if expand else ("dense", "any")))
    if kind == "dense":
        return TensorType.dense(dtype, shape, fast)
    order = draw(st.permutations(range(len(shape))))
    repeat = [draw(st.booleans()) for _ in shape] if kind == "expanded" else [False] * len(shape)
    strides, step = [0] * len(shape), draw(st.sampled_from((1, 1, 2)))
    for d in reversed(order):
        if not repeat[d]:
            strides[d] = step
            step *= max(shape[d], 1) + draw(st.sampled_from((0, 0, 1)))
    return TensorType(dtype, tuple(shape), tuple(strides))


@st.composite
def with_layouts(draw: Any, problem: Problem, expand: bool = True) -> Any:
    """The problem with other strides, half of the time: pictures row-major or channels-last, others in any order."""
    if not draw(st.booleans()):
        return problem

    def other(type: TensorType, expand: bool) -> TensorType:
        fast = draw(st.sampled_from((None, NHWC))) if type.rank == 4 else None
        return draw(layouts(type.shape, fast, type.dtype, expand))

    inputs = tuple(other(t, expand) for t in problem.inputs)
    return replace(problem, inputs=inputs, outputs=tuple(other(t, False) for t in problem.outputs))


def _values(special: bool = True) -> st.SearchStrategy[str]:
    return st.sampled_from(("integers", "floats", "special") if special else ("integers", "floats"))


@st.composite
def convs(
    draw: Any,
    dims: int = 2,
    gradient: str = "",
    dtypes: Sequence[str] = DTYPES,
    max_size: int = 9,
    max_channels: int = 6,
    grouped: bool = True,
    strided: bool = True,
    dilated: bool = True,
    any_layout: bool = True,
) -> Any:
    """Conv, or its ``gradient``: "input" or "filter". Without ``any_layout`` all tensors are row-major."""
    kinds = {"": Conv, "input": ConvInputGrad, "filter": ConvFilterGrad}
    if gradient not in kinds or dims not in (1, 2, 3):
        raise InputError(f"gradient must be '', 'input' or 'filter', dims 1 to 3; got {gradient!r} and {dims}")
    kind = kinds[gradient]
    groups = draw(st.sampled_from((1, 1, 2, 3))) if grouped else 1
    most = max(max_channels // groups, 1)
    C, K = groups * draw(st.integers(1, most)), groups * draw(st.integers(1, most))
    N = draw(st.sampled_from((1, 2, 3, 0)))
    window = tuple(draw(st.integers(1, 3)) for _ in range(dims))
    stride = tuple(draw(st.integers(1, 3 if strided else 1)) for _ in range(dims))
    dilation = tuple(draw(st.integers(1, 2 if dilated else 1)) for _ in range(dims))
    padding = tuple(draw(st.integers(0, 2)) for _ in range(dims))
    least = [max(d * (r - 1) + 1 - 2 * p, 1) for d, r, p in zip(dilation, window, padding, strict=True)]
    sizes = tuple(draw(st.integers(low, max(low, max_size))) for low in least)
    attrs = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    attrs |= {"values": draw(_values(not gradient)), "seed": draw(st.integers(0, 9))}
    problem = kind.of(draw(st.sampled_from(tuple(dtypes))), (N, C, *sizes), (K, C // groups, *window), **attrs)
    return draw(with_layouts(problem)) if any_layout else problem


@st.composite
def pools(
    draw: Any,
    kind: str | None = None,
    dims: int = 2,
    dtypes: Sequence[str] = DTYPES,
    max_size: int = 9,
    any_layout: bool = True,
) -> Any:
    """Pool, max or average (``kind`` None: either)."""
    kind = kind or draw(st.sampled_from(("max", "avg")))
    window = tuple(draw(st.integers(1, 3)) for _ in range(dims))
    stride = tuple(draw(st.integers(1, 3)) for _ in range(dims))
    padding = tuple(draw(st.integers(0, size // 2)) for size in window)
    dilation = tuple(draw(st.integers(1, 2)) if kind == "max" else 1 for _ in range(dims))
    # The window fits, and one that starts in the padding has a tap in the picture: max_pool2d refuses others.
    least = [max(d * (r - 1) + 1 - 2 * p, d if p else 1) for d, r, p in zip(dilation, window, padding, strict=True)]
    sizes = tuple(draw(st.integers(low, max_size)) for low in least)
    attrs: dict[str, Any] = {"kind": kind, "window": window, "stride": stride, "padding": padding, "dilation": dilation}
    attrs |= {"ceil_mode": draw(st.booleans()), "values": draw(_values()), "seed": draw(st.integers(0, 9))}
    if kind == "avg":
        attrs["count_include_pad"] = draw(st.sampled_from((True, False)))
    N, C = draw(st.sampled_from((1, 2, 0))), draw(st.sampled_from((1, 3, 2, 0)))
    problem = Pool.of(draw(st.sampled_from(tuple(dtypes))), (N, C, *sizes), **attrs)
    return draw(with_layouts(problem)) if any_layout else problem


@st.composite
def norms(
    draw: Any, kind: str | None = None, dtypes: Sequence[str] = DTYPES, max_size: int = 40, any_layout: bool = True
) -> Any:
    """Norm: layer [rows, size], or batch, instance or group [N, C, size] (``kind`` None: any)."""
    kind = kind or draw(st.sampled_from(("layer", "batch", "instance", "group")))
    size = draw(st.integers(1, max_size))
    groups = draw(st.integers(1, 3)) if kind == "group" else 1
    N, C = draw(st.sampled_from((1, 2, 5, 0))), groups * draw(st.integers(1, 3))
    N = max(N, 1) if kind == "batch" else N  # a mean of nothing
    attrs = {"kind": kind, "groups": groups, "values": draw(_values()), "seed": draw(st.integers(0, 9))}
    shape = (N, size) if kind == "layer" else (N, C, size)
    problem = Norm.of(draw(st.sampled_from(tuple(dtypes))), shape, **attrs)
    return draw(with_layouts(problem)) if any_layout else problem


@st.composite
def resizes(
    draw: Any, kind: str | None = None, dtypes: Sequence[str] = DTYPES, max_size: int = 9, any_layout: bool = True
) -> Any:
    """Resize, nearest or bilinear (``kind`` None: either)."""
    kind = kind or draw(st.sampled_from(("nearest", "bilinear")))
    x = (draw(st.sampled_from((1, 2, 0))), draw(st.integers(1, 3)), *(draw(st.integers(1, max_size)) for _ in range(2)))
    sizes = draw(st.integers(1, max_size)), draw(st.integers(1, max_size))
    # At a weight of 0 an infinity becomes NaN: whether the weight is 0 or a rounding error is no kernel's promise.
    attrs = {"kind": kind, "values": draw(_values(kind == "nearest")), "seed": draw(st.integers(0, 9))}
    attrs["align_corners"] = kind == "bilinear" and draw(st.booleans())
    problem = Resize.of(draw(st.sampled_from(tuple(dtypes))), x, sizes, **attrs)
    return draw(with_layouts(problem)) if any_layout else problem


@st.composite
def pointwises(
    draw: Any,
    operands: int = 1,
    dtypes: Sequence[str] = DTYPES,
    max_rank: int = 4,
    max_size: int = 20,
    broadcast: bool = True,
    any_layout: bool = True,
) -> Any:
    """Pointwise of some operands; with ``broadcast`` those after the first may have sizes of 1."""
    shape = tuple(draw(st.lists(st.integers(0, max_size), min_size=1, max_size=max_rank)))
    shapes = [shape]
    for _ in range(operands - 1):
        shapes.append(tuple(1 if broadcast and draw(st.booleans()) else size for size in shape))
    dtype = draw(st.sampled_from(tuple(dtypes)))
    types = tuple(TensorType.dense(dtype, s) for s in shapes)
    problem = Pointwise(types, (TensorType.dense(dtype, shape),), draw(_values()), draw(st.integers(0, 9)))
    return draw(with_layouts(problem)) if any_layout else problem
