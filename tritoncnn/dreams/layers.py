"""The layers of a net that can be dreamed of, and the net cut off behind one of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import fx, nn

from tritoncnn.errors import InputError, UnsupportedError

ALL = "all"
SIDE = 4  # pixels of a map that is worth dreaming of, for a picture of the size of training


Maps = dict[str, tuple[int, int, int]]  # name of a layer -> channels, height and width of its map


def layers_of(module: nn.Module, sizes: Sequence[int]) -> Maps:
    """Each part that a picture f32[1,C,H,W] of ``sizes`` goes through once and that gives a map f32[1,channels,P,Q]; in the
    order of the way.

    Parts that are gone through several times (one activation module in many places) would be several layers of one name.
    """
    found: dict[str, list[tuple[int, ...]]] = {}
    shadow = copy.deepcopy(module).to("meta").eval()  # shapes without values

    def note(name: str, result: object) -> None:
        shape = tuple(result.shape) if isinstance(result, torch.Tensor) else ()
        found.setdefault(name, []).append(shape)

    for name, part in shadow.named_modules():
        if name:
            part.register_forward_hook(lambda _part, _inputs, result, name=name: note(name, result))
    shadow(torch.empty(tuple(sizes), device="meta"))
    once = {name: shapes[0] for name, shapes in found.items() if len(shapes) == 1 and len(shapes[0]) == 4}
    return {name: (shape[1], shape[2], shape[3]) for name, shape in once.items()}


def find_layer(name: str | None, layers: Maps) -> str:
    """The layer called ``name``; of None the last whose map still has SIDE pixels a side. Raises InputError that lists all
    layers with their channels."""
    if name is None:
        large = [layer for layer, (_, height, width) in layers.items() if min(height, width) >= SIDE]
        return [*layers, *large][-1]
    if name in layers:
        return name
    listed = ", ".join(f"{layer} ({channels})" for layer, (channels, _, _) in layers.items())
    raise InputError(f"--layer must name a layer that gives maps; got {name!r}; layers with their channels: {listed}")


def find_channel(text: str | None, layer: str, layers: Maps, answers: Callable[[], torch.Tensor]) -> int | None:
    """The channel of that number; None for "all". Where none is said the middle one, by what they answer, f32[channels], of
    those that answer at all. Raises InputError."""
    if text == ALL:
        return None
    if text is None:
        found = answers()
        order = [channel for channel in found.argsort().tolist() if found[channel] > 0]
        return order[len(order) // 2] if order else None
    most = layers[layer][0] - 1
    if not (text.isascii() and text.isdecimal() and int(text) <= most):
        raise InputError(f"--channel must be from 0 to {most}, as layer {layer!r} has, or {ALL}; got {text}")
    return int(text)


class _Tracer(fx.Tracer):
    """Keeps the module called ``name`` whole, and torch's own."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name == self.name or super().is_leaf_module(m, module_qualified_name)


def cut_behind(module: nn.Module, name: str) -> nn.Module:
    """The net up to the result of its part ``name``, with the module's own parameters. What comes after is not run, so that
    full layers there limit the size of pictures no more.

    Raises UnsupportedError where the way to it depends on the picture.
    """
    tracer = _Tracer(name)
    try:
        graph = tracer.trace(module)
    except Exception as error:  # a proxy fails in as many ways as Python code uses tensors
        raise UnsupportedError(f"the net cannot be cut behind {name!r}: torch.fx cannot follow it ({error})") from error
    calls = [node for node in graph.nodes if node.op == "call_module" and node.target == name]
    assert len(calls) == 1, f"{name} is gone through once"
    (output,) = (node for node in graph.nodes if node.op == "output")
    output.args = (calls[0],)
    net = fx.GraphModule(tracer.root, graph, type(module).__name__)
    net.graph.eliminate_dead_code()
    net.delete_all_unused_submodules()
    net.recompile()
    return net


def map_of(net: nn.Module, sizes: Sequence[int]) -> torch.Size | None:
    """The shape of the net's map for a picture of ``sizes``; None where the picture is too small for it."""
    try:
        result = copy.deepcopy(net).to("meta")(torch.empty(tuple(sizes), device="meta"))
    except RuntimeError:  # torch's word for a window that is larger than what it lies on
        return None
    return result.shape if result.numel() else None
