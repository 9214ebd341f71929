"""Small Triton kernels that the engine's tests share."""

import triton
import triton.language as tl


@triton.jit
def scale(y_ptr, x_ptr, n, FACTOR: tl.constexpr, BLOCK: tl.constexpr = 16):
    """y[i] = FACTOR * x[i], i < n."""
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offs, mask=offs < n, other=0.0)
    tl.store(y_ptr + offs, x * FACTOR, mask=offs < n)


@triton.jit
def rotate_and_add(y_ptr, x_ptr, n, BLOCK: tl.constexpr):
    """y[i] = x[(i + n // 2 + 1) % n] + i: each program reads what another one wrote in the launch before."""
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + (offs + n // 2 + 1) % n, mask=offs < n, other=0)
    tl.store(y_ptr + offs, x + offs, mask=offs < n)


@triton.jit
def store_scalar(y_ptr, value):
    tl.store(y_ptr, value)


@triton.jit
def store_program(y_ptr):
    """y[program] = program, over a grid of three axes."""
    pid = tl.program_id(0) + tl.num_programs(0) * (tl.program_id(1) + tl.num_programs(1) * tl.program_id(2))
    tl.store(y_ptr + pid, pid)


@triton.jit
def axpb(value, args, POWER: tl.constexpr):
    for _ in tl.static_range(POWER):
        value = value * tl.load(args[0])
    return value + tl.load(args[1])


@triton.jit
def negate(value, args, POWER: tl.constexpr):
    return -value


@triton.jit
def with_slot(y_ptr, x_ptr, args, n, SLOT: tl.constexpr, SIZES: tl.constexpr, BLOCK: tl.constexpr):
    """y[i] = SLOT(x[i]); the slot's pointers come as a tuple, sizes as nested constants."""
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offs, mask=offs < n, other=0.0)
    if SLOT is not None:
        x = SLOT(x, args, SIZES[1][0])
    tl.store(y_ptr + offs, x, mask=offs < n)


@triton.jit
def wrong_shapes(y_ptr):
    tl.store(y_ptr + tl.arange(0, 8), tl.arange(0, 16))


@triton.jit
def slow_step(y_ptr, x_ptr, turns_ptr):
    """y[p] = turns[p] turns of a linear congruence on x[other program]: programs of very unequal length."""
    pid = tl.program_id(0)
    value = tl.load(x_ptr + (pid + 1) % tl.num_programs(0))
    for _ in range(tl.load(turns_ptr + pid)):
        value = value * 1664525 + 1013904223
    tl.store(y_ptr + pid, value)
