"""Kernels that are asked for -> native code: from this process, from the disk cache, or compiled now."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tritoncnn.errors import KernelError
from tritoncnn.settings import current

from . import engine
from .cache import DiskCache
from .launch import EXPORTS, CheckedKernel, CpuKernel
from .lowering import dumped, to_llvm
from .objects import Objects
from .pool import Pool, helpers
from .request import Request, Signature, new_context, request

_loaded: weakref.WeakValueDictionary[tuple[Path, str], CpuKernel] = weakref.WeakValueDictionary()


def compile_kernel(
    fn: Any, signature: Signature, constants: Mapping[str, Any], divisible: Collection[str] = (), *, debug: bool = False
) -> CpuKernel:
    """Native code of one specialisation of a ``@triton.jit`` function.

    signature   type of each run-time argument ("*fp32", "i32"); a tuple of types for a tuple argument
    constants   value of every other parameter without a default, constexpr or not; functions and tuples too
    divisible   run-time arguments (flattened names) that are multiples of 16, in bytes for pointers
    debug       keep ``tl.device_assert``: a launch in which one fails raises KernelError

    Raises InputError for parameters that do not fit, UnsupportedError for an op the backend does not know, KernelError
    when Triton or LLVM refuses the kernel, CacheError for a cache folder that others can write to.
    """
    return compile_request(request(fn, signature, constants, divisible, debug))


def compile_request(wanted: Request) -> CpuKernel:
    """The kernel, which is compiled once a process."""
    return compile_requests([wanted])[0]


def compile_requests(wanted: Sequence[Request]) -> list[CpuKernel]:
    """The kernels, in order, each compiled once a process; several new ones by several processes. Raises as
    ``compile_kernel``, for the first that is refused."""
    cache, distinct = DiskCache(current().cache), {request.key: request for request in wanted}
    with engine.lock:  # Triton's front end is not made for several threads either
        known = {key: _known(request, cache) for key, request in distinct.items()}
        found = {key: kernel for key, kernel in known.items() if kernel is not None}
        missing = [request for key, request in distinct.items() if key not in found]
        found.update({kernel.request.key: kernel for kernel in _compile(missing, cache)})
        for key, kernel in found.items():
            _loaded[cache.root, key] = kernel
        return [found[request.key] for request in wanted]


def _known(wanted: Request, cache: DiskCache) -> CpuKernel | None:
    """The kernel as this process or the disk has it."""
    known = _loaded.get((cache.root, wanted.key))
    entry = None if known is not None or dumped() else cache.get(wanted.key)
    if entry is not None and entry[0].get("arguments") == _header(wanted)["arguments"]:
        with suppress(KernelError):  # no object code, with a sum that is right: made again
            return _kind(wanted)(wanted, engine.load(entry[1], EXPORTS), from_cache=True)
    return known


def _compile(wanted: Sequence[Request], cache: DiskCache) -> Iterator[CpuKernel]:
    """Compile kernels that nobody has, and keep them on the disk."""
    if not wanted:
        return
    objects, context = Objects(cache.root), new_context()
    with Pool(helpers(len(wanted))) as pool:
        stages = []
        for request in wanted:
            ttir = request.ttir(context)
            text = to_llvm(request.name, ttir, request.checks)
            obj = objects.find(text)
            if obj is None:
                pool.submit(text)
            stages.append((request, ttir, text, obj))
        fresh = iter(pool.finish())
    for request, ttir, text, obj in stages:
        if obj is None:
            obj = next(fresh)
            objects.keep(text, obj)
        code = engine.load(obj, EXPORTS)
        cache.put(request.key, _header(request), obj)
        yield _kind(request)(request, code, from_cache=False, ttir=ttir)


def _header(wanted: Request) -> dict[str, Any]:
    return {"name": wanted.name, "arguments": [list(pair) for pair in wanted.arguments]}


def _kind(wanted: Request) -> type[CpuKernel]:
    return CheckedKernel if wanted.checks else CpuKernel
