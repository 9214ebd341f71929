"""StoreInPanels: heavy weights of an inference graph are stored as the blocks in which products read them."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.ir import Graph, Node, Rewriter, Value, remove_dead, rewrite
from tritoncnn.kernels.panels import panel_width
from tritoncnn.kernels.target import Target
from tritoncnn.ops import OPS, Sym
from tritoncnn.ops.panels import panels_of
from tritoncnn.passes.define import Pass, count
from tritoncnn.passes.split_constants import constant_values


@dataclass(frozen=True)
class StoreInPanels(Pass):
    """conv2d(x, w)   =>   conv2d(x, panels of w) {taps=[R,S]}
    matmul(a, b)   =>   matmul(a, panels of b) {panels=true}

    When   w or b follows from the inputs ``fixed`` alone, is f32, makes several panels (``kernels/panels.py``) and has more
           elements than the other factor: the other's rows are few then, and what takes time is reading weights. On a CPU.
    With   the panels made when the weights are loaded (``split_constants``), in one pass over them with what is computed before.
    """

    fixed: frozenset[str]
    target: Target

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        known = constant_values(graph, self.fixed) if self.target.kind == "cpu" else frozenset()
        done = 0

        def visit(out: Rewriter, node: Node) -> bool:
            nonlocal done
            op = OPS[node.op]
            how = op.panelled(tuple(v.type for v in node.operands), node.attrs) if op.panelled else None
            if how is None or node.operands[1] not in known:
                return False
            other, weight = node.operands[:2]
            columns, rows, attrs = how
            width = panel_width(weight.type.shape[columns])
            if not width or weight.type.dtype != "f32" or weight.type.numel <= other.type.numel:
                return False
            panels = _in_panels(graph, out, weight, columns, rows, width)
            operands = (out.value(other), panels.value, *(out.value(v) for v in node.operands[2:]))
            out.keep(node, operands=operands, attrs={**node.attrs, **attrs})
            done += 1
            return True

        after = rewrite(graph, visit)
        return (remove_dead(after), f"stored {count(done, 'weight')} in panels") if done else (graph, "")


def _in_panels(graph: Graph, out: Rewriter, value: Value, columns: int, rows: tuple[int, ...], width: int) -> Sym:
    """``value`` in panels: dim ``columns`` cut into blocks of ``width``, the dims ``rows`` inside of each, outermost first."""
    value = _unordered(graph, value, columns)
    if len(rows) < value.type.rank - 1:  # rows were one dim
        columns, rows = value.type.rank - 1, tuple(range(value.type.rank - 1))
    split = _split(graph, out, value, columns, width)
    return panels_of(split, (columns, *(d if d < columns else d + 1 for d in rows), columns + 1))


def _unordered(graph: Graph, value: Value, columns: int) -> Value:
    """The value before it was copied into a memory order, and before its rows became one dim: panels have their own order."""
    node = graph.producer.get(value)
    while node is not None and (OPS[node.op].copies or _joins_rows(node, columns)):
        value = node.operands[0]
        node = graph.producer.get(value)
    return value


def _joins_rows(node: Node, columns: int) -> bool:
    """Whether a matrix has its rows from several dims, and its columns as they were."""
    before, after = node.operands[0].type.shape, node.result.type.shape
    return OPS[node.op].reshapes and columns == len(after) - 1 == 1 and len(before) > 2 and before[-1] == after[-1]


def _split(graph: Graph, out: Rewriter, value: Value, dim: int, width: int) -> Sym:
    """``value`` with ``dim`` as two, blocks and what is in them; pointwise work is done on the parts, so that its results are
    written where they are wanted."""
    node = graph.producer.get(value)
    rank = value.type.rank
    if node is not None and OPS[node.op].triton and all(v.type.rank in (0, rank) for v in node.operands):
        parts = (_split(graph, out, v, dim, width) if v.type.rank else Sym(out, out.value(v)) for v in node.operands)
        return OPS[node.op](*parts, **node.attrs)  # type: ignore[no-any-return]
    shape = value.type.shape
    cut = (1, 1) if shape[dim] == 1 else (shape[dim] // width, width)
    return OPS["reshape"](Sym(out, out.value(value)), shape=(*shape[:dim], *cut, *shape[dim + 1 :]))  # type: ignore[no-any-return]
