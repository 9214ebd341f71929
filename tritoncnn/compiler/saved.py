"""A compiled model as one file: the captured graph as text, the state, and the forms of inputs and result.

The file is safetensors: data, never code. It holds the checksum of itself, so that one changed bit is found out. Its graph is
verified and planned anew when it is read, so that neither torch.export nor the module's class is needed; kernels come from the
cache of this machine, where they are.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import safetensors
import safetensors.torch
import torch

from tritoncnn.capture import Captured
from tritoncnn.compiler.program import CallProgram
from tritoncnn.compiler.subject import Arguments, Subject
from tritoncnn.errors import CheckpointError, GraphError, ShapeError
from tritoncnn.ir import Graph, TensorType, parse_graph, parse_type, verify
from tritoncnn.ops import TORCH_DTYPE, check_node
from tritoncnn.tree import Form, form_from_words, form_to_words

OF_TORCH = (b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19")  # zip files, and torch.save's before 1.6
KIND, VERSION = "tritoncnn.model", 3
BLANK = "0" * hashlib.sha256().digest_size * 2  # what stands for the checksum while it is made


@dataclass(frozen=True)
class Saved:
    """What a file holds of a model, for arguments of ``form`` whose tensors lie as ``types`` say."""

    subject: Subject
    captured: Captured
    form: Form
    types: Mapping[str, TensorType]
    signature: inspect.Signature


def dumps(subject: Subject, program: CallProgram) -> bytes:
    """A file's bytes, for inputs of the program's sizes. Raises InputError for a form that a file cannot hold."""
    captured = program.captured
    slots, saved = subject.slots(), subject.state()
    state = {f"state.{name}": slot.tensor for name, slot in slots.items()}
    tensors = state | {f"constant.{name}": tensor for name, tensor in captured.constants.items()}
    types = [captured.graph.input(name).type if _reads(captured, name) else None for name in captured.inputs]
    planned = {value.name: value.type for value in program.planned.plan.graph.inputs}
    header = {
        "title": subject.title,
        "graph": str(captured.graph),
        "inputs": list(captured.inputs),
        "orders": [list(planned[n].order or ()) if n in planned else [] for n in captured.inputs],
        "types": [None if type is None else str(type) for type in types],
        "parameters": captured.parameters,
        "buffers": captured.buffers,
        "trainable": [name for name, slot in slots.items() if isinstance(slot.tensor, torch.nn.Parameter)],
        "unsaved": [name for name in slots if name not in saved],
        "updated": list(captured.updated),
        "random": captured.random,
        "results": [str(type) for type in captured.results],
        "form": form_to_words(captured.form, "save: its result"),
        "arguments": form_to_words(program.form, "save: its inputs"),
        "names": list(subject.names),
    }
    packed = {name: t.detach().contiguous().clone() for name, t in tensors.items()}
    metadata = {"kind": KIND, "version": str(VERSION), "model": json.dumps(header), "sha256": BLANK}
    data = safetensors.torch.save(packed, metadata)
    return data.replace(_entry(BLANK), _entry(hashlib.sha256(data).hexdigest()), 1)


def _entry(checksum: str) -> bytes:
    """The checksum in a header; quotes within its texts have a backslash, so it is found only where it is."""
    return f'"sha256":"{checksum}"'.encode()


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """Read, verify and plan what a file called ``name`` holds. Raises CheckpointError for whatever it makes go wrong."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OverflowError,
            safetensors.SafetensorError, GraphError) as error:  # fmt: skip
        if isinstance(error, CheckpointError):
            raise
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f"{name} is damaged or no compiled model: {said}") from error


def loads(data: bytes, name: str) -> Saved:
    """What ``dumps`` wrote; to be called under ``reading``."""
    if data.startswith(OF_TORCH):
        raise CheckpointError(
            f"{name} was written by torch.save or torch.jit.save, not by model.save(): torch reads it"
        )
    size = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + size]).get("__metadata__", {})
    tensors = safetensors.torch.load(data)
    if metadata.get("kind") != KIND:
        raise CheckpointError(f"{name} is no compiled model: it was not written by model.save()")
    if metadata["version"] != str(VERSION):
        raise CheckpointError(f"{name} is of version {metadata['version']}; this tritoncnn reads version {VERSION}")
    blank = data.replace(_entry(metadata["sha256"]), _entry(BLANK), 1)
    if hashlib.sha256(blank).hexdigest() != metadata["sha256"]:
        raise CheckpointError(f"{name} is damaged: its content does not have the checksum that was written with it")
    return _saved(json.loads(metadata["model"]), tensors)


