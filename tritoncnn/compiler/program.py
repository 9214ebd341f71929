"""One plan with its state bound: what a compiled model, step or gradient runs for calls of one form and size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from tritoncnn.capture import Captured
from tritoncnn.compiler.memory import Live, type_of, versions_of
from tritoncnn.compiler.pipeline import Planned
from tritoncnn.compiler.subject import Arguments
from tritoncnn.errors import InputError, input_named
from tritoncnn.ir import Value
from tritoncnn.ops import TORCH_DTYPE
from tritoncnn.runtime import Alike, Executable, fit, ranges_of, readable
from tritoncnn.tree import Form, builder, is_row, reader


def fit_all(values: Iterable[Value | None], tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """The tensors of some inputs as planned; those that are not read as they are. Raises ShapeError, DTypeError."""
    return [t if value is None else fit(value, t) for value, t in zip(values, tensors, strict=True)]


class CallProgram:
    """One plan of a function over modules, with its state bound where the modules hold it."""

    def __init__(self, captured: Captured, planned: Planned, live: Live, extra: Mapping[str, torch.Tensor],
                 arguments: Arguments, *, more_inputs: Sequence[str] = (), more_results: int = 0) -> None:  # fmt: skip
        """``arguments``: those it is planned for. ``more_inputs``, ``more_results``: what stands behind the function's own."""
        self.captured, self.planned, self.live = captured, planned, live
        self.form: Form = arguments.form
        self.results = captured.form.tensors  # of the function itself
        self._read = reader(self.form)
        self._row = is_row(self.form.parts[0])  # of tensors
        self._sizes = tuple((t.shape, t.dtype) for t in arguments.tensors)
        self._types = live.types()
        self.ranges = ranges_of(captured.graph, captured.inputs)
        arenas = {
            part.arena: torch.zeros(part.size, dtype=TORCH_DTYPE[part.dtype], device="cpu") for part in planned.prepared
        }
        constants = {name: readable(t.detach(), f"the constant {name}") for name, t in captured.constants.items()}
        self._counted = [tensor for tensor in constants.values() if not tensor.is_inference()]
        self._look()
        held = {**live.tensors(), **constants, **extra, **arenas}
        inputs, results = (*captured.inputs, *more_inputs), self.results + more_results
        self.run = Executable(planned.plan, inputs, results, held, captured.results)
        self.run.ready()
        own = zip(self.run.inputs, arguments.tensors, strict=False)
        self._alike = Alike([type_of(tensor) if value is None else value.type for value, tensor in own])
        self._prepare: Executable | None = None
        if planned.prepare is not None:
            outputs = {f"output {i}": arena for i, arena in enumerate(arenas.values())}
            self._prepare = Executable(planned.prepare, (), 0, {**live.tensors(), **constants, **outputs})
            self.prepare()
        self.build = builder(captured.form)

    def _look(self) -> None:
        """Keep of which tensors something follows (state, and what the code holds), which buffers the plan changes, and in which
        memories these lie."""
        self._sources = [*self.live.held, *self._counted]
        self.changed = [self.live.slots[name].tensor for name in self.captured.updated]
        self._written = {tensor.untyped_storage().data_ptr() for tensor in self.changed if tensor.numel()}

    def prepare(self) -> None:
        """Compute what follows from the state alone, as it is now."""
        if self._prepare is not None:
            self._prepare.run(())
            self._versions = versions_of(self._sources)

    def take(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Sequence[torch.Tensor], bool] | None:
        """(the tensors of a call, whether they surely lie as planned) when it is one of the planned form, sizes and dtypes; None
        when that is not sure."""
        row = self._row and not kwargs
        if row and self._alike(args):
            return args, True
        tensors = self._read((args, kwargs))
        if tensors is None:
            return None
        if not row and self._alike(tensors):
            return tensors, True
        for tensor, (shape, dtype) in zip(tensors, self._sizes, strict=True):
            if tensor.dtype != dtype or tensor.is_nested or tensor.shape != shape:  # a nested tensor has no shape
                return None
        return tensors, False

    def fit(self, tensors: Sequence[torch.Tensor], alike: bool = False) -> Sequence[torch.Tensor]:
        """The tensors as planned; ``alike``: they lie so.

        Raises ShapeError, DTypeError, OutOfRangeError for a place or class that there is not, and InputError for an input in the
        memory of a buffer that the call changes, which would change on the way as in torch.
        """
        inputs = self.run.inputs[: len(tensors)]
        found = tensors if alike else fit_all(inputs, tensors)
        if self._written:
            for value, tensor in zip(inputs, tensors, strict=True):
                if value is not None and tensor.untyped_storage().data_ptr() in self._written:
                    raise InputError(
                        f"{input_named(value.name)} lies in the memory of a buffer that the call changes; use .clone()"
                    )
        for range in self.ranges:
            range.check(found, lambda position: input_named(self.captured.inputs[position]))
        return found

    def refresh(self) -> bool:
        """Bind state that has moved and prepare anew what has changed; False when state lies otherwise than planned, so that
        a new plan is needed."""
        if not self.live.moved():
            if self._prepare is not None and versions_of(self._sources) != self._versions:
                self.prepare()
            return True
        self.live.refresh()
        if self.live.types() != self._types:
            return False
        for name, tensor in self.live.tensors().items():
            self.run.bind(name, tensor)
            if self._prepare is not None:
                self._prepare.bind(name, tensor)
        self._look()
        self.prepare()
        return True
