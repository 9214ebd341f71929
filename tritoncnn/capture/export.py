"""A traced call -> Graph.

One flat list of ATen ops comes of a model whatever way it was written, from ``plain.py`` or, where the call is more than that
can write down, from torch.export; in-place ops are made functional. Each becomes our ops by the table; all that is missing is
told in one error, with the lines of the model.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import logging
import re
import threading
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch.export.graph_signature import InputKind, InputSpec, OutputKind

from tritoncnn import forks, signals
from tritoncnn.capture.aten import SEED, Walk, model_line
from tritoncnn.capture.decompose import kept_whole
from tritoncnn.capture.fixed import Answers, Ask
from tritoncnn.capture.gaps import gap, untraced
from tritoncnn.capture.hooks import backward_hooks
from tritoncnn.capture.kept import Kept, kept_by
from tritoncnn.capture.layers import in_tensors
from tritoncnn.capture.left import leave
from tritoncnn.capture.regions import check_detached_writes, detach_no_grad, is_write, keep_detached, no_grad_kept
from tritoncnn.capture.selected import ADVICE, Selection
from tritoncnn.capture.selecting import READ, STAND_INS, printed, selects
from tritoncnn.capture.shadow import lay
from tritoncnn.capture.traced import Traced
from tritoncnn.capture.watch import watched
from tritoncnn.errors import DTypeError, InputError, UnsupportedError, input_named
from tritoncnn.ir import Graph, Rewriter, TensorType, Value, remove_dead
from tritoncnn.ops import Sym
from tritoncnn.tree import Form

if TYPE_CHECKING:
    from tritoncnn.capture.plain import Program

# torch.export and the watch are not re-entrant: one capture of the process at a time. Whoever finds other tensors in a module
# takes it, too, before they count: during a capture they are ones without content.
TRACING = threading.RLock()


@dataclass(frozen=True)
class Captured:
    """A graph and what its inputs are. Each input of the graph is in exactly one of the first four, or is ``SEED``.

    inputs      names of the tensors a caller hands in, in order
    parameters  graph input -> state-dict name of a parameter
    buffers     graph input -> state-dict name of a buffer
    constants   graph input -> tensor that the model's code holds outside its state dict
    tensors     graph input -> the module's own tensor, for parameters and buffers
    form        the tree that comes back; its tensors are the first outputs
    updated     the buffers that the model changes (running statistics, counters), whose new contents are the last outputs
    random      the model draws random numbers (dropout) from the input ``seed``, one i64
    results     how torch's own results lie in memory, by tensor of ``form``
    way         who wrote the list of ops down; where it was torch.export, what was not plain
    """

    graph: Graph
    inputs: tuple[str, ...]
    parameters: dict[str, str]
    buffers: dict[str, str]
    constants: dict[str, torch.Tensor]
    tensors: dict[str, torch.Tensor]
    form: Form
    updated: tuple[str, ...] = ()
    random: bool = False
    results: tuple[TensorType, ...] = ()
    way: str = ""

    def state_name(self, name: str) -> str:
        """The state-dict name behind a graph input."""
        return self.parameters.get(name) or self.buffers[name]


def capture(
    nets: Mapping[str, torch.nn.Module], function: Callable[..., Any], tensors: Sequence[torch.Tensor], names: Sequence[str],
    *, title: str, gradients: bool = False, prefix: str = "",
) -> Captured:  # fmt: skip
    """The graph of ``function(*tensors)``, with the tensors' shapes and dtypes, in the mode (train or eval) the nets are in.

    ``nets`` are the modules whose state ``function`` may read; the state's names are ``<net>.<name in the net>``, less
    ``prefix``. ``names`` are those of the inputs. ``gradients``: what would change a gradient only is refused too.
    Raises UnsupportedError with all that cannot be honoured and its lines, DTypeError for a dtype that the IR lacks.
    """
    for name, tensor in zip(names, tensors, strict=True):
        if tensor.layout is not torch.strided:
            raise InputError(f"{input_named(name)} must be a dense tensor; got {tensor.layout}; use .to_dense()")
    with forks.apart(), TRACING, signals.RaisedLater(), torch.inference_mode(False), _on_cpu():
        tensors = _apart(tensors)
        module = Traced(nets, function)
        if nets:
            module.training = any(net.training for net in nets.values())
        walk = Walk(Rewriter(re.sub(r"\W", "_", title)))
        if gradients:
            for what in backward_hooks(module.modules()):
                walk.refuse(what, "")
        program = _export(module, tuple(tensors), walk, gradients)
        return _Capture(title, tuple(names), prefix, walk).run(program, module)


def _apart(tensors: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Inputs that are no one else's tensors: the tracer takes one that comes twice, or is a parameter too, for one."""
    found, seen = [], set[int]()
    for tensor in tensors:
        place = tensor.untyped_storage()._cdata
        alone = tensor.detach() if place not in seen and not tensor.is_inference() else tensor.detach().clone()
        found.append(alone.requires_grad_(tensor.requires_grad))
        seen.add(place)
    return tuple(found)


