"""Launch records, and one launch of one kernel.

A record is what native code reads: 8-byte slots 0 work counter, 1 to 3 the grid, 4 threads, then the arguments.
"""

from __future__ import annotations

import ctypes
import functools
import operator
import struct
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from tritoncnn.cpu.sanitize.checked import Checked, address_of, extension
from tritoncnn.cpu.sanitize.messages import raise_failed
from tritoncnn.errors import DTypeError, InputError, ShapeError

from . import engine
from .slots import pointee, slot_packer

COUNTER, GRID, THREADS, ARGUMENTS = 0, 1, 4, 5  # slots
MAX_PROGRAMS = 2**31
EXPORTS = ("launch", "chunk")  # functions of every kernel's object code

_TORCH = {
    "float64": "fp64", "float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "int64": "i64", "int32": "i32",
    "int16": "i16", "int8": "i8", "uint64": "u64", "uint32": "u32", "uint16": "u16", "uint8": "u8", "bool": "i1",
    "float8_e4m3fn": "fp8e4nv", "float8_e5m2": "fp8e5", "float8_e4m3fnuz": "fp8e4b8", "float8_e5m2fnuz": "fp8e5b16",
}  # fmt: skip


def check_grid(name: str, grid: Sequence[int]) -> tuple[int, int, int]:
    """Three sizes. Raises ShapeError for what is no whole number, more than three, negative ones, or over 2**31 programs."""
    try:
        sizes = tuple(map(operator.index, grid))
    except TypeError:
        raise ShapeError(
            f"{name}: grid must be of whole numbers, as triton.cdiv(n, BLOCK) gives them; got {tuple(grid)}"
        ) from None
    if not 1 <= len(sizes) <= 3 or min(sizes) < 0:
        raise ShapeError(f"{name}: grid must be one to three sizes of 0 or more; got {sizes}")
    g0, g1, g2 = sizes + (1,) * (3 - len(sizes))
    if g0 * g1 * g2 > MAX_PROGRAMS:
        raise ShapeError(f"{name}: grid {sizes} has {g0 * g1 * g2} programs; at most 2**31 can be launched")
    return g0, g1, g2


def pack_slot(kernel: str, name: str, kind: str, packer: Callable[[Any], bytes], value: Any) -> bytes:
    """A number's slot. Raises DTypeError where it does not fit its type."""
    try:
        return packer(value)
    except (struct.error, OverflowError, TypeError) as error:
        raise DTypeError(f"{kernel}: {name} must be a number that fits {kind}; got {value!r}") from error


def address(kernel: str, argument: str, tensor: Any) -> int:
    """Where the memory of a tensor begins. Raises InputError where it has none that a kernel may read as it lies."""
    device = getattr(tensor, "device", None)
    if getattr(device, "type", "cpu") != "cpu":
        raise InputError(f"{kernel}: {argument} must be in CPU memory; got a tensor on {device}")
    try:
        place: int = tensor.data_ptr()
    except RuntimeError:  # sparse ones, and those that stand for several under torch.func
        place = 0
    kind = type(tensor).__name__
    if place == 0 and getattr(tensor, "numel", lambda: 0)():
        raise InputError(f"{kernel}: {argument} must be a tensor with memory of its own; got a {kind} without any")
    if getattr(tensor, "is_neg", lambda: False)():
        raise InputError(
            f"{kernel}: {argument} must lie in memory as it is; got a {kind} to be negated: resolve_neg() does"
        )
    return place


