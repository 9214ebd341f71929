"""Kernels in the manner of Triton's tutorials run by ``kernel[grid](...)`` on CPU tensors and agree with torch."""

import math

import pytest
import torch
import torch.nn.functional as F
import triton

from tests.cpu import tutorial_attention as attention
from tests.cpu import tutorial_kernels as kernels

pytestmark = pytest.mark.usefixtures("active")


def normal(*shape, dtype=torch.float32, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def whole(*shape, dtype=torch.float32, seed=0):
    """Small integers, whose f32 sums of products are exact."""
    return torch.randint(-3, 4, shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def test_vector_add():
    x, y = normal(98_432), normal(98_432, seed=1)
    out = torch.empty_like(x)
    kernels.add[lambda meta: (triton.cdiv(x.numel(), meta["BLOCK"]),)](x, y, out, x.numel(), BLOCK=1024)
    assert torch.equal(out, x + y)


@pytest.mark.parametrize(("rows", "columns"), [(1823, 781), (3, 1), (40, 1024)])
def test_fused_softmax(rows, columns):
    x = normal(rows, columns)
    out = torch.empty_like(x)
    block = triton.next_power_of_2(columns)
    kernels.softmax[(min(8, rows),)](
        out, x, x.stride(0), out.stride(0), rows, columns, BLOCK=block, num_stages=4, num_warps=8
    )
    # A quotient of sums: one relative error each of exp (2 ulp), sum and division.
    torch.testing.assert_close(out, torch.softmax(x, 1), rtol=2e-6, atol=0)


@pytest.mark.parametrize("activation", ["", "leaky_relu"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_matmul_in_grouped_order(dtype, activation):
    M, N, K = 141, 100, 75
    a, b = whole(M, K, dtype=dtype), whole(K, N, dtype=dtype, seed=1)
    c = torch.empty(M, N, dtype=dtype)
    grid = lambda meta: (triton.cdiv(M, meta["BLOCK_M"]) * triton.cdiv(N, meta["BLOCK_N"]),)  # noqa: E731
    kernels.matmul[grid](
        a, b, c, M, N, K, *a.stride(), *b.stride(), *c.stride(), BLOCK_M=32, BLOCK_N=64, BLOCK_K=32, GROUP=3,
        ACTIVATION=activation,
    )  # fmt: skip
    exact = a.float() @ b.float()
    assert torch.equal(c, (F.leaky_relu(exact) if activation else exact).to(dtype))


def test_matmul_of_transposed_operands():
    M, N, K = 70, 50, 64
    a, b = whole(K, M).T, whole(N, K, seed=1).T
    c = torch.empty(N, M).T
    kernels.matmul[(triton.cdiv(M, 32) * triton.cdiv(N, 32),)](
        a, b, c, M, N, K, *a.stride(), *b.stride(), *c.stride(), BLOCK_M=32, BLOCK_N=32, BLOCK_K=16, GROUP=8,
        ACTIVATION="",
    )  # fmt: skip
    assert torch.equal(c, a @ b)


def test_low_memory_dropout_depends_on_the_seed_only():
    x = normal(10_000)

    def drop(seed, block):
        out = torch.empty_like(x)
        kernels.dropout[(triton.cdiv(10_000, block),)](x, out, 10_000, 0.5, seed, BLOCK=block)
        return out

    first = drop(123, 1024)
    assert torch.equal(first, drop(123, 256))
    assert not torch.equal(first, drop(512, 1024))
    kept = first != 0
    assert torch.equal(first[kept], (2 * x)[kept])
    assert abs(kept.float().mean() - 0.5) < 0.03  # six standard deviations of 10,000 draws


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_layer_norm_forward_and_backward(dtype):
    M, N, GROUP = 151, 509, 16
    x, dy = normal(M, N, dtype=dtype), normal(M, N, dtype=dtype, seed=1)
    w, b = torch.rand(N, dtype=dtype), torch.rand(N, dtype=dtype)
    y, dx = torch.empty_like(x), torch.empty_like(x)
    mean, rstd = torch.empty(M), torch.empty(M)
    kernels.layer_norm[(M,)](x, y, w, b, mean, rstd, x.stride(0), N, 1e-5, BLOCK=128)

    locks = torch.zeros(2 * GROUP, dtype=torch.int32)
    parts = torch.empty(2, GROUP, N)
    kernels.layer_norm_dx[(M,)](
        dx, dy, parts[0], parts[1], x, w, mean, rstd, locks, x.stride(0), N, GROUP=GROUP, BLOCK=512
    )
    dw, db = torch.empty(N), torch.empty(N)
    for part, out in zip(parts, (dw, db), strict=True):
        kernels.sum_rows[(triton.cdiv(N, 64),)](part, out, GROUP, N, BLOCK_M=32, BLOCK_N=64)

    exact = [t.double().requires_grad_() for t in (x, w, b)]
    F.layer_norm(exact[0], (N,), exact[1], exact[2], 1e-5).backward(dy.double())
    # Rounding at the store; sums of N or M f32 terms of about 1.
    tolerance = {"rtol": 2e-3, "atol": 2e-3} if dtype == torch.float16 else {"rtol": 1e-5, "atol": 5e-5}
    wanted = F.layer_norm(exact[0], (N,), exact[1], exact[2], 1e-5).detach()
    torch.testing.assert_close(y.double(), wanted, **tolerance)
    for found, leaf in ((dx, exact[0]), (dw, exact[1]), (db, exact[2])):
        torch.testing.assert_close(found.double(), leaf.grad, **tolerance)
    assert locks[:GROUP].eq(0).all()
    assert locks[GROUP:].eq(1).all()


def attend(q, k, v, causal):
    heads, N, D = q.shape
    o, lse = torch.empty_like(q), torch.empty(heads, N)
    attention.forward[lambda meta: (triton.cdiv(N, meta["BLOCK_M"]), heads)](
        q, k, v, o, lse, 1 / math.sqrt(D), q.stride(0), q.stride(1), N, CAUSAL=causal, D=D, BLOCK_M=32, BLOCK_N=16
    )
    return o, lse


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("dtype", "N"), [(torch.float32, 128), (torch.float32, 83), (torch.float16, 96)])
def test_flash_attention_forward(dtype, N, causal):
    q, k, v = (normal(3, N, 32, dtype=dtype, seed=s) for s in range(3))
    o, _ = attend(q, k, v, causal)
    wanted = F.scaled_dot_product_attention(q.double(), k.double(), v.double(), is_causal=causal)
    # exp2 of sums of 32 products; f16 rounds the weights once more.
    tolerance = 2e-3 if dtype == torch.float16 else 5e-6
    torch.testing.assert_close(o.double(), wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_flash_attention_backward(dtype, causal):
    heads, N, D = 2, 96, 32
    q, k, v, do = (normal(heads, N, D, dtype=dtype, seed=s) for s in range(4))
    o, lse = attend(q, k, v, causal)
    delta = torch.empty(heads, N)
    attention.row_products[(N // 32, heads)](o, do, delta, q.stride(0), q.stride(1), N, D=D, BLOCK_M=32)
    dq, dk, dv = (torch.empty_like(q) for _ in range(3))
    attention.backward[(N // 32, heads)](
        q, k, v, do, dq, dk, dv, lse, delta, 1 / math.sqrt(D), q.stride(0), q.stride(1), N, CAUSAL=causal, D=D, BLOCK=32
    )
    exact = [t.double().requires_grad_() for t in (q, k, v)]
    F.scaled_dot_product_attention(*exact, is_causal=causal).backward(do.double())
    tolerance = 1e-2 if dtype == torch.float16 else 2e-5  # f16: weights and their gradients are rounded before dots
    for found, leaf in zip((dq, dk, dv), exact, strict=True):
        torch.testing.assert_close(found.double(), leaf.grad, rtol=tolerance, atol=tolerance)


def test_grouped_gemm():
    sizes = [(64, 48, 32), (100, 30, 20), (7, 130, 65)]
    a = [whole(m, k, seed=m) for m, _, k in sizes]
    b = [whole(k, n, seed=n) for _, n, k in sizes]
    c = [torch.empty(m, n) for m, n, _ in sizes]
    addresses = torch.tensor([[t.data_ptr() for t in three] for three in zip(a, b, c, strict=True)])
    strides = torch.tensor([[t.stride(0) for t in three] for three in zip(a, b, c, strict=True)], dtype=torch.int32)
    shapes = torch.tensor(sizes, dtype=torch.int32)
    kernels.matmul_group[(4,)](addresses, shapes, strides, len(sizes), BLOCK_M=32, BLOCK_N=32, BLOCK_K=16)
    for one, two, found in zip(a, b, c, strict=True):
        assert torch.equal(found, one @ two)


@pytest.mark.skipif(triton.__version__ >= "3.9", reason="triton 3.9 has no block pointers")
def test_matmul_by_block_pointers():
    M, N, K = 141, 100, 75
    a, b, c = whole(M, K), whole(K, N, seed=1), torch.empty(M, N)
    kernels.matmul_block_pointers[(triton.cdiv(M, 32) * triton.cdiv(N, 64),)](
        a, b, c, M, N, K, *a.stride(), *b.stride(), *c.stride(), BLOCK_M=32, BLOCK_N=64, BLOCK_K=32, GROUP=3
    )
    assert torch.equal(c, a @ b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_persistent_matmul_with_descriptors(dtype):
    M, N, K = 130, 72, 96
    a, b, c = whole(M, K, dtype=dtype), whole(N, K, dtype=dtype, seed=1), torch.empty(M, N, dtype=dtype)
    kernels.matmul_persistent[(3,)](a, b, c, M, N, K, BLOCK_M=32, BLOCK_N=32, BLOCK_K=32, GROUP=2)
    assert torch.equal(c, (a.float() @ b.float().T).to(dtype))


def test_matmul_with_descriptors_from_the_caller():
    from triton.tools.tensor_descriptor import TensorDescriptor

    M, N, K = 70, 40, 64
    a, b, c = whole(M, K), whole(N, K, seed=1), torch.empty(M, N)
    kernels.matmul_host_descriptors[(triton.cdiv(M, 32), triton.cdiv(N, 16))](
        TensorDescriptor.from_tensor(a, [32, 16]), TensorDescriptor.from_tensor(b, [16, 16]),
        TensorDescriptor.from_tensor(c, [32, 16]), K, BLOCK_M=32, BLOCK_N=16, BLOCK_K=16,
    )  # fmt: skip
    assert torch.equal(c, a @ b.T)
