"""Plans by the sizes of a call: made on demand, a bounded number kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

import torch

from tritoncnn.compiler.memory import type_of
from tritoncnn.compiler.subject import Arguments
from tritoncnn.errors import ShapeError, UnsupportedError
from tritoncnn.ir import TensorType
from tritoncnn.tree import Form

KEPT = 8
T = TypeVar("T")


class Plans(Generic[T]):
    """What ``make(arguments, *words)`` gives, by sizes of the arguments and those words; the longest unused is dropped."""

    def __init__(self, make: Callable[..., T], names: Callable[[Form], tuple[str, ...]]) -> None:
        self._make, self._names = make, names
        self._kept: OrderedDict[tuple[object, ...], T] = OrderedDict()

    def get(self, arguments: Arguments, *words: object) -> T:
        key = _key(arguments, words)
        if key not in self._kept:
            try:
                self._kept[key] = self._make(arguments, *words)
            except UnsupportedError as error:
                if not self._kept:  # the example itself
                    raise
                raise ShapeError(f"{self._said(arguments)} cannot be planned: {error}") from error
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def _said(self, arguments: Arguments) -> str:
        """The sizes of a call: 'x [8, 1, 28, 28], target [16]'."""
        names = self._names(arguments.form)
        return ", ".join(f"{name} {list(t.shape)}" for name, t in zip(names, arguments.tensors, strict=True))

    def put(self, made: T, arguments: Arguments, *words: object) -> None:
        """Keep what was made elsewhere."""
        self._kept[_key(arguments, words)] = made

    def clear(self, but: T | None = None) -> None:
        """Forget all plans, or all but one."""
        for key in [key for key, plan in self._kept.items() if plan is not but]:
            del self._kept[key]

    def drop(self, arguments: Arguments, *words: object) -> None:
        """Forget a plan that no longer holds."""
        self._kept.pop(_key(arguments, words), None)


def _key(arguments: Arguments, words: tuple[object, ...]) -> tuple[object, ...]:
    return (repr(arguments.form), *((tuple(t.shape), t.dtype) for t in arguments.tensors), *words)


def input_type(tensor: torch.Tensor) -> TensorType:
    """How an input is planned: as it lies when it is dense, else row-major."""
    type = type_of(tensor)
    return type if type.order is not None else TensorType.dense(type.dtype, type.shape)
