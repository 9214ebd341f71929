"""Where parameters live: every program of a module sees the module's own tensors, without copies.

What a step trains is moved into one arena, once, and the module's tensors become views of it; so ``state_dict()``, eager
torch code, other programs and moving averages read and write what the kernels do.
"""

from __future__ import annotations

import operator
import threading
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import torch

from tritoncnn import forks
from tritoncnn.capture import TRACING
from tritoncnn.errors import CheckpointError, InputError
from tritoncnn.ir import TensorType
from tritoncnn.ops import IR_DTYPE
from tritoncnn.passes.pack_parameters import ParameterLayout
from tritoncnn.runtime import readable

_LOCKS: weakref.WeakKeyDictionary[torch.nn.Module, threading.RLock] = weakref.WeakKeyDictionary()
_GUARD = threading.Lock()
# What every call asks of every tensor of a net, hundreds of times: no line of Python runs for one.
_ADDRESS: Callable[[torch.Tensor], int] = torch.Tensor.data_ptr
_VERSION: Callable[[torch.Tensor], int] = torch.Tensor._version.__get__  # type: ignore[attr-defined]


class Locks:
    """The locks of some modules, taken together: no program of a module runs while its state is loaded, or beside another."""

    def __init__(self, nets: Iterable[torch.nn.Module]) -> None:
        with forks.apart(), _GUARD:
            self._locks = [_LOCKS.setdefault(net, threading.RLock()) for net in sorted(nets, key=id)]

    def __enter__(self) -> None:
        forks.apart().acquire()
        for lock in self._locks:
            lock.acquire()

    def __exit__(self, *_: Any) -> None:
        for lock in reversed(self._locks):
            lock.release()
        forks.apart().release()


class Slot:
    """A parameter or buffer where the module holds it, so that one put in its place later is seen."""

    def __init__(self, owner: dict[str, torch.Tensor | None], key: str, tensor: torch.Tensor) -> None:
        self.owner, self.key, self.tensor = owner, key, tensor
        self._shape, self._dtype = tensor.shape, tensor.dtype  # module.half() changes the tensor itself

    def refresh(self, name: str) -> torch.Tensor:
        """The tensor that the module holds now. Raises CheckpointError when it is another kind of tensor."""
        now = self.owner.get(self.key)
        if now is None or (now.shape, now.dtype, now.device.type) != (self._shape, self._dtype, "cpu"):
            got = "none" if now is None else f"{now.dtype} {list(now.shape)} on {now.device}"
            raise CheckpointError(
                f"{name} must be {self._dtype} {list(self._shape)} on cpu, as it was compiled; the module now has {got}"
            )
        if (_reach(now) + now.storage_offset()) * now.element_size() > now.untyped_storage().nbytes():
            raise CheckpointError(f"{name} has no memory any more: its storage was made smaller (resize_)")
        self.tensor = now
        return now


def slots(nets: Mapping[str, torch.nn.Module], prefix: str) -> dict[str, Slot]:
    """Every parameter and buffer by its state name: ``<net>.<name in the net>`` less ``prefix``."""
    found = {}
    for net_name, net in nets.items():
        for path, module in net.named_modules(remove_duplicate=False):
            for owner in (module._parameters, module._buffers):
                for key, tensor in owner.items():
                    if tensor is not None:
                        name = ".".join(part for part in (net_name, path, key) if part).removeprefix(prefix)
                        found[name] = Slot(owner, key, tensor)
    return found


def _reach(tensor: torch.Tensor) -> int:
    """How many elements a tensor reaches over, from its first on."""
    if not tensor.numel():
        return 0
    return 1 + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))


def check_apart(slots: Mapping[str, Slot], trained: Collection[str]) -> None:
    """Raises InputError where what is trained, and so moved into an arena, lies in the memory of another parameter or buffer, or
    in memory that it shares with other processes.

    The same tensor under several names is one.
    """
    reaches = []
    for name, slot in slots.items():
        tensor = slot.tensor
        if name in trained and tensor.is_shared():
            raise InputError(
                f"compile_step: {name} lies in memory that other processes share, and a trained parameter is moved to a place "
                "of its own, which they would not see: train a copy.deepcopy of the module, and copy its state back"
            )
        if tensor.numel():
            start = tensor.data_ptr()
            reaches.append((start, start + _reach(tensor) * tensor.element_size(), name))
    reaches.sort()
    far = reaches[:1]  # the one that reaches furthest so far
    for start, end, name in reaches[1:]:
        (_, reached, other) = far[0]
        pair = slots[name].tensor, slots[other].tensor
        if start < reached and pair[0] is not pair[1] and {name, other} & set(trained):
            raise InputError(
                f"compile_step: {other} and {name} lie in the same memory, and a trained parameter is moved to a place of its "
                "own: let both be one parameter, or clone one"
            )
        if end > reached:
            far = [(start, end, name)]


