"""LLVM IR text -> optimised object code -> addresses of functions in this process; by llvmlite, no C compiler."""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import llvmlite
import llvmlite.binding as llvm

from tritoncnn import forks
from tritoncnn.cpu.sanitize import messages
from tritoncnn.errors import InputError, KernelError
from tritoncnn.settings import current

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()

# LLVM's passes. The lowering has chosen vectors and loops, computes nothing twice, and puts each line outside the loops that it
# does not depend on: LLVM only has to inline and to hold in registers what is in memory. All of O3 took twice as long, for
# steps of single layers that run no faster, but for depthwise ones (1.05 times).
PASSES = ("always_inliner", "sroa", "simplify_cfg", "instruction_combine")
_OPENMP_NAMES = ("libgomp", "libiomp5", "libomp")  # each of them exports GOMP_parallel
_OF_NOTE = (
    "avx2", "fma", "f16c", "avx512f", "avx512bf16", "avx512vnni", "avx512fp16", "amx-tile", "amx-bf16", "amx-int8",
    "neon", "sve",
)  # fmt: skip
# What every CPU of the kind has, and code for it relies on: LLVM crashes, or cannot link, without.
_BASELINE = {
    "x86_64": {"64bit", "cmov", "cx8", "fxsr", "mmx", "sse", "sse2"},
    "aarch64": {"fp-armv8", "neon"},
}


@dataclass(frozen=True)
class Host:
    """The CPU that code is made for. ``features`` is LLVM's list; ``lanes`` is f32 per vector register."""

    cpu: str
    features: str
    lanes: int
    of_note: tuple[str, ...]

    @property
    def key(self) -> str:
        """All that makes object code differ between machines and LLVM versions."""
        llvm_and_lite = f"llvm {llvm_version()} llvmlite {llvmlite.__version__} {' '.join(PASSES)}"
        return f"{self.cpu} {self.features} {self.lanes} {llvm_and_lite}"


def host() -> Host:
    """This machine's CPU, less what TRITONCNN_CPU switches off. Raises InputError for a feature that LLVM does not know,
    or that every such CPU has.
    """
    return _host(current().cpu)


@functools.lru_cache
def _host(switched_off: tuple[str, ...]) -> Host:
    known = llvm.get_host_cpu_features()
    off = [word.removeprefix("-") for word in switched_off]
    for name in off:
        if name not in known or name in _BASELINE.get(architecture(), ()):
            why = "is a part of every such CPU" if name in known else "is not a CPU feature that LLVM knows here"
            raise InputError(f"TRITONCNN_CPU: {name} {why}; try one such as -{optional_features()[0]}")

    def has(feature: str) -> bool:
        needs = {"avx512f": ("avx2", "fma"), "avx2": ("avx",), "fma": ("avx",)}
        needs |= {name: ("avx512f",) for name in _OF_NOTE if name.startswith("avx512") and name != "avx512f"}
        there = feature not in off and known.get(feature, False) and all(map(has, needs.get(feature, ())))
        return there and (not feature.startswith("amx") or _tiles_allowed())

    flags = [known.flatten()]
    if known.get("avx512f"):
        flags.append("-prefer-256-bit")  # the kernels are written for whole registers
    flags += [f"-{name}" for name in off]  # last: LLVM then also drops the features that need this one
    lanes = 16 if has("avx512f") else 8 if has("avx2") else 4
    features = ",".join(filter(None, flags))
    return Host(llvm.get_host_cpu_name(), features, lanes, tuple(f for f in _OF_NOTE if has(f)))


def optional_features() -> list[str]:
    """Names that TRITONCNN_CPU may switch off on this kind of CPU, the widest vectors first."""
    names = llvm.get_host_cpu_features().keys() - _BASELINE.get(architecture(), set())
    return sorted(names, key=lambda name: (name not in ("avx512f", "sve"), name not in _OF_NOTE, name))


