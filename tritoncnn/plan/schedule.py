"""Graph -> Plan: lower each node to launches, place every tensor."""

from __future__ import annotations

from dataclasses import dataclass, field

from tritoncnn.errors import GraphError, UnsupportedError
from tritoncnn.ir import DTYPE_BYTES, Graph, Node, Value
from tritoncnn.kernels.building import reach
from tritoncnn.kernels.launch import Launch
from tritoncnn.kernels.target import Target
from tritoncnn.ops import OPS
from tritoncnn.ops.define import inplace_of
from tritoncnn.plan.memory import LiveRange, Place, align, pack_ranges
from tritoncnn.plan.plan import Call, Plan


@dataclass(frozen=True)
class Workspace:
    """A temporary tensor of one node's launches."""

    node: Value  # the node's first result: an identity
    index: int


@dataclass(frozen=True)
class Part:
    """A result or operand from one of its elements on."""

    value: Value
    offset: int  # bytes


Tensor = Value | Workspace | Part | Place


@dataclass
class _Draft:
    """What is known while walking the graph. A tensor's root is the tensor whose memory it shares."""

    graph: Graph
    target: Target
    launches: list[tuple[Launch, tuple[Tensor, ...], Node]] = field(default_factory=list)
    roots: dict[Value, tuple[Value, int]] = field(default_factory=dict)  # value -> (root, byte offset)
    bytes: dict[Tensor, int] = field(default_factory=dict)  # of roots that the plan must place
    fixed: dict[Value, Place] = field(default_factory=dict)
    packed: dict[Value, tuple[Value, int]] = field(default_factory=dict)  # root -> (pack result, byte offset)
    sizes: dict[str, int] = field(default_factory=dict)
    stored: dict[str, int] = field(default_factory=dict)  # the text of numbers and dtype -> byte offset
    constants: list[tuple[int, tuple[float, ...], str]] = field(default_factory=list)  # as in the plan
    copies: int = 0

    def root(self, value: Value) -> tuple[Value, int]:
        offset = 0
        while value in self.roots or value in self.packed:
            value, step = self.roots.get(value) or self.packed[value]
            offset += step
        return value, offset


def make_plan(graph: Graph, target: Target) -> Plan:
    """The launches of ``graph`` (with its layout chosen) on ``target`` and a place for each tensor. Raises UnsupportedError."""
    draft = _Draft(graph, target)
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
        graph, target, calls, tuple(places.of(value) for value in outputs), dict(draft.sizes), tuple(draft.constants), written,
        {slot.function.__name__: slot.source for call in calls for slot in call.launch.slots},
    )  # fmt: skip


def _visit(draft: _Draft, node: Node) -> None:
    op = OPS[node.op]
    if op.number is not None:
        _constant(draft, node)
    elif op.view is not None:
        first = op.offset(node.operands[0].type, **node.attrs) if op.offset else 0
        draft.roots[node.result] = (node.operands[0], first * DTYPE_BYTES[node.result.type.dtype])
    elif op.packs:
        _pack(draft, node)
    elif op.parts is not None:
        _lay_parts(draft, node)
    elif op.lower is None:
        raise UnsupportedError(f"{node.op} has no kernel{f' ({node.source})' if node.source else ''}")
    else:
        for result, operand in inplace_of(node):
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


def _lower(draft: _Draft, node: Node, done: frozenset[str] = frozenset()) -> None:
    """Record the launches of ``node``, but those that read the operands ``done``."""
    lower = OPS[node.op].lower
    assert lower is not None
    lowering = lower(node, draft.target)
    spaces = [Workspace(node.results[0], i) for i in range(len(lowering.workspaces))]
    for space, type in zip(spaces, lowering.workspaces, strict=True):
        draft.bytes[space] = type.nbytes
    tables = tuple(_store(draft, table.numbers, table.type.dtype) for table in lowering.tables)
    groups: dict[str, tuple[Tensor, ...]] = {"r": node.results, "o": node.operands, "w": tuple(spaces), "t": tables}
    for launch, refs in (step for step in lowering.steps if done.isdisjoint(step[1])):
        tensors = tuple(_named(groups, ref) for ref in refs)
        assert len(tensors) == len(launch.operands), f"{node.op}: {len(refs)} refs for {len(launch.operands)} operands"
        draft.launches.append((launch, tensors, node))


