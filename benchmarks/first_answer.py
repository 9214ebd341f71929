"""How long a first answer takes: whole processes, imports included, with empty caches and with warm ones.

    python benchmarks/first_answer.py [--json FILE] [--threads 2] [--repeats 5] [--only WORD]

The peer is a process that imports torch and does nothing else. Bytecode is written beforehand, as an installed package has it.
CPU seconds, those of the processes that compile included, tell more than wall seconds where others use the machine.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from measure import Row, report

if TYPE_CHECKING:
    import torch

IMPORT = "import torch"


def kept_lenet() -> None:
    """What ``tritoncnn infer`` does beside reading pictures: a model that is kept on the disk."""
    import torch

    from tritoncnn.frozen import compile_kept
    from tritoncnn.models.lenet import LeNet

    torch.manual_seed(0)  # the weights are a part of the key
    x = torch.zeros(1, 1, 28, 28)
    compile_kept(LeNet().eval(), x)(x)


def lenet_inference() -> None:
    import torch

    import tritoncnn
    from tritoncnn.models.lenet import LeNet

    x = torch.zeros(1, 1, 28, 28)
    tritoncnn.compile(LeNet().eval(), x)(x)


def lenet_step() -> None:
    from tritoncnn.models.lenet import LeNet

    _step(LeNet(), (64, 1, 28, 28))


def resnet_step() -> None:
    from tritoncnn.models.resnet import resnet18

    _step(resnet18(classes=10), (4, 3, 64, 64))


def _step(model: torch.nn.Module, shape: tuple[int, ...]) -> None:
    import torch
    import torch.nn.functional as F

    import tritoncnn

    x, target = torch.zeros(shape), torch.zeros(shape[0], dtype=torch.int64)
    tritoncnn.compile_step(model, F.cross_entropy, tritoncnn.SGD(lr=0.01, momentum=0.9), (x, target))(x, target)


CASES: dict[str, Callable[[], None]] = {
    "LeNet, inference": lenet_inference,
    "LeNet, training step": lenet_step,
    "ResNet-18, training step": resnet_step,
    "LeNet, kept on the disk": kept_lenet,
}


def one_process(case: str, environment: dict[str, str]) -> tuple[float, float]:
    """(wall, CPU) seconds of a process from its start to its end."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, __file__, "--case", case], env=environment, check=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(names: list[str], repeats: int, threads: int) -> dict[tuple[str, str], tuple[float, float]]:
    """Medians of (wall, CPU) seconds by (case, state of the caches), of rounds in which every case has its turn."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    path = os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryDirectory() as folder:
        cache, own = Path(folder) / "cache", Path(folder) / "triton"
        environment = {
            **os.environ, "TRITONCNN_CACHE": str(cache), "TRITON_CACHE_DIR": str(own), "PYTHONPATH": path,
            "OMP_NUM_THREADS": str(threads), "PYTHONPYCACHEPREFIX": str(Path(folder) / "bytecode"),
        }  # fmt: skip
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for turn in range(-1, repeats):  # the turn before the first writes bytecode
            for name in (IMPORT, *names):
                for state in ("warm",) if name == IMPORT else ("cold", "warm"):
                    if state == "cold":
                        shutil.rmtree(cache, ignore_errors=True)
                        shutil.rmtree(own, ignore_errors=True)
                    taken = one_process(name, environment)
                    if turn >= 0:
                        found.setdefault((name, state), []).append(taken)
    return {key: tuple(map(statistics.median, zip(*times, strict=True))) for key, times in found.items()}  # type: ignore[misc]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--threads", type=int, default=2, help="OMP_NUM_THREADS of every process (default 2)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds (default 5)")
    parser.add_argument("--only", default="", help="cases with this word")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case == IMPORT:
        import torch  # noqa: F401
    elif options.case:
        CASES[options.case]()
    else:
        names = [name for name in CASES if options.only in name]
        rows: list[Row] = []
        times = measure(names, options.repeats, options.threads)
        for name in names:
            for state in ("cold", "warm"):
                for what, mine, torchs in zip(("wall", "CPU"), times[name, state], times[IMPORT, "warm"], strict=True):
                    rows.append({
                        "case": f"{name}, {state}, {what}", "ours_ms": mine * 1e3,
                        "peer": IMPORT, "peer_ms": torchs * 1e3, "ratio": torchs / mine,
                    })  # fmt: skip
        report(rows, options.json)


if __name__ == "__main__":
    main()
