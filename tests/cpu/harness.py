"""Compile a @triton.jit kernel through ``lower`` and run it on torch tensors, in one thread."""

from __future__ import annotations

import ctypes
import hashlib
import inspect
import mmap
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import make_dataclass
from typing import Any

import llvmlite.binding as llvm
import torch
import triton
import triton.language as tl
from triton._C.libtriton import ir
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.language.extra.cuda import libdevice

from tritoncnn.cpu.lower import lower
from tritoncnn.cpu.run import engine
from tritoncnn.cpu.run.backend import run_passes
from tritoncnn.cpu.run.objects import Objects
from tritoncnn.ops.slot import jit_function
from tritoncnn.settings import current

HAS_BLOCK_POINTERS = tuple(int(n) for n in triton.__version__.split(".")[:2]) < (3, 9)  # gone since

_OPTIONS: dict[str, Any] = {
    "num_warps": 1, "num_ctas": 1, "num_stages": 1, "debug": False, "enable_fp_fusion": True,
    "launch_cooperative_grid": False, "extern_libs": (), "supported_fp8_dtypes": ("fp8e4nv", "fp8e5", "fp8e4b8", "fp8e5b16"),
    "deprecated_fp8_dot_operand_dtypes": (), "default_dot_input_precision": "ieee",
    "allowed_dot_input_precisions": ("ieee", "tf32"), "max_num_imprecise_acc_default": 0, "sanitize_overflow": False,
    "arch": "x", "backend_name": "cpu", "ir_override": None, "warp_size": 1, "instrumentation_mode": "",
    "fpsan_homomorphic_casts": False, "cluster_dims": (1, 1, 1), "allow_fp8e4nv": False,
}  # fmt: skip
Options = make_dataclass("Options", [(k, type(v), v) for k, v in _OPTIONS.items()], frozen=True)
NAMES = {torch.float32: "*fp32", torch.float64: "*fp64", torch.int32: "*i32", torch.int64: "*i64", torch.int8: "*i8",
         torch.uint8: "*u8", torch.int16: "*i16", torch.float16: "*fp16", torch.bfloat16: "*bf16", torch.bool: "*i1",
         torch.uint16: "*u16", torch.uint32: "*u32", torch.uint64: "*u64", torch.float8_e4m3fn: "*fp8e4nv",
         torch.float8_e5m2: "*fp8e5", torch.float8_e4m3fnuz: "*fp8e4b8", torch.float8_e5m2fnuz: "*fp8e5b16"}  # fmt: skip


def ttir(fn: Any, signature: Mapping[str, str], constants: Mapping[str, Any], debug: bool = True) -> str:
    """The kernel's TTIR after the passes of the CPU backend."""
    context = ir.context()
    ir.load_dialects(context)
    full = {n: "constexpr" if n in constants else signature[n] for n in fn.arg_names}
    attrs = {(fn.arg_names.index(n),): [["tt.divisibility", 16]] for n, t in full.items() if t.startswith("*")}
    source = ASTSource(fn, full, {(fn.arg_names.index(k),): v for k, v in constants.items()}, attrs)
    codegen = {"min_dot_size": lambda a, b: (1, 1, 1), "convert_custom_types": None}
    modules = {"triton.language.extra.libdevice": libdevice}
    module = source.make_ir(GPUTarget("cpu", "x", 1), Options(), codegen, modules, context)
    run_passes(module)
    return str(module) if debug else module.str_nodebug()


def lanes_here() -> int:
    features = llvm.get_host_cpu_features()
    return 16 if features.get("avx512f") else 8 if features.get("avx2") else 4


class Compiled:
    """A loaded kernel. Call it with the grid and the run-time arguments.

    Object code stays in the cache: another Triton whose front end leads to the same LLVM IR loads it.
    """

    def __init__(self, text: str) -> None:
        objects, text = Objects(current().cache), f"; with fewer of LLVM's passes\n{text}"
        obj = objects.find(text)
        if obj is None:
            obj = engine.compile_text(text)
            objects.keep(text, obj)
        self.code = engine.load(obj, ("launch",))
        self.run = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.code.addresses["launch"])

    def launch(self, grid: Sequence[int], args: Sequence[Any], threads: int = 1) -> None:
        record = self.record(grid, args, threads)
        self.run(ctypes.addressof(record))

    def record(self, grid: Sequence[int], args: Sequence[Any], threads: int = 1) -> Any:
        slots = struct.pack("<5q", 0, *(*grid, 1, 1, 1)[:3], threads)
        for a in args:
            if isinstance(a, torch.Tensor):
                slots += struct.pack("<q", a.data_ptr())
            else:
                slots += struct.pack("<fi", a, 0) if isinstance(a, float) else struct.pack("<q", a)
        return ctypes.create_string_buffer(slots)


