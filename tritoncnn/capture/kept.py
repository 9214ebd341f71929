"""What forward keeps outside of parameters and buffers for its next call: a counter, a list that grows, a tensor. A plan has no
such memory, so a call that would be another one after it is refused.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

KEEPS = "something that forward keeps outside of parameters and buffers"
TENSOR = f"{KEEPS}, a tensor: register_buffer keeps it from call to call"
OTHERWISE = f"{KEEPS}: it would do something else in the next call"
SMALL = 1024  # numbers of a tensor that the code holds, up to which they are compared
QUESTIONS = ("prim", "profiler")  # namespaces of what asks torch itself, which remembers some answers, or marks a place


@contextlib.contextmanager
def as_before(module: torch.nn.Module) -> Iterator[None]:
    """Undo afterwards what is set on modules and put into their containers."""
    attributes = [(part.__dict__, dict(part.__dict__)) for part in module.modules()]
    held = [value for _, known in attributes for value in known.values() if type(value) in (dict, list, set)]
    contents = [(value, value.copy()) for value in held]
    try:
        yield
    finally:
        for now, before in attributes:
            now.clear()
            now.update(before)
        for now, before in contents:
            now.clear()
            now.extend(before) if isinstance(now, list) else now.update(before)


@contextlib.contextmanager
def _uncached() -> Iterator[None]:
    """Within, autocast keeps no casts of parameters, which it would from one call to the next within an outer autocast."""
    enabled = torch.is_autocast_cache_enabled()
    torch.clear_autocast_cache()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(enabled)


class _Kept(Exception):
    """A tensor of an earlier call is read. ``fixed``: it is the same after each call."""

    def __init__(self, fixed: bool) -> None:
        super().__init__("a tensor that an earlier call has left")
        self.fixed = fixed


class _Log(TorchDispatchMode):
    """Each op of a call on tensors without content, in words: its operands by number, what else it is told as it is."""

    def __init__(self, earlier: _Log | None = None) -> None:
        super().__init__()
        self.earlier = earlier
        self.lines: list[str] = []
        self.numbers: dict[int, int] = {}  # of tensors, by identity
        self.fixed: set[int] = set()  # tensors that follow from numbers of the code alone
        self.alive: list[Any] = []  # so that no identity is used twice

    def hold(self, tensor: Any, fixed: bool) -> None:
        self.numbers.setdefault(id(tensor), len(self.numbers))
        self.alive.append(tensor)
        if fixed:
            self.fixed.add(id(tensor))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace in QUESTIONS:
            return func(*args, **(kwargs or {}))
        operands = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        said = tree_map(self._said, (args, kwargs or {}))  # before the op runs: it may change them
        self.lines.append(f"{func} {said}")
        found = func(*args, **(kwargs or {}))
        drawn = torch.Tag.nondeterministic_seeded in func.tags
        fixed = not drawn and all(id(x) in self.fixed for x in operands)
        for one in tree_leaves(found):
            if isinstance(one, torch.Tensor) and id(one) not in self.numbers:
                self.hold(one, fixed)
        return found

    def _said(self, value: Any) -> str:
        if not isinstance(value, torch.Tensor):
            return repr(value)
        if id(value) not in self.numbers:
            if self.earlier is not None and id(value) in self.earlier.numbers:
                raise _Kept(id(value) in self.earlier.fixed)
            self.hold(value, fixed=True)  # one that the code holds
            if not isinstance(value, FakeTensor) and value.numel() <= SMALL:
                return f"{value.dtype} {value.tolist()}"
        return f"%{self.numbers[id(value)]}"


def kept_by(module: torch.nn.Module, example: Sequence[torch.Tensor]) -> str:
    """What a second call ``module(*example)`` would do otherwise than the first, in words; "" for nothing, and where it cannot
    be told: the module is called on tensors without content, as torch.export does."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)

    def called(log: _Log) -> None:
        state: dict[str, torch.Tensor] = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        fakes: dict[str, torch.Tensor] = {
            name: mode.from_tensor(tensor, static_shapes=True) for name, tensor in state.items()
        }
        inputs = tuple(mode.from_tensor(tensor, static_shapes=True) for tensor in example)
        for tensor in (*fakes.values(), *inputs):
            log.hold(tensor, fixed=False)
        with mode, log:
            torch.func.functional_call(module, fakes, inputs)

    with as_before(module), _uncached():
        first = _Log()
        try:
            called(first)
        except Exception:  # whatever torch has no rule for
            return ""
        again = _Log(first)
        try:
            called(again)
        except _Kept as kept:
            return "" if kept.fixed else TENSOR
        except Exception as error:
            return f"{KEEPS}: called again, it ends in {type(error).__name__}: {error}"
    return "" if first.lines == again.lines else OTHERWISE
