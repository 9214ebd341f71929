"""Triton's plug-in contract: while active, ``kernel[grid](...)`` runs on CPU tensors through our backend."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import operator
import struct
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import triton.backends
import triton.testing
from triton.backends.driver import DriverBase
from triton.compiler import CompiledKernel
from triton.runtime.driver import driver

from tritoncnn.cpu.front import descriptors
from tritoncnn.cpu.sanitize import modes
from tritoncnn.cpu.sanitize.checked import Checked, address_of, extension
from tritoncnn.cpu.sanitize.messages import raise_failed
from tritoncnn.errors import DTypeError, KernelError

from . import engine
from .backend import DIGEST, TARGET, Backend
from .launch import EXPORTS, MAX_PROGRAMS, address, check_grid, pack_slot
from .slots import bf16_bytes, is_known, slot_format, slot_packer

REGISTERS = 16  # that a thread has and a kernel takes, for programs that divide one by the other
_loaded: weakref.WeakValueDictionary[bytes, engine.Code] = weakref.WeakValueDictionary()  # by digest


class Utils:
    """Loads what the backend made."""

    def load_binary(self, name: str, obj: bytes, shared: int, device: int) -> tuple[engine.Code, int, int, int, int]:
        """(module, function, registers, spills, most threads); a module that is None would be loaded at every call."""
        code, digest = obj[:-DIGEST], obj[-DIGEST:]
        if hashlib.sha256(code).digest() != digest:
            raise KernelError(f"{name}: its compiled code in Triton's cache is damaged; delete that cache folder")
        with engine.lock:  # two threads may load one kernel at once: Triton then drops the first, which may be running
            module = _loaded.get(digest)
            if module is None:
                module = _loaded[digest] = engine.load(code, EXPORTS)
        return module, module.addresses["launch"], REGISTERS, 0, 1 << 30

    def unload_module(self, module: Any) -> None:
        """The code goes when its last owner does."""

    def get_device_properties(self, device: int) -> dict[str, int]:
        return {
            "max_shared_mem": 1 << 40, "multiprocessor_count": engine.threads(), "sm_clock_rate": 0, "mem_clock_rate": 0,
            "mem_bus_width": 0, "max_num_regs": REGISTERS, "warpSize": 1,
        }  # fmt: skip


class Launcher:
    """What Triton calls with every bound argument of a kernel, constants too."""

    def __init__(self, src: Any, metadata: Any) -> None:
        self.name = metadata.name
        # Where each argument is found, and what becomes of it: itself, an address, or what a function makes of it.
        self._take: list[tuple[str, int, tuple[int, ...], Callable[[Any], list[Any]] | bool]] = []
        self._kinds: list[str] = []
        layout = "<5q"
        names = [name for name, whole in src.signature.items() for _ in _leaves([whole])]
        for name, (path, kind) in zip(names, _leaves(src.signature.values()), strict=True):
            split = descriptors.is_descriptor(kind)
            kinds = descriptors.kinds(kind) if split else [kind]
            if unknown := [k for k in kinds if not is_known(k)]:
                raise KernelError(f"{self.name}: the CPU backend has no argument of type {unknown[0]}")
            layout += "".join(map(slot_format, kinds))
            self._kinds.append(kind)
            change: Callable[[Any], list[Any]] | bool = kind[0] == "*"
            if split:
                change = functools.partial(self._parts, name, [k[0] == "*" for k in kinds])
            elif kind == "bf16":
                change = lambda value: [bf16_bytes(value)]  # noqa: E731
            self._take.append((name, path[0], path[1:], change))
        self._pack = struct.Struct(layout).pack
        self._digest = bytes.fromhex(metadata.digest)
        self._code: engine.Code | None = None
        self._call: Any = None

    def __call__(
        self, g0: int, g1: int, g2: int, stream: Any, function: int, packed: Any, metadata: Any,
        enter: Any, leave: Any, *args: Any,
    ) -> None:  # fmt: skip
        if self._call is None:
            self._call = self._load()
        try:
            programs = g0 * g1 * g2
            if g0 < 0 or g1 < 0 or not 0 < programs <= MAX_PROGRAMS:
                check_grid(self.name, (g0, g1, g2))
                return
            threads = engine.threads() if programs > 1 else 1
            values: list[Any] = []
            for name, place, inside, change in self._take:
                value: Any = args[place]
                for step in inside:
                    value = value[step]
                if change is False:
                    values.append(value)
                elif change is True:
                    values.append(self._address(name, value))
                else:
                    values += change(value)
            record = self._pack(0, g0, g1, g2, threads, *values)
        except (struct.error, OverflowError, TypeError):
            self._refuse((g0, g1, g2), args)
            raise
        if enter is not None:
            enter(metadata)
        self._call(record)
        if leave is not None:
            leave(metadata)
        raise_failed(self.name)

    def _refuse(self, grid: Sequence[Any], args: Sequence[Any]) -> None:
        """Raise ShapeError for a grid, DTypeError for a number that cannot be launched with."""
        check_grid(self.name, grid)
        for (name, place, inside, change), kind in zip(self._take, self._kinds, strict=True):
            if change is False or kind == "bf16":
                value = functools.reduce(operator.getitem, inside, args[place])
                pack_slot(self.name, name, kind, slot_packer(kind), value)

    def _load(self) -> Callable[[bytes], Any]:
        self._code = _loaded[self._digest]  # function is None while another thread is about to set it
        return ctypes.CFUNCTYPE(None, ctypes.c_char_p)(self._code.addresses["launch"])

    def _parts(self, name: str, pointers: Sequence[bool], descriptor: Any) -> list[Any]:
        values = zip(pointers, descriptors.values(self.name, descriptor), strict=True)
        return [self._address(name, value) if pointer else value for pointer, value in values]

    def _address(self, name: str, tensor: Any) -> int:
        if not hasattr(tensor, "data_ptr"):
            raise DTypeError(f"{self.name}: {name} must be a tensor; got {type(tensor).__name__}")
        return address(self.name, name, tensor)


class CheckedLauncher(Launcher):
    """For kernels that were compiled in one of the modes of ``modes.py``."""

    def __init__(self, src: Any, metadata: Any) -> None:
        super().__init__(src, metadata)
        kinds: list[str] = []
        for _, kind in _leaves(src.signature.values()):
            kinds += descriptors.kinds(kind) if descriptors.is_descriptor(kind) else [kind]
        self._arguments = list(zip(argument_names(src.signature), kinds, strict=True))
        self._mode = metadata.checks
        plain = self._pack
        self._pack = lambda *slots: plain(*slots) + extension(slots[5:])

    def _load(self) -> Callable[[bytes], Any]:
        self._code = _loaded[self._digest]
        call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._code.addresses["launch"])
        checked = Checked(self._mode, self.name, self._arguments, call)

        def run(record: bytes) -> None:
            memory = ctypes.create_string_buffer(record, len(record))
            checked.run(ctypes.addressof(memory))

        return run

    def _address(self, name: str, tensor: Any) -> int:
        super()._address(name, tensor)
        return address_of(tensor)


def launcher(src: Any, metadata: Any) -> Launcher:
    return (CheckedLauncher if metadata.checks else Launcher)(src, metadata)


def _leaves(kinds: Any, path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], str]]:
    """(where to find it, its type) of each run-time argument."""
    for place, kind in enumerate(kinds):
        if isinstance(kind, (tuple, list)):
            yield from _leaves(kind, (*path, place))
        elif kind != "constexpr":
            yield (*path, place), kind


def argument_names(signature: Mapping[str, Any]) -> list[str]:
    """What the source calls each native argument; tuples' items are ``args.0``, all of a descriptor bears its name."""
    found = []
    for name, whole in signature.items():
        for path, kind in _leaves([whole]):
            count = len(descriptors.kinds(kind)) if descriptors.is_descriptor(kind) else 1
            found += [".".join([name, *map(str, path[1:])])] * count
    return found


