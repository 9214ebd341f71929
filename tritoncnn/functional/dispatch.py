"""A fused op for torch: a recipe over graph values becomes ``torch.ops.tritoncnn.<name>`` with its gradient.

The recipe is written once, on ``Sym``s; ``programs.py`` makes programs of it. They are kept by types and options: the
second call of a kind costs two lookups, binding and one native call.

The library op answers with a list: the results first, then what the backward pass needs (nothing when ``wanted`` is
empty). ``<name>_backward`` is an op of its own, so that torch.compile sees both. Where nothing but the CPU would see a call
(``transforms.unwatched``), torch's dispatcher is left out: it takes longer than a small op.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from tritoncnn.errors import DTypeError, InputError, LayoutError, UnsupportedError
from tritoncnn.functional.autocast import Policy, cast_operands
from tritoncnn.functional.programs import Traced, trace
from tritoncnn.functional.transforms import as_it_reads, refuse_tangents, refuse_transforms, unwatched
from tritoncnn.ops import TORCH_DTYPE
from tritoncnn.runtime import Executable

Recipe = Callable[..., Any]
Ints = Sequence[int]
Labels = torch.Tensor  # i64
Wide = torch.Tensor  # of the first operand's dtype, or f32: parameters of a norm
Tensors = Sequence[torch.Tensor]
Floats = Sequence[float]
AnyFloat = float  # infinite too
FLOATS = (torch.float32, torch.bfloat16, torch.float16)
PLAIN = {torch.Tensor, torch.nn.Parameter}
OPTIONS = {bool, int, float, str, torch.dtype, type(None)}
CACHED = 1024  # traced kinds of calls of one op, oldest first to go

# How an annotation of a recipe is said in torch's schema language.
SCHEMA = {
    "Tensor": "Tensor", "Tensor | None": "Tensor?", "Tensors": "Tensor[]", "Labels": "Tensor",
    "Labels | None": "Tensor?", "Wide": "Tensor", "Wide | None": "Tensor?", "Ints": "int[]",
    "int": "int", "float": "float", "bool": "bool", "str": "str", "AnyFloat": "float", "Floats": "float[]",
    "int | None": "int?", "Ints | None": "int[]?", "torch.dtype | None": "ScalarType?",
}  # fmt: skip
TENSORS = ("Tensor", "Tensor | None", "Tensors", "Labels", "Labels | None", "Wide", "Wide | None")

LIBRARY = torch.library.Library("tritoncnn", "DEF")


class FusedOp:
    """A recipe and its library op. Call it with tensors and options in the order of the recipe's signature."""

    def __init__(self, recipe: Recipe) -> None:
        self.name = recipe.__name__.strip("_")
        self.recipe = recipe
        # Annotations are read as text: Ints and Labels stand for what torch's schema distinguishes and Python does not.
        self.kinds = tuple((name, str(p.annotation)) for name, p in inspect.signature(recipe).parameters.items())
        unknown = [kind for _, kind in self.kinds if kind not in SCHEMA]
        assert not unknown, f"{self.name}: annotations {unknown} have no schema"
        self._tensors = tuple((i, name, kind) for i, (name, kind) in enumerate(self.kinds) if kind in TENSORS)
        self.places = tuple(i for i, _, _ in self._tensors)  # of the operands among the arguments
        self.autocast: Policy = "none"
        self._cast = tuple(i for i, _, kind in self._tensors if kind.startswith("Tensor"))
        self._finite = tuple((i, name) for i, (name, kind) in enumerate(self.kinds) if kind == "float")
        self._traced: dict[tuple[Any, ...], Traced] = {}
        self._ready: dict[tuple[Any, ...], tuple[Traced, Executable]] = {}  # for calls that were checked

    def __call__(self, *arguments: Any) -> tuple[torch.Tensor, ...]:
        """All results. Raises InputError, DTypeError, ShapeError for bad operands."""
        if torch.is_autocast_enabled("cpu"):
            arguments = tuple(cast_operands(self.autocast, arguments, self._cast))
        key = _exact_kind(arguments) if unwatched() else None
        ready = self._ready.get(key) if key else None
        if ready is None:
            tensors = self._check(arguments)
            refuse_transforms(self.name)
            wanted = [bool(x.requires_grad) for x in tensors] if torch.is_grad_enabled() else []
            wanted = wanted if any(wanted) else []
            if key is None:
                refuse_tangents(self.name, tensors)
                return tuple(getattr(torch.ops.tritoncnn, self.name)(*arguments, wanted))
            ready = self._forward(*arguments, wanted)[:2]
            if len(self._ready) >= CACHED:
                self._ready.pop(next(iter(self._ready)))
            self._ready[key] = ready
        traced, program = ready
        tensors = self.present(arguments)
        refuse_tangents(self.name, tensors)
        _check_ranges(traced, tensors)
        return tuple(program.run(tensors)) if traced.backward is None else _Direct.apply(traced, program, *tensors)

    def _check(self, arguments: Sequence[Any]) -> list[torch.Tensor]:
        """The tensors among the arguments. Raises InputError, LayoutError, DTypeError."""
        found: list[torch.Tensor] = []
        first: tuple[str, torch.dtype] | None = None  # the first float operand
        for name, kind, value in self._named(arguments):
            if value is None and kind.endswith("None"):
                continue
            _check_memory(f"{self.name}: {name}", value, found)
            if kind.startswith("Labels"):
                if value.dtype != torch.int64:
                    raise DTypeError(f"{self.name}: {name} must hold torch.int64 numbers; got {value.dtype}")
            elif value.dtype not in FLOATS:
                wanted = ", ".join(map(str, FLOATS))
                raise DTypeError(f"{self.name}: {name} must be one of {wanted}; got {value.dtype}")
            elif first is None:
                first = (name, value.dtype)
            elif value.dtype != first[1] and not (kind.startswith("Wide") and value.dtype == torch.float32):
                also = " or torch.float32" if kind.startswith("Wide") and first[1] != torch.float32 else ""
                raise DTypeError(f"{self.name}: {name} must be {first[1]}{also}, as {first[0]} is; got {value.dtype}")
            found.append(value)
        for i, name in self._finite:
            if not -math.inf < arguments[i] < math.inf:
                raise InputError(f"{self.name}: {name} must be a finite number; got {arguments[i]}")
        return found

    def _named(self, arguments: Sequence[Any]) -> Iterator[tuple[str, str, Any]]:
        """Name, kind and value of each operand, those of lists one by one. Raises InputError."""
        for i, name, kind in self._tensors:
            value = arguments[i]
            if kind != "Tensors":
                yield name, kind, value
                continue
            if not isinstance(value, (list, tuple)) or not value:
                got = "an empty list" if isinstance(value, (list, tuple)) else type(value).__name__
                raise InputError(f"{self.name}: {name} must be a list of at least one tensor; got {got}")
            for j, one in enumerate(value):
                yield f"{name}[{j}]", kind, one

    def present(self, arguments: Sequence[Any]) -> list[torch.Tensor]:
        """The tensors among the arguments."""
        found: list[torch.Tensor] = []
        for place in self.places:
            value = arguments[place]
            if isinstance(value, (list, tuple)):
                found += value
            elif value is not None:
                found.append(value)
        return found

    def trace(self, arguments: Sequence[Any], wanted: Sequence[bool]) -> Traced:
        key = (*map(_key_of, arguments), *wanted)
        known = self._traced.get(key)
        if known is None:
            if len(self._traced) >= CACHED:
                self._traced.pop(next(iter(self._traced)))
            places = frozenset(i for i in self.places if arguments[i] is not None)
            called = [name for name, _, value in self._named(arguments) if value is not None]
            kinds = tuple(map(_kind_of, arguments))
            known = self._traced[key] = trace(self.name, self.recipe, kinds, places, wanted, called)
        return known

    def forward(self, *given: Any) -> list[torch.Tensor]:
        traced, program, tensors = self._forward(*given)
        _check_ranges(traced, tensors)
        return program.run(tensors)

    def forward_fake(self, *given: Any) -> list[torch.Tensor]:
        _, program, tensors = self._forward(*given)
        return program.empty(tensors[0])

    def _forward(self, *given: Any) -> tuple[Traced, Executable, list[torch.Tensor]]:
        *arguments, wanted = given
        traced, tensors = self.trace(arguments, wanted), self.present(arguments)
        return traced, traced.forward.program(_strides(tensors)), tensors

    def backward(self, *given: Any) -> list[torch.Tensor]:
        program, tensors = self._backward(*given)
        return program.run(tensors)

    def backward_fake(self, *given: Any) -> list[torch.Tensor]:
        program, tensors = self._backward(*given)
        return program.empty(tensors[0])

    def _backward(
        self, seeds: Sequence[torch.Tensor], results: Sequence[torch.Tensor], *given: Any
    ) -> tuple[Executable, list[torch.Tensor]]:
        *arguments, wanted = given
        return self._gradients(self.trace(arguments, wanted), seeds, (*self.present(arguments), *results))

    def _gradients(self, traced: Traced, seeds: Tensors, saved: Tensors) -> tuple[Executable, list[torch.Tensor]]:
        assert traced.backward is not None
        known = dict(zip(traced.names, saved, strict=True))
        known.update((f"dy{i}", dy) for i, dy in zip(traced.seeded, seeds, strict=True))
        tensors = [known[name] for name in traced.backward.inputs]
        return traced.backward.program(_strides(tensors)), tensors


