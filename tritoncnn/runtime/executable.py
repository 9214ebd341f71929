"""A plan made ready to be called: locked, checked, bound, and given memory for its results."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch._C._dynamo import guards
from torch.autograd import forward_ad

from tritoncnn import forks
from tritoncnn.errors import DTypeError, InputError, LayoutError, ShapeError, input_named
from tritoncnn.ir import TensorType, Value
from tritoncnn.ops import TORCH_DTYPE
from tritoncnn.plan import Plan
from tritoncnn.runtime.program import Program
from tritoncnn.runtime.targets import make_program

PLAIN = (torch.Tensor, torch.nn.Parameter)


def _empty_strided(size: Sequence[int], stride: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    return torch.empty_strided(size, stride, dtype=dtype, device="cpu")


# Inductor's takes a third of the time, where torch has it.
_empty = getattr(guards, "_empty_strided_cpu", _empty_strided)


def _plain_keys() -> frozenset[int]:
    """The dispatch keys of tensors that are nothing but dense memory on the CPU: not sparse, fake, wrapped by torch.func, of a
    class that dispatches by itself, negated, conjugated or zero by decree; each of these has a key of its own."""
    with torch.inference_mode():
        inference = torch.empty(0, device="cpu")
    with torch.inference_mode(False):
        usual = torch.empty(0, device="cpu")
    return frozenset(torch._C._dispatch_keys(tensor).raw_repr() for tensor in (usual, inference))


_PLAIN_KEYS = _plain_keys()


class Executable:
    """``run(tensors)`` computes the plan's first ``results`` outputs from the tensors of ``inputs``.

    ``held`` gives memory for the other inputs and outputs: parameters, states. It may be bound anew by ``bind``.
    ``shown``: how the first results look to the caller: as planned, but for dims of stride 0, of which one element is planned.
    Kernels are compiled by ``ready``, at the latest in the first run. Calls of several threads wait for each other.
    """

    def __init__(
        self, plan: Plan, inputs: Sequence[str], results: int, held: Mapping[str, torch.Tensor] | None = None,
        shown: Sequence[TensorType] = (),
    ) -> None:  # fmt: skip
        self.plan = plan
        self.inputs = tuple(plan.graph.input(name) if _reads(plan, name) else None for name in inputs)
        self.dtypes = tuple(None if value is None else TORCH_DTYPE[value.type.dtype] for value in self.inputs)
        planned = tuple(value.type for value in plan.graph.outputs[:results])
        types = (*shown, *(type.packed() for type in planned[len(shown) :]))
        self._repeated = tuple((i, type.shape) for i, type in enumerate(planned) if type.shape != types[i].shape)
        self._places = tuple((t.shape, t.strides, TORCH_DTYPE[t.dtype]) for t in types)
        self._names = (*inputs, *(f"output {i}" for i in range(len(types))))
        self._held = dict(held or {})
        self._program: Program | None = None
        self._lock = threading.RLock()

    def ready(self) -> Program:
        """Compile the kernels and bind what is held, once."""
        with forks.apart(), self._lock:
            if self._program is None:
                self._program = make_program(self.plan, self._held, self._names)
            return self._program

    def bind(self, name: str, tensor: torch.Tensor) -> None:
        """Let ``tensor`` be the memory of what is held from now on."""
        self.ready().bind(name, tensor)

    @property
    def buffers(self) -> Mapping[str, torch.Tensor]:
        """The memory of the plan by name: its own, what is held, and nothing of a caller's."""
        return self.ready().buffers

    def empty(self, like: torch.Tensor | None = None) -> list[torch.Tensor]:
        """Tensors for the results, on the CPU; if given, on the device of ``like`` (meta and fake tensors get their own kind)."""
        if like is None:
            return [_empty(*place) for place in self._places]
        return [torch.empty_strided(*place, dtype=dtype, device=like.device) for *place, dtype in self._places]

    def run(self, tensors: Sequence[torch.Tensor], times: int = 1) -> list[torch.Tensor]:
        """The caller has checked the tensors: dtypes, shapes, and strides as planned.

        Of several ``times`` the results are those of the last; what is held goes on from one to the next.
        """
        results = [_empty(*place) for place in self._places]
        written = results
        if self._repeated:
            written = list(results)
            for i, shape in self._repeated:
                written[i] = results[i].as_strided(shape, results[i].stride())
        (self._program or self.ready()).run((*tensors, *written), times)
        return results


