"""The light way from a call to a flat list of ATen ops: each op is written down as torch dispatches it, above autograd.

torch.export writes the same list and honours more, but loading what it needs (torch._dynamo, sympy) takes longer than all
else that the first answer of a small model costs. So it is asked for what is not plain, and for that alone:

* a number that data decide is read out of a tensor, or a tensor is held that is neither an input nor a parameter or buffer of
  the nets, nor made inside (by torch.arange, by torch.tensor of numbers: the same in every call);
* torch.no_grad, torch.autocast or torch.func is entered, or gradients are taken inside;
* an input or a parameter is changed in place, or a tensor whose memory another tensor has, too, or to another size or dtype;
* random numbers are drawn in place or, but for dropout, beside any change in place;
* ops that are not ATen's, convolutions of what does not lie row-major, tensors elsewhere than on the CPU;
* hooks and custom gradients;
* every call, under a torch that lacks a private name that this file imports;
* whatever fails: torch.export fails, too, and says what is wrong.
"""

from __future__ import annotations

import contextlib
import operator
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
from torch._C import DispatchKey
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses.schema_check_mode import SchemaCheckMode
from torch.export.graph_signature import InputKind, InputSpec, OutputKind, OutputSpec, TensorArgument
from torch.nn.utils.stateless import _reparametrize_module
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_map

from tritoncnn.capture.aten import model_line
from tritoncnn.capture.fixed import Ask
from tritoncnn.capture.kept import KEEPS, OTHERWISE, TENSOR, as_before
from tritoncnn.capture.left import DRAWN, Tables, after_operands, is_fixed, numbers_of, read_of
from tritoncnn.capture.selecting import READ, SELECTED, SELECTION, STAND_INS, printed, selects
from tritoncnn.capture.shadow import NotPlain, Shadow, Sizes, sized

aten = torch.ops.aten
NORM = aten._native_batch_norm_legit_functional.default


@dataclass
class Signature:
    """What the inputs and outputs of a list are, in torch.export's words."""

    input_specs: list[InputSpec] = field(default_factory=list)
    output_specs: list[OutputSpec] = field(default_factory=list)


@dataclass
class Program:
    """A flat list of ATen ops, in torch.export's words: what ``torch.export.ExportedProgram`` has of it."""

    graph: torch.fx.Graph
    graph_signature: Signature
    state_dict: dict[str, torch.Tensor] = field(default_factory=dict)
    constants: dict[str, torch.Tensor] = field(default_factory=dict)


class _Recorder(SchemaCheckMode):
    """Above autograd: write each op down. (torch takes three kinds of modes there; this one needs nothing of torch's others.)"""

    def __init__(self, earlier: _Recorder | None = None) -> None:
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
        self.constants: dict[
            str, torch.Tensor
        ] = {}  # tensors that the code makes of its numbers, by the name of their node
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

    def _adopt(self, shadow: Shadow, earlier: _Recorder) -> None:
        """Write down again how a table is made that a call before has left."""
        node = earlier.nodes[id(shadow)]
        if not is_fixed(node, earlier.constants, {}):
            raise _Kept("a tensor that an earlier call has left")
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


@contextlib.contextmanager
def _exporting() -> Iterator[None]:
    """torch.compiler.is_exporting(), which some models ask, as it is within torch.export."""
    before = torch.compiler._is_compiling_flag, torch.compiler._is_exporting_flag
    torch.compiler._is_compiling_flag = torch.compiler._is_exporting_flag = True
    try:
        yield
    finally:
        torch.compiler._is_compiling_flag, torch.compiler._is_exporting_flag = before


class _Kept(NotPlain):
    """A tensor that an earlier call has left somewhere, and that would be another one after the next."""


def trace_twice(
    module: torch.nn.Module, example: Sequence[torch.Tensor], traces: list[Any],
    prepare: Callable[[int, Ask], None] = lambda size, ask: None,
) -> tuple[Program, str]:  # fmt: skip
    """(the ops of ``module(*example)``, what a second call would do otherwise, in words, or ""): a counter, a list that grows,
    a tensor kept for the next call, how many places a mask selects. Before each trace, ``prepare`` is told another number for
    these, and whom to ask for what tensors hold. Raises NotPlain, or whatever the module raises. ``traces`` takes what is to
    ``leave`` in the end.
    """
    with as_before(module):
        first = _Recorder()
        traces.append(first)
        prepare(STAND_INS[0], first.ask)
        program = _trace(module, example, first)
        try:
            traces.append(_Recorder(first))
            prepare(STAND_INS[1], traces[-1].ask)
            again = _trace(module, example, traces[-1])
        except _Kept:
            return program, TENSOR
        except Exception as error:  # whatever the module raises
            return program, f"{KEEPS}: called again, it ends in {type(error).__name__}: {error}"
    if _alike(program, again):
        return program, ""
    if selects(program.graph):
        third = _Recorder(first)
        prepare(STAND_INS[0], third.ask)
        if _alike(program, _trace(module, example, third)):
            return program, READ
    return program, OTHERWISE


