"""Regions that torch.export sets apart: torch.no_grad() and torch.autocast() blocks inside a model.

torch's own functional form inlines both. It honours autocast (casts stand in the graph) but forgets no_grad, whose results
carry no gradient; so what enters such a block is detached before.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from tritoncnn.capture.patches import patched
from tritoncnn.errors import UnsupportedError

NO_GRAD = "wrap_with_set_grad_enabled"
REGIONS = frozenset({NO_GRAD, "wrap_with_autocast"})


TORCH = str(Path(torch.__file__).parent) + os.sep
CONTEXTS = (
    "grad_mode.py",
    "_contextlib.py",
)  # torch's files between a model's "with torch.no_grad()" and what it calls


@contextlib.contextmanager
def no_grad_kept() -> Iterator[None]:
    """Raise UnsupportedError for torch.no_grad inside torch.autocast, which torch's tracer drops without a word."""
    before = torch.set_grad_enabled.__init__

    def watched(switch: Any, mode: bool) -> None:
        if not mode and torch.is_autocast_enabled("cpu") and _called_by_model(sys._getframe(2)):
            raise UnsupportedError(
                "torch.no_grad inside torch.autocast: torch's tracer drops it; put autocast inside no_grad"
            )
        before(switch, mode)

    with patched([(torch.set_grad_enabled, "__init__", watched)]):
        yield


def _called_by_model(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_filename.endswith(CONTEXTS):
        frame = frame.f_back
    return frame is not None and not frame.f_code.co_filename.startswith(TORCH)


UNSEEDED = {"generator": "default", "low_generator": "low"}  # overloads that take a generator -> those that do not


def name_of(node: torch.fx.Node) -> str:
    """add.Tensor, detach.default, wrap_with_autocast; prims::sum.default where the op is not ATen's.

    Random numbers by a generator that is None are those without one.
    """
    if isinstance(node.target, torch._ops.OpOverload) and node.target.namespace != "aten":
        return f"{node.target.namespace}::{node.target.__name__}"
    if isinstance(node.target, torch._ops.OpOverload) and node.kwargs.get("generator") is None:
        packet, _, overload = node.target.__name__.partition(".")
        return f"{packet}.{UNSEEDED.get(overload, overload)}"
    return getattr(node.target, "__name__", str(node.target)) if callable(node.target) else str(node.target)


def is_write(node: torch.fx.Node) -> bool:
    """Whether the op changes an operand in place, as its schema says."""
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def _regions(module: torch.fx.GraphModule) -> Iterator[tuple[torch.fx.Node, torch.fx.GraphModule]]:
    """Every region of the graph, with its own graph, also those inside others."""
    for node in module.graph.nodes:
        if node.op != "call_function" or name_of(node) not in REGIONS:
            continue
        inner = next(arg for arg in node.args if isinstance(arg, torch.fx.Node) and arg.op == "get_attr")
        body = module.get_submodule(str(inner.target))
        assert isinstance(body, torch.fx.GraphModule)
        yield node, body
        yield from _regions(body)


def keep_detached(module: torch.fx.GraphModule) -> None:
    """x.detach_()   =>   x = x.detach(), which torch's functional form would forget; torch.tensor's own is let be."""
    for graph in (module.graph, *(body.graph for _, body in _regions(module))):
        for node in graph.nodes:
            if node.target is torch.ops.aten.detach_.default and not name_of(node.args[0]).startswith("lift_fresh"):
                node.target = torch.ops.aten.detach.default


def check_detached_writes(graph: torch.fx.Graph) -> None:
    """Raise UnsupportedError for a change, through detach() or .data, of a tensor that is read with its gradient afterwards:
    torch lets the gradient pass as if nothing had been changed."""
    places = {node: place for place, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        if node.op != "call_function" or not is_write(node) or not node.all_input_nodes:
            continue
        base = _base(written := node.all_input_nodes[0])
        if not _through_detach(written) or not _has_gradient(base):
            continue
        alike = [one for one in places if _base(one) is base and not _through_detach(one)]
        if any(places[user] > places[node] for one in alike for user in one.users if user is not node):
            raise UnsupportedError(
                f"{name_of(node).split('.')[0]} changes, through detach or .data, a tensor whose gradient is taken; "
                "compute a new one"
            )


def _through_detach(node: torch.fx.Node) -> bool:
    """Whether a view of a tensor came by detach."""
    base = _base(node)
    while node is not base:
        if name_of(node).startswith("detach"):
            return True
        node = node.all_input_nodes[0]
    return False


def detach_no_grad(module: torch.fx.GraphModule) -> bool:
    """Detach what enters each no_grad block of the graph. Returns whether the graph has regions at all.

    Raises UnsupportedError for a block that changes a tensor which has a gradient: torch lets that gradient pass as if
    nothing had been changed.
    """
    found = False
    for node, body in _regions(module):
        found = True
        if name_of(node) == NO_GRAD and node.args[0] is False:
            _check_writes(node, body)
            _detach_inputs(body)
    return found


def _detach_inputs(body: torch.fx.GraphModule) -> None:
    holders = [node for node in body.graph.nodes if node.op == "placeholder" and "val" in node.meta]
    first = next(node for node in body.graph.nodes if node.op != "placeholder")
    for holder in holders:
        if not isinstance(holder.meta["val"], torch.Tensor):
            continue
        with body.graph.inserting_before(first):
            detached = body.graph.call_function(torch.ops.aten.detach.default, (holder,))
        detached.meta = {key: value for key, value in holder.meta.items() if key in ("val", "stack_trace")}
        readers = [user for user in holder.users if user is not detached and user.op != "output"]
        for reader in readers:
            reader.replace_input_with(holder, detached)
    body.recompile()


def _check_writes(region: torch.fx.Node, body: torch.fx.GraphModule) -> None:
    given = [arg for arg in region.args[2:] if isinstance(arg, torch.fx.Node)]
    outside = dict(zip((n for n in body.graph.nodes if n.op == "placeholder"), given, strict=True))
    for node in body.graph.nodes:
        if node.op == "call_function" and is_write(node):
            written = _base(node.all_input_nodes[0])
            if written in outside and outside[written].op != "placeholder" and _has_gradient(outside[written]):
                name = name_of(node).split(".")[0]
                raise UnsupportedError(
                    f"{name} changes, inside torch.no_grad, a tensor that has a gradient; compute a new one"
                )


def _base(node: torch.fx.Node) -> torch.fx.Node:
    """The tensor whose memory the result of views and changes in place lies in."""
    while node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload) and node.all_input_nodes:
        returns = node.target._schema.returns
        if not returns or returns[0].alias_info is None:
            break
        node = node.all_input_nodes[0]
    return node


def _has_gradient(node: torch.fx.Node) -> bool:
    """Whether torch would let a gradient pass through the value, as far as the ops right above it tell."""
    base = _base(node)
    if base.op == "call_function" and name_of(base) == "getitem":
        above = base.all_input_nodes[0]
        return not (name_of(above) == NO_GRAD and above.args[0] is False)
    return bool(base.all_input_nodes) and name_of(node) not in ("detach.default", "detach_.default")
