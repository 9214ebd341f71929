"""Which facts of a compiled kernel are faults. Only facts that do not depend on guesses about speed are judged.

Every kernel   its shared memory fits, it can be resident, its main loop does not spill.
Products       matrix instructions of the main loop do the tile's work, or a whole number of times as much where it is unrolled.
Real layers    in 16 bits: matrix instructions in the main loop, loads of 128 bits, and on NVIDIA two buffers or more.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from tritoncnn.gpu.facts import Facts
from tritoncnn.gpu.targets import Gpu


def matrix_flops(matrix: Mapping[str, int], warps: int) -> int:
    """What the matrix instructions of a main loop compute in a block; 0 where one does not show its shape (sm_100)."""
    total = 0
    for name, count in matrix.items():
        if found := re.match(r"HMMA\.16(8)(16|8)\.", name):
            total += 2 * count * warps * 16 * int(found[1]) * int(found[2])
        elif found := re.match(r"HGMMA\.(\d+)x(\d+)x(\d+)", name):
            total += 2 * count * warps // 4 * math.prod(map(int, found.groups()))  # four warps do one together
        elif found := re.match(r"v_mfma_f32_(\d+)x(\d+)x(\d+)", name):
            total += 2 * count * warps * math.prod(map(int, found.groups()))
        else:
            return 0
    return total


def faults(
    facts: Facts, target: Gpu, *, matrix: bool = False, wide: bool = False, tile: int = 0, warps: int = 4
) -> list[str]:
    """What is wrong with a kernel. ``matrix``: it is a matrix product in 16 bits; ``wide``: its tensors are aligned;
    ``tile``: FLOP of one step of its main loop, of ``warps``, 0 if it is no product.
    """
    found = []
    if facts.shared > target.shared:
        found.append(f"shared memory {facts.shared} is over the limit {target.shared}")
    elif facts.blocks < 1:
        found.append("no block fits on a multiprocessor")
    if facts.loop_spills:
        found.append(f"{facts.loop_spills} accesses to spilled registers in the main loop")
    if matrix and not facts.matrix:
        found.append("no matrix instruction in the main loop")
    done = matrix_flops(facts.matrix, warps)
    if tile and done % tile:
        found.append(f"matrix instructions of the main loop do {done} FLOP, no multiple of the tile's {tile}")
    if matrix and target.backend == "cuda" and facts.buffers < 2:
        found.append("the main loop is not pipelined")
    narrow = {width: count for width, count in facts.loads.items() if int(width) < 128}
    if wide and narrow:
        found.append("narrow loads in the main loop: " + ", ".join(f"{n} of {w} bits" for w, n in narrow.items()))
    return found