def _reads(plan: Plan, name: str) -> bool:
    return any(value.name == name for value in plan.graph.inputs)


def readable(tensor: torch.Tensor, what: str) -> torch.Tensor:
    """``tensor`` as plain dense memory on the CPU, which a kernel may read; a copy where it is a view that negates.

    Raises InputError or LayoutError for a tensor that has no such memory, or whose transformation would be lost.
    """
    plain = type(tensor) in PLAIN
    if plain and forward_ad._current_level < 0 and torch._C._dispatch_keys(tensor).raw_repr() in _PLAIN_KEYS:
        return tensor  # nearly all are, and this is looked at in every call
    if tensor.layout is not torch.strided:
        raise LayoutError(f"{what} must be a dense tensor; got {tensor.layout}; use .to_dense()")
    if tensor.is_meta:
        raise InputError(f"{what} must hold numbers, on the cpu; it is on meta, where tensors have none")
    if tensor.device.type != "cpu":
        raise InputError(f"{what} must be on the cpu; it is on {tensor.device}; move it with .cpu()")
    if not plain and not is_plain_kind(tensor):
        raise InputError(f"{what} must be a plain tensor with memory; got {type(tensor).__name__}{_own_rules(tensor)}")
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        raise InputError(
            f"{what} is inside a torch.func transform, which a plan cannot follow; in place of torch.vmap, make the batch a dim"
        )
    if forward_ad._current_level >= 0 and forward_ad.unpack_dual(tensor).tangent is not None:
        raise InputError(f"{what} carries a forward-mode tangent, which a compiled plan cannot follow")
    if tensor._is_zerotensor() or tensor.is_neg() or tensor.is_conj():
        return (
            torch.zeros_like(tensor, device="cpu") if tensor._is_zerotensor() else tensor.resolve_conj().resolve_neg()
        )
    return tensor


def is_plain_kind(tensor: torch.Tensor) -> bool:
    """Whether it is a tensor, or of a subclass that only adds Python methods: no rules of its own for what torch computes."""
    kind = type(tensor)
    return kind in PLAIN or (
        kind.__torch_dispatch__ is torch.Tensor.__torch_dispatch__ and _function_of(kind) in map(_function_of, PLAIN)
    )


def _function_of(kind: Any) -> Any:
    return getattr(kind.__torch_function__, "__func__", kind.__torch_function__)


def _own_rules(tensor: torch.Tensor) -> str:
    """What to do about a kind that has memory, and rules of its own for what torch computes of it."""
    alone = type(tensor).__torch_dispatch__ is torch.Tensor.__torch_dispatch__
    return ", whose __torch_function__ would not be called; use .as_subclass(torch.Tensor)" if alone else ""


def fit(value: Value, tensor: torch.Tensor) -> torch.Tensor:
    """``tensor`` with the strides that input ``value`` was planned with; copied where they differ.

    Raises ShapeError or DTypeError when it is not what was planned.
    """
    type = value.type
    if tensor.shape != type.shape or tensor.dtype != TORCH_DTYPE[type.dtype]:
        raise misfit(value, tensor)
    tensor = readable(tensor, input_named(value.name))
    return tensor if _lies_as(tensor, type) else torch.empty_strided(
        type.shape, type.strides, dtype=tensor.dtype, device="cpu").copy_(tensor)  # fmt: skip


def _lies_as(tensor: torch.Tensor, type: TensorType) -> bool:
    strides = tensor.stride()
    return strides == type.strides or all(
        a == b or size <= 1 for a, b, size in zip(strides, type.strides, type.shape, strict=True)
    )


def misfit(value: Value, tensor: torch.Tensor) -> InputError:
    planned = f"{TORCH_DTYPE[value.type.dtype]} {list(value.type.shape)}"
    wanted = f"{input_named(value.name)} must be {planned} on cpu, as in the example"
    got = f"got {tensor.dtype} {list(tensor.shape)} on {tensor.device}"
    kind = ShapeError if tuple(tensor.shape) != value.type.shape else DTypeError
    return kind(f"{wanted}; {got}; compile again for other inputs")
