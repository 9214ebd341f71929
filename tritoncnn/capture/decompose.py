"""ATen ops that are not in the table are taken apart by torch's own formulas."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch._C import DispatchKey
from torch._decomp import decomposition_table
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from tritoncnn.capture.regions import is_write

COMPOSITE = "CompositeImplicitAutograd"
_IN_PYTHON = (torch.ops.aten.hardshrink.default, torch.ops.aten.softshrink.default)  # torch has Python kernels of them


def formulas_of(op: Any) -> tuple[Callable[..., Any], ...]:
    """Functions that say ``op`` in terms of others; the first is to be tried first, for some of torch's fail at options that
    ATen has as numbers. Empty when torch has none."""
    if not isinstance(op, torch._ops.OpOverload):
        return ()
    composite = torch._C._dispatch_has_kernel_for_dispatch_key(op.name(), COMPOSITE)
    return (*([decomposition_table[op]] if op in decomposition_table else []), *([op] if composite else []))


def decompose(
    node: torch.fx.Node, instead: Mapping[int, int] | None = None
) -> tuple[torch.fx.GraphModule, list[torch.fx.Node]] | None:
    """The graph that computes ``node``, and the nodes that stand for its inputs; None when torch cannot take it apart.

    ``instead``: sizes that are others for once.
    """
    formulas = formulas_of(node.target)
    return next((found for formula in formulas if (found := _taken_apart(node, formula, instead or {}))), None)


def _taken_apart(
    node: torch.fx.Node, formula: Callable[..., Any], instead: Mapping[int, int]
) -> tuple[torch.fx.GraphModule, list[torch.fx.Node]] | None:
    leaves, form = pytree.tree_flatten((node.args, node.kwargs), is_leaf=lambda x: isinstance(x, torch.fx.Node))
    operands = list(dict.fromkeys(leaf for leaf in leaves if isinstance(leaf, torch.fx.Node)))
    sizes = [size for operand in operands if isinstance(size := operand.meta.get("val"), torch.Tensor)]
    if len(sizes) < len(operands):
        return None
    mode = next((size.fake_mode for size in sizes if isinstance(size, FakeTensor)), None) or FakeTensorMode()
    leaves = [instead.get(leaf, leaf) if type(leaf) is int else leaf for leaf in leaves]
    with mode:
        fakes = [
            x if isinstance(x, FakeTensor) else torch.empty_strided(x.shape, x.stride(), dtype=x.dtype) for x in sizes
        ]
        if instead:
            fakes = [x.new_empty([instead.get(n, n) for n in x.shape]) for x in fakes]

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


@contextlib.contextmanager
def kept_whole() -> Iterator[None]:
    """Keep torch from taking apart, whatever the table of decompositions says, the ops for which it has Python kernels: the
    gradients of their parts are others at NaN. To be entered under the lock.
    """
    kernels = {
        op: op.py_kernels.pop(DispatchKey.Autograd) for op in _IN_PYTHON if DispatchKey.Autograd in op.py_kernels
    }
    try:
        for op in kernels:
            op._dispatch_cache.clear()
        yield
    finally:
        for op, kernel in kernels.items():
            op.py_kernels[DispatchKey.Autograd] = kernel
            op._dispatch_cache.clear()
