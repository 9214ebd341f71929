"""LeNet: the compiled training step and inference against torch eager and torch.compile, and the peak memory of each.

    python benchmarks/lenet.py [--json FILE] [--threads 2]

Both sides start from the same weights; their losses and outputs are compared before anything is timed.
"""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from measure import Interleave, Row, arguments, read, report, rows_of

import tritoncnn
from tritoncnn.models.lenet import LeNet

LR, MOMENTUM = 0.01, 0.9
# Losses of two f32 runs after 5 equal steps: 5 steps times sums of up to 784 * 256 terms, far below this.
LOSS_TOLERANCE = 1e-4


def batch(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return torch.randn(size, 1, 28, 28, generator=g), torch.randint(0, 10, (size,), generator=g)


def torch_step(
    model: torch.nn.Module, x: torch.Tensor, target: torch.Tensor, compiled: bool
) -> Callable[[], torch.Tensor]:
    model = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)
    forward = torch.compile(model) if compiled else model

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(forward(x), target)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def our_step(model: torch.nn.Module, x: torch.Tensor, target: torch.Tensor) -> Callable[[], torch.Tensor]:
    step = tritoncnn.compile_step(model, F.cross_entropy, tritoncnn.SGD(lr=LR, momentum=MOMENTUM), (x, target))
    return lambda: step(x, target)


def compare_steps(size: int, interleave: Interleave) -> list[Row]:
    torch.manual_seed(0)
    model, (x, target) = LeNet(), batch(size)
    sides = {
        "ours": our_step(model, x, target),
        "torch eager": torch_step(model, x, target, compiled=False),
        "torch.compile": torch_step(model, x, target, compiled=True),
    }
    losses = {name: [float(side()) for _ in range(5)][-1] for name, side in sides.items()}
    for name, loss in losses.items():
        assert abs(loss - losses["torch eager"]) < LOSS_TOLERANCE, f"{name}: loss {loss}, torch {losses['torch eager']}"
    return rows_of(f"training step, batch {size}", interleave(sides))


def compare_inference(size: int, interleave: Interleave) -> list[Row]:
    torch.manual_seed(0)
    model, (x, _) = LeNet().eval(), batch(size)
    ours, inductor = tritoncnn.compile(model, x), torch.compile(model)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), model(x), rtol=1e-4, atol=1e-5)
        sides = {"ours": lambda: ours(x), "torch eager": lambda: model(x), "torch.compile": lambda: inductor(x)}
        return rows_of(f"inference, batch {size}", interleave(sides))


def peak_memory(side: str, size: int) -> float:
    """Peak resident megabytes of a process of its own that does 20 training steps."""
    command = [sys.executable, __file__, "--child", side, str(size)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def child(side: str, size: int) -> None:
    torch.manual_seed(0)
    model, (x, target) = LeNet(), batch(size)
    step = our_step(model, x, target) if side == "ours" else torch_step(model, x, target, side == "torch.compile")
    for _ in range(20):
        step()
    # Not ru_maxrss: that counts what the parent had when it forked.
    status = Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) / 1024)


def main() -> None:
    options, interleave = read(arguments("LeNet against torch"))
    rows = [row for size in (64, 256) for row in compare_steps(size, interleave)]
    rows += [row for size in (1, 64, 256) for row in compare_inference(size, interleave)]
    report(rows, options.json)
    for size in (64, 256):
        figures = {side: peak_memory(side, size) for side in ("ours", "torch eager", "torch.compile")}
        print(f"peak memory, batch {size}: " + ", ".join(f"{side} {mb:.0f} MB" for side, mb in figures.items()))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], int(sys.argv[3]))
    else:
        main()
