"""RecomputeLight: a value that costs an addition is computed again by each reader, not stored for all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tritoncnn.ir import Graph, Node, Value, number
from tritoncnn.ops import OPS
from tritoncnn.passes.define import Pass, count

SMALL = 4096  # up to so many elements a launch costs more than the memory it saves


@dataclass(frozen=True)
class RecomputeLight(Pass):
    """%1 = sub(x, mean);  %2 = mul(%1, %1);  %3 = sum(%2);  %4 = mul(%1, scale)
       =>   %3 reads one copy of %1 and %4 another; each then fuses with its reader, and %1 is never written

    When   %1 is a sum or product with at most one operand of its size, the others being smaller, and its readers are
    pointwise or reductions, into which it fuses: reading that operand costs them what reading %1 would.
    """

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        copies: dict[tuple[Value, int], Value] = {}  # (value, its reader) -> the reader's own copy
        before: dict[int, list[Node]] = {}  # reader -> copies that come before it
        nodes: list[Node] = []
        fresh = 0
        users: dict[Value, list[Node]] = {value: list(nodes) for value, nodes in graph.users.items()}
        for node in reversed(graph.nodes):
            # Readers come later in the list, so theirs (and their copies) are final here.
            readers = users.get(node.results[0], [])
            able = [r for r in readers if OPS[r.op].triton or OPS[r.op].reduces]
            if not _light(node) or len(readers) < 2 or not able:
                continue
            spare = able if len(able) < len(readers) or node.result in graph.outputs else able[1:]
            for reader in spare:
                fresh += 1
                value = Value(f"%light{fresh}", node.result.type)
                copy = replace(node, results=(value,))
                copies[node.result, id(reader)] = value
                before.setdefault(id(reader), []).append(copy)
                for operand in dict.fromkeys(copy.operands):
                    users.setdefault(operand, []).append(copy)

        def place(node: Node) -> None:
            for copy in reversed(before.get(id(node), ())):
                place(copy)
            operands = tuple(copies.get((v, id(node)), v) for v in node.operands)
            nodes.append(replace(node, operands=operands))

        for node in graph.nodes:
            place(node)
        note = f"{count(fresh, 'copy', 'copies')} of cheap values, one per reader"
        return number(replace(graph, nodes=tuple(nodes))), note if fresh else ""


def _light(node: Node) -> bool:
    if not OPS[node.op].cheap or not node.result.type.numel:
        return False
    full = {v for v in node.operands if v.type.numel == node.result.type.numel}
    return len(full) <= 1 and node.result.type.numel > SMALL