def _saved(header: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> Saved:
    graph = parse_graph(header["graph"])
    verify(graph, check_node, after="loading")
    known = {value.name: value.type for value in graph.inputs}
    constants = {name.removeprefix("constant."): t for name, t in tensors.items() if name.startswith("constant.")}
    state = {name.removeprefix("state."): t for name, t in tensors.items() if name.startswith("state.")}
    net = _net(state, frozenset(header["trainable"]), frozenset(header["unsaved"]))
    subject = _State(str(header["title"]), net)
    slots = subject.slots()
    names = {**header["parameters"], **header["buffers"]}
    for name, tensor in {**constants, **{n: slots[torch_name].tensor for n, torch_name in names.items()}}.items():
        if name not in known or (TORCH_DTYPE[known[name].dtype], known[name].shape) != (
            tensor.dtype,
            tuple(tensor.shape),
        ):
            raise ValueError(f"{name} is {tensor.dtype} {list(tensor.shape)}, which is not what its graph reads")
    captured = Captured(
        graph, tuple(header["inputs"]), dict(header["parameters"]), dict(header["buffers"]), constants,
        {n: slots[torch_name].tensor for n, torch_name in names.items()}, form_from_words(header["form"]),
        tuple(header["updated"]), bool(header["random"]), _results(header, graph),
    )  # fmt: skip
    form = form_from_words(header["arguments"])
    return Saved(subject, captured, form, _input_types(header, known), _signature(header["names"], form))


def _results(header: Mapping[str, Any], graph: Graph) -> tuple[TensorType, ...]:
    """How the results lie. Raises ValueError where they are not those of the graph, or share memory."""
    types = tuple(parse_type(text) for text in header["results"])
    for type, value in zip(types, graph.outputs[: form_from_words(header["form"]).tensors], strict=True):
        same = (type.dtype, type.shape) == (value.type.dtype, value.type.shape)
        if not same or type.overlaps or min(type.strides, default=0) < 0:
            raise ValueError(f"{type} is not how the result {value.type} may lie")
    return types


def _signature(names: list[str], form: Form) -> inspect.Signature:
    """That of forward, as far as the saved call used it."""
    args, kwargs = form.parts
    positional = [names[i] if i < len(names) else f"input_{i}" for i in range(len(args.parts))]
    return inspect.Signature(
        [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in positional]
        + [inspect.Parameter(str(name), inspect.Parameter.KEYWORD_ONLY) for name in kwargs.keys]
    )


def _input_types(header: Mapping[str, Any], known: Mapping[str, TensorType]) -> dict[str, TensorType]:
    """How the inputs lie, for those that the graph reads."""
    found = {}
    for name, order in zip(header["inputs"], header["orders"], strict=True):
        if name in known:
            type = known[name]
            found[name] = type.with_order(order) if sorted(order) == list(range(type.rank)) else type
    return found


class _State(Subject):
    """State without the code that made the graph."""

    def __init__(self, title: str, net: torch.nn.Module) -> None:
        super().__init__(title, {"module": net}, lambda *_: None, prefix="module.")

    def capture(self, arguments: Arguments, *, gradients: bool) -> Captured:
        sizes = ", ".join(str(list(t.shape)) for t in arguments.tensors)
        raise ShapeError(
            f"a saved model takes inputs of the sizes it was saved with; got {sizes}; compile the module for others"
        )


def _net(state: Mapping[str, torch.Tensor], trainable: Collection[str], unsaved: Collection[str]) -> torch.nn.Module:
    """A module that holds the state under its names."""
    net = torch.nn.Module()
    for name, tensor in state.items():
        *path, last = name.split(".")
        owner = net
        for part in path:
            if part not in owner._modules:
                owner.add_module(part, torch.nn.Module())
            owner = owner.get_submodule(part)
        if name in trainable:
            owner.register_parameter(last, torch.nn.Parameter(tensor, requires_grad=False))
        else:
            owner.register_buffer(last, tensor, persistent=name not in unsaved)
    return net


def _reads(captured: Captured, name: str) -> bool:
    return any(value.name == name for value in captured.graph.inputs)