def _check_memory(which: str, value: Any, others: Sequence[torch.Tensor]) -> None:
    """Raises InputError, LayoutError for what is no dense tensor where the others are."""
    if not isinstance(value, torch.Tensor):
        raise InputError(f"{which} must be a tensor; got {type(value).__name__}")
    if value.device.type not in ("cpu", "meta"):
        raise InputError(f"{which} must be on the cpu; it is on {value.device}; move it with .cpu()")
    if others and value.device != others[0].device:
        raise InputError(f"{which} must be on {others[0].device}, as the other operands are; it is on {value.device}")
    if value.layout != torch.strided or value.is_nested:
        raise LayoutError(f"{which} must be a dense tensor; got {_kind_of_layout(value)}")


def _check_ranges(traced: Traced, tensors: Sequence[torch.Tensor]) -> None:
    """Raises OutOfRangeError for numbers that name no class or row."""
    for range in traced.ranges:
        range.check(tensors, traced.called.__getitem__)


def _exact_kind(arguments: Sequence[Any]) -> tuple[Any, ...] | None:
    """What a call on plain tensors is known by, strides and wanted gradients and all; None for another."""
    gradients, key = torch.is_grad_enabled(), list[Any]()
    for x in arguments:
        if type(x) in PLAIN:
            if not x.is_cpu or x.layout is not torch.strided or x.is_neg() or x._is_zerotensor() or x.is_nested:
                return None
            key += (x.dtype, x.shape, x.stride(), gradients and x.requires_grad)
        elif type(x) in OPTIONS:
            key.append(_kind_of_option(x))
        elif type(x) not in (list, tuple):
            return None
        elif x and type(x[0]) in OPTIONS:
            key.append(tuple(map(_kind_of_option, x)))
        elif (part := _exact_kind(x)) is not None:
            key.append(part)
        else:
            return None
    return tuple(key)


