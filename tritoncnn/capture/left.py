"""What a trace leaves behind: tensors without numbers that user code has kept, in a functools.lru_cache or a dict of its file.

Tables that follow from the code's own numbers get theirs, as if the call had been a real one: code that finds them there later
computes with them.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping

import torch
from torch.utils import swap_tensors


def fill(tables: dict[int, torch.Tensor], compute: Callable[[list[int]], Mapping[int, torch.Tensor]]) -> None:
    """Give numbers, in place, to those of ``tables`` that something else holds too.

    ``tables``: tensors without numbers by a key of the caller's, who holds them nowhere else. ``compute``: numbers by such keys.
    One that cannot be computed, or that autograd still knows, stays as it is.
    """
    kept = [key for key in tables if sys.getrefcount(tables[key]) > 2]  # the dict's, and that of this call
    if not kept:
        return
    with contextlib.suppress(Exception), torch.no_grad():  # whatever an op raises: the table has no numbers then
        found = compute(kept)
        for key in kept:
            with contextlib.suppress(RuntimeError):
                swap_tensors(tables[key], found[key].detach())
