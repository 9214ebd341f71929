"""Which dtype a result has, as torch promotes, and casts between all that the compiler computes in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tritoncnn.errors import UnsupportedError
from tritoncnn.ops import IR_DTYPE, OPS, TORCH_DTYPE, Sym
from tritoncnn.ops.define import constant

COMPUTED = ("f32", "f16", "bf16", "i64", "i32", "i16", "i8", "u8", "i1")
FLOATS = ("f32", "f16", "bf16", "f64")


def promoted(*xs: Any) -> str:
    """The dtype in which tensors and numbers meet: tensors with dims count before those without, these before numbers."""
    groups: list[list[torch.dtype]] = [[], [], []]
    for x in xs:
        if isinstance(x, Sym):
            groups[0 if x.shape else 1].append(TORCH_DTYPE[x.dtype])
        elif isinstance(x, complex):
            raise UnsupportedError(f"the complex number {x}")
        else:
            groups[2].append(
                torch.bool if isinstance(x, bool) else torch.int64 if isinstance(x, int) else torch.float32
            )
    found: torch.dtype | None = None
    for group in reversed(groups):
        for dtype in group[1:]:
            group[0] = torch.promote_types(group[0], dtype)
        if group:
            found = group[0] if found is None else _over(group[0], found)
    assert found is not None
    return IR_DTYPE[found]


def _over(higher: torch.dtype, lower: torch.dtype) -> torch.dtype:
    """``higher`` decides but for its kind: an integer tensor and the number 0.5 make a float."""
    if higher.is_floating_point:
        return higher
    return torch.promote_types(higher, lower) if higher == torch.bool or lower.is_floating_point else higher


def cast(x: Any, dtype: str) -> Any:
    """x as ``dtype``; numbers stay what they are, but for ints that wrap. Raises UnsupportedError for f64, complex numbers."""
    if isinstance(x, int) and not isinstance(x, bool) and dtype not in FLOATS and dtype != "i1":
        return torch.tensor(x).to(TORCH_DTYPE[dtype]).item()
    if not isinstance(x, Sym) or x.dtype == dtype:
        return x
    if dtype not in COMPUTED or x.dtype not in COMPUTED:
        raise UnsupportedError(f"a cast from {x.dtype} to {dtype}")
    number = _number(x)
    if number is None or dtype == "i1":
        return OPS[f"cast_{dtype}"](x)
    if dtype not in FLOATS:
        number = torch.tensor(number).to(TORCH_DTYPE[dtype]).item()
    return filled(x, number, dtype)


def held(x: Any, dtype: str) -> Any:
    """x as ``dtype``, and a number as that would hold it: so torch compares and divides with rest, where a last bit decides."""
    number = _number(x) if isinstance(x, Sym) else x
    if number is None or dtype not in ("f16", "bf16"):
        return cast(x, dtype)
    rounded = torch.tensor(float(number)).to(TORCH_DTYPE[dtype]).item()
    return filled(x, rounded, dtype) if isinstance(x, Sym) else rounded


def filled(x: Sym, number: float, dtype: str = "") -> Sym:
    """A tensor of the shape of x, the number everywhere; of the dtype of x where none is given."""
    one = Sym(x.graph, constant(x.graph, number, dtype or x.dtype))
    found: Sym = OPS["expand"](one, shape=x.shape) if x.shape else one
    return found


def convert(x: Any, dtype: torch.dtype) -> Any:
    return cast(x, IR_DTYPE.get(dtype, str(dtype)))


def _number(x: Sym) -> float | None:
    """The number that x is everywhere, if it is one of the graph's constants."""
    for _ in range(2):
        node = next((node for node in reversed(x.graph.nodes) if x.value in node.results), None)
        if node is None or node.op not in ("const", "expand"):
            return None
        if node.op == "const":
            return float(node.attrs["value"]) if x.dtype in FLOATS else int(node.attrs["value"])
        x = Sym(x.graph, node.operands[0])
    return None


def together(compute: Callable[..., Any], *xs: Any) -> Any:
    """``compute`` of all in the dtype in which they meet."""
    dtype = promoted(*xs)
    return compute(*(cast(x, dtype) for x in xs))


def is_whole(dtype: str) -> bool:
    return dtype not in FLOATS


def as_float(x: Any) -> Any:
    """Truth values and integers as f32; floats and numbers stay what they are. Raises UnsupportedError for f64."""
    if not isinstance(x, Sym):
        return x
    if x.dtype == "f64":
        raise UnsupportedError("arithmetic on f64")
    return x if x.value.type.is_float else cast(x, "f32")


def as_number(x: Any) -> Any:
    """Truth values as i64, with which they count."""
    return cast(x, "i64") if isinstance(x, Sym) and x.dtype == "i1" else x


def widen(x: Any) -> Any:
    """A 16-bit float as f32, in which composites compute; f32 as it is."""
    return cast(x, "f32") if isinstance(x, Sym) and x.dtype in ("f16", "bf16") else x


def narrow(y: Any, like: Any) -> Any:
    """y rounded to the dtype of ``like``, once."""
    return cast(y, like.dtype) if like.dtype in ("f16", "bf16") else y


def result_dtype(dtype: torch.dtype | None) -> str | None:
    """The IR's name of an option ``dtype=``; None for None. Raises UnsupportedError for one that is not computed in."""
    if dtype is None:
        return None
    name = IR_DTYPE.get(dtype, str(dtype))
    if name not in COMPUTED:
        raise UnsupportedError(f"dtype must be one of {', '.join(COMPUTED)}; got {name}")
    return name
