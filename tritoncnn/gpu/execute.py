"""The sm_80 PTX of a case, executed on the CPU and compared with the op's reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tritoncnn.gpu.binary import compile_for
from tritoncnn.gpu.cases import Case
from tritoncnn.gpu.targets import find_target
from tritoncnn.ir import TensorType
from tritoncnn.ops import OPS, TORCH_DTYPE
from tritoncnn.ops.evaluate import run_reference
from tritoncnn.testing.ptx import run_ptx

MOST_BLOCKS = 40
ROUNDING = {"f32": 2.0**-24, "f16": 2.0**-11, "bf16": 2.0**-8, "f64": 2.0**-53}


@dataclass(frozen=True)
class Executed:
    """``error``: largest difference from the fp64 reference by its largest value; ``bound`` is what is allowed."""

    error: float
    bound: float
    races: tuple[str, ...]
    blocks: int

    @property
    def matched(self) -> bool:
        return self.error <= self.bound and not self.races


def programs(case: Case) -> int:
    """Blocks of all launches of the case: what executing it takes."""
    return sum(launch.grid[0] * launch.grid[1] * launch.grid[2] for launch, _ in case.lower().steps)


def can_execute(case: Case) -> bool:
    """Whether it is small enough, or one launch of which a few blocks can be compared by themselves."""
    return programs(case) <= MOST_BLOCKS or len(case.lower().steps) == 1


def execute(case: Case) -> Executed:
    """Run a case on random data: whole, or the first and the last block of a large grid. Raises PtxFault, KernelError.

    Of a large grid only what those blocks wrote is compared; the rest must still be as it was.
    """
    part = programs(case) > MOST_BLOCKS
    node, lowering, target = case.node, case.lower(), find_target("sm_80")
    operands = _data(case)
    memory = {f"o{i}": _place(v.type, x) for i, (v, x) in enumerate(zip(node.operands, operands, strict=True))}
    shared = dict(OPS[node.op].inplace)
    for i, value in enumerate(node.results):
        memory[f"r{i}"] = memory[f"o{shared[i]}"] if i in shared else _place(value.type)
    memory |= {f"w{i}": _place(type) for i, type in enumerate(lowering.workspaces)}
    for i, table in enumerate(lowering.tables):
        numbers = torch.tensor(table.numbers, dtype=TORCH_DTYPE[table.type.dtype])
        memory[f"t{i}"] = _place(table.type, numbers.reshape(table.type.shape))
    races: list[str] = []
    # The same data rounded as the kernel sees it, before a kernel updates it in place.
    given = tuple(memory[f"o{i}"].clone() for i in range(len(node.operands)))
    for launch, refs in lowering.steps:
        tensors = {}
        for number, (ref, type) in enumerate(zip(refs, launch.operands, strict=True)):
            name, _, first = ref.partition("+")
            whole = memory[name]
            view = whole.as_strided(type.shape, type.strides, whole.storage_offset() + int(first or 0))
            tensors[f"{number} ({name})"] = view
        binary = compile_for(launch, target)
        x, y, z = launch.grid
        run = run_ptx(
            binary.texts["ptx"], tensors, grid=launch.grid, warps=binary.warps, shared=binary.shared,
            blocks=[(0, 0, 0), (x - 1, y - 1, z - 1)] if part else None,
        )  # fmt: skip
        races += run.races
    wide = tuple(x.double() if x.is_floating_point() else x for x in given)
    wanted = run_reference(node, wide)
    found = [memory[f"r{i}"] for i in range(len(node.results))]
    rounding = max((ROUNDING[v.type.dtype] for v in node.results if v.type.is_float), default=0.0)
    if part:
        # What is updated in place held the operand; other results held NaN (or 85).
        before = [given[shared[i]] if i in shared else _place(value.type) for i, value in enumerate(node.results)]
        written = [(x != y) & ~(x.isnan() & y.isnan()) for x, y in zip(found, before, strict=True)]
        assert all(mask.any() for mask in written), f"{case.name}: the blocks wrote nothing"
        found = [x[mask] for x, mask in zip(found, written, strict=True)]
        wanted = tuple(x[mask] for x, mask in zip(wanted, written, strict=True))
    blocks = 2 if part else programs(case)
    return Executed(_error(found, wanted), 64 * rounding, tuple(races), blocks)


def _error(found: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor]) -> float:
    worst = 0.0
    for x, y in zip(found, wanted, strict=True):
        a, b = x.double(), y.double()
        same = (a == b) | (a.isnan() & b.isnan())
        difference = torch.where(same, 0.0, (a - b).abs()).nan_to_num(nan=float("inf"), posinf=float("inf"))
        scale = b[b.isfinite()].abs().amax().clamp(min=1.0) if b[b.isfinite()].numel() else torch.ones(())
        worst = max(worst, float((difference / scale).amax()) if difference.numel() else 0.0)
    return worst


def _data(case: Case) -> list[torch.Tensor]:
    """Random operands: normal floats, and what the sample's specs say: positive ones, whole numbers below an end."""
    generator = torch.Generator().manual_seed(len(case.name))
    found = []
    specs = case.sample or OPS[case.node.op].samples[0][0]  # a plan's nodes: the same kinds of data as the op's samples
    for i, value in enumerate(case.node.operands):
        spec: Any = specs[i] if i < len(specs) else ()
        if spec and spec[0] == "positive":
            found.append(torch.rand(value.type.shape, generator=generator) + 0.25)
        elif value.type.dtype == "i1":
            found.append(torch.rand(value.type.shape, generator=generator) > 0.5)
        elif value.type.is_float:
            found.append(torch.randn(value.type.shape, generator=generator))
        else:
            low, end = (spec[3] if len(spec) > 3 else 0), (spec[2] if len(spec) > 2 else 4)
            found.append(torch.randint(low, end, value.type.shape, generator=generator))
    return found


def _place(type: TensorType, values: torch.Tensor | None = None) -> torch.Tensor:
    """A tensor of this type; NaNs (or 85) without ``values``."""
    dtype = TORCH_DTYPE[type.dtype]
    empty = float("nan") if dtype.is_floating_point else 85 if dtype != torch.bool else False
    extent = 1 + sum((size - 1) * stride for size, stride in zip(type.shape, type.strides, strict=True))
    view = torch.full((extent + 16,), empty, dtype=dtype)[:extent].as_strided(type.shape, type.strides)
    return view if values is None else view.copy_(values)
