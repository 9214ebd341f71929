"""A Triton kernel and its constants -> TTIR (Triton's front end) -> object code, or straight from the disk cache."""

from __future__ import annotations

import enum
import functools
import hashlib
import importlib
import re
import time
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton
from triton._C.libtriton import ir, passes
from triton.backends.compiler import BaseBackend, GPUTarget
from triton.compiler import ASTSource
from triton.language import constexpr, dtype

from tritoncnn.cpu.facts.remarks import Remarks
from tritoncnn.cpu.front import descriptors
from tritoncnn.cpu.lower import lower
from tritoncnn.cpu.sanitize import modes
from tritoncnn.errors import InputError, KernelError, TritonCNNError
from tritoncnn.settings import current

from . import engine
from .cache import DiskCache, write_text
from .launch import EXPORTS, CheckedKernel, CpuKernel, is_known
from .pool import Pool, helpers

TARGET = GPUTarget("tritoncnn", "host", 1)
DIGEST = 32  # bytes of sha256 behind the object code that Triton keeps
Signature = Mapping[str, "str | tuple[str, ...]"]
Path_ = tuple[int, ...]


@dataclass(frozen=True)
class Options:
    """What Triton's front end and runtime ask a backend's options for."""

    num_warps: int = 1
    num_ctas: int = 1
    num_stages: int = 1
    warp_size: int = 1
    cluster_dims: tuple[int, int, int] = (1, 1, 1)
    debug: bool = False
    enable_fp_fusion: bool = True
    launch_cooperative_grid: bool = False
    launch_pdl: bool = False
    extern_libs: tuple[Any, ...] = ()
    supported_fp8_dtypes: tuple[str, ...] = ("fp8e4nv", "fp8e5", "fp8e4b8", "fp8e5b16")
    deprecated_fp8_dot_operand_dtypes: tuple[str, ...] = ()
    default_dot_input_precision: str = "ieee"
    # All but ieee permit less precision; we give more.
    allowed_dot_input_precisions: tuple[str, ...] = ("ieee", "tf32", "tf32x3", "bf16x3", "bf16x6")
    max_num_imprecise_acc_default: int = 0
    sanitize_overflow: bool = False
    instrumentation_mode: str = ""
    fpsan_homomorphic_casts: bool = False
    ir_override: str | None = None
    backend_name: str = "tritoncnn"
    checks: str = ""  # a mode of modes.py
    arch: str = "host"
    # What kernels for GPUs ask of NVIDIA's and AMD's backends: accepted, without a meaning here.
    maxnreg: int | None = None
    ptx_version: int | None = None
    ptx_options: str | None = None
    enable_reflect_ftz: bool = True
    waves_per_eu: int = 0
    matrix_instr_nonkdim: int = 0
    kpack: int = 1
    allow_flush_denorm: bool = False
    schedule_hint: str = "none"

    def hash(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()


class Backend(BaseBackend):  # type: ignore[misc]  # triton has no types
    """Triton's view of us: TTIR in, object code out. In Triton's table of backends only while we are active."""

    binary_ext = "obj"

    @staticmethod
    def supports_target(target: GPUTarget) -> bool:
        return target.backend == TARGET.backend

    def parse_options(self, opts: Mapping[str, Any]) -> Options:
        known = Options.__dataclass_fields__
        return Options(**{k: v for k, v in opts.items() if k in known and v is not None} | {"checks": modes.checks()})

    def pack_metadata(self, metadata: Any) -> None:
        return None

    def get_codegen_implementation(self, options: Options) -> dict[str, Any]:
        return {"min_dot_size": lambda lhs, rhs: (1, 1, 1), "convert_custom_types": None}

    def get_module_map(self) -> dict[str, Any]:
        """tl.extra.libdevice is CUDA's: its symbols are what libdevice.py knows."""
        return {"triton.language.extra.libdevice": importlib.import_module("triton.language.extra.cuda.libdevice")}

    def load_dialects(self, context: Any) -> None:
        pass

    def hash(self) -> str:
        """What Triton's cache keys on. While dumping, and in the modes whose reports name the kernel's file, which may
        have moved since, every process compiles afresh.
        """
        fresh = f" fresh {time.time_ns()}" if dumped() or modes.checks() else ""
        return f"tritoncnn {engine.host().key} {sources_hash()}{fresh}"

    def add_stages(self, stages: dict[str, Any], options: Options, language: Any = None) -> None:
        stages["ttir"] = lambda module, metadata: run_passes(module)
        stages["llir"] = self.make_llvm
        stages["obj"] = self.make_object

    @staticmethod
    def make_llvm(module: Any, metadata: dict[str, Any]) -> str:
        metadata["name"] = module.get_entry_func_name()
        metadata["shared"] = 1  # nobody shares memory here, but programs for GPUs divide by it
        return to_llvm(metadata["name"], str(module), metadata["checks"])

    @staticmethod
    def make_object(text: str, metadata: dict[str, Any]) -> bytes:
        obj = engine.compile_text(text)
        digest = hashlib.sha256(obj)
        metadata["digest"] = digest.hexdigest()
        return obj + digest.digest()


def run_passes(module: Any) -> Any:
    """Triton's own clean-up of TTIR, as its GPU compilers do it before they leave TTIR."""
    ones = descriptors.unit_strides(module)
    manager = ir.pass_manager(module.context)
    passes.common.add_inliner(manager)
    descriptors.add_passes(manager)
    passes.common.add_canonicalizer(manager)
    passes.ttir.add_combine(manager)
    passes.ttir.add_reorder_broadcast(manager)
    passes.common.add_cse(manager)
    passes.ttir.add_loop_unroll(manager)
    (passes.ttir.add_triton_licm if hasattr(passes.ttir, "add_triton_licm") else passes.common.add_licm)(manager)
    passes.common.add_symbol_dce(manager)
    passes.common.add_canonicalizer(manager)
    passes.common.add_cse(manager)
    manager.run(module, "make_ttir")
    descriptors.mark_ones(module, ones)
    return module


# ---- a request -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Request:
    """One specialisation of a kernel, in the words of Triton's ``ASTSource``."""

    fn: Any
    signature: Mapping[str, Any]  # every parameter; constants say "constexpr"
    constants: Mapping[Path_, Any]  # by path: parameter, then place in a tuple
    attributes: Mapping[Path_, Any]
    arguments: tuple[tuple[str, str], ...]  # run-time arguments, tuples flattened, in record order
    divisible: frozenset[str]
    debug: bool = False
    checks: str = ""

    @property
    def name(self) -> str:
        return self.fn.__name__

    @functools.cached_property
    def key(self) -> str:
        """sha256 of all that the object code depends on."""
        constants = [(path, stable(value, self.name)) for path, value in sorted(self.constants.items())]
        parts = (
            self.fn.cache_key, sorted(self.signature.items()), constants, sorted(self.divisible), triton.__version__,
            sources_hash(), engine.host().key, self.debug, self.checks,
            self.fn.fn.__code__.co_filename if self.checks else "",  # its reports name the file
        )  # fmt: skip
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def ttir(self) -> str:
        """Run Triton's front end. Raises KernelError with Triton's own words when it refuses the kernel."""
        backend, options = Backend(TARGET), Options(debug=self.debug)
        context = ir.context()
        ir.load_dialects(context)
        source = ASTSource(self.fn, dict(self.signature), dict(self.constants), dict(self.attributes))
        try:
            module = source.make_ir(
                TARGET, options, backend.get_codegen_implementation(options), backend.get_module_map(), context
            )
            return str(run_passes(module))
        except Exception as error:  # the front end lets any exception through, from any kernel's constant code
            words = " ".join(_root(error).split()) or type(error).__name__
            raise KernelError(f"{self.name}: Triton's front end refused the kernel: {words}") from error


def _root(error: BaseException) -> str:
    """The first cause's words and the kernel's line; Triton wraps one error per inlined call."""
    place = ""
    while error.__cause__ is not None:
        place = place or str(error)
        error = error.__cause__
    return f"{type(error).__name__}: {error} {place}" if place else str(error)


def stable(value: Any, kernel: str) -> Any:
    """A constant as text that is equal in every process when, and only when, the value is."""
    if isinstance(value, constexpr):
        return stable(value.value, kernel)
    if hasattr(value, "cache_key"):
        return f"function {value.cache_key}"
    if isinstance(value, (tuple, list)):
        return (type(value).__name__, [stable(item, kernel) for item in value])
    if value is None or isinstance(value, (bool, int, float, str, enum.Enum, dtype)):
        return f"{type(value).__name__} {value!r}"
    raise InputError(f"{kernel}: a constant must be a number, text, dtype, function or tuple; got {value!r}")


def _flatten(name: str, kind: Any, path: Path_) -> Iterator[tuple[str, str, Path_]]:
    if isinstance(kind, (tuple, list)):
        for place, item in enumerate(kind):
            yield from _flatten(f"{name}.{place}", item, (*path, place))
    else:
        yield name, kind, path


def request(
    fn: Any, signature: Signature, constants: Mapping[str, Any], divisible: Collection[str] = (), debug: bool = False
) -> Request:
    """Check and complete a specialisation. Raises InputError, KernelError; each names the kernel and the parameter."""
    if not isinstance(fn, triton.runtime.JITFunction):
        hint = "; it was made under TRITON_INTERPRET=1" if type(fn).__name__ == "InterpretedFunction" else ""
        raise KernelError(f"compile_kernel wants a @triton.jit function; got {type(fn).__name__}{hint}")
    name = fn.__name__
    for word in (*signature, *constants):
        if word not in fn.arg_names:
            raise InputError(f"{name}: has no parameter {word}; it takes {', '.join(fn.arg_names)}")
    if both := sorted(set(signature) & set(constants)):
        raise InputError(f"{name}: {both[0]} is given a type and a constant; give one of them")
    kinds: dict[str, Any] = {}
    values: dict[Path_, Any] = {}
    arguments: list[tuple[str, str]] = []
    paths: dict[str, Path_] = {}
    for index, parameter in enumerate(fn.params):
        if parameter.name in signature:
            if parameter.is_constexpr:
                raise InputError(f"{name}: {parameter.name} is a constexpr; give its value among the constants")
            kinds[parameter.name] = signature[parameter.name]
            for flat, kind, path in _flatten(parameter.name, signature[parameter.name], (index,)):
                arguments.append((flat, kind))
                paths[flat] = path
            continue
        if parameter.name in constants:
            value = constants[parameter.name]
        elif parameter.has_default:
            value = parameter.default
        else:
            raise InputError(f"{name}: parameter {parameter.name} has neither a type nor a constant")
        kinds[parameter.name] = "constexpr"
        values[index,] = value
    for flat, kind in arguments:
        if not isinstance(kind, str) or not is_known(kind):
            raise InputError(f"{name}: {flat} has type {kind!r}; wanted one such as *fp32, i32 or fp32")
    for word in divisible:
        if word not in paths:
            raise InputError(f"{name}: divisible names {word}, which is not a run-time argument")
    attributes = {paths[word]: [["tt.divisibility", 16]] for word in divisible}
    return Request(fn, kinds, values, attributes, tuple(arguments), frozenset(divisible), debug, modes.checks())


# ---- compiling -------------------------------------------------------------------------------------------------------
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
    with Pool(helpers(len(wanted))) as pool:
        texts = []
        for request in wanted:
            texts.append(request.ttir())
            pool.submit(to_llvm(request.name, texts[-1], request.checks))
        objects = pool.finish()
    for request, ttir, obj in zip(wanted, texts, objects, strict=True):
        code = engine.load(obj, EXPORTS)
        cache.put(request.key, _header(request), obj)
        yield _kind(request)(request, code, from_cache=False, ttir=ttir)


def _header(wanted: Request) -> dict[str, Any]:
    return {"name": wanted.name, "arguments": [list(pair) for pair in wanted.arguments]}


def _kind(wanted: Request) -> type[CpuKernel]:
    return CheckedKernel if wanted.checks else CpuKernel


def to_llvm(name: str, ttir: str, checks: str = "") -> str:
    """TTIR -> LLVM IR; both, and the assembly, are written out when TRITONCNN_DUMP asks for them."""
    text = lower_text(name, ttir, checks)
    makers: dict[str, tuple[str, Callable[[], str]]] = {
        "ttir": ("ttir", lambda: ttir), "llvm": ("ll", lambda: text), "asm": ("s", lambda: engine.assembly(text)),
    }  # fmt: skip
    stem = f"{re.sub(r'[^A-Za-z0-9_]', '_', name)}-{hashlib.sha256(ttir.encode()).hexdigest()[:8]}"
    for word in dumped():
        suffix, make = makers[word]
        write_text(current().cache, "dump", f"{stem}.{suffix}", make())
    return text


def dumped() -> frozenset[str]:
    """Which of our stages TRITONCNN_DUMP asks for."""
    return current().dump & {"ttir", "llvm", "asm"}


def lower_text(name: str, ttir: str, checks: str = "", remarks: Remarks | None = None) -> str:
    """Our lowering, its faults told apart from the caller's; ``remarks`` takes what it decides."""
    try:
        host = engine.host()
        return lower(ttir, lanes=host.lanes, name=name, features=host.of_note, checks=checks, remarks=remarks)
    except TritonCNNError:
        raise
    except Exception as error:
        raise KernelError(f"{name}: a fault in the CPU backend's lowering ({type(error).__name__}: {error})") from error


@functools.lru_cache
def sources_hash() -> str:
    """sha256 of this folder's source: object code of another version of the backend is never taken from the cache."""
    digest = hashlib.sha256()
    room = Path(__file__).parent.parent
    for path in sorted(room.rglob("*.py")):
        digest.update(str(path.relative_to(room)).encode() + path.read_bytes())
    return digest.hexdigest()