@functools.lru_cache
def _tiles_allowed() -> bool:
    """Ask Linux for AMX's registers, which a process may use only then: arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA)."""
    if sys.platform != "linux":
        return False
    return ctypes.CDLL(None).syscall(158, 0x1023, 18) == 0


def llvm_version() -> str:
    return ".".join(map(str, llvm.llvm_version_info))


def architecture() -> str:
    """x86_64, aarch64..., as LLVM calls it."""
    return str(llvm.get_process_triple()).partition("-")[0]


# ---- compiling -------------------------------------------------------------------------------------------------------
# One thread at a time compiles or links; a fork waits for it, or its child would find the lock held for ever.
lock = threading.RLock()
forks.also(lock)
P = ParamSpec("P")
R = TypeVar("R")


def _alone(work: Callable[P, R]) -> Callable[P, R]:
    """Hold the lock until all that the function made for itself is gone too: llvmlite has a lock of its own."""

    @functools.wraps(work)
    def locked(*args: P.args, **kwargs: P.kwargs) -> R:
        with lock:
            return work(*args, **kwargs)

    return locked


@functools.lru_cache
def _machine(target: Host) -> Any:
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=target.cpu, features=target.features, opt=3, reloc="pic", codemodel="small"
    )


def _optimised(text: str) -> tuple[Any, Any]:
    machine = _machine(host())
    try:
        module = llvm.parse_assembly(text)
        module.verify()
    except RuntimeError as error:
        raise KernelError(f"LLVM refused the code generated for a kernel: {' '.join(str(error).split())}") from error
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    passes = llvm.create_new_module_pass_manager()
    for name in PASSES:
        getattr(passes, f"add_{name}_pass")()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    return machine, module


@_alone
def compile_text(text: str) -> bytes:
    """Object code of a module. Raises KernelError when LLVM cannot read the text."""
    machine, module = _optimised(text)
    return machine.emit_object(module)


@_alone
def assembly(text: str) -> str:
    """The machine code of a module, as a person reads it."""
    machine, module = _optimised(text)
    return machine.emit_assembly(module)


# ---- loading ---------------------------------------------------------------------------------------------------------
@_alone
def _drop(held: list[Any]) -> None:
    """Unload code, under the lock: llvmlite's own must not be held at a fork."""
    held.clear()


class Code:
    """Object code in memory. ``addresses`` are valid as long as this object lives."""

    def __init__(self, library: Any, names: tuple[str, ...]) -> None:
        held = [library]
        weakref.finalize(self, _drop, held).atexit = False
        self.addresses: Mapping[str, int] = {name: library[name] for name in names}


_count = itertools.count()
_kept: list[Any] = []  # code that lives as long as the process


@functools.lru_cache
def _linker() -> Any:
    return llvm.create_lljit_compiler(use_jit_link=True)


@_alone
def load(obj: bytes, names: tuple[str, ...]) -> Code:
    """Link object code into this process and look up ``names``. Raises KernelError for a missing symbol."""
    builder = llvm.JITLibraryBuilder().add_object_img(obj).add_current_process()
    for symbol, address in (*openmp().symbols.items(), *_roundings().items(), *messages.symbols().items()):
        builder.import_symbol(symbol, address)
    for name in names:
        builder.export_symbol(name)
    try:
        library = builder.link(_linker(), f"tritoncnn-{next(_count)}")
    except RuntimeError as error:
        raise KernelError(f"compiled code could not be linked: {' '.join(str(error).split())}") from error
    return Code(library, names)


