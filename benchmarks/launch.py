"""What a launch and a compilation cost beside the kernel's own work.

    python benchmarks/launch.py [--json FILE] [--threads 1]

Launches of an empty kernel: bound in a plan of 20, by ``kernel[grid]``, and torch's add of one number for scale. Then the
kernels of LeNet's training step: compiled into an empty cache folder, and loaded from it.
"""

from __future__ import annotations

import os
import tempfile
import time
from typing import Any

import torch
import torch.nn.functional as F
import triton
from measure import Interleave, Row, arguments, read, report

import tritoncnn
from tritoncnn import cpu
from tritoncnn.cpu.run import compiler
from tritoncnn.models.lenet import LeNet

BOUND = 20  # launches in a plan


@triton.jit
def nothing(x_ptr, y_ptr, n):
    pass


def launches(interleave: Interleave) -> list[Row]:
    """One launch of each kind, over torch.add of one number into its output."""
    x, y = torch.zeros(1), torch.zeros(1)
    kernel = cpu.compile_kernel(nothing, {"x_ptr": "*fp32", "y_ptr": "*fp32", "n": "i32"}, {})
    plan = cpu.NativePlan([(kernel, (1,), (x.data_ptr(), y.data_ptr(), 5))] * BOUND)
    with cpu.active():
        ms = interleave(
            {
                "bound launch": plan.run,
                "kernel[grid]": lambda: nothing[(1,)](x, y, 5),
                "CpuKernel.launch": lambda: kernel.launch((1,), (x, y, 5)),
                "torch.add out=": lambda: torch.add(x, 1.0, out=y),
            }
        )
    ms["bound launch"] /= BOUND
    peer = ms.pop("torch.add out=")
    return [
        {"case": c, "ours_ms": t, "peer": "torch.add out=", "peer_ms": peer, "ratio": peer / t} for c, t in ms.items()
    ]


def compilations() -> list[Row]:
    """All kernels of LeNet's step, compiled and then loaded."""
    seconds: list[float] = []
    work = compiler.compile_requests

    def timed(wanted: Any) -> Any:
        start = time.perf_counter()
        try:
            return work(wanted)
        finally:
            seconds.append(time.perf_counter() - start)

    compiler.compile_requests = timed
    example = (torch.randn(64, 1, 28, 28), torch.randint(0, 10, (64,)))
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRITONCNN_CACHE"] = os.path.join(folder, "cache")
        for case in ("compiled", "loaded"):
            seconds.clear()
            compiler._loaded.clear()
            step = tritoncnn.compile_step(LeNet(), F.cross_entropy, tritoncnn.SGD(lr=0.01, momentum=0.9), example)
            found[case] = sum(seconds) * 1e3
            print(f"{len(step.plan.calls)} launches {case}: {found[case]:.0f} ms")
    peer = found["compiled"]
    return [
        {"case": f"kernels of a step, {c}", "ours_ms": t, "peer": "compiled", "peer_ms": peer, "ratio": peer / t}
        for c, t in found.items()
    ]


def main() -> None:
    options, interleave = read(arguments(__doc__.splitlines()[0]))
    report(launches(interleave) + compilations(), options.json)


if __name__ == "__main__":
    main()
