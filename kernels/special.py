"""Device functions of one number that Triton's language and libdevice do not have on every target: gamma's derivatives, the
inverse of erf, modified Bessel functions, neighbours of a float."""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language.extra import libdevice

# Cephes (Moshier), i0.c and i1.c: Chebyshev coefficients of exp(-x) I(x) on [0, 8], and of exp(-x) sqrt(x) I(x) beyond, as
# functions of 32 / x; those that f32 can tell.
_I0_NEAR = tl.constexpr((
    -1.30002500998624804212e-8, 6.04699502254191894932e-8, -2.67079385394061173391e-7, 1.11738753912010371815e-6,
    -4.41673835845875056359e-6, 1.64484480707288970893e-5, -5.75419501008210370398e-5, 1.88502885095841655729e-4,
    -5.76375574538582365885e-4, 1.63947561694133579842e-3, -4.32430999505057594430e-3, 1.05464603945949983183e-2,
    -2.37374148058994688156e-2, 4.93052842396707084878e-2, -9.49010970480476444210e-2, 1.71620901522208775349e-1,
    -3.04682672343198398683e-1, 6.76795274409476084995e-1,
))  # fmt: skip
_I0_FAR = tl.constexpr((
    3.39623202570838634515e-9, 2.26666899049817806459e-8, 2.04891858946906374183e-7, 2.89137052083475648297e-6,
    6.88975834691682398426e-5, 3.36911647825569408990e-3, 8.04490411014108831608e-1,
))  # fmt: skip
_I1_NEAR = tl.constexpr((  # of exp(-x) I1(x) / x
    9.38153738649577178388e-9, -4.44505912879632808065e-8, 2.00329475355213526229e-7, -8.56872026469545474066e-7,
    3.47025130813767847674e-6, -1.32731636560394358279e-5, 4.78156510755005422638e-5, -1.61760815825896745588e-4,
    5.12285956168575772895e-4, -1.51357245063125314899e-3, 4.15642294431288815669e-3, -1.05640848946261981558e-2,
    2.47264490306265168283e-2, -5.29459812080949914269e-2, 1.02643658689847095384e-1, -1.76416518357834055153e-1,
    2.52587186443633654823e-1,
))  # fmt: skip
_I1_FAR = tl.constexpr((
    -3.83538038596423702205e-9, -2.63146884688951950684e-8, -2.51223623787020892529e-7, -3.88256480887769039346e-6,
    -1.10588938762623716291e-4, -9.76109749136146840777e-3, 7.78576235018280120474e-1,
))  # fmt: skip
# Giles 2010, "Approximating the erfinv function", table of the single precision version: |x| up to 0.9966, and beyond.
_ERFINV_NEAR = tl.constexpr((
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503, -0.00417768164,
    0.246640727, 1.50140941,
))  # fmt: skip
_ERFINV_FAR = tl.constexpr((
    -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613, 0.00943887047,
    1.00167406, 2.83297682,
))  # fmt: skip
_PSI = tl.constexpr((  # Abramowitz & Stegun 6.3.18: B_2k / 2k, from k = 7 down
    0.08333333333333333, -0.02109279609279609, 0.007575757575757576, -0.004166666666666667, 0.003968253968253968,
    -0.008333333333333333, 0.08333333333333333,
))  # fmt: skip
_TRIGAMMA = tl.constexpr((  # Abramowitz & Stegun 6.4.12: B_2k, from k = 7 down
    1.1666666666666667, -0.2531135531135531, 0.07575757575757576, -0.03333333333333333, 0.023809523809523808,
    -0.03333333333333333, 0.16666666666666666,
))  # fmt: skip
STEPS = tl.constexpr(10)  # until x is where the asymptotic series of psi are good to f64


@triton.jit
def _chebyshev(x, COEFFICIENTS: tl.constexpr):
    """The series of x / 2, from the last coefficient. Source: Clenshaw 1955."""
    b0 = x * 0.0 + COEFFICIENTS[0]
    b1 = x * 0.0
    b2 = b1
    for i in tl.static_range(1, len(COEFFICIENTS)):
        b2 = b1
        b1 = b0
        b0 = x * b1 - b2 + COEFFICIENTS[i]
    return 0.5 * (b0 - b2)


@triton.jit
def _polynomial(x, COEFFICIENTS: tl.constexpr):
    """By Horner's rule, from the highest power."""
    y = x * 0.0 + COEFFICIENTS[0]
    for i in tl.static_range(1, len(COEFFICIENTS)):
        y = y * x + COEFFICIENTS[i]
    return y


