"""The CPU backend against torch (oneDNN) on one machine: products, convolutions, rows, chains, copies.

    python benchmarks/cpu_backend.py [--threads 2] [--only matmul] [--json FILE]

Both sides write into memory they were given where torch's API allows; outputs are compared before timing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from measure import Row, arguments, read, report, rows_of

from tritoncnn import cpu
from tritoncnn.ir import TensorType
from tritoncnn.kernels.conv2d import conv2d
from tritoncnn.kernels.launch import Launch
from tritoncnn.kernels.matmul import matmul
from tritoncnn.ops.slot import make_slot
from tritoncnn.runtime import compile_launch, target_of

IR = {torch.float32: "f32", torch.bfloat16: "bf16"}
TARGET = target_of(torch.device("cpu"))
Case = tuple[
    str, dict[str, Callable[[], object]], torch.Tensor, Callable[[], torch.Tensor], float
]  # ..., allowed error


@triton.jit
def softmax_kernel(y_ptr, x_ptr, COLUMNS: tl.constexpr, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    row = tl.program_id(0) * COLUMNS
    x = tl.load(x_ptr + row + offs, mask=offs < COLUMNS, other=float("-inf"))
    e = tl.exp(x - tl.max(x, 0))
    tl.store(y_ptr + row + offs, e / tl.sum(e, 0), mask=offs < COLUMNS)


@triton.jit
def layer_norm_kernel(y_ptr, x_ptr, w_ptr, b_ptr, COLUMNS: tl.constexpr, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    mask = offs < COLUMNS
    row = tl.program_id(0) * COLUMNS
    x = tl.load(x_ptr + row + offs, mask=mask, other=0.0)
    mean = tl.sum(x, 0) / COLUMNS
    d = tl.where(mask, x - mean, 0.0)
    scale = 1 / tl.sqrt(tl.sum(d * d, 0) / COLUMNS + 1e-5)
    y = d * scale * tl.load(w_ptr + offs, mask=mask) + tl.load(b_ptr + offs, mask=mask)
    tl.store(y_ptr + row + offs, y, mask=mask)


@triton.jit
def chain_kernel(y_ptr, a_ptr, b_ptr, c_ptr, N: tl.constexpr, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offs < N
    a, b = tl.load(a_ptr + offs, mask=mask), tl.load(b_ptr + offs, mask=mask)
    tl.store(y_ptr + offs, tl.maximum(a * b + tl.load(c_ptr + offs, mask=mask), 0.0) * 0.5, mask=mask)


@triton.jit
def copy_kernel(y_ptr, x_ptr, N: tl.constexpr, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + offs, tl.load(x_ptr + offs, mask=offs < N), mask=offs < N)


@triton.jit
def int8_kernel(y_ptr, a_ptr, b_ptr, N: tl.constexpr, M_TILE: tl.constexpr, N_TILE: tl.constexpr, K_TILE: tl.constexpr):
    """Square matrices of N x N."""
    rows = tl.program_id(1) * M_TILE + tl.arange(0, M_TILE)
    columns = tl.program_id(0) * N_TILE + tl.arange(0, N_TILE)
    sums = tl.zeros((M_TILE, N_TILE), tl.int32)
    for k in range(0, N, K_TILE):
        red = k + tl.arange(0, K_TILE)
        a = tl.load(a_ptr + rows[:, None] * N + red)
        sums = tl.dot(a, tl.load(b_ptr + red[:, None] * N + columns), sums, out_dtype=tl.int32)
    tl.store(y_ptr + rows[:, None] * N + columns, sums)


def type_of(tensor: torch.Tensor) -> TensorType:
    return TensorType(IR[tensor.dtype], tuple(tensor.shape), tensor.stride())


def bound(*steps: tuple[Launch, tuple[torch.Tensor, ...]]) -> Callable[[], object]:
    """The launches, each with its operands, as plans run them."""
    records = []
    for launch, tensors in steps:
        kernel, places = compile_launch(launch)
        values = [0] * len(places)
        for tensor, place in zip(tensors, places, strict=True):
            values[place] = tensor.data_ptr()
        records.append((kernel, launch.grid, values))
    return cpu.NativePlan(records).run


def bound_kernel(kernel: object, programs: int, *tensors: torch.Tensor, **constants: int) -> Callable[[], object]:
    names = [name for name in kernel.arg_names if name.endswith("_ptr")]  # type: ignore[attr-defined]
    code = cpu.compile_kernel(kernel, dict.fromkeys(names, "*fp32"), constants)
    return cpu.NativePlan([(code, (programs, 1, 1), [t.data_ptr() for t in tensors])]).run


def matmuls(dtype: torch.dtype) -> Iterator[Case]:
    for n in (256, 512, 768, 1024, 1536, 2048):
        a, b = torch.randn(n, n).to(dtype), torch.randn(n, n).to(dtype)
        y, z = torch.empty(n, n, dtype=dtype), torch.empty(n, n, dtype=dtype)
        launches, workspace = matmul(type_of(y), type_of(a), type_of(b), target=TARGET)
        parts = torch.empty(workspace.shape if workspace else 0)
        operands = ((parts, a, b), (y, parts)) if workspace else ((y, a, b),)
        run = bound(*zip(launches, operands, strict=True))
        ours = lambda run=run, parts=parts: run()  # noqa: E731  # keeps the workspace
        # Two f32 sums of n products, and for bf16 two roundings of the result.
        error = 2 * n * 2**-24 * n + (2**-7 * 6 * n**0.5 if dtype == torch.bfloat16 else 0)
        case = f"matmul {IR[dtype]} {n}^3"
        yield case, {"ours": ours, "torch.mm": lambda a=a, b=b, z=z: torch.mm(a, b, out=z)}, y, lambda z=z: z, error


def int8_matmuls() -> Iterator[Case]:
    signature = {"y_ptr": "*i32", "a_ptr": "*i8", "b_ptr": "*i8"}
    for n in (256, 512, 1024, 2048):
        a, b = (torch.randint(-128, 128, (n, n)).to(torch.int8) for _ in range(2))
        y, z = torch.empty(n, n, dtype=torch.int32), torch.empty(n, n, dtype=torch.int32)
        tile = {"M_TILE": min(n, 512), "N_TILE": 64, "K_TILE": min(n, 512)}
        code = cpu.compile_kernel(int8_kernel, signature, {"N": n, **tile})
        grid = (n // tile["N_TILE"], n // tile["M_TILE"], 1)
        run = cpu.NativePlan([(code, grid, [t.data_ptr() for t in (y, a, b)])]).run
        peer = lambda a=a, b=b, z=z: torch._int_mm(a, b, out=z)  # noqa: E731
        yield f"matmul i8 {n}^3", {"ours": run, "torch._int_mm": peer}, y, lambda z=z: z, 0.0


CONVOLUTIONS = (  # N, C, H, K, R, stride
    (8, 64, 56, 64, 3, 1), (8, 128, 28, 128, 3, 1), (8, 256, 14, 256, 3, 1), (8, 512, 7, 512, 3, 1),
    (8, 128, 56, 128, 3, 2), (8, 64, 56, 256, 1, 1), (8, 256, 56, 64, 1, 1), (8, 512, 28, 128, 1, 1), (8, 1024, 14, 256, 1, 1),
    (8, 512, 7, 2048, 1, 1),
)  # fmt: skip


def convolutions() -> Iterator[Case]:
    """With bias and ReLU fused on both sides; the peers' filters are packed beforehand, or torch eager's."""
    for N, C, H, K, R, U in CONVOLUTIONS:
        pad = R // 2
        P = (H + 2 * pad - R) // U + 1
        channels_last = torch.channels_last
        x = torch.randn(N, C, H, H).contiguous(memory_format=channels_last)
        w, bias = torch.randn(K, C, R, R) * (C * R * R) ** -0.5, torch.randn(K)
        stored = w.permute(2, 3, 1, 0).contiguous().permute(3, 2, 0, 1)
        y = torch.empty(N, K, P, P).contiguous(memory_format=channels_last)
        shift = TensorType("f32", (1, K, 1, 1), (K, 1, 1, 1))
        slot = make_slot("relu(add(acc, $0))", type_of(y), (shift,))
        launch = conv2d(
            type_of(y),
            type_of(x),
            type_of(stored),
            stride=(U, U),
            padding=(pad, pad),
            epilogue=slot,
            target=TARGET,
        )
        steps = ([pad, pad], [U, U], [1, 1], 1)
        dense = w.contiguous(memory_format=channels_last)
        packed = torch.ops.mkldnn._reorder_convolution_weight(w, *steps, list(x.shape))

        def onednn(x=x, packed=packed, bias=bias, steps=steps) -> torch.Tensor:
            return torch.ops.mkldnn._convolution_pointwise(x, packed, bias, *steps, "relu", [], "")

        def eager(x=x, w=dense, bias=bias, U=U, pad=pad) -> torch.Tensor:
            return torch.relu_(F.conv2d(x, w, bias, U, pad))

        ours = bound((launch, (y, x, stored, bias)))
        error = 2 * C * R * R * 2**-24 * 6 * (C * R * R) ** 0.5
        yield (
            f"conv {C}x{H}^2 K{K} {R}x{R} /{U}",
            {"ours": ours, "oneDNN packed": onednn, "eager": eager},
            y,
            onednn,
            error,
        )


def rows() -> Iterator[Case]:
    for M, N in ((4096, 1000), (4096, 1024), (1024, 4096)):
        x, y, z = torch.randn(M, N), torch.empty(M, N), torch.empty(M, N)
        sizes = {"COLUMNS": N, "BLOCK": triton.next_power_of_2(N)}
        ours = bound_kernel(softmax_kernel, M, y, x, **sizes)
        peer = lambda x=x, z=z: torch.softmax(x, 1, out=z)  # noqa: E731
        yield f"softmax {M}x{N}", {"ours": ours, "torch": peer}, y, peer, 1e-6
        w, b, u = torch.randn(N), torch.randn(N), torch.empty(M, N)
        ours = bound_kernel(layer_norm_kernel, M, u, x, w, b, **sizes)
        peer = lambda x=x, w=w, b=b, N=N: F.layer_norm(x, (N,), w, b)  # noqa: E731
        yield f"layer norm {M}x{N}", {"ours": ours, "torch": peer}, u, peer, 1e-4


def streams() -> Iterator[Case]:
    for N in (1 << 16, 1 << 20, 1 << 24):
        a, b, c, y, z = (torch.randn(N) for _ in range(5))
        programs = triton.cdiv(N, 4096)

        def four(a=a, b=b, c=c, z=z) -> torch.Tensor:
            torch.mul(a, b, out=z)
            torch.add(z, c, out=z)
            torch.relu_(z)
            return z.mul_(0.5)

        ours = bound_kernel(chain_kernel, programs, y, a, b, c, N=N, BLOCK=4096)
        yield f"chain of 4, {N}", {"ours": ours, "four torch ops": four}, y, four, 1e-5
        u = torch.empty(N)
        ours = bound_kernel(copy_kernel, programs, u, a, N=N, BLOCK=4096)
        yield f"copy {N}", {"ours": ours, "torch.copy_": lambda a=a, z=z: z.copy_(a)}, u, lambda a=a: a, 0.0


GROUPS: dict[str, Callable[[], Iterator[Case]]] = {
    "matmul": lambda: matmuls(torch.float32), "conv": convolutions, "bf16": lambda: matmuls(torch.bfloat16), "i8": int8_matmuls,
    "rows": rows, "streams": streams,
}  # fmt: skip


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--only", choices=list(GROUPS), action="append", help="groups of cases (default: all)")
    options, interleave = read(parser)
    torch.manual_seed(0)
    found: list[Row] = []
    means: dict[tuple[str, str], list[float]] = {}
    for group in options.only or GROUPS:
        for case, sides, y, wanted, error in GROUPS[group]():
            for call in sides.values():
                call()
            torch.testing.assert_close(y, wanted(), rtol=0, atol=error)
            for row in rows_of(case, interleave(sides)):
                found.append(row)
                means.setdefault((group, str(row["peer"])), []).append(float(row["ratio"]))
    report(found, options.json)
    for (group, peer), ratios in means.items():
        print(f"{group} against {peer}: geometric mean {math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f}")


if __name__ == "__main__":
    main()
