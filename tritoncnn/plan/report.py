"""A plan as the table that ``tritoncnn inspect`` prints."""

from __future__ import annotations

from tritoncnn.ir import print_attrs
from tritoncnn.plan.plan import Call, Plan


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
