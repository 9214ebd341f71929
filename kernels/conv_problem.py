"""The sizes of a convolution in one to three dims, checked once for its forward kernel and both gradients.

Kernels see volumes [N, C, D, H, W] and filters [K, C/G, T, R, S]; a picture is a volume of depth 1 with one tap in depth.
"""

from __future__ import annotations

from typing import NamedTuple

from tritoncnn.errors import ShapeError
from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import check_positive, conv_size

Ints = tuple[int, ...]
Three = tuple[int, int, int]


class ConvProblem(NamedTuple):
    """Image N C D H W, filters K C/G T R S, result O P Q, G groups; steps, padding before, tap spacing by axis.

    Constants of every conv kernel.
    """

    N: int
    C: int
    D: int
    H: int
    W: int
    K: int
    T: int
    R: int
    S: int
    O: int
    P: int
    Q: int
    G: int
    STEP: Three
    PAD: Three
    DIL: Three

    @property
    def padded(self) -> bool:
        """Whether a tap of some window lies outside the image."""
        axes = zip(
            (self.D, self.H, self.W), (self.T, self.R, self.S), (self.O, self.P, self.Q), self.STEP, self.PAD, self.DIL,
            strict=True,
        )  # fmt: skip
        return any(PAD > 0 or (P - 1) * U - PAD + (R - 1) * DIL > H - 1 for H, R, P, U, PAD, DIL in axes if P)

    @property
    def C_G(self) -> int:
        """Channels of a group."""
        return self.C // self.G

    @property
    def K_G(self) -> int:
        """Filters of a group."""
        return self.K // self.G

    @property
    def taps(self) -> int:
        return self.T * self.R * self.S

    @property
    def pixels(self) -> int:
        """Of the result, over all samples."""
        return self.N * self.O * self.P * self.Q

    @property
    def flops(self) -> int:
        """A multiplication and an addition per tap, channel of the group, filter and pixel: the same for all three kernels."""
        return 2 * self.pixels * self.K * self.C_G * self.taps


def volume(tensor: TensorType) -> TensorType:
    """A picture [A, B, H, W] as a volume of depth 1 [A, B, 1, H, W]; a volume as it is."""
    if tensor.rank == 5:
        return tensor
    (a, b, *hw), (sa, sb, *shw) = tensor.shape, tensor.strides
    return TensorType(tensor.dtype, (a, b, 1, *hw), (sa, sb, 0, *shw))


def edges(padding: Ints, axes: int) -> tuple[tuple[int, int], ...]:
    """(before, after) for each axis, of padding that says one number per axis or both, axis by axis."""
    if len(padding) == axes:
        return tuple((size, size) for size in padding)
    return tuple(zip(padding[::2], padding[1::2], strict=True))


def conv_problem(
    op: str, image: TensorType, filters: TensorType, names: tuple[str, str], stride: Ints, padding: Ints, dilation: Ints,
    groups: int,
) -> ConvProblem:  # fmt: skip
    """Sizes from an image [N,C,H,W] or [N,C,D,H,W] and filters [K,C/groups,...], called ``names`` in messages.

    Raises ShapeError where they do not fit.
    """
    axes = image.rank - 2
    if axes not in (2, 3) or filters.rank != image.rank:
        raise ShapeError(
            f"{op}: {names[0]} and {names[1]} must both have 4 dims or 5; got {list(image.shape)} and {list(filters.shape)}"
        )
    if len(stride) != axes or len(dilation) != axes or len(padding) not in (axes, 2 * axes):
        raise ShapeError(
            f"{op}: stride, padding and dilation must have {axes} numbers; got {stride}, {padding}, {dilation}"
        )
    N, C = image.shape[:2]
    K, C_w = filters.shape[:2]
    check_positive(op, groups=groups, C=C, K=K, **{f"stride[{i}]": step for i, step in enumerate(stride)},
                   **{f"dilation[{i}]": step for i, step in enumerate(dilation)},
                   **{f"{names[1]}'s taps[{i}]": taps for i, taps in enumerate(filters.shape[2:])})  # fmt: skip
    if C_w * groups != C or K % groups:
        raise ShapeError(
            f"{op}: {names[1]} must be [K, {C} / {groups} groups, ...] with K a multiple of {groups}, as {names[0]} "
            f"{list(image.shape)} has {C} channels; got {list(filters.shape)}"
        )
    sides = edges(padding, axes)
    if any(before < 0 for before, _ in sides):
        raise ShapeError(f"{op}: padding must not be negative; got {list(padding)}")
    sizes = tuple(
        conv_size(op, *args) for args in zip(image.shape[2:], filters.shape[2:], stride, sides, dilation, strict=True)
    )
    lead, ones = (1,) * (3 - axes), (1,) * (3 - axes)
    D, H, W = lead + image.shape[2:]
    T, R, S = ones + filters.shape[2:]
    O, P, Q = lead + sizes
    zeros = (0,) * (3 - axes)
    before = zeros + tuple(first for first, _ in sides)
    return ConvProblem(
        N, C, D, H, W, K, T, R, S, O, P, Q, groups, _three(lead + stride), _three(before), _three(lead + dilation)
    )


def _three(numbers: Ints) -> Three:
    a, b, c = numbers
    return a, b, c
