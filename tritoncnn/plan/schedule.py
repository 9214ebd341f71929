"""Graph -> Plan: lower each node to launches, place every tensor."""

from __future__ import annotations

from dataclasses import dataclass, field

from tritoncnn.errors import GraphError, UnsupportedError
from tritoncnn.ir import DTYPE_BYTES, Graph, Node, Value
from tritoncnn.kernels.launch import Launch
from tritoncnn.ops import OPS
from tritoncnn.plan.memory import LiveRange, Place, align, pack_ranges
from tritoncnn.plan.plan import Call, Plan


@dataclass(frozen=True)
class Workspace:
    """A temporary tensor of one node's launches."""

    node: Value  # the node's first result: an identity
    index: int


Tensor = Value | Workspace


@dataclass
class _Draft:
    """What is known while walking the graph. A tensor's root is the tensor whose memory it shares."""

    graph: Graph
    launches: list[tuple[Launch, tuple[Tensor, ...], Node]] = field(default_factory=list)
    roots: dict[Value, tuple[Value, int]] = field(default_factory=dict)  # value -> (root, byte offset)
    bytes: dict[Tensor, int] = field(default_factory=dict)  # of roots that the plan must place
    fixed: dict[Value, Place] = field(default_factory=dict)
    packed: dict[Value, tuple[Value, int]] = field(default_factory=dict)  # root -> (pack result, byte offset)
    sizes: dict[str, int] = field(default_factory=dict)
    constants: list[tuple[int, tuple[float, ...], str]] = field(default_factory=list)
    copies: int = 0

    def root(self, value: Value) -> tuple[Value, int]:
        offset = 0
        while value in self.roots or value in self.packed:
            value, step = self.roots.get(value) or self.packed[value]
            offset += step
        return value, offset


def make_plan(graph: Graph) -> Plan:
    """The launches of ``graph`` (with its layout chosen) and a place for each tensor. Raises UnsupportedError."""
    draft = _Draft(graph)
    for value in graph.inputs:
        draft.fixed[value] = Place(value.name)
    for node in graph.nodes:
        _visit(draft, node)
    outputs = [_place_output(draft, i, value) for i, value in enumerate(graph.outputs)]
    arena = _arena(draft)
    places = _Places(draft, arena)
    calls = tuple(
        Call(launch, tuple(places.of(tensor) for tensor in tensors), node) for launch, tensors, node in draft.launches
    )
    written = sum(align(nbytes) for nbytes in draft.bytes.values())
    return Plan(
        graph, calls, tuple(places.of(value) for value in outputs), dict(draft.sizes), tuple(draft.constants), written,
        {slot.function.__name__: slot.source for call in calls if (slot := call.launch.slot) is not None},
    )  # fmt: skip


def _visit(draft: _Draft, node: Node) -> None:
    op = OPS[node.op]
    if node.op in ("const", "table"):
        _constant(draft, node)
    elif op.view is not None:
        offset = int(node.attrs.get("offset", 0)) * DTYPE_BYTES[node.result.type.dtype]
        draft.roots[node.result] = (node.operands[0], offset)
    elif node.op == "pack":
        _pack(draft, node)
    elif op.lower is None:
        raise UnsupportedError(f"{node.op} has no kernel{f' ({node.source})' if node.source else ''}")
    else:
        for result, operand in op.inplace:
            _check_overwrite(draft, node, node.operands[operand])
            draft.roots[node.results[result]] = (node.operands[operand], 0)
        for value in node.results:
            if value not in draft.roots:
                draft.bytes[value] = value.type.nbytes
        _lower(draft, node)


def _check_overwrite(draft: _Draft, node: Node, value: Value) -> None:
    """An op that updates memory in place comes after all that read what was there."""
    root, _ = draft.root(value)
    position = next(i for i, other in enumerate(draft.graph.nodes) if other is node)
    for later in draft.graph.nodes[position + 1 :]:
        if any(v not in node.results and draft.root(v)[0] == root for v in later.operands):
            raise GraphError(f"{draft.graph.name}: {later.op} reads {root} after {node.op} has overwritten it")


