"""Flash attention in the manner of Triton's tutorial: forward, and backward in two kernels."""

import triton
import triton.language as tl


@triton.jit
def attend(
    acc, l_i, m_i, q, k_ptrs, v_ptrs, stride_k, stride_v, first, last, scale, offs_m, N_CTX, MASKED: tl.constexpr,
    BLOCK_N: tl.constexpr,
):  # fmt: skip
    """One span of keys, with running maximum m_i and sum l_i."""
    for start in tl.range(first, last, BLOCK_N):
        offs_n = start + tl.arange(0, BLOCK_N)
        k = tl.load(k_ptrs + start * stride_k, mask=offs_n[None, :] < N_CTX, other=0.0)
        qk = tl.dot(q, k) * scale
        qk = tl.where(offs_n[None, :] < N_CTX, qk, -1.0e6)
        if MASKED:
            qk = tl.where(offs_m[:, None] >= offs_n[None, :], qk, -1.0e6)
        m_ij = tl.maximum(m_i, tl.max(qk, 1))
        p = tl.math.exp2(qk - m_ij[:, None])
        alpha = tl.math.exp2(m_i - m_ij)
        l_i = l_i * alpha + tl.sum(p, 1)
        acc = acc * alpha[:, None]
        v = tl.load(v_ptrs + start * stride_v, mask=offs_n[:, None] < N_CTX, other=0.0)
        acc = tl.dot(p.to(v.dtype), v, acc)
        m_i = m_ij
    return acc, l_i, m_i


