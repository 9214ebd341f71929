"""One specialisation of a Triton kernel: what is asked of the compiler, checked, with its key and its TTIR."""

from __future__ import annotations

import enum
import functools
import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import triton
from triton._C.libtriton import ir
from triton.compiler import ASTSource
from triton.language import constexpr, dtype

from tritoncnn.cpu.sanitize import modes
from tritoncnn.errors import InputError, KernelError

from . import engine
from .backend import TARGET, Backend, Options, run_passes
from .cache import sources_hash
from .lowering import lower_text
from .slots import is_known

Signature = Mapping[str, "str | tuple[str, ...]"]
Path_ = tuple[int, ...]


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

    def ttir(self, context: Any = None) -> str:
        """Run Triton's front end, in a ``new_context`` of its own or in one that kernels share, one after the other.

        Raises KernelError with Triton's own words when it refuses the kernel.
        """
        backend, options = Backend(TARGET), Options(debug=self.debug)
        context = new_context() if context is None else context
        source = ASTSource(self.fn, dict(self.signature), dict(self.constants), dict(self.attributes))
        try:
            module = source.make_ir(
                TARGET, options, backend.get_codegen_implementation(options), backend.get_module_map(), context
            )
            return str(run_passes(module))
        except Exception as error:  # the front end lets any exception through, from any kernel's constant code
            words = " ".join(_root(error).split()) or type(error).__name__
            raise KernelError(f"{self.name}: Triton's front end refused the kernel: {words}") from error

    def lower(self, ttir: str) -> str:
        """Our LLVM IR of its TTIR."""
        return lower_text(self.name, ttir, self.checks)


def new_context() -> Any:
    """What MLIR keeps types and names in, with Triton's dialects loaded: 2 ms."""
    context = ir.context()
    ir.load_dialects(context)
    return context


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


def _check_names(fn: Any, signature: Signature, constants: Mapping[str, Any]) -> None:
    name = fn.__name__
    for word in (*signature, *constants):
        if word not in fn.arg_names:
            raise InputError(f"{name}: has no parameter {word}; it takes {', '.join(fn.arg_names)}")
    if both := sorted(set(signature) & set(constants)):
        raise InputError(f"{name}: {both[0]} is given a type and a constant; give one of them")
    for parameter in fn.params:
        if parameter.is_constexpr and parameter.name in signature:
            raise InputError(f"{name}: {parameter.name} is a constexpr; give its value among the constants")


def request(
    fn: Any, signature: Signature, constants: Mapping[str, Any], divisible: Collection[str] = (), debug: bool = False
) -> Request:
    """Check and complete a specialisation. Raises InputError, KernelError; each names the kernel and the parameter."""
    if not isinstance(fn, triton.runtime.JITFunction):
        hint = "; it was made under TRITON_INTERPRET=1" if type(fn).__name__ == "InterpretedFunction" else ""
        raise KernelError(f"compile_kernel wants a @triton.jit function; got {type(fn).__name__}{hint}")
    name = fn.__name__
    _check_names(fn, signature, constants)
    kinds: dict[str, Any] = {}
    values: dict[Path_, Any] = {}
    arguments: list[tuple[str, str]] = []
    paths: dict[str, Path_] = {}
    for index, parameter in enumerate(fn.params):
        if parameter.name in signature:
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