class NativeKernel:
    """Native code of a kernel, and how to call it; it stays in memory as long as this object lives.

    arguments   (name, type) in record order
    divisible   names of those that were promised to be multiples of 16
    """

    def __init__(
        self, name: str, arguments: Sequence[tuple[str, str]], divisible: Collection[str], code: engine.Code
    ) -> None:
        self._code = code
        self.name, self.arguments, self.divisible = name, tuple(arguments), frozenset(divisible)
        self.address = code.addresses["launch"]
        self.chunk_address = code.addresses["chunk"]
        self._call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.address)
        self._packers = [slot_packer(kind) for _, kind in self.arguments]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name}: {', '.join(f'{name} {kind}' for name, kind in self.arguments)})"

    def pack(self, place: int, value: int | float | bool) -> bytes:
        """One argument's slot. Raises DTypeError, InputError when the value does not fit its type."""
        name, kind = self.arguments[place]
        data = pack_slot(self.name, name, kind, self._packers[place], value)
        if name in self.divisible and value % 16:
            raise InputError(f"{self.name}: {name} was promised to be a multiple of 16; got {value}")
        return data

    def record(self, grid: Sequence[int], values: Sequence[int | float | bool], threads: int) -> ctypes.Array[Any]:
        """A launch record with its counter at 0. Pointers are given as addresses. ``address`` takes its address once;
        set slot 0 back to 0 before each further launch."""
        sizes = check_grid(self.name, grid)
        if len(values) != len(self.arguments):
            raise InputError(f"{self.name}: takes {len(self.arguments)} arguments; got {len(values)}")
        packed = [self.pack(place, value) for place, value in enumerate(values)]
        data = struct.pack("<5q", 0, *sizes, threads) + b"".join(packed)
        return ctypes.create_string_buffer(data, len(data))

    def launch(self, grid: Sequence[int], args: Sequence[Any]) -> None:
        """Run the kernel now, on CPU tensors and numbers in the order of ``arguments``; an empty grid does nothing.

        Raises InputError for the wrong number of arguments or a tensor elsewhere, DTypeError for a type that is not the
        signature's, ShapeError for a grid that cannot be launched.
        """
        if len(args) != len(self.arguments):
            raise InputError(f"{self.name}: takes {len(self.arguments)} arguments; got {len(args)}")
        values = [self._value(place, arg) for place, arg in enumerate(args)]
        g0, g1, g2 = sizes = check_grid(self.name, grid)
        programs = g0 * g1 * g2
        if programs:
            threads = min(engine.threads(), programs) if programs > 1 else 1
            record = self.record(sizes, values, threads)
            self._call(ctypes.addressof(record))
            raise_failed(self.name)

    def _value(self, place: int, arg: Any) -> int | float | bool:
        name, kind = self.arguments[place]
        is_tensor = hasattr(arg, "data_ptr")
        if is_tensor != (kind[0] == "*"):
            wanted = "a tensor" if kind[0] == "*" else "a number"
            raise DTypeError(f"{self.name}: {name} must be {wanted} ({kind}); got {type(arg).__name__}")
        if not is_tensor:
            if kind[0] not in "fb" and isinstance(arg, float):
                raise DTypeError(f"{self.name}: {name} must be an integer ({kind}); got {arg!r}")
            return arg
        dtype = str(getattr(arg, "dtype", "")).removeprefix("torch.")
        if dtype and _TORCH.get(dtype, dtype) != ("i1" if pointee(kind) == "u1" else pointee(kind)):
            raise DTypeError(f"{self.name}: {name} must be {kind}; got a tensor of {dtype}")
        return address(self.name, name, arg)


class Asked(Protocol):
    """What a kernel keeps of the request that it was compiled for (``request.py``); kernels that are only run load no Triton."""

    @property
    def name(self) -> str:
        """The kernel's."""

    @property
    def arguments(self) -> tuple[tuple[str, str], ...]:
        """Names and types of its run-time arguments."""

    @property
    def divisible(self) -> frozenset[str]:
        """Those that are multiples of 16."""

    @property
    def checks(self) -> str:
        """The mode of ``modes.py``."""

    @property
    def key(self) -> str:
        """Its object code's in the disk cache."""

    def ttir(self) -> str:
        """Triton IR, made anew."""

    def lower(self, ttir: str) -> str:
        """Our LLVM IR of it."""


class CpuKernel(NativeKernel):
    """Native code of one specialisation of a kernel."""

    def __init__(self, request: Asked, code: engine.Code, *, from_cache: bool, ttir: str | None = None) -> None:
        super().__init__(request.name, request.arguments, request.divisible, code)
        self.request, self.from_cache = request, from_cache
        if ttir is not None:
            self.ttir = ttir

    @functools.cached_property
    def ttir(self) -> str:
        """Triton IR; made again when the code came from the disk."""
        return self.request.ttir()

    def llvm_ir(self) -> str:
        """Our LLVM IR, before LLVM's passes."""
        return self.request.lower(self.ttir)

    def assembly(self) -> str:
        """This machine's code for it."""
        return engine.assembly(self.llvm_ir())


class CheckedKernel(CpuKernel):
    """A kernel that was compiled in one of the modes of ``modes.py``."""

    def __init__(self, request: Asked, code: engine.Code, *, from_cache: bool, ttir: str | None = None) -> None:
        super().__init__(request, code, from_cache=from_cache, ttir=ttir)
        self._checked = Checked(request.checks, self.name, self.arguments, self._call)

    def record(self, grid: Sequence[int], values: Sequence[int | float | bool], threads: int) -> ctypes.Array[Any]:
        """As a plain kernel's; pointers that are an ``Address`` say how far they reach."""
        data = bytes(super().record(grid, values, threads)) + extension(values)
        return ctypes.create_string_buffer(data, len(data))

    def launch(self, grid: Sequence[int], args: Sequence[Any]) -> None:
        """As a plain kernel's. Raises BoundsError and RaceError too."""
        if len(args) != len(self.arguments):
            raise InputError(f"{self.name}: takes {len(self.arguments)} arguments; got {len(args)}")
        values = [self._value(place, arg) for place, arg in enumerate(args)]
        record = self.record(check_grid(self.name, grid), values, engine.threads())
        self.run_checked(ctypes.addressof(record))

    def run_checked(self, record: int) -> None:
        """Run the record at this address."""
        self._checked.run(record)

    def _value(self, place: int, arg: Any) -> int | float | bool:
        value = super()._value(place, arg)
        return address_of(arg) if self.arguments[place][1][0] == "*" else value
