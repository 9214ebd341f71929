"""All kernels for all targets: what the compilers made of each, and whether it passes the gate."""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import triton

from tritoncnn import settings
from tritoncnn.cpu import write_text
from tritoncnn.errors import KernelError
from tritoncnn.gpu.binary import compile_for, launch_key
from tritoncnn.gpu.cases import MATRIX_KERNELS, Case, cases
from tritoncnn.gpu.facts import Facts, facts_of, roofline
from tritoncnn.gpu.gate import faults
from tritoncnn.gpu.targets import TARGETS, Gpu, find_target
from tritoncnn.gpu.wgmma import serialised
from tritoncnn.kernels.launch import Launch


@dataclass(frozen=True)
class Row:
    """One launch of a case on one target. ``facts`` is None when the compiler refused the kernel."""

    case: str
    kernel: str
    dtype: str
    target: str
    key: str
    facts: Facts | None
    faults: tuple[str, ...]


def measure(launch: Launch, target: Gpu) -> Facts:
    """The facts of a launch; kept in the cache folder by all that they depend on. Raises KernelError."""
    sources = b"".join((Path(__file__).parent / name).read_bytes() for name in ("binary.py", "facts.py", "targets.py"))
    key = hashlib.sha256(f"{launch_key(launch)} {target} {triton.__version__}".encode() + sources).hexdigest()[:24]
    kept = settings.current().cache / "gpu" / f"{key}.json"
    if kept.exists():
        return Facts(**{**json.loads(kept.read_text()), "roofline_us": roofline(launch, target)})
    facts = facts_of(compile_for(launch, target))
    write_text(settings.current().cache, "gpu", kept.name, json.dumps(asdict(facts)))
    return facts


def judge(case: Case, launch: Launch, target: Gpu) -> Row:
    """One row: the facts of a launch and what the gate says of them."""
    name, dtype = launch.kernel.__name__, launch.operands[-1].dtype
    narrow = case.main and name in MATRIX_KERNELS and dtype in ("bf16", "f16")
    facts, wrong = None, []
    try:
        facts = measure(launch, target)
        blocks = [size for key, size in launch.constants.items() if key.startswith("BLOCK_")]
        tile = 2 * math.prod(blocks) if name in MATRIX_KERNELS else 0
        wide = narrow and _fills_wide_loads(launch, target)
        wrong = faults(facts, target, matrix=narrow, wide=wide, tile=tile, warps=launch.num_warps)
        if any(instruction.startswith("HGMMA") for instruction in facts.matrix):
            told = serialised(compile_for(launch, target).texts["ptx"])
            wrong += [told] if told else []
    except KernelError as error:
        wrong = [str(error)]
    return Row(case.name, name, dtype, target.name, launch_key(launch), facts, tuple(wrong))


def _fills_wide_loads(launch: Launch, target: Gpu) -> bool:
    """Whether each operand's tile has 8 elements of 16 bits for every thread: else a load of 128 bits has no work."""
    blocks = [size for name, size in launch.constants.items() if name.startswith("BLOCK_")]
    return min(blocks) * sorted(blocks)[1] >= 8 * launch.num_warps * target.warp


def work(targets: Collection[str], only: str, fast: bool) -> Iterator[tuple[Case, Launch, Gpu]]:
    """What the report is made of: each different launch once for each target."""
    seen = set()
    for case in cases(fast):
        for target in map(find_target, targets):
            for launch, _ in case.lower(target.target).steps:
                key = (launch_key(launch), target.name)
                wanted = only in case.name or only in launch.kernel.__name__
                if wanted and key not in seen and 0 not in launch.grid:
                    seen.add(key)
                    yield case, launch, target


def make_report(
    targets: Sequence[str] = tuple(TARGETS), only: str = "", fast: bool = False, jobs: int = 1
) -> list[Row]:
    """Rows for all kernels whose name, or case, has ``only`` in it."""
    for name in targets:
        find_target(name)
    if jobs > 1:
        context = multiprocessing.get_context("spawn")
        shares = [context.Process(target=_share, args=(targets, only, fast, i, jobs)) for i in range(1, jobs)]
        for share in shares:
            share.start()
        _share(targets, only, fast, 0, jobs)
        for share in shares:
            share.join()
    return [judge(*item) for item in work(targets, only, fast)]


def _share(targets: Sequence[str], only: str, fast: bool, index: int, jobs: int) -> None:
    """Fill the cache with every ``jobs``-th row."""
    for number, item in enumerate(work(targets, only, fast)):
        if number % jobs == index:
            judge(*item)


def print_table(rows: Sequence[Row]) -> Iterator[str]:
    """The report for people, a line for each row, then the faults."""
    head = (
        "case",
        "kernel",
        "target",
        "regs",
        "spills",
        "shared",
        "blocks",
        "matrix",
        "loads",
        "async",
        "buffers",
        "roofline us",
    )
    lines: list[tuple[str, ...]] = [head]
    for row in rows:
        f = row.facts
        if f is None:
            continue
        matrix = " ".join(f"{n}x{name}" for name, n in f.matrix.items()) or "-"
        loads = " ".join(f"{n}x{width}" for width, n in f.loads.items()) or "-"
        numbers = (
            f.registers,
            f.loop_spills,
            f.shared,
            f.blocks,
            matrix,
            loads,
            f.async_copies,
            f.buffers,
            f.roofline_us,
        )
        lines.append((row.case, row.kernel.removesuffix("_kernel"), row.target, *map(str, numbers)))
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    for line in lines:
        yield "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
    yield ""
    yield from (f"FAULT {row.case} {row.kernel} {row.target}: {fault}" for row in rows for fault in row.faults)
    kernels = len({row.key for row in rows})
    yield f"{kernels} launches, {len(rows)} rows, {sum(bool(row.faults) for row in rows)} with faults"
