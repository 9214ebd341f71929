"""Cases of the capture table: arithmetic of floats, whole numbers and truth values, casts, factories, logic."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

POINTS = "points"
POSITIVE = "positive"
IMAGE = (2, 4, 6, 8)
aten = torch.ops.aten


def counts(a: torch.Tensor) -> torch.Tensor:
    """Whole numbers, i32, from -8 to 8."""
    return a.trunc().to(torch.int32)


def small(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """The function of a third of the points, which lie in -1..1, and of no bound itself."""
    return lambda a: function(a / 9)


UNARY: dict[str, Any] = {
    **{name: (getattr(torch, name), (POINTS,)) for name in (
        "sin", "cos", "atan", "asinh", "exp2", "expm1", "floor", "ceil", "trunc", "round", "sign", "frac", "sgn",
    )},
    **{name: (small(getattr(torch, name)), (POINTS,)) for name in ("tan", "asin", "acos", "sinh", "cosh", "atanh")},
    **{name: (getattr(torch, name), (POSITIVE,)) for name in ("log2", "log10")},
    "acosh": (lambda a: torch.acosh(a + 1), (POSITIVE,)),
    "erfc": (small(torch.erfc), (POINTS,)),
    "special_erfc": (small(torch.special.erfc), (POINTS,)),
    "round to tenths": (lambda a: torch.round(a / 7, decimals=1), (POINTS,)),
    "round to tens": (lambda a: torch.round(a * 7, decimals=-1), (POINTS,)),
    **{f"special_{name}": (getattr(torch.special, name), (POINTS,)) for name in ("i0e", "i1", "i1e")},
    "i0": (torch.i0, (POINTS,)),
    "fake_quantize": (lambda a: torch.fake_quantize_per_tensor_affine(a, 0.3, 3, -8, 7), (POINTS,)),
    "fake_quantize by tensors": (
        lambda a: torch.fake_quantize_per_tensor_affine(a, torch.tensor([0.3]), torch.tensor([2], dtype=torch.int32), -8, 7),
        (POINTS,),
    ),
    "fake_quantize of channels": (
        lambda a: torch.fake_quantize_per_channel_affine(
            a, torch.tensor([0.5, 0.25, 1.0, 8.0]), torch.tensor([2, -1, 0, 0], dtype=torch.int32), 1, -8, 7
        ),
        (IMAGE,),
    ),
    "erfinv": (small(torch.erfinv), (POINTS,)),
    **{name: (getattr(torch, name), (POSITIVE,)) for name in ("lgamma", "digamma")},
    "polygamma": (lambda a: torch.polygamma(0, a) + torch.polygamma(1, a).detach(), (POSITIVE,)),
    "mvlgamma": (lambda a: torch.mvlgamma(a + 1, 3), (POSITIVE,)),
    "nextafter": (lambda a, b: torch.nextafter(a, b.detach()), (POINTS, (33,))),
    "logit": (lambda a: torch.logit(a.sigmoid()), (POINTS,)),
    "nan_to_num": (lambda a: torch.nan_to_num(torch.where(a > 3, math.inf, a), posinf=7.0), (POINTS,)),
    "questions": (
        lambda a: sum(q(torch.where(a > 3, math.inf, torch.where(a < 0, math.nan, a))) * (i + 1) for i, q in enumerate(
            (torch.isnan, torch.isinf, torch.isfinite))) * a, (POINTS,)
    ),
    "relu of whole numbers": (lambda a: F.relu(counts(a)) * a, (POINTS,)),
}  # fmt: skip

BINARY: dict[str, Any] = {
    "atan2": (torch.atan2, (POINTS, (33,))),
    "hypot": (torch.hypot, (POINTS, (33,))),
    "signbit": (lambda x: torch.signbit(x) * x, (POINTS,)),
    "xlogy": (lambda a, b: torch.xlogy(a, b) + torch.xlogy(2, b) + torch.xlogy(a, 3), (POSITIVE, POSITIVE)),
    "special_xlogy": (
        lambda a, b: aten.special_xlogy(a, b) + aten.special_xlogy(2, b) + aten.special_xlogy(a, 3),
        (POSITIVE, POSITIVE),
    ),
    "special_xlog1py": (
        lambda a, b: torch.special.xlog1py(a, b) + torch.special.xlog1py(2, b) + torch.special.xlog1py(a, 3),
        (POSITIVE, POSITIVE),
    ),
    "special_entr": (torch.special.entr, (POSITIVE,)),
    "logit": (lambda x: torch.logit(x / 9) + torch.logit(x / 4, 0.1), (POSITIVE,)),
    "special_logit": (lambda x: aten.special_logit(x / 9), (POSITIVE,)),
    "sinc": (torch.sinc, (POINTS,)),
    "special_sinc": (lambda x: aten.special_sinc(x), (POINTS,)),
    "pow tensor": (torch.pow, (POSITIVE, (32,))),
    "pow number": (lambda a: a**2.5 + a**0.75 + a**-1.3 + a**0, (POSITIVE,)),
    "number pow": (lambda a: 2.0**a + 3 ** (a / 4), (POINTS,)),
    "whole pow": (lambda a: counts(a) ** 3 * a + (counts(a) ** 0) * a, (POINTS,)),
    "fmod": (lambda a, b: torch.fmod(a, b) + torch.fmod(a, 1.5), (POINTS, ("positive", (33,)))),
    "remainder": (lambda a, b: torch.remainder(a, b) + a % -1.5 + a % 1.5, (POINTS, ("positive", (33,)))),
    "remainder of a number": (lambda a: aten.remainder.Scalar_Tensor(7, counts(a * 8)) * a, (POSITIVE,)),
    "floor_divide": (
        lambda a, b: (torch.floor_divide(a.detach(), b.detach()) + a.detach() // 1.5 + a.detach() // -1.5) * a,
        (POINTS, ("positive", (33,))),
    ),
    "div rounded": (
        lambda a, b: (
            torch.div(a, b, rounding_mode="floor")
            + torch.div(a, b, rounding_mode="trunc")
            + torch.div(a, 3, rounding_mode="trunc")
            + torch.div(a, 3, rounding_mode=None)
        ),
        (POINTS, ("positive", (33,))),
    ),
    "whole quotients": (
        lambda a, b: (
            (
                counts(a) // counts(b + 9)
                + counts(a) // -3
                + counts(a) % 3
                + counts(a) % counts(-b - 9)
                + torch.div(counts(a), 3, rounding_mode="trunc")
                + torch.fmod(counts(a), 3)
            )
            * a
        ),
        (POINTS, (33,)),
    ),
    "max and min of two": (lambda a, b: torch.max(a, b) - 2 * torch.min(a, b), (POINTS, (33,))),
    "clamp tensors": (lambda a, b: torch.clamp(a, b - 1.03, b + 1.07), (POINTS, (33,))),
    "clamp one tensor": (lambda a, b: torch.clamp(a, min=b) + 2 * torch.clamp(a, max=b + 0.03), (POINTS, (33,))),
    "aten.clamp_min tensor": (lambda a, b: aten.clamp_min.Tensor(a, b), (POINTS, (33,))),
    "aten.clamp_max tensor": (lambda a, b: aten.clamp_max.Tensor(a, b), (POINTS, (33,))),
    "clamp with bounds that cross": (lambda a: torch.clamp(a, 2.25, 1.25) * a, (POINTS,)),
    "clamp with NaN": (lambda a: torch.clamp(a, min=math.nan, max=3.0).isnan() * a, (POINTS,)),
    "fmax, fmin": (
        lambda a, b: (
            torch.fmax(torch.where(a > 3, math.nan, a), b) - 2 * torch.fmin(a, torch.where(b > 1, math.nan, b))
        ),
        (POINTS, (33,)),
    ),
    "copysign": (
        lambda a, b: torch.copysign(a, b.trunc() * -0.0) + torch.copysign(a, b) * 2 + torch.copysign(a, -0.0),
        (POSITIVE, (32,)),
    ),
    "aten.copysign.Scalar": (lambda a: aten.copysign.Scalar(a, -2.0) * 2, (POSITIVE,)),
    "bilinear": (F.bilinear, ((5, 3), (5, 4), (2, 3, 4), (2,))),
    "cdist": (
        lambda a, b: torch.cdist(a, b) + torch.cdist(a[0], b, p=1) + torch.cdist(a, b[1], p=math.inf),
        ((2, 5, 3), (2, 3, 3)),  # as many numbers as points
    ),
    "lerp": (lambda a, b: torch.lerp(a, b, 0.3) + torch.lerp(a, b, b), (POINTS, (33,))),
    "addcmul": (lambda a, b: torch.addcmul(a, b, b, value=0.5) + torch.addcdiv(a, b, b + 9, value=2), (POINTS, (33,))),
    "masked_fill": (lambda a: a.masked_fill(a > 1, -3) + a.masked_fill(a < 0, torch.tensor(2.5)), (POINTS,)),
    "logaddexp": (torch.logaddexp, (POINTS, (33,))),
    "heaviside": (lambda a: torch.heaviside(a.detach(), torch.tensor(0.5, dtype=a.dtype)) * a, (POINTS,)),
}

LOGIC: dict[str, Any] = {
    "masks": (lambda a, b: ((a > 0) & ~(b > 1) | (a < -2) ^ (b < 0)) * a, (POINTS, (33,))),
    "logical": (
        lambda a, b: (torch.logical_and(a, b > 0).int() + torch.logical_or(a > 3, b) + torch.logical_xor(a, b > 0)
        + torch.logical_not(a)) * a, (POINTS, (33,)),
    ),
    "arithmetic of masks": (lambda a, b: ((a > 0) + (b > 0)) * a + ((a > 0) * (b > 0)) * b, (POINTS, (33,))),
    "comparison of masks": (lambda a, b: (((a > 0) == (b > 0)) * 1 + ((a > 0) < (b > 0)) * 2 + ((a > 0) != True)) * a,  # noqa: E712
                            (POINTS, (33,))),
    "largest of masks": (lambda a, b: (torch.maximum(a > 0, b > 0) * 2 + torch.minimum(a > 0, b > 0)) * a, (POINTS, (33,))),
    "where of masks": (lambda a, b: torch.where(a > 1, b > 0, a < -1) * a + torch.where(a > 0, True, b > 0) * b,
                       (POINTS, (33,))),
    "where of whole numbers": (lambda a: torch.where(a > 0, 3, 5) * a + torch.where(a > 0, counts(a), 7), (POINTS,)),
    "bits": (lambda a, b: ((counts(a) & counts(b)) + (counts(a) | 3) + (counts(a) ^ counts(b)) + ~counts(a)) * a,
             (POINTS, (33,))),
    "aten.__and__": (lambda a, b: (aten.__and__.Tensor(a > 0, b > 0) | aten.__or__.Tensor(a > 3, b > 3)
                                   ^ aten.__xor__.Tensor(a > 2, b > 1)) * a, (POINTS, (33,))),
    "bitwise": (lambda a, b: (torch.bitwise_and(counts(a), counts(b)) + torch.bitwise_or(a > 0, b > 0)
                              + torch.bitwise_xor(counts(a), counts(b))) * a, (POINTS, (33,))),
    "shifts": (lambda a, b: ((counts(a) << counts(b)) + (counts(a) >> counts(b)) + (counts(a) << 3) + (counts(a) >> 40)) * a,
               (POINTS, (33,))),
    "bitwise shifts": (lambda a: (torch.bitwise_left_shift(counts(a), counts(a).abs()) + torch.bitwise_left_shift(counts(a), 2)
                                  + torch.bitwise_left_shift(3, counts(a)) + torch.bitwise_right_shift(counts(a), counts(a))
                                  + torch.bitwise_right_shift(counts(a), 1) + torch.bitwise_right_shift(9, counts(a))) * a,
                       (POINTS,)),
    "shifts of small numbers": (lambda a: (a.to(torch.int8) << 6) * a + (a.abs().to(torch.uint8) >> 1) + (5 >> counts(a)) * a,
                                (POINTS,)),
    "angle": (lambda a: torch.angle(a - 1) * a, (POINTS,)),
    "aten.bitwise number": (lambda a: (aten.bitwise_and.Scalar(counts(a), 3) + aten.bitwise_or.Scalar(counts(a), 1)
                                       + aten.bitwise_xor.Scalar(counts(a), 5)) * a, (POINTS,)),
    "aten.div.Scalar_mode": (lambda a: aten.div.Scalar_mode(a, 3, rounding_mode="floor") * a
                             + aten.floor_divide.Scalar(a.detach(), 1.5) * a, (POINTS,)),
    "aten.__and__ number": (lambda a: (aten.__and__.Scalar(counts(a), 3) + aten.__or__.Scalar(counts(a), 1)
                                       + aten.__xor__.Scalar(counts(a), 5)) * a, (POINTS,)),
}  # fmt: skip

CASTS: dict[str, Any] = {
    f"to {name}": (lambda a, dtype=dtype: a.to(dtype).to(a.dtype) * a, (POINTS,))
    for name, dtype in {
        "i64": torch.int64, "i32": torch.int32, "i16": torch.int16, "i8": torch.int8, "bool": torch.bool
    }.items()
} | {
    "to u8": (lambda a: (a * 40).to(torch.uint8) * a, (POSITIVE,)),
    "wrapping u8": (lambda a: ((a * 25).to(torch.uint8) * 2 + 30) * a, (POSITIVE,)),
    "exact whole numbers": (lambda a: ((a.long() + 2**40) % 1000003) * a, (POINTS,)),
    "type_as, to.other": (lambda a: (a.long().type_as(a) + a.to(a.long()).to(a)) * a, (POINTS,)),
    "whole numbers and a fraction": (lambda a: (counts(a) * 0.5 + counts(a) / 3 - counts(a) + 2 * (a > 0)) * a, (POINTS,)),
    "sqrt of whole numbers": (lambda a: torch.sqrt(a.long() + 1) * a, (POSITIVE,)),
    "abs, neg, sign of whole numbers": (lambda a: (counts(a).abs() - counts(a) * counts(a).sign() - counts(a).neg()) * a,
                                        (POINTS,)),
}  # fmt: skip

MADE: dict[str, Any] = {
    "likes": (lambda a: a * torch.ones_like(a) + torch.zeros_like(a) + torch.full_like(a, 2.5), (POINTS,)),
    "news": (lambda a: a * a.new_ones(33) + a.new_zeros(1) + a.new_full((33,), 1.5), (POINTS,)),
    "like of another dtype": (lambda a: torch.ones_like(a, dtype=torch.int64) * a, (POINTS,)),
    "a whole tensor of one number": (lambda a: torch.full((33,), True) * a + torch.full((2, 33), 3), (POINTS,)),
    "arange": (lambda a: a + torch.arange(33) + torch.arange(1, 34) * torch.arange(0, 66, 2), (POINTS,)),
    "linspace, eye": (
        lambda a: a[:5] @ torch.eye(5, dtype=a.dtype) + torch.linspace(0, 1, 5, dtype=a.dtype),
        (POINTS,),
    ),
    "meshgrid": (
        lambda x: x * torch.stack(torch.meshgrid(torch.arange(6), torch.arange(8), indexing="ij")).sum(0),
        (IMAGE,),
    ),
    "mask of the code": (lambda a: a * torch.tensor([True, False, True]).repeat(11), (POINTS,)),
    "tril": (lambda x: torch.tril(x) - torch.triu(x, 2), (IMAGE,)),
    "copied in place": (lambda x: x.clone().copy_(x[:1]) + x.clone().fill_(3).fill_(torch.tensor(2.0)), (IMAGE,)),
    "written in place": (lambda x: write(x), (IMAGE,)),
}


def write(x: torch.Tensor) -> torch.Tensor:
    y = x.clone()
    y[:, 0] = x[:, 1] * 2
    y[:, :, 1:3] = 1.5
    y[..., ::3] *= x[..., :3]
    y[:, 1, 2:, 1] += 4
    y[x > 3] = 0
    return y


REDUCED: dict[str, Any] = {
    "sum of whole numbers": (lambda x: ((x * 4).long() + 2**40).sum((1, 3)) % 1000 * x.sum((1, 3)), (IMAGE,)),
    "sum of a mask": (lambda x: (x > 0).sum() * x + (x > 1).sum(1, keepdim=True) + (x > 0).sum(dtype=torch.int32), (IMAGE,)),
    "sum with dtype": (lambda x: (x * 4).int().sum(1, dtype=x.dtype) * x[:, 0], (IMAGE,)),
    "mean of a mask": (lambda x: x.gt(0).to(x.dtype).mean() * x + (x > 1).int().mean(dtype=x.dtype), (IMAGE,)),
    "amax, amin": (lambda x: x.amax((2, 3)) + x.amin(1, keepdim=True)[:, :, 0, :4], (IMAGE,)),
    "max, min": (lambda x: x.max() * x + x.min(), (IMAGE,)),
    "amax, amin of whole numbers": (lambda x: counts(x).amax(1) * x[:, 0] + counts(x).amin(1) * x[:, 1], (IMAGE,)),
    "any, all": (
        lambda x: (x > 3).any() * x + (x > 3).any(1)[:, None] * x + (x < 3).all() * x + (x < 2).all(1, keepdim=True)
        + x.long().any((1, 2))[:, None, None] * x + x.long().all((1, 2))[:, None, None], (IMAGE,),
    ),
    "prod": (lambda x: x.prod(1) + x[:, :, :1, :1].prod(), (IMAGE,)),
    "prod with zeros": (lambda x: (x - x.long()).prod(1, keepdim=True) + (x[:, :, 0] * 0 + 1.5).prod(2).prod(), (IMAGE,)),
    "prod of whole numbers": (lambda x: counts(x + 5).prod(1) * x[:, 0], (IMAGE,)),
    "var, std": (lambda x: x.var() + x.std((1, 2)) + x.var(1, correction=0)[:, 0] + torch.var_mean(x, 3)[1].sum(), (IMAGE,)),
    "norms": (lambda x: x.norm() + x.norm(dim=1) + torch.linalg.vector_norm(x, 3, dim=(1, 2))[:, None]
              + torch.linalg.vector_norm(x, 1) + x.norm(p=math.inf, dim=3)[:, :, :, None].sum(1), (IMAGE,)),
    "aten.var": (lambda x: aten.var.default(x, False) * x + aten.var.dim(x, [1]).sum() + aten.var_mean.default(x)[1]
                 + aten.std.correction(x, [1], correction=2).sum(), (IMAGE,)),
    "std_mean": (lambda x: torch.std_mean(x, (1, 2), keepdim=True)[0] + torch.std_mean(x)[1] + torch.var_mean(x, correction=0)[0]
                 + torch.std(x, False) + aten.std_mean.default(x, False)[0] + aten.std.default(x), (IMAGE,)),
    "norms of zeros": (lambda x: (x * 0).norm(dim=1) + (x * 0).norm(p=1.5) + (x * 0).std(1) + x.norm(p=0), (IMAGE,)),
    "aten.norm": (lambda x: aten.norm.ScalarOpt_dtype(x, 3, dtype=x.dtype) + aten.norm.ScalarOpt_dim_dtype(
        x, 2, [1], True, dtype=x.dtype) + aten.norm.ScalarOpt_dim(x, 2, [1], True) + aten.norm.Scalar(x), (IMAGE,)),
    "logsumexp": (lambda x: x.logsumexp(1) + x.logsumexp((1, 2), keepdim=True)[:, 0], (IMAGE,)),
    "normalize": (lambda x: F.normalize(x, dim=1), (IMAGE,)),
    "count_nonzero": (lambda x: torch.count_nonzero(x > 0, 1) * x[:, 0], (IMAGE,)),
    "_softmax to float": (lambda x: aten._softmax(x, 1, False) + F.softmax(x, 0, dtype=x.dtype), ((5, 3),)),
}  # fmt: skip

CASES: dict[str, Any] = REDUCED | UNARY | BINARY | LOGIC | CASTS | MADE
