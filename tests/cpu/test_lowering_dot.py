"""tt.dot in every layout: integers in small ranges, so that sums are exact and must be equal bit for bit."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from hypothesis import given, settings
from hypothesis import strategies as st

from tritoncnn import cpu

from . import harness

LANES = (16, 4)


def integers(*shape: int) -> torch.Tensor:
    return torch.randint(-4, 5, shape).float()


@triton.jit
def gemm_kernel(
    C, A, B, D, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, sam: tl.constexpr, sak: tl.constexpr, sbk: tl.constexpr,
    sbn: tl.constexpr, MODE: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    rm = tl.program_id(0) * BM + tl.arange(0, BM)
    rn = tl.program_id(1) * BN + tl.arange(0, BN)
    acc = tl.zeros((BM, BN), tl.float32)
    if MODE == "bias":
        acc += tl.load(D + rn, mask=rn < N, other=0.0)[None, :]
    for k0 in range(0, K, BK):
        rk = k0 + tl.arange(0, BK)
        if MODE == "ta":
            at = tl.load(
                A + rk[:, None] * sak + rm[None, :] * sam, mask=(rk[:, None] < K) & (rm[None, :] < M), other=0.0
            )
            a = tl.trans(at)
        else:
            a = tl.load(
                A + rm[:, None] * sam + rk[None, :] * sak, mask=(rm[:, None] < M) & (rk[None, :] < K), other=0.0
            )
        if MODE == "tb":
            bt = tl.load(
                B + rn[:, None] * sbn + rk[None, :] * sbk, mask=(rn[:, None] < N) & (rk[None, :] < K), other=0.0
            )
            b = tl.trans(bt)
        else:
            b = tl.load(
                B + rk[:, None] * sbk + rn[None, :] * sbn, mask=(rk[:, None] < K) & (rn[None, :] < N), other=0.0
            )
        if MODE == "twice":
            acc = acc + tl.dot(a, b, input_precision="ieee") + tl.dot(a * 2.0, b, input_precision="ieee")
        elif MODE == "keep":
            before = acc
            acc = tl.dot(a, b, acc, input_precision="ieee")
            acc += before * 0.0
        else:
            acc = tl.dot(a, b, acc, input_precision="ieee")
    if MODE == "after":
        acc = tl.maximum(acc + tl.load(D + rn, mask=rn < N, other=0.0)[None, :], 0.0)
    tl.store(C + rm[:, None] * N + rn[None, :], acc, mask=(rm[:, None] < M) & (rn[None, :] < N))


def gemm(mode: str, m: int, n: int, k: int, blocks: tuple[int, int, int], lanes: int, layout: str) -> None:
    a, b, d = integers(m, k), integers(k, n), integers(n)
    c = torch.full((m, n), 99.0)
    pa = a if layout[0] == "r" else a.T.contiguous().T
    pb = b if layout[1] == "r" else b.T.contiguous().T
    harness.run(
        gemm_kernel, (triton.cdiv(m, blocks[0]), triton.cdiv(n, blocks[1])), {"C": c, "A": pa, "B": pb, "D": d}, lanes,
        M=m, N=n, K=k, sam=pa.stride(0), sak=pa.stride(1), sbk=pb.stride(0), sbn=pb.stride(1), MODE=mode,
        BM=blocks[0], BN=blocks[1], BK=blocks[2],
    )  # fmt: skip
    expected = a @ b
    if mode == "twice":
        expected = 3 * expected
    if mode in ("bias", "after"):
        expected = expected + d
    if mode == "after":
        expected = expected.relu()
    assert torch.equal(c, expected)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("mode", ["plain", "bias", "after", "ta", "tb", "twice", "keep"])
@pytest.mark.parametrize("layout", ["rr", "cc"])
def test_products_with_every_way_of_making_operands(mode: str, layout: str, lanes: int) -> None:
    gemm(mode, 37, 41, 50, (16, 32, 16), lanes, layout)
    gemm(mode, 32, 64, 32, (32, 64, 32), lanes, layout)


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(["plain", "bias", "after", "ta", "tb", "twice", "keep"]),
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 40),
    st.tuples(*[st.sampled_from([1, 2, 4, 8, 16, 32, 64])] * 3),
    st.sampled_from(LANES), st.sampled_from(["rr", "rc", "cr", "cc"]),
)  # fmt: skip
def test_products_of_random_shapes(
    mode: str, m: int, n: int, k: int, blocks: tuple[int, int, int], lanes: int, layout: str
) -> None:
    gemm(mode, m, n, k, blocks, lanes, layout)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("mode", ["plain", "ta"])
def test_each_product_of_a_loop_is_summed_by_itself(mode: str, lanes: int) -> None:
    """After 2**24 no single 1 changes a sum of f32, the 32 of a product do."""
    a, b, c = torch.ones(16, 256), torch.ones(256, 32), torch.zeros(16, 32)
    b[0] = 2.0**24 - 31  # the first product's sum is 2**24
    harness.run(
        gemm_kernel, (1, 1), {"C": c, "A": a, "B": b, "D": b[0]}, lanes,
        M=16, N=32, K=256, sam=256, sak=1, sbk=32, sbn=1, MODE=mode, BM=16, BN=32, BK=32,
    )  # fmt: skip
    assert (c == 2.0**24 + 7 * 32).all()


@triton.jit
def conv_kernel(
    Y, X, Wt, Bias, N: tl.constexpr, H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, K: tl.constexpr, R: tl.constexpr,
    S: tl.constexpr, U: tl.constexpr, PAD: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, POOL: tl.constexpr,
    BLOCK_NPQ: tl.constexpr, BLOCK_CRS: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """NHWC implicit GEMM over the flattened window. With POOL, rows of four pixels are one 2 x 2 window."""
    m = tl.program_id(0) * BLOCK_NPQ + tl.arange(0, BLOCK_NPQ)
    k = tl.arange(0, BLOCK_K)
    crs = tl.arange(0, BLOCK_CRS)
    CRS: tl.constexpr = C * R * S
    if POOL:
        pixel = m // 4
        q = pixel % (Q // 2) * 2 + m % 2
        p = pixel // (Q // 2) % (P // 2) * 2 + m // 2 % 2
        n = pixel // (Q // 2 * (P // 2))
    else:
        q = m % Q
        p = m // Q % P
        n = m // (P * Q)
    r = crs // (S * C)
    s = crs // C % S
    c = crs % C
    ok = (m < N * P * Q)[:, None] & (crs < CRS)[None, :]
    if PAD > 0:
        h = (p * U - PAD)[:, None] + r[None, :]
        w = (q * U - PAD)[:, None] + s[None, :]
        ok = ok & (h >= 0) & (h < H) & (w >= 0) & (w < W)
    base = ((n * H + p * U - PAD) * W + q * U - PAD) * C
    offset = (r * W + s) * C + c
    x = tl.load(X + base[:, None] + offset[None, :], mask=ok, other=0.0)
    b = tl.load(Wt + crs[:, None] * K + k[None, :], mask=(crs < CRS)[:, None] & (k < K)[None, :], other=0.0)
    acc = tl.dot(x, b, input_precision="ieee")
    acc = tl.maximum(acc + tl.load(Bias + k, mask=k < K, other=0.0)[None, :], 0.0)
    if POOL:
        acc = tl.max(tl.reshape(acc, [BLOCK_NPQ // 4, 4, BLOCK_K]), 1)
        o = tl.program_id(0) * (BLOCK_NPQ // 4) + tl.arange(0, BLOCK_NPQ // 4)
        tl.store(Y + o[:, None] * K + k[None, :], acc, mask=(o < N * P * Q // 4)[:, None] & (k < K)[None, :])
    else:
        tl.store(Y + m[:, None] * K + k[None, :], acc, mask=(m < N * P * Q)[:, None] & (k < K)[None, :])


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize(
    ("N", "H", "C", "K", "R", "U", "PAD"),
    [
        (2, 12, 1, 6, 5, 1, 0),
        (2, 12, 1, 6, 5, 1, 2),
        (1, 14, 6, 16, 5, 1, 0),
        (3, 9, 3, 20, 3, 2, 1),
        (2, 8, 4, 8, 1, 1, 0),
    ],
)
def test_convolution_as_an_implicit_product(
    N: int, H: int, C: int, K: int, R: int, U: int, PAD: int, pool: bool, lanes: int
) -> None:
    P = (H + 2 * PAD - R) // U + 1
    if pool and P % 2:
        pytest.skip("pooled sizes are even")
    x, w, b = integers(N, H, H, C), integers(R, R, C, K), integers(K)
    y = torch.full((N, P // 2, P // 2, K) if pool else (N, P, P, K), 99.0)
    harness.run(
        conv_kernel, (triton.cdiv(N * P * P, 64),), {"Y": y, "X": x, "Wt": w, "Bias": b}, lanes, N=N, H=H, W=H, C=C, K=K,
        R=R, S=R, U=U, PAD=PAD, P=P, Q=P, POOL=pool, BLOCK_NPQ=64, BLOCK_CRS=triton.next_power_of_2(C * R * R),
        BLOCK_K=triton.next_power_of_2(K),
    )  # fmt: skip
    expected = F.conv2d(x.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1), b, stride=U, padding=PAD).relu()
    expected = F.max_pool2d(expected, 2) if pool else expected
    assert torch.equal(y, expected.permute(0, 2, 3, 1))


@triton.jit
def filter_gradient_kernel(
    DW, X, DY, N: tl.constexpr, H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, K: tl.constexpr, R: tl.constexpr,
    S: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, BLOCK_NPQ: tl.constexpr, BLOCK_CRS: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    k = tl.arange(0, BLOCK_K)
    crs = tl.arange(0, BLOCK_CRS)
    CRS: tl.constexpr = C * R * S
    offset = (crs // (S * C) * W + crs // C % S) * C + crs % C
    acc = tl.zeros((BLOCK_CRS, BLOCK_K), tl.float32)
    for m0 in range(0, N * P * Q, BLOCK_NPQ):
        m = m0 + tl.arange(0, BLOCK_NPQ)
        base = ((m // (P * Q) * H + m // Q % P) * W + m % Q) * C
        ok = m < N * P * Q
        x = tl.load(X + base[:, None] + offset[None, :], mask=ok[:, None] & (crs < CRS)[None, :], other=0.0)
        dy = tl.load(DY + m[:, None] * K + k[None, :], mask=ok[:, None] & (k < K)[None, :], other=0.0)
        acc = tl.dot(tl.trans(x), dy, acc, input_precision="ieee")
    tl.store(DW + crs[:, None] * K + k[None, :], acc, mask=(crs < CRS)[:, None] & (k < K)[None, :])


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize(("C", "K", "R"), [(1, 6, 5), (6, 16, 5), (3, 32, 3)])
def test_filter_gradient_reads_pixels_in_place(C: int, K: int, R: int, lanes: int) -> None:
    N, H = 3, 9
    P = H - R + 1
    x, dy = integers(N, H, H, C), integers(N, P, P, K)
    dw = torch.full((R, R, C, K), 99.0)
    harness.run(
        filter_gradient_kernel, (1,), {"DW": dw, "X": x, "DY": dy}, lanes, N=N, H=H, W=H, C=C, K=K, R=R, S=R, P=P, Q=P,
        BLOCK_NPQ=32, BLOCK_CRS=triton.next_power_of_2(C * R * R), BLOCK_K=triton.next_power_of_2(K),
    )  # fmt: skip
    windows = x.unfold(1, R, 1).unfold(2, R, 1)  # n p q c r s
    assert torch.equal(dw, torch.einsum("npqcrs,npqk->rsck", windows, dy))


@triton.jit
def narrow_kernel(C, A, B, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    a = tl.load(A + m[:, None] * K + k[None, :])
    b = tl.load(B + k[:, None] * N + n[None, :])
    tl.store(C + m[:, None] * N + n[None, :], tl.dot(a, b, out_dtype=C.dtype.element_ty))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int8])
def test_narrow_operands_are_widened(dtype: torch.dtype) -> None:
    a, b = integers(16, 32).to(dtype), integers(32, 32).to(dtype)
    c = torch.zeros(16, 32, dtype=torch.int32 if dtype == torch.int8 else torch.float32)
    harness.run(narrow_kernel, (1,), {"C": c, "A": a, "B": b}, M=16, N=32, K=32)
    assert torch.equal(c.float(), a.float() @ b.float())


@triton.jit
def chain_kernel(Y, X, W1, W2, n, M: tl.constexpr, K: tl.constexpr):
    m, k = tl.arange(0, M), tl.arange(0, K)
    x = tl.load(X + m[:, None] * K + k[None, :])
    w1 = tl.load(W1 + k[:, None] * K + k[None, :])
    w2 = tl.load(W2 + k[:, None] * K + k[None, :])
    s = tl.zeros((M, K), tl.float32)
    for i in range(n):
        h = tl.maximum(tl.dot(x, w1, input_precision="ieee"), 0.0) * (i + 1)
        x = tl.dot(h, w2, x, input_precision="ieee") * 0.5
        s += x
    tl.store(Y + m[:, None] * K + k[None, :], x)
    tl.store(Y + (M + m)[:, None] * K + k[None, :], s)


@pytest.mark.parametrize("lanes", LANES)
def test_products_of_products_in_a_loop(lanes: int) -> None:
    x, w1, w2 = torch.randn(8, 16), torch.randn(16, 16) / 4, torch.randn(16, 16) / 4
    y = torch.zeros(2, 8, 16)
    harness.run(chain_kernel, (1,), {"Y": y, "X": x, "W1": w1, "W2": w2, "n": 3}, lanes, M=8, K=16)
    s = torch.zeros(8, 16)
    for i in range(3):
        x = ((x @ w1).relu() * (i + 1) @ w2 + x) * 0.5
        s = s + x
    torch.testing.assert_close(y, torch.stack([x, s]), rtol=1e-4, atol=1e-4)


@triton.jit
def some_rows_kernel(Y, A, B, m, EVERY: tl.constexpr, K: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    i, k, n = tl.arange(0, BM), tl.arange(0, 16), tl.arange(0, BN)
    ok = (i < m) & (i // EVERY % 2 == 0)
    acc = tl.full((BM, BN), 1.0, tl.float32)
    for k0 in range(0, K, 16):
        a = tl.load(A + i[:, None] * K + (k0 + k)[None, :], mask=ok[:, None], other=0.0)
        b = tl.load(B + (k0 + k)[:, None] * BN + n[None, :])
        acc = tl.dot(a, b, acc, input_precision="ieee")
    tl.store(Y + i[:, None] * BN + n[None, :], acc)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize(("m", "every"), [(0, 1), (5, 64), (33, 8), (64, 1), (64, 32)])
def test_rows_that_are_masked_keep_the_accumulator(m: int, every: int, lanes: int) -> None:
    a, b, y = integers(64, 48), integers(48, 32), torch.zeros(64, 32)
    harness.run(some_rows_kernel, (1,), {"Y": y, "A": a, "B": b, "m": m}, lanes, EVERY=every, K=48, BM=64, BN=32)
    i = torch.arange(64)
    assert torch.equal(y, torch.where(((i < m) & (i // every % 2 == 0))[:, None], a @ b, 0.0) + 1)


@triton.jit
def few_rows_kernel(
    Y, A, B, n, every, N: tl.constexpr, K: tl.constexpr, WAY: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr
):
    i, k, j = tl.arange(0, BM), tl.arange(0, 16), tl.program_id(0) * BN + tl.arange(0, BN)
    there = (tl.arange(0, BN) < N) if WAY == "known" else j < n
    if WAY == "some":
        there &= j % every != 1
    acc = tl.zeros((BM, BN), tl.float32)
    for k0 in range(0, K, 16):
        a = tl.load(A + i[:, None] * K + (k0 + k)[None, :])
        kept = there[None, :] & (k0 + k < K // 2)[:, None] if WAY == "half the rows" else there[None, :]
        b = tl.load(B + (k0 + k)[:, None] * N + j[None, :], mask=kept, other=0.0)
        acc = tl.dot(a, b, acc, input_precision="ieee")
    tl.store(Y + i[:, None] * N + j[None, :], acc, mask=there[None, :])


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("way", ["when it runs", "known", "some", "half the rows"])
@pytest.mark.parametrize("n", [2, 17, 84, 120])
def test_few_rows_read_in_place_what_a_mask_leaves_of_the_columns(way: str, n: int, lanes: int) -> None:
    """Behind B nothing may be read."""
    a = integers(4, 48)
    b = harness.before_a_wall(48 * n).view(48, n).copy_(integers(48, n))
    y = torch.full((4, n), 9.0)
    block = 128 if way == "known" else 64
    args = {"Y": y, "A": a, "B": b, "n": n, "every": 3}
    constants = {"N": n, "K": 48, "WAY": way, "BM": 4, "BN": block}
    harness.run(few_rows_kernel, (triton.cdiv(n, block),), args, lanes, **constants)
    (dot,) = cpu.explain(few_rows_kernel, *args.values(), **constants).dots
    assert dot.b.startswith("in place")
    left = torch.arange(n) % 3 != 1 if way == "some" else torch.ones(n, dtype=torch.bool)
    wanted = a[:, :24] @ b[:24] if way == "half the rows" else a @ b
    assert torch.equal(y, torch.where(left, wanted, 9.0))
