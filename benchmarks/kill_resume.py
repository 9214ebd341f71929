"""SIGKILL at random moments of training: no checkpoint may be corrupt, every resumed run must end with the same bits.

    python benchmarks/kill_resume.py [--kills 50] [--seed 0]

A run is begun, killed, resumed, perhaps killed again, and in the end compared with a run that nothing interrupted:
weights byte for byte, checkpoint tensor for tensor, metrics line for line. It saves after every
step, so that many kills hit a file being written. Exit code 1 on the first difference.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tritoncnn.commands import main  # noqa: E402
from tritoncnn.train.tensorfile import read_tensors  # noqa: E402

CHECKPOINT, MODEL = "checkpoint.safetensors", "model.safetensors"
PROCESSES = multiprocessing.get_context(
    "forkserver"
)  # forked from a process that did the slow imports and nothing else
PROCESSES.set_forkserver_preload(["tritoncnn.train", "torch.export", "torch._dynamo", "matplotlib.figure"])


def write_data(folder: Path) -> None:
    """A tiny MNIST of noise."""
    noise = np.random.RandomState(0)
    for name, count in (("train", 70), ("t10k", 20)):
        head = (0x803).to_bytes(4, "big") + b"".join(size.to_bytes(4, "big") for size in (count, 28, 28))
        (folder / f"{name}-images-idx3-ubyte").write_bytes(head + noise.bytes(count * 784))
        head = (0x801).to_bytes(4, "big") + count.to_bytes(4, "big")
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(head + bytes(i % 10 for i in range(count)))


def run_train(*words: str) -> None:
    """In a process of its own."""
    with open(os.devnull, "w") as sys.stdout:
        main(["train", "lenet", "--save-every", "0", "--threads", "1", *words])


def start(data: Path, run: Path, epochs: int) -> BaseProcess:
    words = [
        "--data",
        "mnist",
        "--data-dir",
        str(data),
        "--epochs",
        str(epochs),
        "--batch-size",
        "8",
        "--out",
        str(run),
    ]
    if (run / CHECKPOINT).exists():
        words = ["--resume", str(run)]
    process = PROCESSES.Process(target=run_train, args=words)
    process.start()
    return process


def wait_for_training(process: BaseProcess, run: Path, before: float) -> None:
    """Until the checkpoint is newer than ``before``, or the process ends."""
    while process.is_alive():
        try:
            if (run / CHECKPOINT).stat().st_mtime > before:
                return
        except FileNotFoundError:
            pass
        time.sleep(0.002)


def finish(process: BaseProcess) -> None:
    process.join()
    if process.exitcode:
        sys.exit(f"a run failed with exit code {process.exitcode}")


def killed(process: BaseProcess, run: Path, draw: random.Random, seconds: float) -> bool:
    """Kill at a random moment, mostly of the training proper. False when the process was done before."""
    before = (run / CHECKPOINT).stat().st_mtime if (run / CHECKPOINT).exists() else 0.0
    if draw.random() < 0.85:
        wait_for_training(process, run, before)
        time.sleep(draw.uniform(0, seconds))
    else:
        time.sleep(draw.uniform(0, 1.5))  # while it starts
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def metrics(run: Path) -> list[str]:
    return (run / "metrics.jsonl").read_text().splitlines()


def compare(run: Path, whole: Path) -> None:
    one, other = (read_tensors(folder / CHECKPOINT)[0] for folder in (run, whole))
    same = one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    if not same or (run / MODEL).read_bytes() != (whole / MODEL).read_bytes() or metrics(run) != metrics(whole):
        sys.exit(f"{run} differs from the run that was not interrupted")
    if left := list(run.glob(".*")):
        sys.exit(f"{run} still holds {left}")


def torture() -> None:
    parser = argparse.ArgumentParser(description="SIGKILL and resume")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=10, help="of 8 steps each (default 10)")
    options = parser.parse_args()
    draw, kills, runs, middle = random.Random(options.seed), 0, 0, 0
    with tempfile.TemporaryDirectory() as place:
        data, whole = Path(place), Path(place) / "whole"
        write_data(data)
        process = start(data, whole, options.epochs)
        wait_for_training(process, whole, 0.0)
        begin = (whole / CHECKPOINT).stat().st_mtime
        finish(process)
        seconds = (whole / CHECKPOINT).stat().st_mtime - begin  # without drawing the curves
        while kills < options.kills:
            run = Path(place) / f"run{runs}"
            while kills < options.kills and killed(start(data, run, options.epochs), run, draw, seconds):
                kills += 1
                if (run / CHECKPOINT).exists():
                    _, note = read_tensors(run / CHECKPOINT)  # raises on a corrupt file
                    middle += note["batch"] > 0
                if draw.random() < 0.4:
                    break
            finish(start(data, run, options.epochs))
            compare(run, whole)
            runs += 1
    print(
        f"{kills} kills in {runs} runs, {middle} of them inside an epoch: no corrupt checkpoint, the same bits every time"
    )


if __name__ == "__main__":
    torture()
