"""WriteIntoParts: what is computed to be concatenated or padded is written straight into its part of the result."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tritoncnn.ir import Graph, Node, Value, number
from tritoncnn.ops import OPS, OpDef
from tritoncnn.passes.define import Pass, count


@dataclass(frozen=True)
class WriteIntoParts(Pass):
    """%1 = conv2d(..) : f32[2,3,8,8]@0,2,3,1;  %3 = concat(%1, %2) : f32[2,7,8,8]@0,2,3,1
       =>   %1 = conv2d(..) : f32[2,3,8,8]@strides(448,1,56,7)     and no copy of %1

    Of     every op whose operands are ``parts`` of its result in memory: concat, pad2d.
    When   a kernel that can write any strides makes the operand, it is no result of the graph, no view reads it and nothing
           updates it in place. Seen from the last one on, so that parts of parts land in the outermost; of two wholes that read
           it, the first one copies.
    """

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        now: dict[Value, Value] = {}
        for node in reversed(graph.nodes):
            parts = OPS[node.op].parts
            if parts is None:
                continue
            y = now.get(node.result, node.result).type
            types = tuple(v.type for v in node.operands)
            for value, place in zip(node.operands, parts(y, types, **node.attrs), strict=True):
                if (
                    place is not None
                    and value not in now
                    and node.operands.count(value) == 1
                    and _can_move(graph, value, node)
                ):
                    now[value] = Value(value.name, place[0])
        if not now:
            return graph, ""

        def moved(values: tuple[Value, ...]) -> tuple[Value, ...]:
            return tuple(now.get(v, v) for v in values)

        nodes = tuple(replace(n, operands=moved(n.operands), results=moved(n.results)) for n in graph.nodes)
        note = f"{count(len(now), 'tensor')} written straight into a larger one"
        return number(replace(graph, nodes=nodes)), note


def _can_move(graph: Graph, value: Value, whole: Node) -> bool:
    producer = graph.producer.get(value)
    if producer is None or not OPS[producer.op].any_strides or value in graph.outputs or value.type.numel == 0:
        return False
    users = graph.users[value]
    return all(user is whole or _reads_any_strides(OPS[user.op]) for user in users)


def _reads_any_strides(op: OpDef) -> bool:
    return op.view is None and not op.packs and op.lower is not None and not op.inplace
