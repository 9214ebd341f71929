"""ATen ops that are not in the table are taken apart by torch's own formulas."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch._decomp import decomposition_table
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from tritoncnn.capture.regions import is_write

COMPOSITE = "CompositeImplicitAutograd"


def formulas_of(op: Any) -> tuple[Callable[..., Any], ...]:
    """Functions that say ``op`` in terms of others; the first is to be tried first, for some of torch's fail at options that
    ATen has as numbers. Empty when torch has none."""
    if not isinstance(op, torch._ops.OpOverload):
        return ()
    composite = torch._C._dispatch_has_kernel_for_dispatch_key(op.name(), COMPOSITE)
    return (*([decomposition_table[op]] if op in decomposition_table else []), *([op] if composite else []))


def decompose(node: torch.fx.Node) -> tuple[torch.fx.GraphModule, list[torch.fx.Node]] | None:
    """The graph that computes ``node``, and the nodes that stand for its inputs; None when torch cannot take it apart."""
    return next((found for formula in formulas_of(node.target) if (found := _taken_apart(node, formula))), None)


def _taken_apart(
    node: torch.fx.Node, formula: Callable[..., Any]
) -> tuple[torch.fx.GraphModule, list[torch.fx.Node]] | None:
    leaves, form = pytree.tree_flatten((node.args, node.kwargs), is_leaf=lambda x: isinstance(x, torch.fx.Node))
    operands = list(dict.fromkeys(leaf for leaf in leaves if isinstance(leaf, torch.fx.Node)))
    sizes = [size for operand in operands if isinstance(size := operand.meta.get("val"), torch.Tensor)]
    if len(sizes) < len(operands):
        return None
    mode = next((size.fake_mode for size in sizes if isinstance(size, FakeTensor)), None) or FakeTensorMode()
    with mode:
        fakes = [
            x if isinstance(x, FakeTensor) else torch.empty_strided(x.shape, x.stride(), dtype=x.dtype) for x in sizes
        ]

    def compute(*tensors: torch.Tensor) -> Any:
        given = dict(zip(operands, tensors, strict=True))
        args, kwargs = pytree.tree_unflatten(
            [given.get(x, x) if isinstance(x, torch.fx.Node) else x for x in leaves], form
        )
        found = formula(*args, **kwargs)
        return tuple(found) if isinstance(found, tuple) else found  # torch's named tuples do not trace again

    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):  # torch prints half-made graphs
            warnings.simplefilter("ignore")
            with mode, torch.no_grad(), torch.backends.mkldnn.flags(enabled=False):  # its kernels have no formulas
                graph = make_fx(compute)(*fakes)
                if any(is_write(inner) for inner in graph.graph.nodes):
                    graph = make_fx(torch.func.functionalize(graph, remove="mutations"))(*fakes)
    except Exception:  # whatever torch's formula raises, the caller says which op has none
        return None
    if any(inner.target is node.target for inner in graph.graph.nodes):
        return None
    return graph, operands