def _lies(value: Value, node: torch.fx.Node) -> TensorType:
    """How a result lies: as torch's does; without gaps where elements of torch's overlap (windows, as_strided)."""
    type = replace(value.type, strides=tuple(node.meta["val"].stride()))
    return value.type.packed() if type.overlaps else type


def _on_cpu() -> contextlib.AbstractContextManager[Any]:
    """Tensors that the model makes are made where it runs, whatever the default device is."""
    return contextlib.nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu")


def capture_module(module: torch.nn.Module, example: tuple[torch.Tensor, ...]) -> Captured:
    """The graph of ``module(*example)``; inputs have the names of forward's parameters, state its names in the module."""
    names = argument_names(module, len(example))
    return capture(
        {"module": module}, lambda *x: module(*x), example, names, title=type(module).__name__, prefix="module."
    )


def capture_loss(module: torch.nn.Module, loss: Callable[..., Any], inputs: tuple[torch.Tensor, ...],
                 target: torch.Tensor) -> Captured:  # fmt: skip
    """The graph of ``loss(module(*inputs), target)``, for gradients; the last input is ``target``."""
    names = (*argument_names(module, len(inputs)), "target")

    def function(*tensors: torch.Tensor) -> Any:
        return loss(module(*tensors[:-1]), tensors[-1])

    title = type(module).__name__
    return capture(
        {"module": module}, function, (*inputs, target), names, title=title, gradients=True, prefix="module."
    )


def argument_names(module: torch.nn.Module, count: int) -> tuple[str, ...]:
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