@triton.jit
def forward(
    q_ptr, k_ptr, v_ptr, o_ptr, lse_ptr, scale, stride_z, stride_m, N_CTX, CAUSAL: tl.constexpr, D: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """o = softmax(q kᵀ scale) v for one head and BLOCK_M queries; lse: log2 of each row's sum, for the backward pass."""
    pid_m, head = tl.program_id(0), tl.program_id(1)
    offs_m = pid_m * BLOCK_M + tl.arange(0, BLOCK_M)
    offs_n, offs_d = tl.arange(0, BLOCK_N), tl.arange(0, D)
    base = head.to(tl.int64) * stride_z
    rows = offs_m[:, None] < N_CTX
    q = tl.load(q_ptr + base + offs_m[:, None] * stride_m + offs_d[None, :], mask=rows, other=0.0)
    k_ptrs = k_ptr + base + offs_n[None, :] * stride_m + offs_d[:, None]
    v_ptrs = v_ptr + base + offs_n[:, None] * stride_m + offs_d[None, :]
    m_i = tl.zeros([BLOCK_M], dtype=tl.float32) - float("inf")
    l_i = tl.zeros([BLOCK_M], dtype=tl.float32) + 1.0
    acc = tl.zeros([BLOCK_M, D], dtype=tl.float32)
    scale *= 1.44269504  # 1 / log(2)
    end = N_CTX
    if CAUSAL:
        middle = pid_m * BLOCK_M // BLOCK_N * BLOCK_N
        acc, l_i, m_i = attend(
            acc, l_i, m_i, q, k_ptrs, v_ptrs, stride_m, stride_m, 0, middle, scale, offs_m, N_CTX, False, BLOCK_N
        )
        acc, l_i, m_i = attend(
            acc, l_i, m_i, q, k_ptrs, v_ptrs, stride_m, stride_m, middle, min(middle + BLOCK_M + BLOCK_N, end), scale,
            offs_m, N_CTX, True, BLOCK_N,
        )  # fmt: skip
    else:
        acc, l_i, m_i = attend(
            acc, l_i, m_i, q, k_ptrs, v_ptrs, stride_m, stride_m, 0, end, scale, offs_m, N_CTX, False, BLOCK_N
        )
    tl.store(lse_ptr + head * N_CTX + offs_m, m_i + tl.math.log2(l_i), mask=offs_m < N_CTX)
    o_ptrs = o_ptr + base + offs_m[:, None] * stride_m + offs_d[None, :]
    tl.store(o_ptrs, (acc / l_i[:, None]).to(o_ptr.dtype.element_ty), mask=rows)


@triton.jit
def row_products(o_ptr, do_ptr, delta_ptr, stride_z, stride_m, N_CTX, D: tl.constexpr, BLOCK_M: tl.constexpr):
    """delta[m] = sum over d of o[m, d] do[m, d]."""
    offs_m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    at = tl.program_id(1) * stride_z + offs_m[:, None] * stride_m + tl.arange(0, D)[None, :]
    o = tl.load(o_ptr + at, mask=offs_m[:, None] < N_CTX, other=0.0).to(tl.float32)
    do = tl.load(do_ptr + at, mask=offs_m[:, None] < N_CTX, other=0.0).to(tl.float32)
    tl.store(delta_ptr + tl.program_id(1) * N_CTX + offs_m, tl.sum(o * do, axis=1), mask=offs_m < N_CTX)


@triton.jit
def backward(
    q_ptr, k_ptr, v_ptr, do_ptr, dq_ptr, dk_ptr, dv_ptr, lse_ptr, delta_ptr, scale, stride_z, stride_m, N_CTX,
    CAUSAL: tl.constexpr, D: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """BLOCK rows of dk and dv, by a walk over queries; then the same rows of dq, by a walk over keys. N_CTX % BLOCK == 0."""
    pid, head = tl.program_id(0), tl.program_id(1)
    base = head.to(tl.int64) * stride_z
    lse_ptr += head * N_CTX
    delta_ptr += head * N_CTX
    offs_n = pid * BLOCK + tl.arange(0, BLOCK)
    offs_d = tl.arange(0, D)
    here = base + offs_n[:, None] * stride_m + offs_d[None, :]
    k, v = tl.load(k_ptr + here), tl.load(v_ptr + here)
    dk = tl.zeros([BLOCK, D], dtype=tl.float32)
    dv = tl.zeros([BLOCK, D], dtype=tl.float32)
    log2e = 1.44269504
    first = pid * BLOCK if CAUSAL else 0
    for start in range(first, N_CTX, BLOCK):
        offs_m = start + tl.arange(0, BLOCK)
        at = base + offs_m[:, None] * stride_m + offs_d[None, :]
        q, do = tl.load(q_ptr + at), tl.load(do_ptr + at)
        lse, delta = tl.load(lse_ptr + offs_m), tl.load(delta_ptr + offs_m)
        p = tl.math.exp2(tl.dot(k, tl.trans(q)) * (scale * log2e) - lse[None, :])
        if CAUSAL:
            p = tl.where(offs_m[None, :] >= offs_n[:, None], p, 0.0)
        dv += tl.dot(p.to(do.dtype), do)
        ds = p * (tl.dot(v, tl.trans(do)) - delta[None, :])
        dk += tl.dot(ds.to(q.dtype), q)
    tl.store(dk_ptr + here, (dk * scale).to(dk_ptr.dtype.element_ty))
    tl.store(dv_ptr + here, dv.to(dv_ptr.dtype.element_ty))

    q, do = tl.load(q_ptr + here), tl.load(do_ptr + here)
    lse, delta = tl.load(lse_ptr + offs_n)[:, None], tl.load(delta_ptr + offs_n)[:, None]
    dq = tl.zeros([BLOCK, D], dtype=tl.float32)
    kt_ptrs = k_ptr + base + tl.arange(0, BLOCK)[None, :] * stride_m + offs_d[:, None]
    vt_ptrs = v_ptr + base + tl.arange(0, BLOCK)[None, :] * stride_m + offs_d[:, None]
    keys = (pid + 1) * BLOCK if CAUSAL else N_CTX
    for start in range(0, keys, BLOCK):
        kt, vt = tl.load(kt_ptrs), tl.load(vt_ptrs)
        p = tl.math.exp2(tl.dot(q, kt) * (scale * log2e) - lse)
        if CAUSAL:
            p = tl.where(offs_n[:, None] >= (start + tl.arange(0, BLOCK))[None, :], p, 0.0)
        ds = (p * (tl.dot(do, vt) - delta)).to(kt.dtype)
        dq += tl.dot(ds, tl.trans(kt))
        kt_ptrs += BLOCK * stride_m
        vt_ptrs += BLOCK * stride_m
    tl.store(dq_ptr + here, (dq * scale).to(dq_ptr.dtype.element_ty))
