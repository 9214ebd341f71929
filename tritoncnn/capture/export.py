"""torch.export -> Graph.

torch's tracer gives one flat list of ATen ops whatever way the model was written; in-place ops are made functional. Each
becomes our ops by the table; all that is missing is told in one error, with the lines of the model.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import re
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.export.graph_signature import InputKind, OutputKind

from tritoncnn.capture.aten import SEED, Walk, dtypes_of, model_line, number_of, picks
from tritoncnn.errors import DTypeError, InputError, UnsupportedError
from tritoncnn.ir import Graph, Rewriter, remove_dead
from tritoncnn.ops import Sym


@dataclass(frozen=True)
class Captured:
    """A graph and what its inputs are. Each input of the graph is in exactly one of the first four.

    inputs      names of the tensors a caller hands in, in order
    parameters  graph input -> state-dict name: for inference all that the graph reads, for training what is trained
    buffers     graph input -> state-dict name: for training what is read only (frozen parameters, running statistics)
    constants   graph input -> tensor that the model's code holds outside its state dict
    aliases     state-dict name of a tied tensor -> the name under which the same tensor is above
    single      the model returns a tensor, not a tuple
    updated     for training: the buffers that the model changes (running statistics), whose new values are the last outputs
    random      for training: the model draws random numbers (dropout) from the input ``seed``, one i64
    """

    graph: Graph
    inputs: tuple[str, ...]
    parameters: dict[str, str]
    buffers: dict[str, str]
    constants: dict[str, torch.Tensor]
    aliases: dict[str, str]
    single: bool
    updated: tuple[str, ...] = ()
    random: bool = False


class _Loss(torch.nn.Module):
    """forward(*inputs, target) = loss(module(*inputs), target)."""

    def __init__(self, module: torch.nn.Module, loss: Callable[..., Any]) -> None:
        super().__init__()
        self.module, self.loss = module, loss

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.loss(self.module(*inputs[:-1]), inputs[-1])


def capture(module: torch.nn.Module, example: tuple[torch.Tensor, ...]) -> Captured:
    """The graph of ``module(*example)``: f32, with the example's shapes, in the mode (train or eval) the module is in.

    Inputs have the names of forward's parameters. Raises UnsupportedError with all ops that have no place in the table,
    DTypeError for a tensor that is not f32.
    """
    names = _argument_names(module, len(example))
    return _Capture(type(module).__name__, names, training=False).run(module, example, "")


def capture_loss(module: torch.nn.Module, loss: Callable[..., Any], inputs: tuple[torch.Tensor, ...],
                 target: torch.Tensor) -> Captured:  # fmt: skip
    """The graph of ``loss(module(*inputs), target)``, whose first output is the loss; the last input is ``target``.

    In training mode batch norm takes the batch's statistics, and the outputs after the loss are the buffers' new contents;
    dropout draws from the input ``seed``.
    """
    names = (*_argument_names(module, len(inputs)), "target")
    wrapper = _Loss(module, loss)
    wrapper.training = module.training
    captured = _Capture(type(module).__name__, names, training=True).run(wrapper, (*inputs, target), "module.")
    shapes = [list(value.type.shape) for value in captured.graph.outputs[: -len(captured.updated) or None]]
    if not captured.single or shapes != [[]]:
        raise InputError(
            f"loss must return one 0-d tensor; got {'a tensor' if captured.single else 'tensors'} {shapes}"
        )
    return captured


def _argument_names(module: torch.nn.Module, count: int) -> tuple[str, ...]:
    """Names for ``count`` positional arguments of forward; ``*images`` gives images_0, images_1..."""
    names: list[str] = []
    for parameter in inspect.signature(module.forward).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}_{i}" for i in range(count - len(names))]
        elif parameter.kind is not parameter.KEYWORD_ONLY and parameter.kind is not parameter.VAR_KEYWORD:
            names.append(parameter.name)
    if len(names) < count:
        raise InputError(f"{type(module).__name__}.forward takes {len(names)} inputs; the example has {count}")
    return tuple(names[:count])


def _writes(node: torch.fx.Node) -> bool:
    """Whether the op changes an operand in place. Batch norm does in training, though its schema does not say so."""
    if getattr(node.target, "__name__", "") == "batch_norm.default":
        return bool(node.args[5]) and node.args[3] is not None
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def _export(module: torch.nn.Module, example: tuple[torch.Tensor, ...]) -> torch.export.ExportedProgram:
    """Raises UnsupportedError in one sentence for a model that torch.export cannot trace."""
    logged = logging.root.manager.disable
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):  # torch prints half-made graphs
            warnings.simplefilter("ignore")  # torch's own deprecations, nothing the user could change
            logging.disable(logging.CRITICAL)  # torch logs at length what the one sentence below says
            program = torch.export.export(module, example, strict=False)
            writes = any(_writes(node) for node in program.graph.nodes)
            # The empty table: nothing is decomposed that we know, writes become functional.
            return program.run_decompositions({}) if writes else program
    except Exception as error:
        line = model_line([(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__)])
        data = "data-dependent" in str(error).lower() or "DataDependent" in type(error).__name__
        why = (
            "its control flow or shapes depend on data"
            if data
            else next((text.strip() for text in str(error).splitlines() if text.strip()), type(error).__name__)
        )
        raise UnsupportedError(f"the model cannot be captured{f' (at {line})' if line else ''}: {why}") from error
    finally:
        logging.disable(logged)


@dataclass
class _Capture:
    """State of one capture: which inputs of the graph hold what."""

    name: str
    names: tuple[str, ...]
    training: bool
    parameters: dict[str, str] = field(default_factory=dict)
    buffers: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    changed: dict[torch.fx.Node, torch.fx.Node] = field(default_factory=dict)  # buffer -> its new content
    written: list[str] = field(default_factory=list)  # what the model changes beyond that

    def run(self, module: torch.nn.Module, example: tuple[torch.Tensor, ...], prefix: str) -> Captured:
        for name, tensor in zip(self.names, example, strict=True):
            if not isinstance(tensor, torch.Tensor):
                raise InputError(f"input {name} must be a tensor; got {type(tensor).__name__}")
        program = _export(module, example)
        self.walk = walk = Walk(Rewriter(re.sub(r"\W", "_", self.name)), self.training)
        (returned,) = next(node.args for node in program.graph.nodes if node.op == "output")
        results = self._take_changes(program, returned)
        self._take_inputs(program, prefix)
        walk.counters.update(new for old, new in self.changed.items() if self._counts(old))
        walk.run(program.graph.nodes)
        outputs = tuple(walk.argument(value) for value in results)
        spec = program.module_call_graph[0].signature
        kind = None if spec is None or spec.out_spec.is_leaf() else spec.out_spec.type
        if not walk.refused and walk.wrong_dtype:
            raise DTypeError("; ".join(walk.wrong_dtype))
        for name in self.written if not walk.refused else ():
            walk.refuse(f"a change of {name} in place", "")
        if not walk.refused and (kind not in (None, tuple, list) or not all(isinstance(v, Sym) for v in outputs)):
            walk.refused["a result that is neither a tensor nor a tuple of tensors"] = None
        if walk.refused:
            what = "something" if len(walk.refused) == 1 else f"{len(walk.refused)} things"
            raise UnsupportedError(
                f"{self.name} uses {what} that tritoncnn does not support: {'; '.join(walk.refused)}"
            )
        buffers = {walk.known[old].value.name: walk.known[new] for old, new in self.changed.items()}
        graph = remove_dead(walk.out.finish(tuple(value.value for value in (*outputs, *buffers.values()))))
        tensors = (self.parameters, self.buffers, walk.constants)
        drawn = any(value.name == SEED for value in graph.inputs)
        return Captured(graph, tuple(self.inputs), *tensors, self.aliases, kind is None, tuple(buffers), drawn)

    def _take_changes(self, program: torch.export.ExportedProgram, returned: Any) -> list[Any]:
        """What the model returns; the rest of ``returned`` are new contents of its buffers, which training keeps."""
        buffers = {
            spec.target: spec.arg.name
            for spec in program.graph_signature.input_specs
            if spec.kind is InputKind.BUFFER and spec.persistent
        }
        nodes = {node.name: node for node in program.graph.nodes}
        results = []
        for spec, value in zip(program.graph_signature.output_specs, returned, strict=True):
            if spec.kind is OutputKind.BUFFER_MUTATION and self.training and spec.target in buffers:
                self.changed[nodes[buffers[spec.target]]] = value
            elif spec.kind in (OutputKind.BUFFER_MUTATION, OutputKind.USER_INPUT_MUTATION):
                self.written.append(str(spec.target))
            else:
                results.append(value)
        return results

    def _take_inputs(self, program: torch.export.ExportedProgram, prefix: str) -> None:
        state = {**program.state_dict, **program.constants}
        nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
        walk = self.walk
        first: dict[int, str] = {}  # by identity: tied tensors are one input
        for spec in program.graph_signature.input_specs:
            node = nodes[spec.arg.name]
            if spec.kind is InputKind.USER_INPUT:
                name = self.names[len(self.inputs)]
                self.inputs.append(name)
                walk.input(node, name, f"input {name}", ("f32", "i64") if name == "target" or picks(node) else ("f32",))
                continue
            tensor, name = state[spec.target], str(spec.target).removeprefix(prefix)
            saved = spec.kind is InputKind.PARAMETER or (spec.kind is InputKind.BUFFER and spec.persistent)
            trainable = spec.kind is InputKind.PARAMETER and tensor.requires_grad
            if not node.users and not trainable:
                continue
            if spec.kind is InputKind.CONSTANT_TENSOR and tensor.dim() == 0:
                walk.known[node] = number_of(walk.out, tensor)
            elif id(tensor) in first:
                self.aliases[name] = first[id(tensor)]
                walk.known[node] = Sym(walk.out, next(v for v in walk.out.inputs if v.name == first[id(tensor)]))
            elif walk.input(
                node,
                name,
                f"{spec.kind.name.lower().replace('_tensor', '')} {name}",
                ("i64",) if self._counts(node) else dtypes_of(node),
            ):
                first[id(tensor)] = name
                if saved:
                    (self.parameters if trainable or not self.training else self.buffers)[name] = name
                else:
                    walk.constants[name] = tensor

    def _counts(self, buffer: torch.fx.Node) -> bool:
        """Is the buffer a 0-d whole number that grows by 1 each time, as num_batches_tracked is?"""
        new = self.changed.get(buffer)
        plus_1 = new is not None and getattr(new.target, "__name__", "") == "add.Tensor" and new.args == (buffer, 1)
        return plus_1 and buffer.meta["val"].dtype == torch.int64 and buffer.meta["val"].dim() == 0