def _own(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The module's own tensors by every name, those of tied ones too."""
    parameters = module.named_parameters(remove_duplicate=False)
    return dict(parameters) | dict(module.named_buffers(remove_duplicate=False))


def _of_code(tensor: Any, held: Sequence[torch.Tensor]) -> Any:
    """The tensor of the code's own that lies where ``tensor`` does: torch counts what is written to it."""
    if isinstance(tensor, torch.Tensor):
        for own in held:
            there = own.data_ptr() == tensor.data_ptr()
            if there and (own.dtype, own.shape, own.stride()) == (tensor.dtype, tensor.shape, tensor.stride()):
                return own.detach()
    return tensor


def _writes(node: torch.fx.Node) -> bool:
    """Whether the op changes an operand in place. Batch norm does in training, though its schema does not say so."""
    if getattr(node.target, "__name__", "") == "batch_norm.default":
        return bool(node.args[5]) and node.args[3] is not None
    return is_write(node)


def _plain(module: Traced, example: tuple[torch.Tensor, ...], gradients: bool, walk: Walk) -> Program | str:
    """The ops of a plain call; for one that is torch.export's, which also says what is wrong where the module fails, why.

    It is traced twice, the second time with what the first has left on objects: what is then another call is refused.
    """
    traces: list[Any] = []
    why = ""
    try:
        from tritoncnn.capture.plain import trace_twice  # late: another torch may lack names of its own that this needs

        with in_tensors(), watched(gradients) as watch:
            module.result.watch = watch
            program, kept = trace_twice(module, example, traces, functools.partial(_prepare, module))
    except Exception as error:
        why = next(iter(str(error).splitlines()), "") or type(error).__name__
    leave(traces)  # now that no frame of the call holds its tensors
    if why:
        return why
    if watch.differentiated:
        return "gradients are taken inside"
    if kept:
        for what in watch.lost or (kept,):
            walk.refuse(what, "")
        return program
    return next(iter(watch.lost), program)


def _export(
    module: Traced, example: tuple[torch.Tensor, ...], walk: Walk, gradients: bool
) -> torch.export.ExportedProgram | Program:
    """Raises UnsupportedError in one sentence for a model that torch.export cannot trace."""
    logged = logging.root.manager.disable
    kept = Kept()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):  # torch prints half-made graphs
            warnings.simplefilter("ignore")  # torch's own deprecations, nothing the user could change
            logging.disable(logging.CRITICAL)  # torch logs at length what the one sentence below says
            plain = _plain(module, example, gradients, walk)
            if not isinstance(plain, str):
                module.result.way = "written down as the model ran"
                return plain
            module.result.way = f"by torch.export: {plain}"
            answers = Answers()
            with in_tensors(), watched(gradients) as module.result.watch:
                kept = kept_by(module, example, lambda ask: _prepare(module, STAND_INS[0], answers.noted(ask)))
            module.result.held, module.result.ask = kept.held, answers.again
            regions_kept = no_grad_kept() if gradients else contextlib.nullcontext()
            with in_tensors(), regions_kept, watched(gradients) as module.result.watch:
                program = torch.export.export(module, example, strict=False)
                if selects(program.graph_module) and _reads_sizes(module, example, program.graph_module):
                    raise UnsupportedError(READ)
            lost = dict(module.result.watch.lost)
            for what in lost or ((kept.what,) if kept.what else ()):
                walk.refuse(what, "")
            keep_detached(program.graph_module)
            if gradients:
                check_detached_writes(program.graph)
            regions = detach_no_grad(program.graph_module)
            writes = any(_writes(node) for node in program.graph.nodes)
            # The empty table: nothing is decomposed that we know, writes become functional, regions are inlined.
            if writes or regions:
                with kept_whole():
                    program = program.run_decompositions({})
            lay(program.graph)
            return program
    except Exception as error:
        line = model_line([(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__)])
        why = kept.what or untraced(error, module.result.read, module.result.watch.differentiated)
        raise UnsupportedError(f"the model cannot be captured{f' (at {line})' if line else ''}: {why}") from error
    finally:
        logging.disable(logged)


def _prepare(module: Traced, size: int, ask: Ask) -> None:
    """``size`` stands for how many places a mask selects."""
    module.result.stand_in, module.result.ask = size, lambda: ask


def _reads_sizes(module: Traced, example: tuple[torch.Tensor, ...], traced: torch.fx.GraphModule) -> bool:
    """Whether the call is another one where a mask selects another number of places; no_grad is known to be kept by now."""
    module.result.stand_in = STAND_INS[1]
    again = torch.export.export(module, example, strict=False).graph_module
    graphs, others = (
        [printed(one.graph) for one in found.modules() if isinstance(one, torch.fx.GraphModule)]
        for found in (traced, again)
    )
    return graphs != others


