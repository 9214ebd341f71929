"""What follows from numbers of the code alone, asked for while a call is traced: a mask that is made of torch.eye selects a known
number of places, so x[mask] is x at these places; and such tensors may be read as Python numbers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_map

# What a tensor holds now, where that follows from numbers of the code (and sizes of tensors) alone; None for all others.
Ask = Callable[[torch.Tensor], torch.Tensor | None]
LIFT = torch.ops.aten.lift_fresh.default  # gives a tracer a tensor that the code makes
# Functions that give something else than tensors; functions that give new tensors, of a size that numbers decide.
READING = frozenset({
    "item", "tolist", "__bool__", "__int__", "__float__", "__index__", "__contains__", "is_nonzero", "equal", "allclose",
})  # fmt: skip
REAL = frozenset(
    {"numpy", "__array__", "__format__", "__deepcopy__", "__reduce_ex__"}
)  # which need a tensor with content
NUMBERS = {"item": "item()", "tolist": "tolist()", "__int__": "int()", "__float__": "float()", "__index__": "a place"}
SIZED = frozenset({"nonzero", "argwhere", "unique", "unique_consecutive", "bincount", "where"})


class Answers:
    """What was answered in one call, for another one that asks the same."""

    def __init__(self) -> None:
        self._given: list[torch.Tensor | None] = []

    def noted(self, ask: Ask) -> Ask:
        """``ask``, whose answers are noted from now on in place of earlier ones."""
        self._given = given = []

        def answer(tensor: torch.Tensor) -> torch.Tensor | None:
            given.append(ask(tensor))
            return given[-1]

        return answer

    def again(self) -> Ask:
        """Whom a call may ask that asks what the noted one did, in its order."""
        left: Iterator[torch.Tensor | None] = iter(list(self._given))

        def answer(tensor: torch.Tensor) -> torch.Tensor | None:
            found = next(left, None)
            fits = found is not None and (found.shape, found.dtype) == (tensor.shape, tensor.dtype)
            return found if fits else None

        return answer


class _Unknown(Exception):
    """A tensor whose numbers do not follow from the code."""


class Fixed(TorchFunctionMode):
    """Within, functions of what is known give what they give of real tensors, and known masks are places."""

    def __init__(self, ask: Ask, unknown: Callable[[str], None], failed: Callable[[str], None]) -> None:
        """``unknown``: told of what reads a number which is not known. ``failed``: of what raises only because it is traced."""
        super().__init__()
        self._ask, self._unknown, self._failed = ask, unknown, failed

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        try:
            if name in READING:
                return self._of_known(func, args, kwargs)
            if name in SIZED and (name != "where" or len(args) + len(kwargs) == 1) and "out" not in kwargs:
                return tree_map(_lifted, self._of_known(func, args, kwargs))
            if name in RULES:
                return RULES[name](self, func, *args, **kwargs)
        except _Unknown:
            if name in NUMBERS:
                self._unknown(NUMBERS[name])
        try:
            return func(*args, **kwargs)
        except Exception:
            if name in READING or name in REAL:
                self._failed(name)
            raise

    def _known(self, tensor: torch.Tensor) -> torch.Tensor:
        found = self._ask(tensor)
        if found is None:
            raise _Unknown
        return found

    def _of_known(self, func: Any, args: Any, kwargs: Any) -> Any:
        """What a function gives of real tensors. Raises _Unknown where they are not all known."""

        def known(value: Any) -> Any:
            return self._known(value) if isinstance(value, torch.Tensor) else value

        args, kwargs = tree_map(known, (args, kwargs))
        with _real():
            return func(*args, **kwargs)

    def _placed(self, x: torch.Tensor, index: Any) -> Any:
        """An index with places where it has known masks. Raises _Unknown for one without such."""
        entries = list(index) if isinstance(index, tuple) else [index]
        if not any(map(_is_mask, entries)):
            raise _Unknown
        taken = sum(_dims(one) for one in entries if one is not None and one is not Ellipsis)
        found: list[Any] = []
        dim = 0
        for entry in entries:
            if entry is Ellipsis:
                dim += x.dim() - taken
            if not _is_mask(entry):
                found.append(entry)
            else:
                with _real():
                    mask = self._known(entry) if isinstance(entry, torch.Tensor) else torch.as_tensor(entry)
                    places = mask.nonzero(as_tuple=True)
                if x.shape[dim : dim + mask.dim()] != mask.shape:
                    raise _Unknown  # torch says what is wrong
                found += map(_lifted, places)
            dim += 0 if entry is None or entry is Ellipsis else _dims(entry)
        return tuple(found)

    def _item(self, func: Any, x: torch.Tensor, index: Any) -> Any:
        return func(x, self._placed(x, index))

    def _set_item(self, func: Any, x: torch.Tensor, index: Any, value: Any) -> Any:
        """One number is written where the mask holds, without places."""
        if not isinstance(value, torch.Tensor) or not value.dim():
            raise _Unknown
        return func(x, self._placed(x, index), value)

    def _put(self, func: Any, input: torch.Tensor, indices: Any, values: torch.Tensor, accumulate: bool = False) -> Any:
        if not values.dim():
            raise _Unknown
        return func(input, self._placed(input, tuple(indices)), values, accumulate)

    def _select(self, func: Any, input: torch.Tensor, mask: torch.Tensor) -> Any:
        known = self._known(mask)
        shape = torch.broadcast_shapes(input.shape, mask.shape)
        with _real():
            places = known.broadcast_to(shape).nonzero(as_tuple=True)
        return input.broadcast_to(shape)[tuple(map(_lifted, places))]

    def _repeat(
        self,
        func: Any,
        input: torch.Tensor,
        repeats: Any = None,
        dim: int | None = None,
        *,
        output_size: int | None = None,
    ) -> Any:
        counts = (
            self._known(input if repeats is None else repeats) if isinstance(repeats, torch.Tensor | None) else None
        )
        if counts is None:
            raise _Unknown
        x, dim = (input.flatten(), 0) if dim is None else (input, dim)
        with _real():
            places = torch.arange(x.shape[dim]).repeat_interleave(counts)
        return _lifted(places) if repeats is None else x.index_select(dim, _lifted(places))

    def _split(self, func: Any, input: torch.Tensor, indices_or_sections: Any, dim: int = 0) -> Any:
        if not isinstance(indices_or_sections, torch.Tensor):
            raise _Unknown
        return func(input, self._known(indices_or_sections).tolist(), dim)

    def _combine(self, func: Any, input: torch.Tensor, r: int = 2, with_replacement: bool = False) -> Any:
        """Of whatever tensor: its size is enough."""
        with _real():
            places = torch.combinations(torch.arange(input.shape[0]), r, with_replacement)
        return input[_lifted(places)]


RULES: dict[str, Callable[..., Any]] = {
    "__getitem__": Fixed._item,
    "__setitem__": Fixed._set_item,
    "index_put": Fixed._put,
    "index_put_": Fixed._put,
    "masked_select": Fixed._select,
    "repeat_interleave": Fixed._repeat,
    "tensor_split": Fixed._split,
    "combinations": Fixed._combine,
}


@contextlib.contextmanager
def _real() -> Iterator[None]:
    """Within, functions compute, and nothing is traced."""
    with _disable_current_modes(), torch._C.DisableTorchFunction(), torch.no_grad():
        yield


def _lifted(value: Any) -> Any:
    return LIFT(value) if isinstance(value, torch.Tensor) else value


def _is_mask(entry: Any) -> bool:
    if isinstance(entry, list):
        return bool(entry) and all(type(one) is bool for one in entry)
    return getattr(entry, "dtype", None) in (torch.bool, bool) and entry.ndim > 0  # NumPy's is bool


def _dims(entry: Any) -> int:
    """How many dims of a tensor an entry of an index is about."""
    if getattr(entry, "dtype", None) in (torch.bool, torch.uint8, bool):
        return int(entry.ndim)
    return int(type(entry) is not bool)
