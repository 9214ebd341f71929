"""Reverse-mode differentiation by walking each op's ``grad``.

Source: Griewank & Walther 2008, "Evaluating Derivatives", ch. 3; one adjoint per value, accumulated in reverse order.
"""

from __future__ import annotations

from tritoncnn.errors import UnsupportedError
from tritoncnn.ir import Graph, Node, Rewriter, Value, remove_dead
from tritoncnn.ops import OPS, Sym
from tritoncnn.ops.define import constant


def differentiate(graph: Graph, wrt: tuple[Value, ...], of: int = 0) -> Graph:
    """``graph`` with the gradients of output number ``of`` (a scalar) added as further outputs, one per value of ``wrt``.

    A value that the loss does not depend on gets zeros. Raises UnsupportedError when an op on the way has no gradient.
    """
    loss = _scalar(graph, of)
    out = _copy(graph)
    return remove_dead(_reverse(out, graph, {loss: _ones(out, loss)}, wrt))


def reached(graph: Graph, wrt: tuple[Value, ...], of: int = 0) -> tuple[Value, ...]:
    """Those of ``wrt`` to which the gradient of output number ``of`` flows; torch leaves the others without one."""
    loss = _scalar(graph, of)
    out = _copy(graph)
    adjoint = {loss: _ones(out, loss)}
    needed = _depends_on(graph, wrt)
    for node in reversed(graph.nodes):
        _back(out, node, adjoint, needed)
    return tuple(value for value in wrt if value in adjoint)


def _scalar(graph: Graph, of: int) -> Value:
    loss = graph.outputs[of]
    if loss.type.numel != 1:
        raise UnsupportedError(f"a gradient starts from a scalar loss; {graph.name} returns {loss.type}")
    return loss


def pull_back(graph: Graph, wrt: tuple[Value, ...], seeded: tuple[int, ...]) -> Graph:
    """``graph`` with the vector-Jacobian product added: inputs ``dy0``, ``dy1``... for the outputs whose numbers are
    ``seeded``, further outputs for their gradients, one per value of ``wrt``.
    """
    out = _copy(graph)
    adjoint: dict[Value, Sym] = {}
    for i in seeded:
        value = graph.outputs[i]
        seed = Sym(out, out.input(f"dy{i}", value.type))
        adjoint[value] = adjoint[value] + seed if value in adjoint else seed
    return _reverse(out, graph, adjoint, wrt)


def _copy(graph: Graph) -> Rewriter:
    out = Rewriter(graph.name)
    out.keep_inputs(graph)
    for node in graph.nodes:
        out.keep(node)
    return out


def _reverse(out: Rewriter, graph: Graph, adjoint: dict[Value, Sym], wrt: tuple[Value, ...]) -> Graph:
    needed = _depends_on(graph, wrt)
    for node in reversed(graph.nodes):
        _back(out, node, adjoint, needed)
    return out.finish((*graph.outputs, *(_gradient(out, adjoint, value) for value in wrt)))


def _depends_on(graph: Graph, wrt: tuple[Value, ...]) -> set[Value]:
    """Values through which a gradient must flow: truth values and whole numbers carry none."""
    needed = set(wrt)
    for node in graph.nodes:
        if any(v in needed for v in node.operands):
            needed.update(v for v in node.results if v.type.is_float)
    return needed


def _back(out: Rewriter, node: Node, adjoint: dict[Value, Sym], needed: set[Value]) -> None:
    dy = adjoint.get(node.results[0])
    if dy is None or not any(v in needed for v in node.operands):
        return
    op = OPS[node.op]
    if op.grad is None:
        place = f" ({node.source})" if node.source else ""
        raise UnsupportedError(f"{node.op}{place} has no gradient; take it out of the loss or detach it")
    results = tuple(Sym(out, out.value(v)) for v in node.results)
    operands = (Sym(out, out.value(v)) for v in node.operands)
    out.source = node.source  # gradients carry the line of the op they belong to
    gradients = op.grad(dy, results if len(results) > 1 else results[0], *operands, **node.attrs)
    for value, gradient in zip(node.operands, gradients, strict=True):
        if gradient is not None and value in needed:
            adjoint[value] = adjoint[value] + gradient if value in adjoint else gradient


def _ones(out: Rewriter, loss: Value) -> Sym:
    one = Sym(out, constant(out, 1.0, loss.type.dtype))
    return OPS["reshape"](one, shape=loss.type.shape) if loss.type.rank else one


def _gradient(out: Rewriter, adjoint: dict[Value, Sym], value: Value) -> Value:
    if value in adjoint:
        return adjoint[value].value
    zero = Sym(out, constant(out, 0.0, value.type.dtype))
    return OPS["expand"](zero, shape=value.type.shape).value
