"""Memory between guard pages, shared with a forked child: a stray access faults, and the fault says where.

    arena = Arena()
    block = arena.block("x", TensorType.dense("f32", (2, 3)), end=True)   # flush to the page behind it
    tensor = arena.tensor(block)                                          # the same memory in parent and child
    arena.open([block])                                                   # in the child: all other pages fault

The parent may touch everything. A child calls ``close`` once; from then on only opened blocks can be touched.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import platform
import struct
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from tritoncnn.errors import InputError, UnsupportedError
from tritoncnn.ir import DTYPE_BYTES, TensorType
from tritoncnn.ir import DTYPES as ROWS

PAGE = mmap.PAGESIZE
SIZE = 16 << 30  # address space only: pages that nobody touches cost nothing
START = 6 << 30  # room in front for offsets that wrapped around at 2**31
SMALL = 1 << 22  # bytes of a block whose gaps are watched as well
FAR = 1 << 30  # bytes that no neighbouring element is away
DTYPES: dict[str, torch.dtype] = {name: getattr(torch, row.torch) for name, row in ROWS.items()}
_MAP_NORESERVE = 0x4000  # mmap names it from Python 3.11 on


class Block(NamedTuple):
    """Where a tensor lies: pages [low, high) of the arena, its first element at byte ``first``."""

    name: str
    type: TensorType
    low: int
    high: int
    first: int

    @property
    def last(self) -> int:
        """The byte behind the last element."""
        return self.first + span_bytes(self.type)


def span_bytes(type: TensorType) -> int:
    """Bytes from the first element to behind the last one; 0 without elements."""
    if not type.numel:
        return 0
    steps = sum((size - 1) * stride for size, stride in zip(type.shape, type.strides, strict=True))
    return (1 + steps) * DTYPE_BYTES[type.dtype]


class Arena:
    """Address space for the tensors of one problem. Raises UnsupportedError off Linux on 64 bits."""

    def __init__(self) -> None:
        if not sys.platform.startswith("linux") or struct.calcsize("P") != 8:
            raise UnsupportedError(f"guard pages need Linux on 64 bits; this is {sys.platform}: check kernels on Linux")
        self.memory = mmap.mmap(-1, SIZE, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self._next = START
        self._handler: Any = None

    def clear(self) -> None:
        """Forget all blocks: the next one lies at the start again."""
        self._next = START

    def block(self, name: str, type: TensorType, end: bool) -> Block:
        """Pages for one tensor and an untouchable page on each side; ``end``: its last byte is the last of a page."""
        bytes = span_bytes(type)
        pages = -(-bytes // PAGE) * PAGE
        low = self._next + PAGE
        if low + pages + PAGE > SIZE:
            raise InputError(f"{name}: {type} needs {bytes} bytes, more than the arena has left; take smaller sizes")
        self._next = low + pages
        return Block(name, type, low, low + pages, low + pages - bytes if end else low)

    def tensor(self, block: Block) -> torch.Tensor:
        """The block's tensor; its memory is the arena's. One without elements points at a guard page."""
        dtype, item = DTYPES[block.type.dtype], DTYPE_BYTES[block.type.dtype]
        count = max(span_bytes(block.type) // item, 1)
        flat = torch.frombuffer(self.memory, dtype=dtype, count=count, offset=block.first)
        return flat.as_strided(block.type.shape, block.type.strides)

    def bytes(self, block: Block) -> torch.Tensor:
        """All bytes of the block's pages."""
        if block.high == block.low:
            return torch.empty(0, dtype=torch.uint8)
        return torch.frombuffer(self.memory, dtype=torch.uint8, count=block.high - block.low, offset=block.low)

    def gaps(self, block: Block) -> torch.Tensor:
        """[bytes] bool: which bytes of the pages belong to no element."""
        item = DTYPE_BYTES[block.type.dtype]
        free = torch.ones(block.high - block.low, dtype=torch.bool)
        if block.type.numel:
            lead = block.first - block.low
            view = (*block.type.strides, 1) if item == 1 else (*(s * item for s in block.type.strides), 1)
            free.as_strided((*block.type.shape, item), view, lead).fill_(False)
        return free

    # ---- in the child ------------------------------------------------------------------------------------------------
    def close(self) -> None:
        """From now on every access to the arena faults, and a fault ends the process with its address in the arena."""
        _protect(self.address + PAGE, SIZE - PAGE, 0)
        self._handler = _install(self.address)

    def open(self, blocks: Sequence[Block]) -> None:
        for block in blocks:
            if block.high > block.low:
                _protect(self.address + block.low, block.high - block.low, mmap.PROT_READ | mmap.PROT_WRITE)

    def shut(self, blocks: Sequence[Block]) -> None:
        for block in blocks:
            if block.high > block.low:
                _protect(self.address + block.low, block.high - block.low, 0)

    # ---- in the parent -----------------------------------------------------------------------------------------------
    def fault(self) -> tuple[int, bool | None] | None:
        """(byte of the arena, whether it was a write, if known) of the child's last fault; None when there was none."""
        seen, address, code = struct.unpack_from("<3q", self.memory, 0)
        struct.pack_into("<3q", self.memory, 0, 0, 0, 0)
        return (address - self.address, None if code < 0 else bool(code & 2)) if seen else None


