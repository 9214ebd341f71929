"""Matrix instructions: which lane holds which element. Source: PTX ISA, "Matrix multiply-accumulate instructions"."""

from __future__ import annotations

import numpy as np

from tritoncnn.testing.ptx_memory import Array

LANE = np.arange(32)
GROUP, MEMBER = LANE // 4, LANE % 4


def bf16_to_f32(x: Array) -> Array:
    return (x.astype(np.uint32) << np.uint32(16)).view(np.float32)


def f32_to_bf16(x: Array) -> Array:
    """Rounded to the nearest, ties to even."""
    bits = x.astype(np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + np.uint64(0x7FFF) + ((bits >> np.uint64(16)) & np.uint64(1))) >> np.uint64(16)
    return np.where(np.isnan(x), np.uint16(0x7FFF), rounded.astype(np.uint16))


def f16_to_f32(x: Array) -> Array:
    return x.view(np.float16).astype(np.float32)


def ldmatrix(rows: Array, count: int, transposed: bool) -> list[Array]:
    """Rows [warps, 32, 8] of 16 bits -> one register [warps * 32] for each of ``count`` matrices of 8 x 8."""
    found = []
    for i in range(count):
        matrix = rows[:, 8 * i : 8 * i + 8, :]
        if transposed:
            matrix = matrix.transpose(0, 2, 1)
        low, high = (matrix[:, GROUP, 2 * MEMBER + half].astype(np.uint32) for half in (0, 1))
        found.append((low | high << np.uint32(16)).ravel())
    return found


def mma(a: list[Array], b: list[Array], c: list[Array], kind: str, depth: int) -> list[Array]:
    """d = a b + c of m16n8; registers [warps, 32] of u32; ``kind`` bf16, f16 or tf32, reduced over ``depth``."""
    warps = a[0].shape[0]
    left, right = np.zeros((warps, 16, depth), np.float32), np.zeros((warps, depth, 8), np.float32)
    added = np.zeros((warps, 16, 8), np.float32)
    if kind == "tf32":
        for i, x in enumerate(a):
            left[:, GROUP + 8 * (i & 1), MEMBER + 4 * (i >> 1)] = (x & np.uint32(0xFFFFE000)).view(np.float32)
        for i, x in enumerate(b):
            right[:, MEMBER + 4 * i, GROUP] = (x & np.uint32(0xFFFFE000)).view(np.float32)
    else:
        widen = bf16_to_f32 if kind == "bf16" else f16_to_f32
        for half in (0, 1):
            for i, x in enumerate(a):
                part = widen((x >> np.uint32(16 * half)).astype(np.uint16))
                left[:, GROUP + 8 * (i & 1), 2 * MEMBER + half + 8 * (i >> 1)] = part
            for i, x in enumerate(b):
                right[:, 2 * MEMBER + half + 8 * i, GROUP] = widen((x >> np.uint32(16 * half)).astype(np.uint16))
    for i, x in enumerate(c):
        added[:, GROUP + 8 * (i >> 1), 2 * MEMBER + (i & 1)] = x.view(np.float32)
    product = added + left @ right
    return [np.ascontiguousarray(product[:, GROUP + 8 * (i >> 1), 2 * MEMBER + (i & 1)]).ravel() for i in range(len(c))]