def _kind_of_option(value: Any) -> tuple[type, Any]:
    """What an option is known by: 1, 1.0 and True differ, and so do 0.0 and -0.0."""
    return type(value), value or str(value)


def _key_of(value: Any) -> Any:
    """What ``_kind_of`` says, with options as ``_kind_of_option`` has them."""
    if isinstance(value, torch.Tensor):
        return _kind_of(value)
    return tuple(map(_key_of, value)) if isinstance(value, (list, tuple)) else _kind_of_option(value)


def _kind_of(value: Any) -> Any:
    """What a call is known by: an option, or dtype and shape of a tensor (whose sizes may be symbols under tracing)."""
    if isinstance(value, torch.Tensor):
        return value.dtype, tuple(map(int, value.shape))
    return tuple(map(_kind_of, value)) if isinstance(value, (list, tuple)) else value


def _kind_of_layout(x: torch.Tensor) -> str:
    return "a nested tensor; use .to_padded_tensor()" if x.is_nested else f"{x.layout}; use .to_dense()"


def _strides(tensors: Sequence[torch.Tensor]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(map(int, x.stride())) for x in tensors)


def under_autocast(policy: Policy) -> Callable[[FusedOp], FusedOp]:
    """Say what torch.autocast casts; without it nothing is cast."""

    def decorate(op: FusedOp) -> FusedOp:
        op.autocast = policy
        return op

    return decorate


def fused(recipe: Recipe) -> FusedOp:
    """Register ``torch.ops.tritoncnn.<recipe's name>`` and its backward op; the annotations make the schema."""
    op = FusedOp(recipe)
    arguments = ", ".join(f"{SCHEMA[kind]} {name}" for name, kind in op.kinds)
    LIBRARY.define(f"{op.name}({arguments}, bool[] wanted) -> Tensor[]")
    LIBRARY.define(f"{op.name}_backward(Tensor[] seeds, Tensor[] results, {arguments}, bool[] wanted) -> Tensor[]")
    LIBRARY.impl(op.name, op.forward, "CPU")
    LIBRARY.impl(f"{op.name}_backward", op.backward, "CPU")
    torch.library.register_fake(f"tritoncnn::{op.name}", op.forward_fake, lib=LIBRARY)
    torch.library.register_fake(f"tritoncnn::{op.name}_backward", op.backward_fake, lib=LIBRARY)
    torch.library.register_autograd(
        f"tritoncnn::{op.name}", _backward_of(op), setup_context=_remember_of(op), lib=LIBRARY
    )
    return op