def _lower(draft: _Draft, node: Node) -> None:
    lower = OPS[node.op].lower
    assert lower is not None
    lowering = lower(node)
    spaces = [Workspace(node.results[0], i) for i in range(len(lowering.workspaces))]
    for space, type in zip(spaces, lowering.workspaces, strict=True):
        draft.bytes[space] = type.nbytes
    groups: dict[str, tuple[Tensor, ...]] = {"r": node.results, "o": node.operands, "w": tuple(spaces)}
    for launch, refs in lowering.steps:
        tensors = tuple(groups[ref[0]][int(ref[1:])] for ref in refs)
        assert len(tensors) == len(launch.operands), f"{node.op}: {len(refs)} refs for {len(launch.operands)} operands"
        draft.launches.append((launch, tensors, node))


def _constant(draft: _Draft, node: Node) -> None:
    """Numbers that some op reads from memory; fused expressions hold single ones in their text."""
    if node.result in draft.graph.users or node.result in draft.graph.outputs:
        offset = draft.sizes.get("constants", 0)
        numbers = (float(node.attrs["value"]),) if node.op == "const" else node.attrs["numbers"]
        draft.constants.append((offset, numbers, node.result.type.dtype))
        draft.fixed[node.result] = Place("constants", offset)
        draft.sizes["constants"] = offset + align(node.result.type.nbytes)


def _pack(draft: _Draft, node: Node) -> None:
    """Let each operand's producer write into the pack's arena; copy those that live elsewhere."""
    name = f"pack {node.result.name}"
    draft.fixed[node.result] = Place(name)
    draft.sizes[name] = node.result.type.nbytes
    offsets = node.attrs["offsets"]
    assert isinstance(offsets, tuple)
    for value, offset in zip(node.operands, offsets, strict=True):
        root, shift = draft.root(value)
        if root not in draft.bytes or shift or draft.bytes[root] != value.type.nbytes or root in draft.graph.outputs:
            root = _copy(draft, value)
        draft.packed[root] = (node.result, offset * DTYPE_BYTES[value.type.dtype])
        del draft.bytes[root]


def _copy(draft: _Draft, value: Value) -> Value:
    """A launch that copies ``value`` to dense memory of its own."""
    draft.copies += 1
    fresh = Value(f"%copy{draft.copies}", value.type.packed())
    draft.bytes[fresh] = fresh.type.nbytes
    _lower(draft, Node("copy", (value,), (fresh,), {"order": fresh.type.order or ()}))
    return fresh


def _place_output(draft: _Draft, index: int, value: Value) -> Value:
    """An output gets memory of its own, unless it is an input updated in place."""
    producer = draft.graph.producer.get(value)
    if producer is not None and value in draft.roots and OPS[producer.op].inplace:
        return value
    root, shift = draft.root(value)
    if root not in draft.bytes or shift or draft.bytes[root] != value.type.nbytes:
        value = root = _copy(draft, value)
    draft.fixed[root] = Place(f"output {index}")
    draft.sizes[f"output {index}"] = root.type.nbytes
    del draft.bytes[root]
    return value


def _arena(draft: _Draft) -> dict[object, int]:
    first: dict[Tensor, int] = {}
    last: dict[Tensor, int] = {}
    for index, (_, tensors, _) in enumerate(draft.launches):
        for tensor in tensors:
            root = draft.root(tensor)[0] if isinstance(tensor, Value) else tensor
            if root in draft.bytes:
                first.setdefault(root, index)
                last[root] = index
    ranges = [LiveRange(root, draft.bytes[root], first[root], last[root]) for root in first]
    offsets, draft.sizes["arena"] = pack_ranges(ranges)
    return offsets


@dataclass(frozen=True)
class _Places:
    draft: _Draft
    arena: dict[object, int]

    def of(self, tensor: Tensor) -> Place:
        root, shift = self.draft.root(tensor) if isinstance(tensor, Value) else (tensor, 0)
        if isinstance(root, Value) and root in self.draft.fixed:
            place = self.draft.fixed[root]
            return Place(place.buffer, place.offset + shift)
        return Place("arena", self.arena[root] + shift)
