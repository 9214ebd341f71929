"""Small kernels, each right with BUG = "" and wrong in one way with the name of a bug."""

from __future__ import annotations

import inspect
import itertools
from typing import Any

import triton
import triton.language as tl


def jit(fn: Any) -> Any:
    """triton.jit that compiles once per dtype and bug, not once per kind of number and alignment."""
    names = [n for n, p in inspect.signature(fn).parameters.items() if p.annotation is inspect.Parameter.empty]
    return triton.jit(fn, do_not_specialize=names, do_not_specialize_on_alignment=names)


# ---- pointwise -------------------------------------------------------------------------------------------------------
@jit
def _double(y_ptr, x_ptr, n, BLOCK: tl.constexpr, BUG: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offs < n
    x = tl.load(x_ptr + offs, mask=offs <= n if BUG == "off-by-one mask" else mask)
    y = x * 2
    if BUG == "input mutated":
        tl.store(x_ptr + offs, y, mask=mask)
    if BUG == "reads its output":
        y += tl.load(y_ptr + offs, mask=mask) * 0
    tl.store(y_ptr + offs, y, mask=offs < n + BLOCK if BUG == "store without mask" else mask)


def double(bug: str) -> Any:
    """y = 2 x, dense."""

    def launch(y: Any, x: Any, problem: Any) -> None:
        n = y.numel()
        grid = n // 8 if bug == "lost tail" else triton.cdiv(n, 8)
        if grid:
            _double[(grid,)](y, x, n, BLOCK=8, BUG=bug)

    return launch


@jit
def _relu(y_ptr, x_ptr, n, BLOCK: tl.constexpr, BUG: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offs, mask=offs < n)
    if BUG == "NaN swallowed by maximum":
        y = tl.maximum(x.to(tl.float32), 0.0)
    else:
        y = tl.maximum(x.to(tl.float32), 0.0, propagate_nan=tl.PropagateNan.ALL)
    tl.store(y_ptr + offs, y, mask=offs < n)


def relu(bug: str) -> Any:
    def launch(y: Any, x: Any, problem: Any) -> None:
        if y.numel():
            _relu[(triton.cdiv(y.numel(), 16),)](y, x, y.numel(), BLOCK=16, BUG=bug)

    return launch


@jit
def _add(
    y_ptr, a_ptr, b_ptr, M, N,
    stride_ym, stride_yn, stride_am, stride_an, stride_bm, stride_bn,
    BLOCK: tl.constexpr, BUG: tl.constexpr,
):  # fmt: skip
    m = tl.program_id(0)
    if BUG != "int32 offset":
        m = m.to(tl.int64)
    n = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    a = tl.load(a_ptr + m * stride_am + n * stride_an, mask=n < N)
    if BUG == "wrong stride":
        b = tl.load(b_ptr + m * stride_am + n * stride_an, mask=n < N)
    else:
        b = tl.load(b_ptr + m * stride_bm + n * stride_bn, mask=n < N)
    if BUG == "swapped dims":
        tl.store(y_ptr + m * stride_yn + n * stride_ym, a + b, mask=n < N)
    else:
        tl.store(y_ptr + m * stride_ym + n * stride_yn, a + b, mask=n < N)


def add(bug: str) -> Any:
    """y = a + b, two dims, any strides."""

    def launch(y: Any, a: Any, b: Any, problem: Any) -> None:
        M, N = y.shape
        if y.numel():
            b = b.expand(M, N)
            _add[(M, triton.cdiv(N, 8))](y, a, b, M, N, *y.stride(), *a.stride(), *b.stride(), BLOCK=8, BUG=bug)

    return launch


# ---- sums ------------------------------------------------------------------------------------------------------------
@jit
def _row_sum(y_ptr, x_ptr, N, backwards, BLOCK: tl.constexpr, BUG: tl.constexpr):
    m = tl.program_id(0)
    acc = tl.zeros((BLOCK,), y_ptr.dtype.element_ty if BUG == "narrow accumulator" else tl.float32)
    if BUG == "wrong identity":
        acc += 1 / BLOCK
    for step in range(0, N // BLOCK * BLOCK if BUG == "tail of the loop" else N, BLOCK):
        start = (tl.cdiv(N, BLOCK) - 1) * BLOCK - step if backwards else step
        n = start + tl.arange(0, BLOCK)
        if BUG == "masked lanes count":
            acc += tl.load(x_ptr + m * N + n, mask=n < N, other=1.0)
        else:
            acc += tl.load(x_ptr + m * N + n, mask=n < N, other=0.0)
    tl.store(y_ptr + m, tl.sum(acc))


_calls = itertools.count()


def row_sum(bug: str) -> Any:
    """y[m] = sum of x[m, :], dense."""

    def launch(y: Any, x: Any, problem: Any) -> None:
        backwards = next(_calls) % 2 if bug == "another order at every launch" else 0
        if x.shape[0]:
            _row_sum[(x.shape[0],)](y, x, x.shape[1], backwards, BLOCK=4, BUG=bug)

    return launch


@jit
def _column_sum(y_ptr, x_ptr, M, N, stride_xm, BLOCK: tl.constexpr, BUG: tl.constexpr):
    n = tl.arange(0, BLOCK)
    if BUG == "race":  # one program for some rows, all add to the same results
        rows = tl.cdiv(M, tl.num_programs(0))
        first = tl.program_id(0) * rows
        acc = tl.load(y_ptr + n, mask=n < N)
        for m in range(first, tl.minimum(first + rows, M)):
            acc += tl.load(x_ptr + m * stride_xm + n, mask=n < N)
        tl.store(y_ptr + n, acc, mask=n < N)
    else:
        acc = tl.zeros((BLOCK,), tl.float32)
        for m in range(0, M):
            acc += tl.load(x_ptr + m * stride_xm + n, mask=n < N)
        tl.store(y_ptr + n, acc, mask=n < N)


def column_sum(bug: str) -> Any:
    """y[n] = sum of x[:, n], f32."""

    def launch(y: Any, x: Any, problem: Any) -> None:
        y.zero_()
        _column_sum[(64 if bug == "race" else 1,)](y, x, *x.shape, x.stride(0), BLOCK=64, BUG=bug)

    return launch


@jit
def _layer_norm(y_ptr, x_ptr, w_ptr, b_ptr, N, eps, BLOCK: tl.constexpr, BUG: tl.constexpr):
    m = tl.program_id(0)
    n = tl.arange(0, BLOCK)
    mask = n < N
    x = tl.load(x_ptr + m * N + n, mask=mask, other=0.0).to(tl.float32)
    mean = tl.sum(x) / (BLOCK if BUG == "mean over the block" else N)
    centred = x - mean
    if BUG != "masked lanes in the variance":
        centred = tl.where(mask, centred, 0.0)
    var = tl.sum(centred * centred) / (N - 1 if BUG == "variance over N - 1" else N)
    r = 1 / (tl.sqrt(var) + eps) if BUG == "eps outside the root" else 1 / tl.sqrt(var + eps)
    w = tl.load(w_ptr + n, mask=mask).to(tl.float32)
    b = tl.load(b_ptr + n, mask=mask).to(tl.float32)
    tl.store(y_ptr + m * N + n, centred * r * w + b, mask=mask)


def layer_norm(bug: str) -> Any:
    """Rows of up to 64 numbers, dense."""

    def launch(y: Any, x: Any, w: Any, b: Any, problem: Any) -> None:
        if x.numel():
            _layer_norm[(x.shape[0],)](y, x, w, b, x.shape[1], problem.eps, BLOCK=64, BUG=bug)

    return launch


# ---- windows ---------------------------------------------------------------------------------------------------------
@jit
def _pool(
    y_ptr, x_ptr, C, H, W, P, Q, count,
    stride_xn, stride_xc, stride_xh, stride_xw, stride_yn, stride_yc, stride_yp, stride_yq,
    R, S, U, V, PAD_H, PAD_W, DIL_H, DIL_W, include_pad,
    MAX: tl.constexpr, BLOCK: tl.constexpr, BUG: tl.constexpr,
):  # fmt: skip
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offs < count
    q, p, c, n = offs % Q, offs // Q % P, offs // (Q * P) % C, offs // (Q * P * C)
    lowest = 0.0 if BUG == "max pool padded with 0" else float("-inf")
    acc = tl.full((BLOCK,), lowest if MAX else 0.0, tl.float32)
    for r in range(0, R):
        for s in range(0, S):
            h, w = p * U - PAD_H + r * DIL_H, q * V - PAD_W + s * DIL_W
            inside = (h >= 0) & (h < H) & (w >= 0) & (w < W)
            if BUG == "right edge unchecked":
                inside = (h >= 0) & (h < H) & (w >= 0)
            at = n * stride_xn + c * stride_xc + h * stride_xh + w * stride_xw
            x = tl.load(x_ptr + at, mask=mask & inside, other=lowest if MAX else 0.0).to(tl.float32)
            if MAX and BUG == "NaN swallowed by maximum":
                acc = tl.maximum(acc, x)
            elif MAX:
                acc = tl.maximum(acc, x, propagate_nan=tl.PropagateNan.ALL)
            else:
                acc += x
    if not MAX:
        # Taps past the padding at the right and below never count (ceil_mode); those in the padding may.
        h0, w0 = p * U - PAD_H, q * V - PAD_W
        padded = (tl.minimum(h0 + R, H + PAD_H) - h0) * (tl.minimum(w0 + S, W + PAD_W) - w0)
        real = (tl.minimum(h0 + R, H) - tl.maximum(h0, 0)) * (tl.minimum(w0 + S, W) - tl.maximum(w0, 0))
        taps = tl.where(include_pad != 0, padded, real)
        if BUG == "count_include_pad ignored":
            taps = padded
        if BUG == "divided by the whole window":
            taps = tl.where(include_pad != 0, R * S, real)
        acc = acc / taps
    tl.store(y_ptr + n * stride_yn + c * stride_yc + p * stride_yp + q * stride_yq, acc, mask=mask)


def pool(bug: str) -> Any:
    def launch(y: Any, x: Any, problem: Any) -> None:
        if y.numel():
            dilation = (1, 1) if bug == "wrong dilation" else problem.dilation
            _pool[(triton.cdiv(y.numel(), 32),)](
                y, x, *x.shape[1:], *y.shape[2:], y.numel(), *x.stride(), *y.stride(), *problem.window, *problem.stride,
                *problem.padding, *dilation, int(problem.count_include_pad), MAX=problem.kind == "max", BLOCK=32, BUG=bug,
            )  # fmt: skip

    return launch


@jit
def _conv(
    y_ptr, x_ptr, w_ptr, N, C, H, W, K, P, Q, CG, KG,
    stride_xn, stride_xc, stride_xh, stride_xw, stride_wk, stride_wc, stride_wr, stride_ws,
    stride_yn, stride_yk, stride_yp, stride_yq,
    R, S, U, V, PAD_H, PAD_W, DIL_H, DIL_W,
    BLOCK: tl.constexpr, BUG: tl.constexpr,
):  # fmt: skip
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    k, n = tl.program_id(1), tl.program_id(2)
    mask = offs < P * Q
    p, q = offs // Q, offs % Q
    group = k % (C // CG) if BUG == "wrong group" else k // KG
    acc = tl.zeros((BLOCK,), y_ptr.dtype.element_ty if BUG == "narrow accumulator" else tl.float32)
    for c in range(0, CG):
        for r in range(1 if BUG == "missing halo" else 0, R):
            for s in range(0, S):
                h, w = p * U - PAD_H + r * DIL_H, q * V - PAD_W + s * DIL_W
                inside = mask & (h >= 0) & (h < H) & (w >= 0) & (w < W)
                at = n * stride_xn + (group * CG + c) * stride_xc + h * stride_xh + w * stride_xw
                x = tl.load(x_ptr + at, mask=inside, other=0.0)
                if BUG == "filter transposed":
                    f = tl.load(w_ptr + k * stride_wk + c * stride_wc + r * stride_ws + s * stride_wr)
                else:
                    f = tl.load(w_ptr + k * stride_wk + c * stride_wc + r * stride_wr + s * stride_ws)
                term = tl.where(inside, x.to(tl.float32) * f.to(tl.float32), 0.0)
                acc += term.to(acc.dtype)
    tl.store(y_ptr + n * stride_yn + k * stride_yk + p * stride_yp + q * stride_yq, acc, mask=mask)


def conv(bug: str) -> Any:
    def launch(y: Any, x: Any, w: Any, problem: Any) -> None:
        (N, K, P, Q), R, S = y.shape, *w.shape[2:]
        if y.numel():
            dilation = problem.dilation[::-1] if bug == "dilation's dims swapped" else problem.dilation
            padding = (0, 0) if bug == "padding ignored" else problem.padding
            stride = problem.stride[::-1] if bug == "stride's dims swapped" else problem.stride
            _conv[(triton.cdiv(P * Q, 16), K, N)](
                y, x, w, *x.shape, K, P, Q, w.shape[1], K // problem.groups, *x.stride(), *w.stride(), *y.stride(),
                R, S, *stride, *padding, *dilation, BLOCK=16, BUG=bug,
            )  # fmt: skip

    return launch


@jit
def _conv_input_grad(
    dx_ptr, dy_ptr, w_ptr, N, C, H, W, K, P, Q, R, S, U, V, PAD_H, PAD_W, BLOCK: tl.constexpr, BUG: tl.constexpr
):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    c, n = tl.program_id(1), tl.program_id(2)
    h, w = offs // W, offs % W
    acc = tl.zeros((BLOCK,), tl.float32)
    for k in range(0, K):
        for r in range(0, R):
            for s in range(0, S):
                up, vq = h + PAD_H - r, w + PAD_W - s  # the pixel of y, times the stride
                inside = (offs < H * W) & (up >= 0) & (vq >= 0) & (up // U < P) & (vq // V < Q)
                if BUG != "gradient between strides":
                    inside &= (up % U == 0) & (vq % V == 0)
                dy = tl.load(dy_ptr + ((n * K + k) * P + up // U) * Q + vq // V, mask=inside, other=0.0)
                if BUG == "filter not turned":
                    f = tl.load(w_ptr + ((k * C + c) * R + R - 1 - r) * S + S - 1 - s)
                else:
                    f = tl.load(w_ptr + ((k * C + c) * R + r) * S + s)
                acc += dy.to(tl.float32) * f.to(tl.float32)
    if BUG == "sign of the gradient":
        acc = -acc
    tl.store(dx_ptr + ((n * C + c) * H * W) + offs, acc, mask=offs < H * W)


def conv_input_grad(bug: str) -> Any:
    """Dense tensors, one group, no dilation."""

    def launch(dx: Any, dy: Any, w: Any, problem: Any) -> None:
        N, C, H, W = dx.shape
        if dx.numel():
            _conv_input_grad[(triton.cdiv(H * W, 16), C, N)](
                dx, dy, w, N, C, H, W, *dy.shape[1:], *w.shape[2:], *problem.stride, *problem.padding, BLOCK=16, BUG=bug
            )

    return launch


@jit
def _conv_filter_grad(
    dw_ptr, dy_ptr, x_ptr, N, C, H, W, K, P, Q, R, S, U, V, PAD_H, PAD_W, BLOCK: tl.constexpr, BUG: tl.constexpr
):
    c, k = tl.program_id(0), tl.program_id(1)
    r, s = tl.program_id(2) // S, tl.program_id(2) % S
    acc = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, N * P * Q, BLOCK):
        offs = start + tl.arange(0, BLOCK)
        n, p, q = offs // (P * Q), offs // Q % P, offs % Q
        h, w = p * U - PAD_H + r, q * V - PAD_W + s
        inside = (offs < N * P * Q) & (h >= 0) & (h < H) & (w >= 0) & (w < W)
        if BUG == "first picture only":
            inside &= n == 0
        x = tl.load(x_ptr + ((n * C + c) * H + h) * W + w, mask=inside, other=0.0)
        dy = tl.load(dy_ptr + ((n * K + k) * P + p) * Q + q, mask=inside, other=0.0)
        acc += x.to(tl.float32) * dy.to(tl.float32)
    tl.store(dw_ptr + ((k * C + c) * R + r) * S + s, tl.sum(acc))


def conv_filter_grad(bug: str) -> Any:
    """Dense tensors, one group, no dilation."""

    def launch(dw: Any, dy: Any, x: Any, problem: Any) -> None:
        K, C, R, S = dw.shape
        if dw.numel():
            _conv_filter_grad[(C, K, R * S)](
                dw, dy, x, *x.shape, K, *dy.shape[2:], R, S, *problem.stride, *problem.padding, BLOCK=16, BUG=bug
            )

    return launch


@jit
def _nearest(y_ptr, x_ptr, H, W, P, Q, count, BLOCK: tl.constexpr, BUG: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    q, p, plane = offs % Q, offs // Q % P, offs // (Q * P)
    h, w = p * H // P, q * W // Q
    if BUG == "rounded to nearest":
        h, w = tl.minimum((2 * p * H + P) // (2 * P), H - 1), tl.minimum((2 * q * W + Q) // (2 * Q), W - 1)
    x = tl.load(x_ptr + (plane * H + h) * W + w, mask=offs < count)
    tl.store(y_ptr + offs, x, mask=offs < count)


def nearest(bug: str) -> Any:
    """Dense tensors."""

    def launch(y: Any, x: Any, problem: Any) -> None:
        if y.numel():
            _nearest[(triton.cdiv(y.numel(), 32),)](y, x, *x.shape[2:], *y.shape[2:], y.numel(), BLOCK=32, BUG=bug)

    return launch
