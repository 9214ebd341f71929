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
* every call, under a torch that lacks a private name that is imported here or in `recorder.py`;
* whatever fails: torch.export fails, too, and says what is wrong.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch._dispatch.python import enable_python_dispatcher
from torch.export.graph_signature import InputKind, InputSpec, OutputKind, OutputSpec, TensorArgument
from torch.nn.utils.stateless import _reparametrize_module

from tritoncnn.capture.fixed import Ask
from tritoncnn.capture.kept import KEEPS, OTHERWISE, TENSOR, as_before
from tritoncnn.capture.recorder import Kept, Recorder
from tritoncnn.capture.selecting import READ, STAND_INS, printed, selects
from tritoncnn.capture.shadow import NotPlain, Shadow, Sizes


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


@contextlib.contextmanager
def _exporting() -> Iterator[None]:
    """torch.compiler.is_exporting(), which some models ask, as it is within torch.export."""
    before = torch.compiler._is_compiling_flag, torch.compiler._is_exporting_flag
    torch.compiler._is_compiling_flag = torch.compiler._is_exporting_flag = True
    try:
        yield
    finally:
        torch.compiler._is_compiling_flag, torch.compiler._is_exporting_flag = before


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
        first = Recorder()
        traces.append(first)
        prepare(STAND_INS[0], first.ask)
        program = _trace(module, example, first)
        try:
            traces.append(Recorder(first))
            prepare(STAND_INS[1], traces[-1].ask)
            again = _trace(module, example, traces[-1])
        except Kept:
            return program, TENSOR
        except Exception as error:  # whatever the module raises
            return program, f"{KEEPS}: called again, it ends in {type(error).__name__}: {error}"
    if _alike(program, again):
        return program, ""
    if selects(program.graph):
        third = Recorder(first)
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


def _trace(module: torch.nn.Module, example: Sequence[torch.Tensor], recorder: Recorder) -> Program:
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


def _hold_state(module: torch.nn.Module, example: Sequence[torch.Tensor], recorder: Recorder, signature: Signature) -> tuple[
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
