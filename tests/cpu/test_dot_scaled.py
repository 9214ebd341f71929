"""tl.dot_scaled: microscaling formats against their definition (OCP MX v1.0), in fp64."""

import pytest
import torch
import triton
import triton.language as tl

from tritoncnn import cpu

E2M1 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6], dtype=torch.float64)
STORED = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2, "bf16": torch.bfloat16, "fp16": torch.float16}
M, N, K = 16, 32, 64


@triton.jit
def scaled_kernel(
    y_ptr, a_ptr, a_scale_ptr, b_ptr, b_scale_ptr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, A: tl.constexpr,
    B: tl.constexpr, A_ROWS: tl.constexpr, A_COLUMNS: tl.constexpr, B_ROWS: tl.constexpr, B_COLUMNS: tl.constexpr,
    A_PACKED: tl.constexpr, B_PACKED: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    rows, columns, groups = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K // GROUP)
    a = tl.load(a_ptr + tl.arange(0, A_ROWS)[:, None] * A_COLUMNS + tl.arange(0, A_COLUMNS))
    b = tl.load(b_ptr + tl.arange(0, B_ROWS)[:, None] * B_COLUMNS + tl.arange(0, B_COLUMNS))
    if a_scale_ptr is None:
        a_scale = None
    else:
        a_scale = tl.load(a_scale_ptr + rows[:, None] * (K // GROUP) + groups)
    if b_scale_ptr is None:
        b_scale = None
    else:
        b_scale = tl.load(b_scale_ptr + columns[:, None] * (K // GROUP) + groups)
    at = rows[:, None] * N + columns
    y = tl.dot_scaled(a, a_scale, A, b, b_scale, B, tl.load(y_ptr + at), lhs_k_pack=A_PACKED, rhs_k_pack=B_PACKED)
    tl.store(y_ptr + at, y)


def factor(kind, shape, packed):
    """What a kernel is given, and what it means."""
    if kind != "e2m1":
        x = torch.randn(shape).to(STORED[kind])
        return x, x.double()
    codes = torch.randint(0, 16, shape)
    low, high = codes.unfold(packed, 2, 2).unbind(-1)
    values = E2M1[codes & 7] * torch.where(codes & 8 > 0, -1.0, 1.0)
    return (low | high << 4).to(torch.uint8), values


def check(kinds, scaled=(True, True), along_k=(True, True), group=32):
    torch.manual_seed(0)
    shapes, given, meant, scales = ((M, K), (K, N)), [], [], []
    for side, (kind, shape) in enumerate(zip(kinds, shapes, strict=True)):
        red = 1 - side
        x, values = factor(kind, shape, red if along_k[side] else 1 - red)
        scale = None
        if scaled[side]:
            size = (shape[side], K // group)
            if group == 16:
                scale = (0.5 + torch.rand(size)).to(torch.float8_e4m3fn)
                power = scale.double()
            else:
                scale = torch.randint(120, 135, size).to(torch.uint8)
                power = 2.0 ** (scale.double() - 127)
            power = power.repeat_interleave(group, 1)
            values = values * (power.T if side else power)
        given, meant, scales = [*given, x], [*meant, values], [*scales, scale]
    start = torch.randn(M, N)
    y = start.clone()
    with cpu.active():
        scaled_kernel[(1,)](y, given[0], scales[0], given[1], scales[1], M, N, K, *kinds, *given[0].shape,
                            *given[1].shape, *along_k, group)  # fmt: skip
    size = start.double().abs() + meant[0].abs() @ meant[1].abs()
    # The factors are exact; a sum of K + 1 terms in f32 (Higham, gamma_n).
    assert ((y.double() - (start.double() + meant[0] @ meant[1])).abs() <= (K + 2) * 2**-24 * size).all()


@pytest.mark.parametrize("left", ["e2m1", "e4m3", "e5m2", "bf16", "fp16"])
@pytest.mark.parametrize("right", ["e2m1", "e4m3", "e5m2", "bf16", "fp16"])
def test_every_pair_of_formats(left, right):
    if "fp16" in (left, right):
        check((left, right), (left != "fp16", right != "fp16"))
    else:
        check((left, right))


@pytest.mark.parametrize("scaled", [(False, True), (True, False), (False, False)])
def test_a_factor_may_have_no_scale(scaled):
    check(("e4m3", "e2m1"), scaled)


@pytest.mark.parametrize("along_k", [(False, True), (True, False), (False, False)])
def test_fours_of_bits_may_be_packed_along_the_free_axis(along_k):
    check(("e2m1", "e2m1"), along_k=along_k)


def test_groups_of_16_have_scales_of_8_bit_floats():
    check(("e2m1", "e2m1"), group=16)


def test_the_least_scale_is_subnormal_and_255_is_not_a_number():
    a, b = torch.ones(M, K).to(torch.float8_e4m3fn), torch.ones(K, N).to(torch.float8_e4m3fn)
    low, high = torch.zeros(M, 2, dtype=torch.uint8), torch.full((N, 2), 127, dtype=torch.uint8)
    low[1] = 255
    high[:, 0] = 227  # 2**100
    y = torch.zeros(M, N)
    with cpu.active():
        scaled_kernel[(1,)](y, a, low, b, high, M, N, K, "e4m3", "e4m3", M, K, K, N, True, True, 32)
    assert y[1].isnan().all()
    size = 32 * 2.0**-127 * (2.0**100 + 1)
    # Products of subnormal bf16 count as zero where the CPU has an instruction for bf16.
    assert torch.isin(y[0], torch.tensor([0.0, size])).all()