_cache: dict[Any, Compiled] = {}
GATHERS = re.compile(r"call .*@llvm\.masked\.(?:gather|scatter)")  # in LLVM IR


def before_a_wall(count: int) -> torch.Tensor:
    """f32[count] whose end is that of its page; who reads or writes one byte behind it ends the process."""
    pages = -(-4 * count // mmap.PAGESIZE)
    memory = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
    whole = torch.frombuffer(memory, dtype=torch.float32)
    wall = whole.data_ptr() + pages * mmap.PAGESIZE
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(wall), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0  # PROT_NONE
    return whole[: pages * mmap.PAGESIZE // 4][-count:]


def types_of(args: Mapping[str, Any]) -> dict[str, str]:
    """Triton's type of each run-time argument."""
    plain = {float: "fp32"}
    return {n: NAMES[a.dtype] if isinstance(a, torch.Tensor) else plain.get(type(a), "i32") for n, a in args.items()}


def code(fn: Any, args: Mapping[str, Any], **constants: Any) -> str:
    """The LLVM IR of a kernel for vectors of 16 f32."""
    return lower(ttir(fn, types_of(args), constants), lanes=16)


def line(kernel: Any, mark: str) -> str:
    """FILE:NUMBER of the kernel's line with a comment that begins with ``mark``."""
    lines, start = inspect.getsourcelines(kernel.fn)
    number = start + next(i for i, text in enumerate(lines) if f"# {mark}" in text)
    return f"{inspect.getsourcefile(kernel.fn)}:{number}"


def compile_for(fn: Any, args: Mapping[str, Any], constants: Mapping[str, Any], lanes: int = 0) -> Compiled:
    signature = types_of(args)
    key = (fn, tuple(signature.items()), tuple(constants.items()), lanes)
    if key not in _cache:
        _cache[key] = Compiled(lower(ttir(fn, signature, constants), lanes=lanes or lanes_here()))
    return _cache[key]


def run(fn: Any, grid: Sequence[int], args: Mapping[str, Any], lanes: int = 0, **constants: Any) -> None:
    """Run a kernel: args are run-time arguments by name, the rest constexpr."""
    compile_for(fn, args, constants, lanes).launch(grid, [args[n] for n in fn.arg_names if n in args])


def function(names: str, text: str, **functions: Any) -> Any:
    """The @triton.jit function of arguments ``names`` that gives ``text``, in which ``functions`` may be called."""
    name = f"f_{hashlib.sha256((names + text).encode()).hexdigest()[:10]}"
    return jit_function(name, f"def {name}({names}):\n    return {text}\n", **functions)


@triton.jit
def one_kernel(Y, X, n, F: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(Y + at, F(tl.load(X + at, mask=at < n)), mask=at < n)


@triton.jit
def two_kernel(Y, A, B, n, F: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(Y + at, F(tl.load(A + at, mask=at < n), tl.load(B + at, mask=at < n)), mask=at < n)


def elementwise(text: str, *x: torch.Tensor, dtype: torch.dtype | None = None, lanes: int = 0) -> torch.Tensor:
    """``text``, in Triton's language, of each element x of a tensor [n], or a and b of two -> [n] of ``dtype`` or theirs."""
    y = torch.empty(len(x[0]), dtype=dtype or x[0].dtype)
    kernel, names = (one_kernel, "x") if len(x) == 1 else (two_kernel, "a, b")
    args = {"Y": y, **dict(zip(kernel.arg_names[1:], x, strict=False)), "n": len(y)}
    run(kernel, (triton.cdiv(len(y), 256),), args, lanes, F=function(names, text), BLOCK=256)
    return y


@triton.jit
def store(Y, y):
    """y of one to three axes, row-major."""
    if len(y.shape) == 1:
        at = tl.arange(0, y.shape[0])
    elif len(y.shape) == 2:
        at = tl.arange(0, y.shape[0])[:, None] * y.shape[1] + tl.arange(0, y.shape[1])[None, :]
    else:
        rows = tl.arange(0, y.shape[0])[:, None, None] * y.shape[1] + tl.arange(0, y.shape[1])[None, :, None]
        at = rows * y.shape[2] + tl.arange(0, y.shape[2])[None, None, :]
    tl.store(Y + at, y)


@triton.jit
def tile_kernel(Y, X, M: tl.constexpr, N: tl.constexpr, F: tl.constexpr):
    store(Y, F(tl.load(X + tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :])))


def of_tile(text: str, x: torch.Tensor, y: torch.Tensor, lanes: int = 0, **functions: Any) -> torch.Tensor:
    """y, filled with ``text`` of the whole tile x [M, N]."""
    M, N = x.shape
    run(tile_kernel, (1,), {"Y": y, "X": x}, lanes, M=M, N=N, F=function("x", text, **functions))
    return y