def describe_fault(fault: tuple[int, bool | None], blocks: Sequence[Block]) -> str:
    """Which tensor was left, on which side, and how far."""
    at, write = fault
    what = {True: "a write", False: "a read", None: "an access"}[write]
    if not blocks or not 0 <= at < SIZE:
        return f"{what} outside all tensors and what lies between them: did an offset pass 2**31?"
    name, distance, side = min(
        (
            (b.name, b.first - at, "before the start") if at < b.first else (b.name, at - b.last, "behind the end")
            for b in blocks
        ),
        key=lambda found: abs(found[1]),
    )
    if distance > FAR:
        return f"{what} {distance / 2**30:.1f} GiB {side} of {name}, the nearest tensor: did an offset pass 2**31?"
    return f"{what} {distance} bytes {side} of {name}"


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _protect(address: int, length: int, rights: int) -> None:
    if _libc().mprotect(ctypes.c_void_p(address), ctypes.c_size_t(length), rights):
        code = ctypes.get_errno()
        raise OSError(code, "mprotect failed")


# Python may not run inside a fault: this writes three numbers and leaves. si_addr is at byte 16 of siginfo_t.
_HANDLER = """
declare void @_exit(i32)
define void @on_fault(i32 %signal, ptr %info, ptr %context) {
  %at = getelementptr i8, ptr %info, i64 16
  %address = load i64, ptr %at
  %code = call i64 @code(ptr %context)
  %record = inttoptr i64 RECORD to ptr
  %second = getelementptr i64, ptr %record, i64 1
  %third = getelementptr i64, ptr %record, i64 2
  store i64 %address, ptr %second
  store i64 %code, ptr %third
  store i64 1, ptr %record
  call void @_exit(i32 139)
  unreachable
}
"""
# What Linux tells of the fault in the signal's context, brought to the form of x86: bit 1 says "write"; -1 is not known.
_CODES = {
    # gregs[REG_ERR], the page-fault code, is at byte 192.
    "x86_64": """
define i64 @code(ptr %context) {
  %place = getelementptr i8, ptr %context, i64 192
  %code = load i64, ptr %place
  ret i64 %code
}
""",
    # From byte 464 on there are records of (magic, size, data), up to a magic of 0; that of ESR_MAGIC holds the syndrome
    # register, whose bit 6 (WnR) says "write" (asm/sigcontext.h).
    "aarch64": """
define i64 @code(ptr %context) {
entry:
  %first = getelementptr i8, ptr %context, i64 464
  br label %look
look:
  %record = phi ptr [ %first, %entry ], [ %next, %other ]
  %magic = load i32, ptr %record
  %found = icmp eq i32 %magic, 1163088385
  br i1 %found, label %syndrome, label %more
more:
  %last = icmp eq i32 %magic, 0
  br i1 %last, label %unknown, label %other
other:
  %sp = getelementptr i8, ptr %record, i64 4
  %size = load i32, ptr %sp
  %next = getelementptr i8, ptr %record, i32 %size
  br label %look
syndrome:
  %ep = getelementptr i8, ptr %record, i64 8
  %esr = load i64, ptr %ep
  %shifted = lshr i64 %esr, 5
  %write = and i64 %shifted, 2
  ret i64 %write
unknown:
  ret i64 -1
}
""",
}
_NO_CODE = """
define i64 @code(ptr %context) {
  ret i64 -1
}
"""


class _Action(ctypes.Structure):
    """glibc's struct sigaction on 64-bit Linux."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_ulong * 16),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


def _install(record: int) -> Any:
    """Handle SIGSEGV and SIGBUS by a native function; returns the engine that owns it."""
    import signal

    engine = handler(platform.machine(), record)
    with_info = 4
    action = _Action(engine.get_function_address("on_fault"), (ctypes.c_ulong * 16)(), with_info, None)
    for number in (signal.SIGSEGV, signal.SIGBUS):
        if _libc().sigaction(int(number), ctypes.byref(action), None):
            raise OSError(ctypes.get_errno(), "sigaction failed")
    return engine


def handler(architecture: str, record: int) -> Any:
    """An engine with ``on_fault``, which leaves a fault's address and code in the record, and ``code``."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    text = _CODES.get(architecture, _NO_CODE) + _HANDLER.replace("RECORD", str(record))
    machine = llvm.Target.from_default_triple().create_target_machine(codemodel="jitdefault")
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(text), machine)
    engine.finalize_object()
    return engine


def tells_reads_from_writes() -> bool:
    """Does a fault on this machine say whether it was a write?"""
    return platform.machine() in _CODES