# Where a CPU has no instruction for it, LLVM calls these functions of a C compiler's library, which we cannot count on.
# The result is in the low 16 bits of a vector register, where bfloat is returned; double is rounded to odd on the way.
_ROUNDINGS = """
define <8 x i16> @__truncsfbf2(float %x) {
  %bits = bitcast float %x to i32
  %high = lshr i32 %bits, 16
  %odd = and i32 %high, 1
  %half = add i32 %odd, 32767
  %up = add i32 %bits, %half
  %quiet = or i32 %bits, 4194304
  %nan = fcmp uno float %x, %x
  %result = select i1 %nan, i32 %quiet, i32 %up
  %top = lshr i32 %result, 16
  %short = trunc i32 %top to i16
  %v = insertelement <8 x i16> poison, i16 %short, i32 0
  ret <8 x i16> %v
}
define <8 x i16> @__truncdfbf2(double %x) {
  %near = fptrunc double %x to float
  %back = fpext float %near to double
  %inexact = fcmp one double %back, %x
  %absx = call double @llvm.fabs.f64(double %x)
  %absb = call double @llvm.fabs.f64(double %back)
  %over = fcmp ogt double %absb, %absx
  %minus = sext i1 %over to i32
  %bits = bitcast float %near to i32
  %down = add i32 %bits, %minus
  %sticky = zext i1 %inexact to i32
  %odd = or i32 %down, %sticky
  %f = bitcast i32 %odd to float
  %v = call <8 x i16> @__truncsfbf2(float %f)
  ret <8 x i16> %v
}
declare double @llvm.fabs.f64(double)
"""


@functools.lru_cache
def _roundings() -> Mapping[str, int]:
    return _own_library(_ROUNDINGS, ("__truncsfbf2", "__truncdfbf2"))


@_alone
def _own_library(text: str, names: tuple[str, ...]) -> Mapping[str, int]:
    """Functions that stay as long as the process."""
    builder = llvm.JITLibraryBuilder().add_object_img(compile_text(text))
    for name in names:
        builder.export_symbol(name)
    library = builder.link(_linker(), f"tritoncnn-{next(_count)}")
    _kept.append(library)
    return {name: library[name] for name in names}


# ---- threads ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class OpenMP:
    """torch's own OpenMP runtime: one pool of threads for torch and for us. ``path`` None: there is none, one thread."""

    path: str | None
    symbols: Mapping[str, int]


_ONE_THREAD = """
define void @GOMP_parallel(ptr %f, ptr %data, i32 %threads, i32 %flags) {
  call void %f(ptr %data)
  ret void
}
"""
_SYMBOLS = ("GOMP_parallel",)


def _openmp_files() -> list[str]:
    """OpenMP libraries loaded with torch, as the kernel lists them; else where torch's wheel keeps its own."""
    import torch

    folder = os.path.join(os.path.dirname(torch.__file__), "lib")
    try:
        with open("/proc/self/maps") as maps:
            mapped = {line.split()[-1] for line in maps if "/" in line}
    except OSError:
        mapped = set()
    shipped = {os.path.join(folder, name) for name in os.listdir(folder)} if os.path.isdir(folder) else set()
    for places in (mapped, shipped):
        found = sorted(p for p in places if os.path.basename(p).startswith(_OPENMP_NAMES))
        if found:  # torch's own before another package's
            return sorted(found, key=lambda path: not path.startswith(folder))
    return ["libgomp.so.1"]


@functools.lru_cache
def openmp() -> OpenMP:
    """The OpenMP runtime that torch uses; found once, loads torch."""
    for path in _openmp_files():
        try:
            library = ctypes.CDLL(path)
            symbols = {name: ctypes.cast(getattr(library, name), ctypes.c_void_p).value for name in _SYMBOLS}
        except (OSError, AttributeError):
            continue
        return OpenMP(path, {name: address for name, address in symbols.items() if address})
    return OpenMP(None, _own_library(_ONE_THREAD, _SYMBOLS))


_poolless: int | None = None  # the thread that lost its pool in a fork


def _after_fork() -> None:
    global _poolless
    _poolless = threading.get_ident()


# The threads of its pool do not exist in a forked child, and OpenMP would wait for them for ever. A thread that the
# child starts itself gets a pool of its own.
os.register_at_fork(after_in_child=_after_fork)


def threads(wanted: int | None = None) -> int:
    """Threads for the next launch: those wanted, else torch's setting; one in the thread that a fork left."""
    import torch

    if threading.get_ident() == _poolless or openmp().path is None:
        return 1
    return wanted or torch.get_num_threads()