def _named(groups: dict[str, tuple[Tensor, ...]], ref: str) -> Tensor:
    """The tensor behind a ref such as ``o1``, or its part behind ``r0+6``."""
    name, _, first = ref.partition("+")
    tensor = groups[name[0]][int(name[1:])]
    if not first:
        return tensor
    assert isinstance(tensor, Value)
    return Part(tensor, int(first) * DTYPE_BYTES[tensor.type.dtype])


def _store(draft: _Draft, numbers: tuple[float, ...], dtype: str) -> Place:
    """Numbers that kernels read from memory; the same ones are stored once, but 0.0 is not -0.0."""
    key = f"{numbers} {dtype}"
    if key not in draft.stored:
        offset = draft.stored[key] = draft.sizes.get("constants", 0)
        draft.constants.append((offset, numbers, dtype))
        draft.sizes["constants"] = offset + align(max(len(numbers), 1) * DTYPE_BYTES[dtype])
    return Place("constants", draft.stored[key])


def _constant(draft: _Draft, node: Node) -> None:
    """A number or table that some op reads from memory; fused expressions hold their numbers in their text."""
    if node.result in draft.graph.users or node.result in draft.graph.outputs:
        number = OPS[node.op].number
        assert number is not None
        numbers = number(**node.attrs)
        draft.fixed[node.result] = _store(draft, numbers, str(node.attrs["dtype"]))


def _pack(draft: _Draft, node: Node) -> None:
    """Let each operand's producer write into the pack's arena; copy those that live elsewhere."""
    outputs = [i for i, value in enumerate(draft.graph.outputs) if value == node.result]
    name = f"output {outputs[0]}" if outputs else f"pack {node.result.name}"
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


def _lay_parts(draft: _Draft, node: Node) -> None:
    """Operands that already have the strides of their part are written there by their producers; the others are copied."""
    y = node.result
    draft.bytes[y] = y.type.nbytes
    types = tuple(v.type for v in node.operands)
    parts = OPS[node.op].parts
    assert parts is not None
    done = set()
    for i, (value, place) in enumerate(zip(node.operands, parts(y.type, types, **node.attrs), strict=True)):
        if place is None:
            continue
        part, first = place
        if value.type.strides == part.strides and value in draft.bytes and value not in draft.graph.outputs:
            draft.packed[value] = (y, first * DTYPE_BYTES[y.type.dtype])
            del draft.bytes[value]
            done.add(f"o{i}")
    _lower(draft, node, frozenset(done))


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
    if draft.fixed.get(value) == Place(f"output {index}"):  # a pack
        return value
    if producer is not None and value in draft.roots and OPS[producer.op].inplace:
        return value
    root, shift = draft.root(value)
    if root not in draft.bytes or shift or draft.bytes[root] != value.type.nbytes:
        value = root = _copy(draft, value)
    draft.fixed[root] = Place(f"output {index}")
    draft.sizes[f"output {index}"] = reach(root.type)
    del draft.bytes[root]
    return value


def _arena(draft: _Draft) -> dict[object, int]:
    first: dict[Tensor, int] = {}
    last: dict[Tensor, int] = {}
    for index, (_, tensors, _) in enumerate(draft.launches):
        for tensor in tensors:
            whole = tensor.value if isinstance(tensor, Part) else tensor
            root = draft.root(whole)[0] if isinstance(whole, Value) else whole
            if not isinstance(root, Place) and root in draft.bytes:
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
        if isinstance(tensor, Place):
            return tensor
        if isinstance(tensor, Part):
            whole = self.of(tensor.value)
            return Place(whole.buffer, whole.offset + tensor.offset)
        root, shift = self.draft.root(tensor) if isinstance(tensor, Value) else (tensor, 0)
        if isinstance(root, Value) and root in self.draft.fixed:
            place = self.draft.fixed[root]
            return Place(place.buffer, place.offset + shift)
        return Place("arena", self.arena[root] + shift)
