"""What forward keeps outside of parameters and buffers for its next call: a counter, a list that grows, a tensor. A plan has no
such memory, so a call that would be another one after it is refused.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

from tritoncnn.capture.fixed import Ask
from tritoncnn.capture.left import Tables, leave, lent, read_of

KEEPS = "something that forward keeps outside of parameters and buffers"
TENSOR = f"{KEEPS}, a tensor: register_buffer keeps it from call to call"
OTHERWISE = f"{KEEPS}: it would do something else in the next call"
SMALL = 1024  # numbers of a tensor that the code holds, the first, that are compared
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
    """A tensor of an earlier call is read that would be another one in the next."""


@dataclass
class _Made:
    """An op whose results follow from numbers of the code alone; tensors without content stand as their identity."""

    func: Any
    operands: Any
    results: list[int]


@dataclass(frozen=True)
class _Number:
    """The identity of a tensor without content."""

    identity: int


@dataclass
class Kept:
    """``what`` a second call would do otherwise than the first, in words; "" for nothing, and where it cannot be told.

    held  tensors of its own that the code reads, parameters of modules in its lists among them
    """

    what: str = ""
    held: list[torch.Tensor] = field(default_factory=list)


class _Log(TorchDispatchMode):
    """Each op of a call on tensors without content, in words: its operands by number, what else it is told as it is.

    What follows from numbers of the code alone has a word for how it is made, whether this call makes it or an earlier one did.
    """

    def __init__(self, earlier: _Log | None = None) -> None:
        super().__init__()
        self.earlier = earlier
        self.lines: list[str] = []
        self.numbers: dict[int, int] = {}  # of tensors, by identity
        self.words: dict[int, str] = {}  # for tables without content, by identity
        self.alive: list[Any] = []  # so that no identity is used twice
        self.made: list[_Made] = []
        self.done = 0  # how many of these are computed
        self.known: dict[int, torch.Tensor] = {}  # their results, by identity

    def hold(self, tensor: Any) -> None:
        self.numbers.setdefault(id(tensor), len(self.numbers))
        self.alive.append(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace in QUESTIONS:
            return func(*args, **(kwargs or {}))
        operands = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        said = f"{func} {tree_map(self._said, (args, kwargs or {}))}"  # before the op runs: it may change them
        reads = read_of(func, operands)
        fixed = torch.Tag.nondeterministic_seeded not in func.tags and all(self._of_code(x) for x in reads)
        found = func(*args, **(kwargs or {}))
        results = [one for one in tree_leaves(found) if isinstance(one, torch.Tensor)]
        if fixed:
            self._make(_Made(func, tree_map(self._named, (args, kwargs or {})), list(map(id, results))), said, results)
            return found
        self.lines.append(said)
        if func._schema.is_mutable:
            written = {x.untyped_storage()._cdata for x in operands}
            for x in self.alive:
                if id(x) in self.words and x.untyped_storage()._cdata in written:
                    del self.words[id(x)]
                    self.numbers[id(x)] = len(self.numbers)
        for one in results:
            if id(one) not in self.numbers:
                self.hold(one)
        return found

    def _make(self, made: _Made, said: str, results: list[torch.Tensor]) -> None:
        self.made.append(made)
        for place, one in enumerate(results):
            if isinstance(one, FakeTensor):
                self.words[id(one)] = f"{place} of {hashlib.sha256(said.encode()).hexdigest()}"
                self.alive.append(one)

    def _of_code(self, tensor: torch.Tensor) -> bool:
        return id(tensor) not in self.numbers if isinstance(tensor, FakeTensor) else True

    def _named(self, value: Any) -> Any:
        if not isinstance(value, FakeTensor):
            return value
        with _disable_current_modes():
            return _Number(id(value)) if self._of_code(value) else lent(value)

    def ask(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """What a tensor holds now, where that follows from numbers of the code and sizes alone."""
        if id(tensor) not in self.words:
            return None
        with _disable_current_modes(), torch.no_grad():
            return self._computed()[id(tensor)].clone()

    def leave(self) -> Tables:
        """The tables that follow from the code's numbers; all else is let go."""
        tables = {id(x): x for x in self.alive if id(x) in self.words}
        self.alive.clear()
        return tables, lambda keys: self._computed()

    def _computed(self) -> dict[int, torch.Tensor]:
        """All tables, those of earlier calls too, by identity."""
        known = self.known
        if self.earlier is not None and not self.done:
            known.update(self.earlier._computed())
        for made in self.made[self.done :]:
            args, kwargs = tree_map(lambda x: known[x.identity] if isinstance(x, _Number) else x, made.operands)
            found = [x for x in tree_leaves(made.func(*args, **kwargs)) if isinstance(x, torch.Tensor)]
            known.update(zip(made.results, found, strict=True))
            self.done += 1
        return known

    def _said(self, value: Any) -> str:
        if not isinstance(value, torch.Tensor):
            return repr(value)
        if id(value) in self.numbers:
            return f"%{self.numbers[id(value)]}"
        for log in (self, self.earlier):
            if log is not None and id(value) in log.words:
                return log.words[id(value)]
        if isinstance(value, FakeTensor) and self.earlier is not None and id(value) in self.earlier.numbers:
            raise _Kept
        if isinstance(value, FakeTensor):
            self.hold(value)  # someone else's
            return f"%{self.numbers[id(value)]}"
        self.alive.append(value)  # one that the code holds
        with _disable_current_modes():
            return f"{value.dtype} {list(value.shape)} {value.reshape(-1)[:SMALL].tolist()}"


def kept_by(
    module: torch.nn.Module, example: Sequence[torch.Tensor], prepare: Callable[[Ask], None] = lambda ask: None
) -> Kept:
    """What two calls ``module(*example)`` keep and read: they are made on tensors without content, as torch.export makes its own.
    ``prepare`` is told before each whom to ask for what tensors hold.

    Tables that the code has kept of its own numbers have these afterwards, so that torch.export finds them.
    """
    logs: list[_Log] = []
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    what = _called_twice(module, example, mode, logs, prepare)
    held = {id(x): x for log in logs for x in log.alive if not isinstance(x, FakeTensor)}
    mode.fake_tensor_converter.meta_converter.tensor_memo.clear()  # a tensor that a weak reference knows cannot change its kind
    leave(logs)
    return Kept(what, list(held.values()))


def _called_twice(
    module: torch.nn.Module, example: Sequence[torch.Tensor], mode: FakeTensorMode, logs: list[_Log],
    prepare: Callable[[Ask], None],
) -> str:  # fmt: skip
    def called(log: _Log) -> None:
        state: dict[str, torch.Tensor] = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        fakes: dict[str, torch.Tensor] = {
            name: mode.from_tensor(tensor, static_shapes=True) for name, tensor in state.items()
        }
        inputs = tuple(mode.from_tensor(tensor, static_shapes=True) for tensor in example)
        for tensor in (*fakes.values(), *inputs):
            log.hold(tensor)
        prepare(log.ask)
        with mode, log:
            torch.func.functional_call(module, fakes, inputs)

    with as_before(module), _uncached():
        first = _Log()
        logs.append(first)
        try:
            called(first)
        except Exception:  # whatever torch has no rule for
            return ""
        again = _Log(first)
        logs.append(again)
        try:
            called(again)
        except _Kept:
            return TENSOR
        except Exception as error:
            return f"{KEEPS}: called again, it ends in {type(error).__name__}: {error}"
    return "" if first.lines == again.lines else OTHERWISE