def type_of(tensor: torch.Tensor) -> TensorType:
    """The IR's type of a tensor, with its strides."""
    return TensorType(IR_DTYPE[tensor.dtype], tuple(tensor.shape), tuple(tensor.stride()))


class Arena:
    """Flat memory in which the parameters of one layout lie; ``settle`` brings them (back) there."""

    def __init__(self, layout: ParameterLayout, slots: Sequence[Slot]) -> None:
        self.layout, self.slots = layout, tuple(slots)
        found = self._found()
        self.memory = empty_arena(layout) if found is None else found
        self._base = self.memory.data_ptr()
        self._addresses = tuple(self._base + 4 * part.offset for part in layout.slices)
        self.settle(self.away())

    def _found(self) -> torch.Tensor | None:
        """The arena in which the parameters lie in just this way, from an earlier step."""
        if not self.slots:
            return None
        first = self.slots[0].tensor
        storage, start = first.untyped_storage(), first.storage_offset()
        if start + self.layout.size > storage.nbytes() // 4:
            return None
        for part, slot in zip(self.layout.slices, self.slots, strict=True):
            tensor = slot.tensor
            same = tensor.untyped_storage().data_ptr() == storage.data_ptr() and tensor.dtype == torch.float32
            if not same or tensor.storage_offset() != start + part.offset or tensor.stride() != part.type.strides:
                return None
        return torch.empty(0, dtype=torch.float32, device="cpu").set_(storage, start, (self.layout.size,), (1,))

    def views(self, memory: torch.Tensor) -> list[torch.Tensor]:
        """The parameters' places in ``memory``, which is laid out as this arena is."""
        base = memory.storage_offset()
        return [memory.as_strided(p.type.shape, p.type.strides, base + p.offset) for p in self.layout.slices]

    def away(self) -> list[bool]:
        """Which parameters someone has moved or replaced."""
        return [
            slot.owner.get(slot.key) is not slot.tensor or slot.tensor.data_ptr() != address
            for slot, address in zip(self.slots, self._addresses, strict=True)
        ]

    def settle(self, away: Sequence[bool]) -> None:
        """Let every parameter be a view of this arena: bring back those that are ``away``. Raises InputError when the arena
        itself was moved: kernels know where it was."""
        if self.memory.data_ptr() != self._base:
            raise InputError(
                "the memory of the trained parameters was moved (share_memory moves it, and other processes would not see what a "
                "step does): train a copy.deepcopy of the module"
            )
        with torch.inference_mode(False), torch.no_grad():
            for slot, part, view, moved in zip(
                self.slots, self.layout.slices, self.views(self.memory), away, strict=True
            ):
                if moved:
                    tensor = slot.refresh(f"parameter {part.name}")
                    view.copy_(readable(tensor.detach(), f"parameter {part.name}"))
                    tensor.data = view


def empty_arena(layout: ParameterLayout) -> torch.Tensor:
    """Zeros, starting on a cache line."""
    raw = torch.zeros(layout.size + 16, dtype=torch.float32, device="cpu")
    start = -raw.data_ptr() % 64 // 4
    return raw[start : start + layout.size]


def versions_of(tensors: Iterable[torch.Tensor]) -> list[int]:
    """How often each tensor has been written to, as torch counts."""
    return list(map(_VERSION, tensors))


class Live:
    """State that a program reads (or assigns to) where the module holds it."""

    def __init__(self, slots: Mapping[str, Slot]) -> None:
        self.slots = dict(slots)
        self.refresh()

    def _look(self) -> None:
        """Keep the tensors themselves, and what else ``moved``, which every call asks, compares."""
        self._owners = [slot.owner for slot in self.slots.values()]
        self._keys = [slot.key for slot in self.slots.values()]
        self.held = [slot.tensor for slot in self.slots.values()]
        self._addresses = list(map(_ADDRESS, self.held))

    def types(self) -> dict[str, TensorType]:
        return {name: type_of(slot.tensor) for name, slot in self.slots.items()}

    def tensors(self) -> dict[str, torch.Tensor]:
        return {name: slot.tensor.detach() for name, slot in self.slots.items()}

    def moved(self) -> bool:
        """Whether a module holds another tensor, or one in another place, than when it was last looked at."""
        there = all(map(operator.is_, map(dict.get, self._owners, self._keys), self.held))
        return not there or list(map(_ADDRESS, self.held)) != self._addresses

    def refresh(self) -> None:
        """Look again where everything is."""
        with TRACING:
            for name, slot in self.slots.items():
                readable(slot.refresh(name), name)
        self._look()


def bump(tensors: Iterable[torch.Tensor]) -> None:
    """Tell torch that a kernel has written to these tensors, so that whoever watches their versions sees it."""
    torch.autograd.graph.increment_version(tensors)