@dataclass
class _Capture:
    """State of one capture: which inputs of the graph hold what."""

    title: str
    names: tuple[str, ...]
    prefix: str
    walk: Walk
    parameters: dict[str, str] = field(default_factory=dict)
    buffers: dict[str, str] = field(default_factory=dict)
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    changed: dict[torch.fx.Node, torch.fx.Node] = field(default_factory=dict)  # buffer -> its new content

    def run(self, program: torch.export.ExportedProgram | Program, module: Traced) -> Captured:
        walk = self.walk
        (returned,) = next(node.args for node in program.graph.nodes if node.op == "output")
        results = self._take_changes(program, returned)
        self._take_inputs(program, _own(module), module.result.held)
        walk.run(program.graph.nodes)
        outputs = tuple(walk.argument(value) for value in results)
        for value in outputs:
            if isinstance(value, Selection):
                walk.refuse(f"a selection x[mask] as a result, whose size data decide; {ADVICE}", "")
        self._tell()
        buffers = {walk.known[old].value.name: walk.known[new] for old, new in self.changed.items()}
        graph = remove_dead(walk.out.finish(tuple(value.value for value in (*outputs, *buffers.values()))))
        drawn = any(value.name == SEED for value in graph.inputs)
        return Captured(
            graph, tuple(self.inputs), self.parameters, self.buffers, walk.constants, self.tensors, module.result.form,
            tuple(buffers), drawn, tuple(_lies(y.value, node) for y, node in zip(outputs, results, strict=True)),
            module.result.way,
        )  # fmt: skip

    def _tell(self) -> None:
        """Raises what went wrong, all in one."""
        walk = self.walk
        if not walk.refused and walk.wrong_dtype:
            raise DTypeError("; ".join(walk.wrong_dtype))
        if walk.refused:
            what = "something" if len(walk.refused) == 1 else f"{len(walk.refused)} things"
            raise UnsupportedError(
                f"{self.title} uses {what} that tritoncnn does not support: {'; '.join(walk.refused)}"
            )

    def _take_changes(self, program: torch.export.ExportedProgram | Program, returned: Any) -> list[Any]:
        """What the model returns; the rest of ``returned`` are new contents of its buffers, or refused."""
        holders = {spec.target: spec.arg.name for spec in program.graph_signature.input_specs}
        nodes = {node.name: node for node in program.graph.nodes}
        results = []
        for spec, value in zip(program.graph_signature.output_specs, returned, strict=True):
            if spec.kind is OutputKind.BUFFER_MUTATION:
                self.changed[nodes[holders[spec.target]]] = value
            elif spec.kind is OutputKind.USER_INPUT_MUTATION:
                node = nodes[str(spec.target)]
                position = [n for n in program.graph.nodes if n.op == "placeholder"].index(node)
                user = position - sum(s.kind is not InputKind.USER_INPUT for s in program.graph_signature.input_specs)
                self.walk.refuse(f"a change of the input {self.names[user]} in place", "")
            elif spec.kind is not OutputKind.USER_OUTPUT:
                self.walk.refuse(f"a change of {str(spec.target).removeprefix(self.prefix)} in place", "")
            else:
                results.append(value)
        return results

    def _take_inputs(self, program: torch.export.ExportedProgram | Program, own: Mapping[str, torch.Tensor],
                     code: Sequence[torch.Tensor]) -> None:  # fmt: skip
        """``own``: the module's tensors by name. ``code``: those of its own that the code reads."""
        state = {**program.state_dict, **program.constants}
        names: dict[int, str] = {}  # a tied tensor has the name that the module gives it first
        for name, tensor in own.items():
            names.setdefault(id(tensor), name)
        nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
        first: dict[int, str] = {}  # by identity: tied tensors are one input
        for spec in program.graph_signature.input_specs:
            node = nodes[spec.arg.name]
            if spec.kind is InputKind.USER_INPUT:
                name = self.names[len(self.inputs)]
                self.inputs.append(name)
                self.walk.input(node, name, input_named(name))
                continue
            # torch.export copies some tensors; the module's and the code's own are what later calls must see.
            held: Any = own[target] if (target := str(spec.target)) in own else _of_code(state[target], code)
            name = names.get(id(held), target).removeprefix(self.prefix)
            self._take_state(node, spec, held, name, first)

    def _take_state(self, node: torch.fx.Node, spec: InputSpec, tensor: Any, name: str, first: dict[int, str]) -> None:
        walk = self.walk
        held = spec.kind in (InputKind.PARAMETER, InputKind.BUFFER)
        if not isinstance(tensor, torch.Tensor):
            drawn = isinstance(tensor, torch.Generator)
            walk.refuse(
                gap("random numbers.generator") if drawn else f"a {type(tensor).__name__} that the code holds", ""
            )
            return
        if not node.users and node not in self.changed:
            return
        if id(tensor) in first:
            walk.known[node] = Sym(walk.out, next(v for v in walk.out.inputs if v.name == first[id(tensor)]))
            return
        if not held and tensor.dim() == 0 and not tensor.requires_grad:
            walk.held[node] = tensor
            return
        kind = spec.kind.name.lower().replace("_tensor", "")
        name = f"self.{name}" if name in self.names else name
        if not walk.input(node, name, f"{kind} {name}"):
            return
        first[id(tensor)] = name
        if not held:
            walk.constants[name] = tensor.contiguous()
            return
        self.tensors[name] = tensor
        (self.parameters if spec.kind is InputKind.PARAMETER else self.buffers)[name] = name.removeprefix("self.")
