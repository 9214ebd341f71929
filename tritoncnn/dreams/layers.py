"""The layers of a net that can be dreamed of, and the net cut off behind one of them."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import fx, nn

from tritoncnn.errors import InputError, UnsupportedError


def layers_of(module: nn.Module, sizes: Sequence[int]) -> dict[str, int]:
    """Name -> channels, of each part that a picture f32[1,C,H,W] of ``sizes`` goes through once and that gives a map
    f32[1,channels,P,Q]; in the order of the way.

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
    return {name: shapes[0][1] for name, shapes in found.items() if len(shapes) == 1 and len(shapes[0]) == 4}


def find_layer(name: str | None, layers: dict[str, int]) -> str:
    """The layer called ``name``. Raises InputError that lists all layers with their channels."""
    if name in layers:
        return name
    listed = ", ".join(f"{layer} ({channels})" for layer, channels in layers.items())
    got = "it is missing" if name is None else f"got {name!r}"
    raise InputError(f"--layer must name a layer that gives maps; {got}; layers with their channels: {listed}")


def check_channel(channel: int | None, layer: str, layers: dict[str, int]) -> None:
    """Raises InputError unless the layer has that channel."""
    if channel is not None and not 0 <= channel < layers[layer]:
        raise InputError(f"--channel must be from 0 to {layers[layer] - 1}, as layer {layer!r} has; got {channel}")


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
