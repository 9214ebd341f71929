"""The sm_80 PTX of a case, executed on the CPU and compared with the op's reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tritoncnn import cpu
from tritoncnn.gpu.binary import compile_for
from tritoncnn.gpu.cases import Case
from tritoncnn.gpu.targets import Gpu, find_target
from tritoncnn.ir import DTYPES, Node, TensorType
from tritoncnn.kernels.launch import Launch
from tritoncnn.ops import OPS, TORCH_DTYPE
from tritoncnn.ops.evaluate import run_reference
from tritoncnn.runtime import compile_launch
from tritoncnn.testing.ptx import run_ptx

Tensors = Mapping[str, torch.Tensor]
MOST_BLOCKS = 40
ROUNDING = {name: row.roundoff for name, row in DTYPES.items() if row.roundoff is not None}


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


def programs(case: Case, gpu: Gpu) -> int:
    """Blocks of all launches of the case: what executing it takes."""
    return sum(launch.grid[0] * launch.grid[1] * launch.grid[2] for launch, _ in case.lower(gpu.target).steps)


def execute(case: Case) -> Executed:
    """Run a case on random data: whole, or of a large grid the first and the last block of each launch.

    Of a large grid only what those blocks wrote is compared; the rest must still be as it was. What a launch leaves to the
    next one, all of it, is made by the CPU backend, from the same kernel; the executed blocks must agree with that too.
    Raises PtxFault, KernelError.
    """
    gpu = find_target("sm_80")
    part = programs(case, gpu) > MOST_BLOCKS
    node, lowering = case.node, case.lower(gpu.target)
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
    wanted = run_reference(node, tuple(x.double() if x.is_floating_point() else x for x in given))
    rounding = max((ROUNDING[v.type.dtype] for v in node.results if v.type.is_float), default=0.0)
    error, blocks = 0.0, 0
    for launch, refs in lowering.steps:
        tensors = {}
        for number, (ref, type) in enumerate(zip(refs, launch.operands, strict=True)):
            name, _, first = ref.partition("+")
            whole = memory[name]
            view = whole.as_strided(type.shape, type.strides, whole.storage_offset() + int(first or 0))
            tensors[f"{number} ({name})"] = view
        before = {name: x.clone() for name, x in memory.items()} if part else {}
        binary = compile_for(launch, gpu)
        x, y, z = launch.grid
        chosen = sorted({(0, 0, 0), (x - 1, y - 1, z - 1)}) if part else None
        run = run_ptx(
            binary.texts["ptx"], tensors, grid=launch.grid, warps=binary.warps, shared=binary.shared, blocks=chosen
        )
        races += run.races
        blocks += len(chosen) if chosen else x * y * z
        if part:
            after = {name: x.clone() for name, x in memory.items()}
            for name, old in before.items():
                memory[name].copy_(old)
            _run_on_cpu(launch, list(tensors.values()))
            error = max(error, _written(case, before, after, memory, dict(zip(_results(node), wanted, strict=True))))
    if not part:
        error = _error([memory[name] for name in _results(node)], wanted)
    # Sums of some thousand products in f32, in trees of short chains, and what is stored rounded, once or after another op.
    return Executed(error, 64 * ROUNDING["f32"] + 2 * rounding, tuple(races), blocks)


def _results(node: Node) -> list[str]:
    return [f"r{i}" for i in range(len(node.results))]


def _run_on_cpu(launch: Launch, tensors: Sequence[torch.Tensor]) -> None:
    kernel, arguments = compile_launch(launch)
    values = [0] * len(kernel.arguments)
    for argument, tensor in zip(arguments, tensors, strict=True):
        values[argument] = tensor.data_ptr()
    cpu.NativePlan([(kernel, launch.grid, values)]).run()


def _written(case: Case, before: Tensors, after: Tensors, on_cpu: Tensors, wanted: Tensors) -> float:
    """The error of what some blocks of a launch wrote: against the whole launch on the CPU, and results against fp64."""
    worst, some = 0.0, False
    for name, old in before.items():
        new = after[name]
        mask = (new != old) & ~(new.isnan() & old.isnan())
        if mask.any():
            some = True
            worst = max(worst, _error([new[mask]], [on_cpu[name][mask]]))
            if name in wanted:
                worst = max(worst, _error([new[mask]], [wanted[name][mask]]))
    assert some, f"{case.name}: the blocks wrote nothing"
    return worst


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
