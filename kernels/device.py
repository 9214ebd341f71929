"""Device functions that several kernels share."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def program(axis: tl.constexpr, GRID: tl.constexpr, WIDE: tl.constexpr):
    """Index of this program along an axis of the grid: the constant 0 where there is only one; int64 for WIDE offsets.

    The compiler is told the grid, so that masks of sizes that divide evenly fold away.
    """
    if GRID[axis] == 1:
        pid = tl.full((), 0, tl.int32)
    else:
        pid = tl.program_id(axis)
        tl.assume(pid < GRID[axis])
    if WIDE:
        pid = pid.to(tl.int64)
    return pid


@triton.jit
def block_offsets(start, SIZE: tl.constexpr, WIDE: tl.constexpr):
    """start, start + 1, ... start + SIZE - 1."""
    offs = tl.arange(0, SIZE)
    if WIDE:
        offs = offs.to(tl.int64)
    return start + offs


@triton.jit
def larger(a, b):
    """The larger of two values; NaN when one is NaN."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def larger_at(a, i, b, j):
    """The larger value and its place: the first of equals; a NaN, the last one, before all else, as in torch's pools."""
    b_wins = (b > a) | ((b == a) & (j < i)) | ((b != b) & ((a == a) | (j > i)))
    return tl.where(b_wins, b, a), tl.where(b_wins, j, i)


@triton.jit
def tanh(x):
    """The hyperbolic tangent within 2 units in the last place: an odd polynomial near 0, where 1 - 2 / (exp(2x) + 1) cancels.

    Source: Cephes (Moshier), tanhf.
    """
    size, square = tl.abs(x), x * x
    far = 1.0 - 2.0 / (tl.exp(size + size) + 1.0)
    p = -5.70498872745e-3 * square + 2.06390887954e-2
    p = ((p * square - 5.37397155531e-2) * square + 1.33314422036e-1) * square - 3.33332819422e-1
    return tl.where(size < 0.625, (p * square + 1.0) * x, tl.where(x < 0, -far, far))


@triton.jit
def expm1(x):
    """exp(x) - 1 within 4 units in the last place: Taylor's series to the 8th power near 0, where the difference cancels."""
    p = x * (1.0 / 40320.0) + 1.0 / 5040.0
    p = (((p * x + 1.0 / 720.0) * x + 1.0 / 120.0) * x + 1.0 / 24.0) * x + 1.0 / 6.0
    near = ((p * x + 0.5) * x + 1.0) * x
    return tl.where(tl.abs(x) < 0.35, near, tl.exp(x) - 1.0)


@triton.jit
def five_coordinates(rows, lanes, SIZES: tl.constexpr):
    """Index along each of five dims; the last one's are the lanes."""
    if SIZES[0] * SIZES[1] * SIZES[2] == 1:
        return rows * 0, rows * 0, rows * 0, rows, lanes
    i0 = rows // (SIZES[1] * SIZES[2] * SIZES[3])
    return i0, rows // (SIZES[2] * SIZES[3]) % SIZES[1], rows // SIZES[3] % SIZES[2], rows % SIZES[3], lanes


@triton.jit
def five_offset(i, STRIDES: tl.constexpr):
    """Memory offset, rows by lanes, at the ``five_coordinates`` i."""
    return row_offset(i, STRIDES) + (i[4] * STRIDES[4])[None, :]


@triton.jit
def row_offset(i, STRIDES: tl.constexpr):
    """Memory offset, rows by 1, of each row's first lane."""
    return (i[0] * STRIDES[0] + i[1] * STRIDES[1] + i[2] * STRIDES[2] + i[3] * STRIDES[3])[:, None]


@triton.jit
def negate(x):
    """-x with the sign of zero too: Triton's own negation is 0 - x, which gives +0.0 for +0.0."""
    if x.dtype.is_floating():
        return x * -1.0
    return -x


@triton.jit
def quotient(a, b):
    """a / b of whole numbers, rounded to 0; 0 where b is 0. One may be a bare number, which takes the other's dtype."""
    zero = a * 0 + b * 0
    divisor = b + zero
    return tl.where(divisor == 0, zero, (a + zero) // tl.where(divisor == 0, zero + 1, divisor))


@triton.jit
def shift_left(a, b):
    """a << b of whole numbers; 0 where b is none of a's places. One may be a bare number, which takes the other's dtype."""
    zero = a * 0 + b * 0
    inside = (b + zero >= 0) & (b + zero < zero.dtype.primitive_bitwidth)
    return tl.where(inside, (a + zero) << tl.where(inside, b + zero, zero), zero)


@triton.jit
def shift_right(a, b):
    """a >> b of whole numbers, with a's sign; only that is left where b is none of a's places."""
    zero = a * 0 + b * 0
    inside = (b + zero >= 0) & (b + zero < zero.dtype.primitive_bitwidth)
    far = zero if zero.dtype.is_int_unsigned() else tl.where(a + zero < 0, zero - 1, zero)
    return tl.where(inside, (a + zero) >> tl.where(inside, b + zero, zero), far)


@triton.jit
def whole64(x):
    """x as int64; of a float what stands before the point, -2**63 for NaN and what does not fit, as torch on x86 has it."""
    if x.dtype.is_floating():
        x = tl.where(tl.abs(x) < 9223372036854775808.0, x, -9223372036854775808.0)
    return x.to(tl.int64)


@triton.jit
def whole32(x):
    """x as int32: the lower bits of whole numbers; floats as in ``whole64``, -2**31 for those that do not fit."""
    if x.dtype.is_floating():
        x = tl.where(tl.abs(x) < 2147483648.0, x, -2147483648.0)
    return x.to(tl.int32)
