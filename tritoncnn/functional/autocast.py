"""What torch.autocast asks of a fused op: which operands are cast, and to what, before it sees them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

# low     products: operands are cast to autocast's dtype
# f32     losses and what else loses too much: operands are cast to f32
# widest  operands are cast to the widest dtype among them
# none    nothing is cast: what was cast before stays so
Policy = str | Callable[[Sequence[Any]], str]  # or what tells one from the arguments
POLICIES = ("low", "f32", "widest", "none")


def cast_operands(policy: Policy, arguments: Sequence[Any], places: Sequence[int]) -> list[Any]:
    """The arguments with the operands at ``places`` cast as the policy says; f64 and whole numbers stay, as in torch."""
    chosen = policy if isinstance(policy, str) else policy(arguments)
    assert chosen in POLICIES
    found = list(arguments)
    if chosen == "none":
        return found
    given = [x for i in places for x in _tensors(found[i])]
    dtype = torch.float32
    if chosen == "low":
        dtype = torch.get_autocast_dtype("cpu")
    elif chosen == "widest" and len({x.dtype for x in given}) == 1:
        return found

    def cast(x: Any) -> Any:
        if isinstance(x, (list, tuple)):
            return [cast(one) for one in x]
        return x.to(dtype) if isinstance(x, torch.Tensor) and _eligible(x) else x

    for i in places:
        found[i] = cast(found[i])
    return found


def _tensors(value: Any) -> list[torch.Tensor]:
    return [x for x in (value if isinstance(value, (list, tuple)) else [value]) if isinstance(x, torch.Tensor)]


def _eligible(x: torch.Tensor) -> bool:
    return x.is_floating_point() and x.dtype != torch.float64 and x.device.type == "cpu"
