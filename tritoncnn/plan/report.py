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
    parts = [call.slot.text] if call.slot is not None else []
    if "pool" in call.node.attrs:
        parts.append("max_pool2d" + print_attrs({"window": call.node.attrs["pool"]}))
    if call.node.attrs.get("bias"):
        parts.append("bias gradient")
    return " then ".join(parts)


def _tile(call: Call) -> str:
    constants = call.launch.constants
    return " ".join(f"{name.removeprefix('BLOCK_').lower()}={constants[name]}" for name in constants if name.startswith("BLOCK_"))


def print_plan(plan: Plan) -> str:
    """One line a launch: kernel, what is fused in it, grid, tile, flops, bytes; then the memory."""
    rows = [("#", "op", "kernel", "grid", "tile", "flops", "bytes", "fused")]
    for number, call in enumerate(plan.calls):
        launch = call.launch
        grid = "x".join(str(size) for size in launch.grid)
        name = getattr(launch.kernel, "__name__", str(launch.kernel)).strip("_")
        rows.append((str(number), call.node.op, name, grid, _tile(call), si(launch.flops, "F"), si(launch.nbytes, "B"), _fused(call)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    arena = plan.sizes.get("arena", 0)
    share = f" ({arena / plan.tensor_bytes:.0%})" if plan.tensor_bytes else ""
    total = f"{len(plan.calls)} launches, {si(sum(c.launch.flops for c in plan.calls), 'F')}, {si(sum(c.launch.nbytes for c in plan.calls), 'B')} moved"
    memory = f"arena {si(arena, 'B')} for {si(plan.tensor_bytes, 'B')} of temporary tensors{share}"
    return "\n".join([*lines, "", total, memory])