class Event:
    """A point in time; everything is done when a launch returns."""

    def __init__(self, enable_timing: bool = False) -> None:
        self.seconds = 0.0

    def record(self, stream: Any = None) -> None:
        self.seconds = time.perf_counter()

    def elapsed_time(self, other: Event) -> float:
        return (other.seconds - self.seconds) * 1e3


class DeviceInterface:
    Event = Event

    @staticmethod
    def synchronize(device: Any = None) -> None:
        pass

    @staticmethod
    def current_device() -> int:
        return modes.device


class CpuDriver(DriverBase):  # type: ignore[misc]  # triton has no types
    """Never chosen by Triton itself: ``is_active`` says no, ``activate`` sets it."""

    def __init__(self) -> None:
        self.utils = Utils()
        self.launcher_cls = launcher

    @classmethod
    def is_active(cls) -> bool:
        return False

    def get_current_target(self) -> Any:
        return TARGET

    def get_current_device(self) -> int:
        return modes.device

    def set_current_device(self, device: int) -> None:
        pass

    def get_current_stream(self, device: Any = None) -> int:
        return 0

    def get_active_torch_device(self) -> Any:
        import torch

        return torch.device("cpu")

    def map_python_to_cpp_type(self, ty: str) -> str:
        return ty

    def get_device_interface(self) -> type[DeviceInterface]:
        return DeviceInterface

    def get_empty_cache_for_benchmark(self) -> Any:
        import torch

        return torch.empty(1, dtype=torch.int8, device="cpu")

    def clear_cache(self, cache: Any) -> None:
        pass

    def get_benchmarker(self) -> Callable[..., Any]:
        return benchmark