@triton.jit
def i0e(x):
    """exp(-|x|) I0(x)."""
    size = tl.abs(x)
    near = _chebyshev(tl.minimum(size, 8.0) * 0.5 - 2.0, _I0_NEAR)
    far = _chebyshev(32.0 / tl.maximum(size, 8.0) - 2.0, _I0_FAR) / tl.sqrt(size)
    return tl.where(size == size, tl.where(size <= 8.0, near, far), x)


@triton.jit
def i1e(x):
    """exp(-|x|) I1(x)."""
    size = tl.abs(x)
    near = _chebyshev(tl.minimum(size, 8.0) * 0.5 - 2.0, _I1_NEAR) * size
    far = _chebyshev(32.0 / tl.maximum(size, 8.0) - 2.0, _I1_FAR) / tl.sqrt(size)
    y = tl.where(size <= 8.0, near, far)
    return tl.where(size == size, tl.where(x < 0.0, y * -1.0, y), x)


@triton.jit
def i0(x):
    """The modified Bessel function of order 0; NaN at infinity, as torch's."""
    return tl.exp(tl.abs(x)) * i0e(x)


@triton.jit
def i1(x):
    """The modified Bessel function of order 1; NaN at infinity, as torch's."""
    return tl.exp(tl.abs(x)) * i1e(x)


@triton.jit
def erfinv(x):
    """The inverse of erf within 3e-7 of its value; infinite at 1 and -1, NaN beyond."""
    w = -tl.log((1.0 - x) * (1.0 + x))
    near = _polynomial(w - 2.5, _ERFINV_NEAR)
    far = _polynomial(tl.sqrt(tl.maximum(w, 5.0)) - 3.0, _ERFINV_FAR)
    y = tl.where(w < 5.0, near, far) * x
    y = tl.where(tl.abs(x) == 1.0, x * float("inf"), y)
    return tl.where(tl.abs(x) <= 1.0, y, float("nan"))


@triton.jit
def digamma(x):
    """The derivative of lgamma: infinite at 0, NaN at the other poles. In f64, since the sum cancels near its zero."""
    z = x.to(tl.float64)
    part = z - libdevice.trunc(z)
    pole = (z < 0.0) & (part == 0.0)
    mirrored = z < 0.0
    y = tl.where(mirrored, 1.0 - z, z)
    total = tl.zeros_like(y)
    for _ in tl.static_range(STEPS):  # psi(y) = psi(y + 1) - 1 / y
        low = y < 10.0
        total -= tl.where(low, 1.0 / y, 0.0)
        y = tl.where(low, y + 1.0, y)
    square = 1.0 / (y * y)
    total += tl.log(y) - 0.5 / y - square * _polynomial(square, _PSI)
    turn = 3.141592653589793 / libdevice.tan(3.141592653589793 * tl.where(mirrored & (part != 0.0), part, 0.25))
    total = tl.where(mirrored, total - turn, total)
    total = tl.where(pole, float("nan"), total).to(tl.float32)
    return tl.where(x == 0.0, -1.0 / x, total)


@triton.jit
def trigamma(x):
    """The derivative of digamma, infinite at its poles. In f64, as digamma."""
    z = x.to(tl.float64)
    mirrored = z < 0.5
    y = tl.where(mirrored, 1.0 - z, z)
    total = tl.zeros_like(y)
    for _ in tl.static_range(STEPS):
        low = y < 10.0
        total += tl.where(low, 1.0 / (y * y), 0.0)
        y = tl.where(low, y + 1.0, y)
    square = 1.0 / (y * y)
    total += 1.0 / y + 0.5 * square + square / y * _polynomial(square, _TRIGAMMA)
    sine = libdevice.sin(3.141592653589793 * (z - libdevice.trunc(z)))
    turn = 9.869604401089358 / (sine * sine)
    return tl.where(mirrored, turn - total, total).to(tl.float32)


@triton.jit
def nextafter(x, y):
    """The f32 next to x on the way to y."""
    bits = x.to(tl.int32, bitcast=True)
    away = tl.where((x < y) == (x > 0.0), bits + 1, bits - 1).to(tl.float32, bitcast=True)
    smallest = libdevice.copysign((bits * 0 + 1).to(tl.float32, bitcast=True), y)
    z = tl.where(x == y, y, tl.where(x == 0.0, smallest, away))
    return tl.where((x == x) & (y == y), z, x + y)
