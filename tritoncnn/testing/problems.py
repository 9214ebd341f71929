"""Problems that kernels solve: the types of inputs and outputs, the attributes, the data, and the right answer in fp64.

    Conv.of("f32", (1, 3, 8, 8), (4, 3, 3, 3), padding=(1, 1))

A problem of your own is a frozen dataclass with these methods; ``names`` are its inputs', then its outputs'.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch.nn import grad as gradients
from typing_extensions import Self

from tritoncnn.ir import TensorType

from .arena import DTYPES
from .oracle import floats, integers, specials

Pixels = tuple[int, ...]
FILL = {"integers": integers, "floats": floats, "special": specials}


@dataclass(frozen=True, repr=False)
class Problem:
    """``values`` says how inputs are filled: integers (in [-4, 4]), floats (normal) or special (NaN, infinities, zeros)."""

    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    values: str = "integers"
    seed: int = 0
    names: ClassVar[tuple[str, ...]] = ()

    def __repr__(self) -> str:
        types = [f"{n}={t}" for n, t in zip(self.names, (*self.inputs, *self.outputs), strict=False)]
        plain = {
            f.name: (getattr(self, f.name), f.default) for f in fields(self) if f.name not in ("inputs", "outputs")
        }
        told = [f"{name}={value!r}" for name, (value, usual) in plain.items() if not _is_usual(value, usual)]
        return f"{type(self).__name__}({', '.join(types + told)})"

    def fill(self) -> list[torch.Tensor]:
        """The inputs' values in fp64, as the inputs' dtypes hold them. Special values lie in the first input only."""
        kinds = [self.values] + ["integers" if self.values == "special" else self.values] * (len(self.inputs) - 1)
        made = [FILL[kind](t.shape, self.seed + i) for i, (kind, t) in enumerate(zip(kinds, self.inputs, strict=True))]
        return [as_held(x, t) for x, t in zip(made, self.inputs, strict=True)]

    def reference(self, *inputs: Any, **none: Any) -> Any:
        """What the outputs are, in fp64: a tensor, or a tuple of them."""
        raise NotImplementedError

    def magnitude(self, *inputs: Any, **none: Any) -> Any:
        """Sum of the absolute values of what is added up, like the reference."""
        return self.reference(*(x.abs() for x in inputs))

    def terms(self) -> int:
        """How many numbers one output adds up."""
        return 1

    def is_exact(self) -> bool:
        """Whether, from whole and special numbers, every output must be right to the last bit."""
        return self.values != "floats"


@dataclass(frozen=True, repr=False)
class Conv(Problem):
    """y = conv(x, w): x [N, C, *sizes], w [K, C / groups, *window], y [N, K, *sizes], 1 to 3 sizes."""

    stride: Pixels = (1, 1)
    padding: Pixels = (0, 0)
    dilation: Pixels = (1, 1)
    groups: int = 1
    names: ClassVar[tuple[str, ...]] = ("x", "w", "y")

    @classmethod
    def of(cls, dtype: str, x: Sequence[int], w: Sequence[int], **attrs: Any) -> Self:
        """A problem with row-major tensors; attributes by name, ``values`` and ``seed`` among them."""
        dims = len(x) - 2
        attrs = {"stride": (1,) * dims, "padding": (0,) * dims, "dilation": (1,) * dims, "groups": 1, **attrs}
        sizes = zip(x[2:], w[2:], attrs["stride"], attrs["padding"], attrs["dilation"], strict=True)
        y = (x[0], w[0], *(conv_size(*size) for size in sizes))
        types = [TensorType.dense(dtype, shape) for shape in (x, w, y)]
        return cls(*cls._roles(*types), **attrs)

    @classmethod
    def _roles(cls, x: Any, w: Any, y: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return (x, w), (y,)

    def reference(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        conv = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[x.ndim - 2]
        return conv(x, w, None, self.stride, self.padding, self.dilation, self.groups)

    def terms(self) -> int:
        return math.prod(self.inputs[1].shape[1:])


@dataclass(frozen=True, repr=False)
class ConvInputGrad(Conv):
    """dx of y = conv(x, w), from dy and w."""

    names: ClassVar[tuple[str, ...]] = ("dy", "w", "dx")

    @classmethod
    def _roles(cls, x: Any, w: Any, y: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return (y, w), (x,)

    def reference(self, dy: torch.Tensor, w: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        grad = {1: gradients.conv1d_input, 2: gradients.conv2d_input, 3: gradients.conv3d_input}[dy.ndim - 2]
        return grad(self.outputs[0].shape, w, dy, self.stride, self.padding, self.dilation, self.groups)

    def terms(self) -> int:
        w = self.inputs[1].shape
        return w[0] // self.groups * math.prod(w[2:])


@dataclass(frozen=True, repr=False)
class ConvFilterGrad(Conv):
    """dw of y = conv(x, w), from dy and x."""

    names: ClassVar[tuple[str, ...]] = ("dy", "x", "dw")

    @classmethod
    def _roles(cls, x: Any, w: Any, y: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return (y, x), (w,)

    def reference(self, dy: torch.Tensor, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        conv = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[x.ndim - 2]
        w = torch.zeros(self.outputs[0].shape, dtype=torch.float64, requires_grad=True)
        y = conv(x, w, None, self.stride, self.padding, self.dilation, self.groups)
        (dw,) = torch.autograd.grad(y, w, dy)
        return dw

    def terms(self) -> int:
        return self.inputs[0].shape[0] * math.prod(self.inputs[0].shape[2:])


@dataclass(frozen=True, repr=False)
class Pool(Problem):
    """y = pool(x) over windows of x [N, C, *sizes]; kind max or avg. Of torch's options all but indices."""

    kind: str = "max"
    window: Pixels = (2, 2)
    stride: Pixels = (2, 2)
    padding: Pixels = (0, 0)
    dilation: Pixels = (1, 1)
    ceil_mode: bool = False
    count_include_pad: bool = True
    names: ClassVar[tuple[str, ...]] = ("x", "y")

    @classmethod
    def of(cls, dtype: str, x: Sequence[int], **attrs: Any) -> Self:
        """A problem with row-major tensors; attributes by name."""
        empty = TensorType.dense(dtype, x)
        y = cls((empty,), (), **attrs).output_shape()
        return cls((empty,), (TensorType.dense(dtype, y),), **attrs)

    def output_shape(self) -> tuple[int, ...]:
        """The shape that torch gives."""
        (x,) = self.inputs
        return (*x.shape[:2], *self.reference(torch.zeros((1, 1, *x.shape[2:]))).shape[2:])

    def reference(self, x: torch.Tensor) -> torch.Tensor:
        steps = (self.window, self.stride, self.padding)
        flat = x.reshape(-1, 1, *x.shape[2:]) if x.numel() else x.new_zeros((1, 1, *x.shape[2:]))
        if self.kind == "max":
            pool = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[x.ndim - 2]
            y = pool(flat, *steps, dilation=self.dilation, ceil_mode=self.ceil_mode)
        else:
            average: Any = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[x.ndim - 2]
            y = average(flat, *steps, ceil_mode=self.ceil_mode, count_include_pad=self.count_include_pad)
        return y[: x.shape[0] * x.shape[1]].reshape(*x.shape[:2], *y.shape[2:])

    def is_exact(self) -> bool:
        return self.kind == "max"

    def terms(self) -> int:
        return math.prod(self.window) + 1


