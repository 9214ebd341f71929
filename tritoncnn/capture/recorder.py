"""One call's ops, each written down as torch dispatches it above autograd, and what numbers of the code are known meanwhile."""

from __future__ import annotations

import operator
import sys
from types import FrameType
from typing import Any

import torch
from torch._C import DispatchKey
from torch._subclasses.schema_check_mode import SchemaCheckMode
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_map

from tritoncnn.capture.aten import model_line
from tritoncnn.capture.left import DRAWN, Tables, after_operands, is_fixed, numbers_of, read_of
from tritoncnn.capture.selecting import SELECTED, SELECTION
from tritoncnn.capture.shadow import NotPlain, Shadow, sized

aten = torch.ops.aten
NORM = aten._native_batch_norm_legit_functional.default


class Kept(NotPlain):
    """A tensor that an earlier call has left somewhere, and that would be another one after the next."""


class Recorder(SchemaCheckMode):
    """Above autograd: write each op down. (torch takes three kinds of modes there; this one needs nothing of torch's others.)"""

    def __init__(self, earlier: Recorder | None = None) -> None:
        """``earlier``: that of a call before."""
        super().__init__()
        self.earlier = earlier
        self.__dict__["_dispatch_key"] = DispatchKey.PreDispatch
        self.graph = torch.fx.Graph()
        self.nodes: dict[int, torch.fx.Node] = {}  # by identity of the shadow
        self.kept: list[Shadow] = []  # so that no identity and no storage is used twice
        self.sharing: dict[int, int] = {}  # storage -> how many tensors that the code has seen lie in it
        self.fixed: set[int] = set()  # inputs and parameters, by identity
        self.drawn = self.wrote = False  # random numbers but those of dropout; changes in place
        self.within = False  # an op that is being written down
        self.failed: NotPlain | None = None  # what was raised, though the code may have caught it
        # Tensors that the code makes of its numbers, by the name of their node.
        self.constants: dict[str, torch.Tensor] = {}
        self.adopted: dict[torch.fx.Node, torch.fx.Node] = {}  # of tables that a call before has left
        self.follows: dict[torch.fx.Node, bool] = {}  # whether from numbers of the code, and sizes
        self.numbers: dict[torch.fx.Node, Any] = {}  # of what does, where it was asked for
        self._switches = _switches()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def hold(self, shadow: Shadow, name: str, fixed: bool) -> torch.fx.Node:
        """An input of the list."""
        node = self.graph.placeholder(name)
        self._bind(shadow, node)
        if fixed:
            self.fixed.add(id(shadow))
        return node

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        try:
            return self._record(func, args, kwargs or {})
        except NotPlain as error:
            self.failed = error
            raise

    def _record(self, func: Any, args: Any, kwargs: Any) -> Any:
        returns = [str(one.type) for one in func._schema.returns]
        known = func.namespace in ("aten", "prims") or func in (SELECTION, SELECTED)
        if not known or not returns or any("Tensor" not in kind for kind in returns):
            raise NotPlain(str(func))
        if _switches() != self._switches or torch._C._functorch.peek_interpreter_stack() is not None:
            raise NotPlain("a region of its own")
        random = torch.Tag.nondeterministic_seeded in func.tags and func is not aten.dropout.default
        self.drawn |= random or func in DRAWN
        if func is aten.lift_fresh.default and not isinstance(args[0], Shadow):
            return self._constant(args[0])
        if func is aten.detach_.default and self.nodes[id(args[0])].name in self.constants:
            return args[0]  # torch.tensor's own
        operands = self.named((args, kwargs))  # before the op runs: it may change them
        self.within = True
        try:
            found = func(*args, **kwargs)
        finally:
            self.within = False
        if func is aten.batch_norm.default and args[3] is not None and args[5]:
            self._normalise(found, args, operands[0])
        elif func is aten.detach_.default:
            node = self._call(aten.detach.default, *operands)
            node.meta["val"] = found.twin
            self.nodes[id(found)] = node  # the memory stays; views of it keep their gradients
        elif func._schema.is_mutable:
            self._write(func, found, args, kwargs, operands)
        else:
            self._bind(found, self._call(func, *operands))
        return found

    def ask(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """What a tensor holds now, where that follows from numbers of the code and sizes alone."""
        if not isinstance(tensor, Shadow):
            return None
        node = self.named(tensor)
        if not is_fixed(node, self.constants, self.follows, read_of):
            return None
        with _disable_current_modes(), torch.no_grad():
            found: torch.Tensor = numbers_of(node, self.constants, self.numbers)
        return found

    def leave(self) -> Tables:
        """The tables that follow from the code's numbers; all else is let go."""
        made = {id(shadow): self.nodes[id(shadow)] for shadow in self.kept if id(shadow) in self.nodes}
        known: dict[torch.fx.Node, bool] = {}
        fixed = {key for key, node in made.items() if is_fixed(node, self.constants, known)}
        tables: dict[int, torch.Tensor] = {id(shadow): shadow for shadow in self.kept if id(shadow) in fixed}
        self.kept.clear()
        self.numbers.clear()
        numbers: dict[torch.fx.Node, Any] = {}

        def compute(keys: list[int]) -> dict[int, torch.Tensor]:
            return {key: numbers_of(made[key], self.constants, numbers) for key in keys}

        return tables, compute

    def rename(self, old: Shadow, new: Shadow) -> None:
        """Let ``new`` be known as ``old`` was, which holds none but new numbers; of other tensors, this is ``.data``."""
        node = self.nodes.get(id(old))
        if not self.within and node is not None and node.op == "call_function" and _fills(node):
            self.nodes[id(new)] = self.nodes.pop(id(old))
            self.kept.append(new)

    def _constant(self, tensor: torch.Tensor) -> Shadow:
        """An input of the list that holds what torch.tensor has made just now."""
        with _disable_current_modes():
            shadow, held = Shadow.of(tensor), tensor.clone()
        name = f"lifted_tensor_{len(self.constants)}"  # torch.export's
        self.constants[self.hold(shadow, name, fixed=False).name] = held
        return shadow

    def named(self, values: Any) -> Any:
        """The nodes of tensors."""

        def name(value: Any) -> Any:
            if isinstance(value, torch.Tensor) and id(value) not in self.nodes:
                if self.earlier is not None and id(value) in self.earlier.nodes:
                    assert isinstance(value, Shadow)
                    self._adopt(value, self.earlier)
                    return self.nodes[id(value)]
                raise NotPlain("a tensor that the code holds")
            return self.nodes[id(value)] if isinstance(value, torch.Tensor) else value

        return tree_map(name, values)

    def _adopt(self, shadow: Shadow, earlier: Recorder) -> None:
        """Write down again how a table is made that a call before has left."""
        node = earlier.nodes[id(shadow)]
        if not is_fixed(node, earlier.constants, {}):
            raise Kept("a tensor that an earlier call has left")
        self.sharing[shadow.twin.untyped_storage()._cdata] = 2  # with whatever keeps it

        def again(old: torch.fx.Node) -> torch.fx.Node:
            if old.op != "placeholder":
                return self.graph.node_copy(old, self.adopted.__getitem__)
            new = self.graph.placeholder(f"lifted_tensor_{len(self.constants)}")
            self.constants[new.name] = earlier.constants[old.name]
            return new

        self.nodes[id(shadow)] = after_operands(node, again, self.adopted)

    def _call(self, func: Any, args: Any, kwargs: Any) -> torch.fx.Node:
        node = self.graph.create_node("call_function", func, args, kwargs, func.overloadpacket.__name__.lstrip("_"))
        node.meta["source"] = _source(sys._getframe(2))
        return node

    def _bind(self, found: Any, node: torch.fx.Node) -> None:
        """Let tensors be known as what a node gives."""
        node.meta["val"] = tree_map(lambda x: x.twin if isinstance(x, Shadow) else x, found)
        if isinstance(found, (tuple, list)):
            for place, one in enumerate(found):
                self._bind(one, self._item(node, place))
        elif not isinstance(found, Shadow):
            raise NotPlain(f"an op that gives {type(found).__name__}")
        elif id(found) not in self.nodes:
            self.nodes[id(found)] = node
            self.kept.append(found)
            storage = found.twin.untyped_storage()._cdata
            self.sharing[storage] = self.sharing.get(storage, 0) + 1

    def _item(self, node: torch.fx.Node, place: int) -> torch.fx.Node:
        item = self.graph.call_function(operator.getitem, (node, place))
        item.meta["source"] = node.meta.get("source", "")
        return item

    def _write(self, func: Any, found: Any, args: Any, kwargs: Any, operands: Any) -> None:
        """x.op_(...)   =>   x = x.op(...), where nothing else shares x's memory."""
        name = func.overloadpacket.__name__
        pure = getattr(getattr(aten, name[:-1], None), func._overloadname, None) if name.endswith("_") else None
        if pure is None or found is not args[0] or pure._schema.is_mutable:
            raise NotPlain(str(func))
        if torch.Tag.nondeterministic_seeded in func.tags or pure._schema.returns[0].alias_info is not None:
            raise NotPlain(str(func))
        with _disable_current_modes():
            twin = sized(pure, args, kwargs)
        if (twin.dtype, twin.shape) != (found.dtype, found.shape) or found.twin.shape != found.shape:
            raise NotPlain(f"{func} that changes dtype or size")
        self._change(found, self._call(pure, *operands))

    def _change(self, shadow: Shadow, node: torch.fx.Node) -> None:
        if id(shadow) in self.fixed or self.sharing[shadow.twin.untyped_storage()._cdata] > 1:
            raise NotPlain("a change in place that others see")
        node.meta["val"] = shadow.twin
        self.nodes[id(shadow)] = node
        self.wrote = True

    def _normalise(self, found: Shadow, args: Any, operands: Any) -> None:
        """Batch norm in training changes its running statistics, though its schema does not say so."""
        mean, var = args[3:5]
        if mean is var:
            raise NotPlain("batch norm with one tensor as both statistics")
        x, weight, bias, *_ = operands
        node = self._call(NORM, (x, weight, bias, *operands[3:5], True, *args[6:8]), {})
        node.meta["val"] = (found.twin, mean.twin, var.twin, mean.twin, var.twin)
        self._bind(found, self._item(node, 0))
        self._change(mean, self._item(node, 3))
        self._change(var, self._item(node, 4))


def _fills(node: torch.fx.Node) -> bool:
    """Whether an op reads sizes and dtypes of tensors at most."""
    return not node.all_input_nodes or node.name.startswith("new_") or "_like" in node.name


def _switches() -> tuple[bool, ...]:
    return torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), torch.is_inference_mode_enabled()


def _source(frame: FrameType | None) -> str:
    """The innermost line of a forward that is the user's."""
    frames = []
    while frame is not None:
        if frame.f_code.co_name == "forward":
            frames.append((frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    return model_line(frames[::-1])
