"""Which facts of a compiled kernel are faults. Only facts that do not depend on guesses about speed are judged.

Every kernel   its shared memory fits, it can be resident, its main loop does not spill.
Real layers    in 16 bits: matrix instructions in the main loop, loads of 128 bits, and on NVIDIA two buffers or more.
"""

from __future__ import annotations

from tritoncnn.gpu.facts import Facts
from tritoncnn.gpu.targets import Target


def faults(facts: Facts, target: Target, *, matrix: bool = False, wide: bool = False) -> list[str]:
    """What is wrong with a kernel. ``matrix``: it is a matrix product in 16 bits; ``wide``: its tensors are aligned."""
    found = []
    if facts.shared > target.shared:
        found.append(f"shared memory {facts.shared} is over the limit {target.shared}")
    elif facts.blocks < 1:
        found.append("no block fits on a multiprocessor")
    if facts.loop_spills:
        found.append(f"{facts.loop_spills} accesses to spilled registers in the main loop")
    if matrix and not facts.matrix:
        found.append("no matrix instruction in the main loop")
    if matrix and target.backend == "cuda" and facts.buffers < 2:
        found.append("the main loop is not pipelined")
    narrow = {width: count for width, count in facts.loads.items() if int(width) < 128}
    if wide and narrow:
        found.append("narrow loads in the main loop: " + ", ".join(f"{n} of {w} bits" for w, n in narrow.items()))
    return found