def benchmark(
    call: Callable[[], Any], *, quantiles: Sequence[float] = (0.5, 0.2, 0.8), warmup: int = 2, rep: int = 9, **_: Any
) -> list[float]:
    """Milliseconds of a call at each quantile; Triton's autotuner asks with its own warm-up and repetitions."""
    times = []
    for turn in range(warmup + rep):
        start = time.perf_counter()
        call()
        if turn >= warmup:
            times.append((time.perf_counter() - start) * 1e3)
    times.sort()
    return [times[min(len(times) - 1, int(q * len(times)))] for q in quantiles]


# ---- activation ------------------------------------------------------------------------------------------------------
_before: list[Any] = []  # the drivers that were active before each activation


def activate() -> None:
    """From now on ``kernel[grid](...)`` runs on CPU tensors, for every user of Triton in this process."""
    triton.backends.backends[TARGET.backend] = triton.backends.Backend(compiler=Backend, driver=CpuDriver)
    modes.refresh()
    _drop_our_modules_ourselves()
    _measure_without_graphs()
    _before.append(driver._active)
    driver.set_active(CpuDriver())


def deactivate() -> None:
    """Undo the last ``activate``. Raises KernelError when there is none."""
    if not _before:
        raise KernelError("deactivate: the CPU backend is not active")
    driver.set_active(_before.pop())
    if not _before:
        del triton.backends.backends[TARGET.backend]


def _drop_our_modules_ourselves() -> None:
    """Keep our modules from Triton 3.9's finalizer of kernels, which hands them to whichever driver is active by then.

    That may be CUDA's, which would take our module for a handle of its own, or none at all, which it raises for. This stays
    after ``deactivate``, for kernels may die later; to those of other backends it changes nothing.
    """
    finalize = getattr(CompiledKernel, "__del__", None)
    if finalize is None or getattr(finalize, "drops_ours", False):
        return

    def drop(kernel: Any) -> None:
        if isinstance(kernel.module, engine.Code):
            kernel.module = None
        finalize(kernel)

    drop.drops_ours = True  # type: ignore[attr-defined]
    CompiledKernel.__del__ = drop


def _measure_without_graphs() -> None:
    """Let ``triton.testing.do_bench_cudagraph``, and so ``autotune(use_cuda_graph=True)``, measure plain calls on the CPU, where
    a launch has no overhead that a graph would take away. To other drivers it changes nothing; it stays after ``deactivate``."""
    measure = triton.testing.do_bench_cudagraph
    if getattr(measure, "measures_ours", False):
        return

    @functools.wraps(measure)
    def do_bench(fn: Callable[[], Any], rep: float = 20, **how: Any) -> Any:
        ours = isinstance(driver.active, CpuDriver)
        return triton.testing.do_bench(fn, rep=rep, **how) if ours else measure(fn, rep=rep, **how)

    do_bench.measures_ours = True  # type: ignore[attr-defined]
    triton.testing.do_bench_cudagraph = do_bench


@contextmanager
def active() -> Iterator[None]:
    """``with cpu.active():`` launches inside run on the CPU."""
    activate()
    try:
        yield
    finally:
        deactivate()