@dataclass(frozen=True, repr=False)
class Norm(Problem):
    """y = (x - mean) / sqrt(var + eps) * w + b; kind says what shares one mean: batch, instance, group or layer.

    x [N, C, *sizes]; w and b [C], for layer [x's last size], whose rows are normed.
    """

    kind: str = "layer"
    groups: int = 1
    eps: float = 1e-5
    names: ClassVar[tuple[str, ...]] = ("x", "w", "b", "y")

    def is_exact(self) -> bool:
        return False

    @classmethod
    def of(cls, dtype: str, x: Sequence[int], **attrs: Any) -> Self:
        """A problem with row-major tensors; attributes by name."""
        own = (x[-1] if attrs.get("kind", "layer") == "layer" else x[1],)
        types = [TensorType.dense(dtype, shape) for shape in (x, own, own, x)]
        return cls(tuple(types[:3]), (types[3],), **attrs)

    def _grouped(self, x: torch.Tensor) -> tuple[torch.Tensor, tuple[int, ...]]:
        """x viewed so that one mean is over the dims given."""
        if self.kind == "layer":
            return x, (x.ndim - 1,)
        if self.kind == "batch":
            return x, (0, *range(2, x.ndim))
        groups = x.shape[1] if self.kind == "instance" else self.groups
        view = x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
        return view, tuple(range(2, view.ndim))

    def _scale(self, v: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return v if self.kind == "layer" else v.reshape(-1, *(1,) * (x.ndim - 2))

    def reference(self, x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        view, dims = self._grouped(x)
        centred = view - view.mean(dims, keepdim=True)
        y = centred * (centred.square().mean(dims, keepdim=True) + self.eps).rsqrt()
        return y.reshape(x.shape) * self._scale(w, x) + self._scale(b, x)

    def magnitude(self, x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Grants E[x^2] - E[x]^2 too: its error grows with E[x^2] / var."""
        view, dims = self._grouped(x)
        centred = view - view.mean(dims, keepdim=True)
        r = (centred.square().mean(dims, keepdim=True) + self.eps).rsqrt()
        off = (
            (view.abs() + view.abs().mean(dims, keepdim=True))
            * r
            * (1 + view.square().mean(dims, keepdim=True) * r * r)
        )
        return off.reshape(x.shape) * self._scale(w, x).abs() + self._scale(b, x).abs()

    def terms(self) -> int:
        """Numbers under one mean."""
        view, dims = self._grouped(torch.empty(self.inputs[0].shape, device="meta"))
        return 2 * math.prod(view.shape[d] for d in dims)


@dataclass(frozen=True, repr=False)
class Resize(Problem):
    """y [N, C, P, Q] = x [N, C, H, W] resized; kind nearest or bilinear."""

    kind: str = "nearest"
    align_corners: bool = False
    names: ClassVar[tuple[str, ...]] = ("x", "y")

    @classmethod
    def of(cls, dtype: str, x: Sequence[int], y: Sequence[int], **attrs: Any) -> Self:
        """A problem with row-major tensors; ``y`` are the two new sizes."""
        types = TensorType.dense(dtype, x), TensorType.dense(dtype, (*x[:2], *y))
        return cls((types[0],), (types[1],), **attrs)

    def reference(self, x: torch.Tensor) -> torch.Tensor:
        shape = self.outputs[0].shape
        if not x.numel():
            return x.new_zeros(shape)
        if self.kind == "nearest":  # in whole numbers: torch's factor, a float, misses a pixel at some sizes
            rows, columns = (torch.arange(size) * x.shape[d] // size for d, size in ((2, shape[2]), (3, shape[3])))
            return x[:, :, rows][..., columns]
        return F.interpolate(x, size=shape[2:], mode="bilinear", align_corners=self.align_corners)

    def is_exact(self) -> bool:
        return self.kind == "nearest"

    def magnitude(self, x: torch.Tensor) -> torch.Tensor:
        """Coordinates are f32 as well, so a weight is off by some units of the sizes."""
        most = x.abs().amax((2, 3), keepdim=True) if x.numel() else x.new_zeros((*x.shape[:2], 1, 1))
        return most.expand(self.outputs[0].shape)

    def terms(self) -> int:
        return 8 + 4 * sum(self.inputs[0].shape[2:])


@dataclass(frozen=True, repr=False)
class Pointwise(Problem):
    """Each output from the inputs' elements at one place; inputs broadcast. What is computed, your reference says."""

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        return (*"abcdefgh"[: len(self.inputs)], "y")

    def is_exact(self) -> bool:
        return False

    def magnitude(self, *inputs: torch.Tensor) -> torch.Tensor:
        """An error of some units of the inputs; pass ``magnitude=`` to check_kernel where that is not right."""
        shape = self.outputs[0].shape
        return sum((x.abs().expand(shape) for x in inputs), start=torch.zeros(shape, dtype=torch.float64))

    def terms(self) -> int:
        return 8


def as_held(x: torch.Tensor, type: TensorType) -> torch.Tensor:
    """fp64 values as a tensor of this type holds them: rounded to its dtype, repeated along its dims of stride 0."""
    for d, (size, step) in enumerate(zip(type.shape, type.strides, strict=True)):
        if step == 0 and size > 1:
            x = x.narrow(d, 0, 1)
    return x.to(DTYPES[type.dtype]).double().expand(type.shape)


def _is_usual(value: Any, usual: Any) -> bool:
    """Equal to the default; (1, 1) is it for three dims too."""
    return value == usual or (isinstance(value, tuple) and isinstance(usual, tuple) and set(value) == set(usual))


def conv_size(size: int, window: int, stride: int, padding: int, dilation: int) -> int:
    """Pixels of output along one axis."""
    return (size + 2 * padding - dilation * (window - 1) - 1) // stride + 1
