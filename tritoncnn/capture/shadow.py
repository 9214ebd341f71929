"""Tensors without content: a module called with them computes sizes, dtypes and strides only."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from operator import getitem
from typing import Any

import torch
from torch._dispatch.python import no_python_dispatcher
from torch.fx.node import map_arg
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from tritoncnn.capture.sizes import LAID, SIZES
from tritoncnn.errors import InputError

META = torch.device("meta")
aten = torch.ops.aten
UNSURE = {  # ops of which the rules for tensors without content do not know how results lie, unless operands lie row-major
    aten.convolution.default: "a convolution",
    aten.pixel_shuffle.default: "a pixel shuffle",
    **{
        getattr(aten, f"{kind}_pad{dims}d").default: "padding"
        for kind in ("reflection", "replication")
        for dims in (1, 2, 3)
    },
}


class NotPlain(Exception):
    """What is traced is more than a list of ATen ops."""


class Hollow(NotPlain, InputError):
    """A tensor without content is read where nothing is traced."""


class Shadow(torch.Tensor):
    """A tensor that says it is on the CPU. ``twin``, on the meta device, has its size, strides and storage."""

    twin: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, twin: torch.Tensor, requires_grad: bool = False) -> Shadow:
        placed: Any = {"dtype": twin.dtype, "device": torch.device("cpu"), "requires_grad": requires_grad}
        made: Shadow = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, twin.shape, twin.stride(), twin.storage_offset(), **placed
        )
        made.twin = twin
        return made

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        raise Hollow(
            f"{func} cannot read a tensor that holds no numbers: something has kept it from the call by which a module was "
            "compiled; call the module itself once more, or let forward return the tensor"
        )

    @classmethod
    def of(cls, tensor: torch.Tensor) -> Shadow:
        """One that lies as a real tensor does, in a memory of its own."""
        if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or tensor.layout is not torch.strided:
            raise NotPlain(f"a tensor of the kind {type(tensor).__name__}")
        twin = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=META)
        made = cls(twin, tensor.requires_grad)
        if isinstance(tensor, torch.nn.Parameter):
            made._is_param = True  # isinstance(..., Parameter) looks at it
        return made


def sized(func: Any, args: Any, kwargs: Any) -> Any:
    """What an op gives on the meta device; ``args`` and ``kwargs`` may hold Shadows, results are twins."""
    args, kwargs = tree_map(_twin, (args, kwargs))
    with no_python_dispatcher():  # torch's rules in C++, where there are both
        found = SIZES[func](*args, **kwargs) if func in SIZES else None
        if found is None and func in UNSURE and not _row_major(*(x for x in args[:2] if isinstance(x, torch.Tensor))):
            raise NotPlain(f"{UNSURE[func]} of what does not lie row-major")
        return func(*args, **kwargs) if found is None else found


def lay(graph: torch.fx.Graph) -> None:
    """Put right, in a graph that torch.export wrote, what lies otherwise than torch's fake tensors say: results of the ops of
    ``LAID``, and what follows from them. A result whose rule is not known stays as it is said to be.
    """
    moved = set[torch.fx.Node]()
    for node in graph.nodes:
        known = node.target is getitem or isinstance(node.target, torch._ops.OpOverload)
        if not known or (node.target not in LAID and moved.isdisjoint(node.all_input_nodes)):
            continue
        args, kwargs = map_arg((node.args, node.kwargs), lambda operand: tree_map(_bare, operand.meta["val"]))
        with contextlib.suppress(NotPlain, RuntimeError):  # what torch has no rule for without content
            found = sized(node.target, args, kwargs)
            if _strides(found) != _strides(node.meta["val"]):
                node.meta["val"] = found
                moved.add(node)


def _bare(value: Any) -> Any:
    """A shadow that lies as the tensor ``value`` does."""
    if not isinstance(value, torch.Tensor):
        return value
    return Shadow(torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=META))


def _strides(values: Any) -> list[tuple[int, ...]]:
    return [value.stride() for value in tree_leaves(values) if isinstance(value, torch.Tensor)]


def _row_major(*tensors: torch.Tensor) -> bool:
    return all(tensor.is_contiguous() for tensor in tensors)


def _twin(value: Any) -> Any:
    if isinstance(value, Shadow):
        return value.twin
    if isinstance(value, torch.Tensor):
        raise NotPlain("a tensor that the code holds")
    if isinstance(value, torch.device):
        if value.type != "cpu":
            raise NotPlain(f"a tensor on {value}")
        return META
    return value


class Sizes(TorchDispatchMode):
    """Below autograd: an op on Shadows, or one that makes a tensor, gives Shadows.

    renamed  told of a Shadow and of the one that stands for it from now on: torch detaches what torch.arange or torch.zeros
             gives once more, in its own code
    """

    def __init__(self, renamed: Callable[[Shadow, Shadow], None]) -> None:
        super().__init__()
        self._renamed = renamed

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # True loads torch._dynamo, so that it does not trace into the mode

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        known = {id(x.twin): x for x in tree_leaves((args, kwargs)) if isinstance(x, Shadow)}
        options = {**(kwargs or {}), **({} if known else {"device": torch.device("cpu")})}

        def shadow(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            return known[id(value)] if id(value) in known else Shadow(value)

        found = tree_map(shadow, sized(func, args, options))
        if func is torch.ops.aten.detach.default:
            self._renamed(args[0], found)
        return found
