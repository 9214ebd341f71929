"""sgd, adamw: one optimizer step over flat arenas, in place; ema: their moving average; increment: the step count.

sgd      g' = g + WEIGHT_DECAY*p;  m' = MOMENTUM*m + g';  p' = p - lr * (g' + MOMENTUM*m' if NESTEROV else m')
         Source: torch.optim.SGD with dampening 0. m starts as zeros, which makes the first step torch's.
adamw    p1 = p * (1 - lr*WEIGHT_DECAY);  m' = m + (g - m)*(1 - BETA1);  v' = BETA2*v + (1 - BETA2)*g*g
         p' = p1 - lr / (1 - BETA1**step) * m' / (sqrt(v' / (1 - BETA2**step)) + EPS)
         Source: Loshchilov & Hutter 2019, "Decoupled weight decay regularization", algorithm 2; torch.optim.AdamW.
ema      e' = e + (p - e)*(1 - DECAY), and p in step 1.  Source: torch.optim.swa_utils.get_ema_multi_avg_fn.
Data     lr (one float) and step (one i64, the number of this very step, from 1) are read from memory.
Precise  f32, but 1 - BETA**step in f64: at step 1 it is 0.001, and f32 would leave 4 digits of it.
Tile     one program takes BLOCK elements.
Traffic  12 bytes a parameter for sgd without momentum, 20 with, 28 for adamw, 12 for ema.
Layout   every arena dense and flat.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl

from tritoncnn.errors import DTypeError, LayoutError, ShapeError
from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import build, ceil_div, check_floats, row_block
from tritoncnn.kernels.device import block_offsets, program
from tritoncnn.kernels.launch import Launch
from tritoncnn.kernels.target import Target


class Tile(NamedTuple):
    BLOCK: int
    num_warps: int = 4


def pick_tile(numel: int, target: Target) -> Tile:
    """Tile for an arena of ``numel`` elements."""
    return Tile(row_block(numel, 16, 16384, 256)) if target.kind == "cpu" else Tile(1024, 4)


@triton.jit
def sgd_kernel(
    p_ptr, m_ptr, g_ptr, lr_ptr,
    NUMEL: tl.constexpr, MOMENTUM: tl.constexpr, WEIGHT_DECAY: tl.constexpr, NESTEROV: tl.constexpr,
    GRID: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    offs = block_offsets(program(0, GRID, WIDE) * BLOCK, BLOCK, WIDE)
    mask = offs < NUMEL
    lr = tl.load(lr_ptr).to(tl.float32)
    p = tl.load(p_ptr + offs, mask=mask, other=0.0).to(tl.float32)
    g = tl.load(g_ptr + offs, mask=mask, other=0.0).to(tl.float32)
    if WEIGHT_DECAY != 0.0:
        g = g + WEIGHT_DECAY * p
    if m_ptr is not None:
        m = MOMENTUM * tl.load(m_ptr + offs, mask=mask, other=0.0).to(tl.float32) + g
        if NESTEROV:
            g = g + MOMENTUM * m
        else:
            g = m
        p = p - lr * g
        tl.store(m_ptr + offs, m, mask=mask)
    else:
        p = p - lr * g
    tl.store(p_ptr + offs, p, mask=mask)


@triton.jit
def _one_minus_power(BETA: tl.constexpr, step):
    """1 - BETA**step in f64, for step < 2**31, by repeated squaring."""
    power = tl.full((), 1.0, tl.float64)
    square = tl.full((), BETA, tl.float64)
    for bit in range(0, 31):
        power = tl.where((step >> bit) % 2 == 1, power * square, power)
        square = square * square
    return 1.0 - power


@triton.jit
def adamw_kernel(
    p_ptr, m_ptr, v_ptr, g_ptr, lr_ptr, step_ptr,
    NUMEL: tl.constexpr, BETA1: tl.constexpr, BETA2: tl.constexpr, EPS: tl.constexpr, WEIGHT_DECAY: tl.constexpr,
    GRID: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    offs = block_offsets(program(0, GRID, WIDE) * BLOCK, BLOCK, WIDE)
    mask = offs < NUMEL
    lr = tl.load(lr_ptr).to(tl.float32)
    step = tl.load(step_ptr)
    rate = (lr.to(tl.float64) / _one_minus_power(BETA1, step)).to(tl.float32)
    unbias = (1.0 / _one_minus_power(BETA2, step)).to(tl.float32)
    p = tl.load(p_ptr + offs, mask=mask, other=0.0).to(tl.float32)
    m = tl.load(m_ptr + offs, mask=mask, other=0.0).to(tl.float32)
    v = tl.load(v_ptr + offs, mask=mask, other=0.0).to(tl.float32)
    g = tl.load(g_ptr + offs, mask=mask, other=0.0).to(tl.float32)
    m = m + (g - m) * (1.0 - BETA1)
    v = BETA2 * v + (1.0 - BETA2) * g * g
    if WEIGHT_DECAY != 0.0:
        p = p * (1.0 - lr * WEIGHT_DECAY)
    p = p - rate * m / (tl.sqrt(v * unbias) + EPS)
    tl.store(m_ptr + offs, m, mask=mask)
    tl.store(v_ptr + offs, v, mask=mask)
    tl.store(p_ptr + offs, p, mask=mask)


@triton.jit
def ema_kernel(
    e_ptr, p_ptr, step_ptr, NUMEL: tl.constexpr, DECAY: tl.constexpr, GRID: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    offs = block_offsets(program(0, GRID, WIDE) * BLOCK, BLOCK, WIDE)
    mask = offs < NUMEL
    e = tl.load(e_ptr + offs, mask=mask, other=0.0).to(tl.float32)
    p = tl.load(p_ptr + offs, mask=mask, other=0.0).to(tl.float32)
    tl.store(e_ptr + offs, tl.where(tl.load(step_ptr) == 1, p, e + (p - e) * (1.0 - DECAY)), mask=mask)


@triton.jit
def increment_kernel(step_ptr, GRID: tl.constexpr, WIDE: tl.constexpr):
    tl.store(step_ptr, tl.load(step_ptr) + 1)


def _check_arenas(op: str, lr: TensorType | None, p: TensorType, **others: TensorType | None) -> None:
    check_floats(op, p=p, lr=lr, **others)
    if p.rank != 1 or not p.is_row_major:
        raise LayoutError(f"{op}: p must be flat and dense; got {p}")
    for name, arena in others.items():
        if arena is not None and arena != p:
            raise ShapeError(f"{op}: {name} must be {p}, as p is; got {arena}")
    if lr is not None and lr.numel != 1:
        raise ShapeError(f"{op}: lr must be one number; got {list(lr.shape)}")


def sgd(
    p: TensorType, m: TensorType | None, g: TensorType, lr: TensorType, *, momentum: float = 0.0, weight_decay: float = 0.0,
    nesterov: bool = False, tile: Tile | None = None, target: Target,
) -> Launch:  # fmt: skip
    """Updates p and m [L] in place from gradients g; operands p, [m], g, lr. m is None exactly when momentum is 0."""
    _check_arenas("sgd", lr, p, m=m, g=g)
    if (m is None) != (momentum == 0.0):
        raise ShapeError(f"sgd: the buffer m comes with a momentum other than 0; got {m} and {momentum}")
    tile = tile or pick_tile(p.numel, target)
    return build(
        sgd_kernel,
        (ceil_div(p.numel, tile.BLOCK),),
        {"p_ptr": p, "m_ptr": m, "g_ptr": g, "lr_ptr": lr},
        NUMEL=p.numel,
        MOMENTUM=momentum,
        WEIGHT_DECAY=weight_decay,
        NESTEROV=nesterov,
        results=1 if m is None else 2,
        flops=6 * p.numel,
        **tile._asdict(),
    )


def adamw(
    p: TensorType, m: TensorType, v: TensorType, g: TensorType, lr: TensorType, step: TensorType, *,
    betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.01, tile: Tile | None = None,
    target: Target,
) -> Launch:  # fmt: skip
    """Updates p, m, v [L] in place from gradients g; operands p, m, v, g, lr, step."""
    _check_arenas("adamw", lr, p, m=m, v=v, g=g)
    _check_step("adamw", step)
    tile = tile or pick_tile(p.numel, target)
    return build(
        adamw_kernel,
        (ceil_div(p.numel, tile.BLOCK),),
        {"p_ptr": p, "m_ptr": m, "v_ptr": v, "g_ptr": g, "lr_ptr": lr, "step_ptr": step},
        NUMEL=p.numel,
        BETA1=betas[0],
        BETA2=betas[1],
        EPS=eps,
        WEIGHT_DECAY=weight_decay,
        results=3,
        flops=14 * p.numel,
        **tile._asdict(),
    )


def ema(
    e: TensorType, p: TensorType, step: TensorType, *, decay: float, tile: Tile | None = None, target: Target
) -> Launch:
    """Updates e [L], the moving average of p, in place; operands e, p, step."""
    _check_arenas("ema", None, p, e=e)
    _check_step("ema", step)
    tile = tile or pick_tile(p.numel, target)
    return build(
        ema_kernel,
        (ceil_div(p.numel, tile.BLOCK),),
        {"e_ptr": e, "p_ptr": p, "step_ptr": step},
        NUMEL=p.numel,
        DECAY=decay,
        flops=3 * p.numel,
        **tile._asdict(),
    )


def _check_step(op: str, step: TensorType) -> None:
    if step.dtype != "i64":
        raise DTypeError(f"{op}: step must be i64; got {step.dtype}")
    if step.numel != 1:
        raise ShapeError(f"{op}: step must be one number; got {list(step.shape)}")


def increment(step: TensorType) -> Launch:
    """Adds 1 to step, in place."""
    _check_step("increment", step)
    return build(increment_kernel, (1,), {"step_ptr": step})


def sgd_torch(
    p: torch.Tensor, m: torch.Tensor | None, g: torch.Tensor, lr: float, *, momentum: float = 0.0,
    weight_decay: float = 0.0, nesterov: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:  # fmt: skip
    """What sgd means, in plain torch: the new p and m."""
    g = g + weight_decay * p
    if m is None:
        return p - lr * g, None
    m = momentum * m + g
    return p - lr * (g + momentum * m if nesterov else m), m


def adamw_torch(
    p: torch.Tensor, m: torch.Tensor, v: torch.Tensor, g: torch.Tensor, lr: float, step: int, *,
    betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.01,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """What adamw means, in plain torch: the new p, m and v."""
    m = betas[0] * m + (1 - betas[0]) * g
    v = betas[1] * v + (1 - betas[1]) * g * g
    root = (v / (1 - betas[1] ** step)).sqrt()
    return p * (1 - lr * weight_decay) - lr * (m / (1 - betas[0] ** step)) / (root + eps), m, v
