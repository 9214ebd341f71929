"""x[mask] while a call is traced: a tensor of a size that stands in for one which data decide.

The stand-in is one number for all selections of a trace, so that torch computes every other size as usual. Code must not go by
it: a size that comes of it is a ``Size``, which becomes a count in a tensor where it is computed with, and may not be read; a
call with selections is traced a second time with another stand-in, and what then differs was read nevertheless.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch.overrides import TorchFunctionMode

from tritoncnn.capture.kinds import EXPANDS, FILLS, RESHAPES
from tritoncnn.capture.regions import name_of
from tritoncnn.errors import UnsupportedError

LIBRARY = torch.library.Library("tritoncnn_capture", "DEF")
LIBRARY.define("selection(Tensor x, Tensor mask, int dim, int size) -> Tensor")
LIBRARY.define("selected(Tensor x) -> Tensor")
SELECTION = torch.ops.tritoncnn_capture.selection.default
SELECTED = torch.ops.tritoncnn_capture.selected.default
STAND_INS = (999_983, 1_000_003)  # primes: no other size is one, or divides one
READ = "the size of a selection x[mask], which data decide, is read as a number; mask.sum() counts in a tensor"
ARITHMETIC = frozenset({  # torch's functions of a tensor and a number, for which a tensor may stand
    "add", "__add__", "__radd__", "__iadd__", "sub", "rsub", "__sub__", "__rsub__", "__isub__", "mul", "__mul__", "__rmul__",
    "__imul__", "multiply", "div", "true_divide", "divide", "__div__", "__rdiv__", "__idiv__", "__truediv__", "__rtruediv__",
    "__itruediv__", "add_", "sub_", "mul_", "div_",
})  # fmt: skip
# Ops whose whole numbers are sizes.
SIZED = RESHAPES | EXPANDS | frozenset(FILLS) - {"fill.Scalar", "full_like.default", "new_full.default"}
SHAPE: Any = torch.Tensor.shape.__get__  # type: ignore[attr-defined]


def _selection(x: torch.Tensor, mask: torch.Tensor, dim: int, size: int) -> torch.Tensor:
    there = x.shape[dim : dim + mask.dim()]
    if there != mask.shape:
        raise IndexError(f"a mask must have the sizes of what it selects from, {list(there)}; got {list(mask.shape)}")
    return x.new_empty((*x.shape[:dim], size, *x.shape[dim + mask.dim() :]))


LIBRARY.impl("selection", _selection, "Meta")
LIBRARY.impl("selected", lambda x: x.new_empty((), dtype=torch.int64), "Meta")


class Size(int):
    """A multiple of how many places a mask selects: ``factor`` times that of the selection ``of``."""

    of: torch.Tensor
    factor: int
    reads = 0  # how often one was read as a number, whether or not the code has caught what is raised then

    @staticmethod
    def made(number: int, of: torch.Tensor, factor: int) -> Size:
        size = Size(number)
        size.of, size.factor = of, factor
        return size

    def tensor(self) -> torch.Tensor:
        """i64 []."""
        count: torch.Tensor = SELECTED(self.of)
        return count if self.factor == 1 else count * self.factor

    def __mul__(self, other: Any) -> Any:
        if type(other) is int:
            return Size.made(int.__mul__(self, other), self.of, self.factor * other)
        return _computed("__mul__")(self, other)

    __rmul__ = __mul__
    __hash__ = int.__hash__

    def __eq__(self, other: object) -> bool:
        return int.__eq__(self, other) if isinstance(other, Size) else self._read()

    def __ne__(self, other: object) -> bool:
        return not self == other

    def _read(self, *others: object) -> NoReturn:
        Size.reads += 1
        raise UnsupportedError(READ)

    __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __int__ = __float__ = __index__ = _read  # type: ignore[assignment]


def _computed(name: str) -> Callable[[Size, Any], Any]:
    def compute(size: Size, other: Any) -> Any:
        if isinstance(other, torch.Tensor):
            return NotImplemented  # whose own reflected method comes here by ``Selecting``
        return getattr(size.tensor(), name)(other.tensor() if isinstance(other, Size) else other)

    return compute


for _name in ("add", "radd", "sub", "rsub", "truediv", "rtruediv", "floordiv", "rfloordiv", "mod", "pow", "rpow"):
    setattr(Size, f"__{_name}__", _computed(f"__{_name}__"))


class Selecting(TorchFunctionMode):
    """Within, x[mask] and masked_select give tensors with the stand-in as a size. (That there is such a mode also keeps layers
    of torch.nn from taking fast paths, as torch.export's does.)"""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self._before: dict[str, Any] = {}

    def __exit__(self, *error: Any) -> None:
        for name, usual in self._before.items():
            setattr(builtins, name, usual)
        self._before.clear()
        super().__exit__(*error)

    def _select(self, x: torch.Tensor, mask: torch.Tensor, dim: int) -> torch.Tensor:
        """A selection. From the first one on, Python's max, min and len know sizes: they would read them as numbers."""
        if not self._before:
            self._before = {name: getattr(builtins, name) for name in ("max", "min", "len")}
            for name, usual in self._before.items():
                setattr(builtins, name, _length(usual) if name == "len" else _bounded(usual, name))
        return SELECTION(x, mask, dim, self.size)  # type: ignore[no-any-return]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "__getitem__" and func is torch.Tensor.__getitem__:
            return self._item(*args)
        if name == "masked_select" and "out" not in kwargs:
            return self._flat(*args, **kwargs)
        if name in ARITHMETIC:
            args = [one.tensor() if isinstance(one, Size) else one for one in args]
        if name in ("unbind", "__iter__") and self.size in args[0].shape:  # a loop over what is selected
            raise UnsupportedError(READ)
        found = func(*args, **kwargs)
        if name in ("__get__", "size", "numel", "nelement", "__len__") and args:
            return self._size(found, args[0]) if func == SHAPE or name != "__get__" else found
        return found

    def _size(self, found: Any, x: torch.Tensor) -> Any:
        if isinstance(found, int):
            factor, rest = divmod(found, self.size)
            return found if rest or not factor else Size.made(found, x, factor)
        return torch.Size([self._size(n, x) for n in found]) if self.size in found else found

    def _item(self, x: torch.Tensor, index: Any) -> torch.Tensor:
        entries = index if isinstance(index, tuple) else (index,)
        masks = [place for place, one in enumerate(entries) if _is_mask(one)]
        plain = [one for place, one in enumerate(entries) if place not in masks]
        known = all(type(one) is int or one is None or one is Ellipsis or isinstance(one, slice) for one in plain)
        if len(masks) != 1 or not known:
            found: torch.Tensor = x[index]
            return found
        (at,) = masks
        mask = entries[at]
        taken = mask.dim() + sum(type(one) is int or isinstance(one, slice) for one in plain)
        dim = sum(_dims(one, x.dim() - taken) for one in entries[:at])
        if any(one != slice(None) for one in plain):
            x = x[entries[:at] + (slice(None),) * mask.dim() + entries[at + 1 :]]
        return self._select(x, mask, dim)

    def _flat(self, input: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x, mask = torch.broadcast_tensors(input, mask)
        return self._select(x, mask, 0)


def _length(usual: Callable[[Any], int]) -> Callable[[Any], int]:
    def length(x: Any) -> int:
        return x.shape[0] if isinstance(x, torch.Tensor) and x.dim() else usual(x)

    return length


def _bounded(usual: Callable[..., Any], name: str) -> Callable[..., Any]:
    """max(x[mask].numel(), 1) is a count in a tensor."""

    def bounded(*values: Any, **how: Any) -> Any:
        if how or not any(isinstance(one, Size) for one in values):
            return usual(*values, **how)
        found, *others = sorted(values, key=lambda one: not isinstance(one, Size))
        found = found.tensor()
        for other in others:
            if isinstance(other, (Size, torch.Tensor)):
                both = torch.maximum if name == "max" else torch.minimum
                found = both(found, other.tensor() if isinstance(other, Size) else other)
            else:
                found = found.clamp(**{"min" if name == "max" else "max": other})
        return found

    return bounded


def _is_mask(one: Any) -> bool:
    return isinstance(one, torch.Tensor) and one.dtype == torch.bool and one.dim() > 0


def _dims(entry: Any, rest: int) -> int:
    """How many dims of the result an entry of an index gives."""
    return rest if entry is Ellipsis else int(entry is None or isinstance(entry, slice))


def selects(traced: torch.fx.Graph | torch.fx.GraphModule) -> bool:
    """Whether a graph, or one inside it, has a selection."""
    if isinstance(traced, torch.fx.GraphModule):
        return any(selects(one.graph) for one in traced.modules() if isinstance(one, torch.fx.GraphModule))
    return any(node.target is SELECTION for node in traced.nodes)


def printed(graph: torch.fx.Graph) -> list[str]:
    """Each node, with a word for the stand-in where it is a size; where it is a number, as in a division, it stays."""
    return [
        re.sub(rf"\b({'|'.join(map(str, STAND_INS))})\b", "selected", str(node.format_node()))
        if node.target is SELECTION or name_of(node) in SIZED
        else str(node.format_node())
        for node in graph.nodes
    ]
