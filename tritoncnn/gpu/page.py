"""A report as a page of documentation: what was compiled, what was executed, the layers in full, all kernels in short."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import NamedTuple

import triton

from tritoncnn.errors import KernelError
from tritoncnn.gpu.cases import cases
from tritoncnn.gpu.execute import MOST_BLOCKS, execute
from tritoncnn.gpu.report import Row, print_table


class Outcome(NamedTuple):
    """What executing the PTX of a case gave. ``words``: error and bound, races, or why it could not be run."""

    case: str
    matched: bool
    words: str


def outcomes(only: str = "", fast: bool = False) -> Iterator[Outcome]:
    """Every case with ``only`` in its name, executed one after the other."""
    for case in cases(fast):
        if only not in case.name:
            continue
        try:
            done = execute(case)
        except KernelError as error:
            yield Outcome(case.name, False, str(error))
            continue
        races = "".join(f", race: {race}" for race in done.races)
        yield Outcome(case.name, done.matched, f"error {done.error:.1e}, bound {done.bound:.1e}{races}")


def page(rows: Sequence[Row], executed: Sequence[Outcome]) -> str:
    """Markdown."""
    layers = [row for row in rows if re.search(r"\d+x\d+", row.case)]
    table = list(print_table(layers))
    failed = [outcome for outcome in executed if not outcome.matched]
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.kernel.removesuffix("_kernel"), row.target), []).append(row)
    lines = [
        "# GPU report: the last result",
        "",
        f"Made {datetime.now(timezone.utc).date()} with Triton {triton.__version__} by `tritoncnn gpu-report --page FILE`; "
        "nothing was run or timed on a GPU. How to read it: [gpu.md](gpu.md).",
        "",
        f"Compiled: {len(rows)} rows (launch and target), {len({row.key for row in rows})} launches, on "
        f"{', '.join(dict.fromkeys(row.target for row in rows))}. With faults: {sum(bool(row.faults) for row in rows)}.",
        "",
        f"Executed (PTX of sm_80, on the CPU): {len(executed) - len(failed)} cases matched, {len(failed)} failed. Of grids of "
        f"more than {MOST_BLOCKS} blocks the first and the last block of each launch.",
        *(f"* FAILED {outcome.case}: {outcome.words}" for outcome in failed),
        "",
        "## Layers in real sizes",
        "",
        "```",
        *(table[: table.index("")] if "" in table else table),
        "```",
        "",
        "## All kernels, by target",
        "",
        "| kernel | target | rows | most registers | most shared bytes | spills in loops | faults |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (kernel, target), group in sorted(groups.items()):
        facts = [row.facts for row in group if row.facts]
        most = [max((f.registers for f in facts), default=0), max((f.shared for f in facts), default=0)]
        numbers = [len(group), *most, sum(f.loop_spills for f in facts), sum(bool(row.faults) for row in group)]
        lines.append(f"| {kernel} | {target} | {' | '.join(map(str, numbers))} |")
    return "\n".join(lines) + "\n"
