"""GatherUpdates: small buffers that are updated alike are updated by one launch."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.ir import Expr, Graph, Node, Pattern, Rewriter, Value, arg, match, remove_dead, rewrite
from tritoncnn.kernels.update import MOST
from tritoncnn.ops.define import inplace_of
from tritoncnn.passes.define import Pass, count, is_pointwise, root
from tritoncnn.passes.fuse_pointwise import MAX_OPERANDS, expression_of
from tritoncnn.passes.recompute_light import SMALL

ASSIGN = Pattern(("assign",), ("buffer", "new"))


@dataclass(frozen=True)
class _Item:
    """A buffer's new content: an expression of it, of further operands and of numbers."""

    node: Node
    buffer: Value
    operands: tuple[Value, ...]
    expr: str
    numbers: tuple[float, ...]

    @property
    def kind(self) -> tuple[object, ...]:
        """Equal for items that one kernel can update."""
        types = tuple(v.type for v in self.operands)
        single = tuple(t.numel != self.buffer.type.numel for t in types)
        return self.expr, self.buffer.type.dtype, tuple(t.dtype for t in types), single


@dataclass(frozen=True)
class GatherUpdates(Pass):
    """%1 = pointwise(a, x) {expr='add($0, mul($1, 0.1))'};  %2 = assign(a, %1)
       %3 = pointwise(b, y) {expr='add($0, mul($1, 0.2))'};  %4 = assign(b, %3)
       =>   %2, %4 = update(a, b, x, y) {count=2, expr='add($0, mul($1, $2))', numbers=[0.1,0.2]}

    When   a and b are vectors or numbers that nothing reads any more, x and y as long as they or numbers which nothing
    overwrites. The running statistics of all norms are a few launches so.
    """

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        changed = {root(graph, node.operands[i]) for node in graph.nodes for _, i in inplace_of(node)}
        kinds: dict[tuple[object, ...], list[_Item]] = {}
        for node in graph.nodes:
            item = _item(graph, node, changed)
            if item is not None:
                kinds.setdefault(item.kind, []).append(item)
        groups = [items[i : i + MOST] for items in kinds.values() for i in range(0, len(items), MOST)]
        last = {group[-1].node.result: group for group in groups}
        gone = {item.node.result for group in groups for item in group}

        def visit(out: Rewriter, node: Node) -> bool:
            group = last.get(node.results[0])
            if group is not None:
                _add(out, group)
            return node.results[0] in gone

        note = f"{count(len(gone), 'buffer')} updated in {count(len(groups), 'launch', 'launches')}"
        return remove_dead(rewrite(graph, visit)), note if gone else ""


def _add(out: Rewriter, group: list[_Item]) -> None:
    first = group[0]
    operands = (*(item.buffer for item in group), *(v for item in group for v in item.operands))
    attrs: dict[str, object] = {"count": len(group), "expr": first.expr}
    if first.numbers:
        attrs["numbers"] = tuple(number for item in group for number in item.numbers)
    types = tuple(item.node.result.type for item in group)
    made = out.add("update", tuple(out.value(v) for v in operands), types, attrs, first.node.source)
    for item, value in zip(group, made, strict=True):
        out.replace(item.node.result, value)


def _item(graph: Graph, node: Node, changed: set[Value]) -> _Item | None:
    found = match(graph, node, ASSIGN)
    if found is None or node.result in graph.users:
        return None
    buffer, new = found.values["buffer"], found.values["new"]
    if buffer not in graph.inputs or buffer.type.rank > 1 or buffer.type.numel > SMALL or not buffer.type.is_row_major:
        return None

    def fits(value: Value) -> bool:
        size = value.type.rank <= 1 and value.type.numel in (1, buffer.type.numel)
        return value == buffer or (size and root(graph, value) not in changed)

    above = graph.producer.get(new)
    operands: tuple[Value, ...] = (new,)
    tree = arg(1)
    if above is not None and is_pointwise(above) and graph.only_user(new) is node and all(map(fits, above.operands)):
        operands = tuple(v for v in above.operands if v != buffer)
        places = {arg(i): arg(0 if v == buffer else 1 + operands.index(v)) for i, v in enumerate(above.operands)}
        tree = expression_of(above).substitute(places)
    if len(operands) > MAX_OPERANDS or not all(map(fits, operands)):
        return None
    numbers: list[float] = []
    if all(v.type.dtype == "f32" for v in (buffer, *operands)):
        tree = _lift(tree, 1 + len(operands), numbers)
    return _Item(node, buffer, operands, str(tree), tuple(numbers))


def _lift(tree: Expr, first: int, numbers: list[float]) -> Expr:
    """The expression with its numbers as further operands from ``first`` on."""
    number = tree.constant
    if isinstance(number, float):
        numbers.append(number)
        return arg(first + len(numbers) - 1)
    return Expr(tree.op, tuple(_lift(part, first, numbers) for part in tree.args))
