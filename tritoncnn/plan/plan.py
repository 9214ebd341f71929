"""The plan: a static list of kernel launches and where their tensors lie. Data only; the runtime binds and runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tritoncnn.ir import Graph, Node, print_attrs
from tritoncnn.kernels.launch import Launch
from tritoncnn.kernels.target import Target
from tritoncnn.plan.memory import Place


@dataclass(frozen=True)
class Call:
    """One launch, the place of each of its operands, and the node it computes (or is a part of)."""

    launch: Launch
    places: tuple[Place, ...]
    node: Node


@dataclass(frozen=True)
class Plan:
    """target        what it is for
    calls         launches in order
    outputs       place of each graph output
    sizes         bytes of each buffer that the plan owns: ``arena``, ``constants``, packs
    constants     (offset in ``constants``, numbers, dtype)
    tensor_bytes  what all results would take without reuse, beside ``sizes['arena']``
    """

    graph: Graph
    target: Target
    calls: tuple[Call, ...]
    outputs: tuple[Place, ...]
    sizes: Mapping[str, int]
    constants: tuple[tuple[int, tuple[float, ...], str], ...]
    tensor_bytes: int
    sources: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """The table that ``tritoncnn inspect`` prints."""
        return print_plan(self)

    @property
    def fused(self) -> dict[str, int]:
        """What launches compute, as "conv2d, then relu(acc)" -> how many of them do; those with something fused in first."""
        counts: dict[str, int] = {}
        for call in self.calls:
            more = _fused(call)
            what = f"{call.node.op}, then {more}" if more else call.node.op
            counts[what] = counts.get(what, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: (", then" not in item[0], -item[1], item[0])))


def si(number: float, unit: str) -> str:
    """1234567 -> '1.23 M'."""
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= factor:
            return f"{number / factor:.3g} {prefix}{unit}"
    return f"{number:.0f} {unit}"


def _fused(call: Call) -> str:
    """What the launch computes beside its own op."""
    parts = [slot.text for slot in call.launch.slots]
    if "pool" in call.node.attrs:
        parts.append("max_pool2d" + print_attrs({"window": call.node.attrs["pool"]}))
    if call.node.attrs.get("bias"):
        parts.append("bias gradient")
    return " then ".join(parts)


def _tile(call: Call) -> str:
    blocks = {name: size for name, size in call.launch.constants.items() if name.startswith("BLOCK_")}
    return " ".join(f"{name.removeprefix('BLOCK_').lower()}={size}" for name, size in blocks.items())


def _row(number: int, call: Call) -> tuple[str, ...]:
    launch = call.launch
    name = getattr(launch.kernel, "__name__", str(launch.kernel)).strip("_")
    grid = "x".join(map(str, launch.grid))
    return (
        str(number),
        call.node.op,
        name,
        grid,
        _tile(call),
        si(launch.flops, "F"),
        si(launch.nbytes, "B"),
        _fused(call),
    )


def print_plan(plan: Plan) -> str:
    """One line a launch: kernel, what is fused in it, grid, tile, flops, bytes; then the memory."""
    head = ("#", "op", "kernel", "grid", "tile", "flops", "bytes", "fused")
    rows = [head, *(_row(number, call) for number, call in enumerate(plan.calls))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    flops, moved = (sum(getattr(c.launch, what) for c in plan.calls) for what in ("flops", "nbytes"))
    arena = plan.sizes.get("arena", 0)
    share = f" ({arena / plan.tensor_bytes:.0%})" if plan.tensor_bytes else ""
    total = f"{len(plan.calls)} launches, {si(flops, 'F')}, {si(moved, 'B')} moved"
    memory = f"arena {si(arena, 'B')} for {si(plan.tensor_bytes, 'B')} of temporary tensors{share}"
    return "\n".join([*lines, "", total, memory])