def _remember_of(op: FusedOp) -> Callable[..., None]:
    def remember(ctx: Any, inputs: tuple[Any, ...], output: list[torch.Tensor]) -> None:
        """Keep the tensors that the backward program reads; the others only as shapes, in one element of memory."""
        *arguments, wanted = inputs
        ctx.options = [None if i in op.places else x for i, x in enumerate(arguments)]
        given = [(i, arguments[i]) for i in op.places if arguments[i] is not None]
        ctx.counts = [(i, None if isinstance(x, torch.Tensor) else len(x)) for i, x in given]
        ctx.wanted = list(wanted)
        if not wanted:
            return
        ctx.traced = traced = op.trace(arguments, wanted)
        assert traced.backward is not None
        tensors = (*op.present(arguments), *output)
        reads = traced.backward.inputs
        ctx.save_for_backward(
            *(x if name in reads else _hollow(x) for name, x in zip(traced.names, tensors, strict=True))
        )

    return remember


def _hollow(x: torch.Tensor) -> torch.Tensor:
    return x.detach().new_empty((1,) * x.dim()).expand(x.shape)


def _backward_of(op: FusedOp) -> Callable[..., Any]:
    def backward(ctx: Any, grads: list[torch.Tensor | None]) -> tuple[Any, ...]:
        if not ctx.wanted:
            raise UnsupportedError(
                f"{op.name} was called without gradients: call torch.ops.tritoncnn through functional"
            )
        saved = iter(ctx.saved_tensors)
        arguments = list(ctx.options)
        for place, count in ctx.counts:
            arguments[place] = next(saved) if count is None else [next(saved) for _ in range(count)]
        results = list(saved)
        given = ((results[i], grads[i]) for i in ctx.traced.seeded)
        seeds = [torch.zeros_like(y) if dy is None else dy for y, dy in given]
        call = getattr(torch.ops.tritoncnn, f"{op.name}_backward")
        found = iter(call(seeds, results, *arguments, ctx.wanted))
        asked = iter(ctx.wanted)
        # torch takes an empty list for a list of tensors, and wants one back.
        answer: list[Any] = [[] if isinstance(x, (list, tuple)) and not x else None for x in (*ctx.options, None)]
        for place, count in ctx.counts:
            parts = [next(found) if next(asked) else None for _ in range(count or 1)]
            answer[place] = parts[0] if count is None else parts
        return tuple(answer)

    return backward


class _Direct(torch.autograd.Function):
    """A call that is recorded for gradients without torch's dispatcher."""

    @staticmethod
    def forward(ctx: Any, traced: Traced, program: Executable, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = program.run(tensors)
        ctx.traced = traced
        assert traced.backward is not None
        known = dict(zip(traced.names, (*tensors, *outputs), strict=True))
        ctx.save_for_backward(*(known[name] for name in traced.backward.inputs if name in known))
        ctx.set_materialize_grads(False)
        results = tuple(outputs[: traced.results])
        ctx.mark_non_differentiable(*(y for i, y in enumerate(results) if i not in traced.seeded))
        return results

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise UnsupportedError(
                f"{ctx.traced.name}: gradients of gradients are not known; leave out create_graph=True"
            )
        saved, half = iter(ctx.saved_tensors), ctx.traced.backward
        tensors = []
        refuse_tangents(f"{ctx.traced.name}_backward", grads)
        for value in half.graph.inputs:
            if value.name not in ctx.traced.names:  # dy<n>
                dy, t = grads[int(value.name[2:])], value.type
                zeros = {"dtype": TORCH_DTYPE[t.dtype], "device": "cpu"}
                tensors.append(torch.zeros(t.shape, **zeros) if dy is None else as_it_reads(dy))  # type: ignore[call-overload]
            else:
                tensors.append(next(saved))
        found = iter(half.program(_strides(tensors)).run(tensors))
        return (None, None, *(next(found) if asked else None for asked in ctx.needs_input_grad[2:]))
