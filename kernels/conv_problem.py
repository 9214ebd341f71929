"""The sizes of a convolution, checked once for its forward kernel and both gradients."""

from __future__ import annotations

from typing import NamedTuple

from tritoncnn.errors import ShapeError, UnsupportedError
from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import check_positive, conv_size

Pair = tuple[int, int]


class ConvProblem(NamedTuple):
    """Image N C H W, filters K C R S, result P Q; window step, padding, tap spacing. Constants of every conv kernel."""

    N: int
    C: int
    H: int
    W: int
    K: int
    R: int
    S: int
    P: int
    Q: int
    U: int
    V: int
    PAD_H: int
    PAD_W: int
    DIL_H: int
    DIL_W: int

    @property
    def padded(self) -> bool:
        return (self.PAD_H, self.PAD_W) != (0, 0)

    @property
    def CRS(self) -> int:
        return self.C * self.R * self.S

    @property
    def flops(self) -> int:
        """A multiplication and an addition per tap, channel, filter and pixel: the same for all three kernels."""
        return 2 * self.N * self.P * self.Q * self.K * self.CRS


def conv_problem(
    op: str, image: TensorType, filters: TensorType, names: tuple[str, str], stride: Pair, padding: Pair, dilation: Pair,
    groups: int,
) -> ConvProblem:  # fmt: skip
    """Sizes from an image [N,C,H,W] and filters [K,C,R,S], called ``names`` in messages.

    Raises ShapeError where they do not fit; UnsupportedError for groups.
    """
    if groups != 1:
        raise UnsupportedError(f"{op}: only groups = 1 is supported; got {groups}")
    (N, C, H, W), (K, C_w, R, S) = image.shape, filters.shape
    (U, V), (PAD_H, PAD_W), (DIL_H, DIL_W) = stride, padding, dilation
    check_positive(op, C=C, K=K, R=R, S=S, U=U, V=V, DIL_H=DIL_H, DIL_W=DIL_W)
    if C_w != C:
        raise ShapeError(
            f"{op}: {names[1]} must have {C} channels, as {names[0]} {list(image.shape)} has; got {list(filters.shape)}"
        )
    if PAD_H < 0 or PAD_W < 0:
        raise ShapeError(f"{op}: padding must not be negative; got {list(padding)}")
    P, Q = conv_size(op, H, R, U, PAD_H, DIL_H), conv_size(op, W, S, V, PAD_W, DIL_W)
    return ConvProblem(N, C, H, W, K, R, S, P, Q, U, V, PAD_H, PAD_W, DIL_H, DIL_W)