def _alike(one: Program, other: Program) -> bool:
    """Whether two traces are the same, whatever number stands for how many places a mask selects."""
    (graph, held), (again, others) = _in_order(one), _in_order(other)
    return printed(graph) == printed(again) and all(map(torch.equal, held, others))


def _in_order(program: Program) -> tuple[torch.fx.Graph, list[torch.Tensor]]:
    """The ops that the results need, in the order in which they ask for them, and the constants among them."""
    graph, held = torch.fx.Graph(), list[torch.Tensor]()
    copies: dict[torch.fx.Node, torch.fx.Node] = {}
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name not in program.constants:
            copies[node] = graph.node_copy(node)
    open_ = [next(node for node in reversed(program.graph.nodes) if node.op == "output")]
    while open_:
        node = open_[-1]
        if missing := [one for one in node.all_input_nodes if one not in copies]:
            open_ += reversed(missing)
            continue
        open_.pop()
        if node in copies:
            continue
        if node.op == "placeholder":
            held.append(program.constants[node.name])
            copies[node] = graph.placeholder(f"constant_{len(held)}")
        else:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    return graph, held


def _trace(module: torch.nn.Module, example: Sequence[torch.Tensor], recorder: _Recorder) -> Program:
    if torch.is_autocast_enabled("cpu"):
        raise NotPlain("a call within autocast")
    signature = Signature()
    state, buffers = _hold_state(module, example, recorder, signature)
    inputs = [Shadow.of(tensor) for tensor in example]
    for place, shadow in enumerate(inputs):
        node = recorder.hold(shadow, f"input_{place}", fixed=True)
        signature.input_specs.append(InputSpec(InputKind.USER_INPUT, TensorArgument(node.name), None))
    contexts = (
        _exporting(),
        _reparametrize_module(module, state, tie_weights=True, strict=True, stack_weights=True),
        enable_python_dispatcher(),
        Sizes(recorder.rename),
        recorder,
    )
    with torch.set_grad_enabled(torch.is_grad_enabled()), contextlib.ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context)
        results = module(*inputs)
    if recorder.failed is not None:
        raise recorder.failed
    if recorder.drawn and recorder.wrote:  # torch.export takes these apart, and other numbers are drawn
        raise NotPlain("random numbers beside changes in place")
    place = len(signature.input_specs) - len(inputs)  # before the user's, as torch.export has it
    signature.input_specs[place:place] = [
        InputSpec(InputKind.CONSTANT_TENSOR, TensorArgument(name), name) for name in recorder.constants
    ]
    values = [recorder.named(one) for one in results]
    changed = [(name, recorder.named(one)) for name, one, node in buffers if recorder.named(one) is not node]
    signature.output_specs += [
        OutputSpec(OutputKind.BUFFER_MUTATION, TensorArgument(new.name), name) for name, new in changed
    ]
    signature.output_specs += [OutputSpec(OutputKind.USER_OUTPUT, TensorArgument(node.name), None) for node in values]
    recorder.graph.output((*(new for _, new in changed), *values))
    return Program(recorder.graph, signature, constants=recorder.constants)


def _hold_state(module: torch.nn.Module, example: Sequence[torch.Tensor], recorder: _Recorder, signature: Signature) -> tuple[
    dict[str, torch.Tensor], list[tuple[str, Shadow, torch.fx.Node]]
]:  # fmt: skip
    """Shadows of the module's state by all names, tied tensors one; its buffers with their nodes."""
    found: dict[int, Shadow] = {}  # by identity of the module's tensor
    state: dict[str, torch.Tensor] = {}
    buffers: list[tuple[str, Shadow, torch.fx.Node]] = []
    parameters, held = module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False)
    named: list[tuple[InputKind, str, torch.Tensor]] = [(InputKind.PARAMETER, *one) for one in parameters]
    named += [(InputKind.BUFFER, *one) for one in held]
    distinct = {id(tensor): tensor for tensor in (*(tensor for _, _, tensor in named), *example)}
    memories = Counter(tensor.untyped_storage().data_ptr() for tensor in distinct.values())
    last = {id(tensor): name for _, name, tensor in named}
    for kind, name, tensor in named:
        if id(tensor) not in found:
            found[id(tensor)] = Shadow.of(tensor)
        shadow = state[name] = found[id(tensor)]
        if last[id(tensor)] != name:  # a tied tensor stands where torch.export has it
            continue
        shared = tensor.numel() > 0 and memories[tensor.untyped_storage().data_ptr()] > 1
        node = recorder.hold(shadow, name, fixed=shared or kind is InputKind.PARAMETER)
        if kind is InputKind.BUFFER:
            buffers.append((name, shadow, node))
        persistent = True if kind is InputKind.BUFFER else None
        signature.input_specs.append(InputSpec(kind, TensorArgument(node.name), name, persistent))
    return state, buffers
