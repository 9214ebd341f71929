"""Every task as its user runs it: ``tritoncnn train TASK`` with no other flag, from empty caches; then again, killed and resumed.

    python benchmarks/rows.py [--only resnet,vgg] [--flags "--seed 1"] [--kills 1] [--out DIR]

First every task runs alone, which tells metric, baseline, seconds, launches of a step and memory: nothing else should run then.
Afterwards each runs with the kernels of the first time, gets a SIGKILL at a random moment after its first checkpoint, and is
resumed: its weights must be those of the first run byte for byte, its metrics line for line, whatever else the machine does. A
row is printed as soon as it is known, as a line of a Markdown table; with --out the run folders stay in DIR. Exit code 1 where
a figure that is asked of the task is not reached, or bits differ.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from tritoncnn.tasks import TASKS, find_task

CHECKPOINT = "checkpoint.safetensors"
COMMAND = (sys.executable, "-m", "tritoncnn")


class Asked(NamedTuple):
    """What a task's run has to reach. Without a limit, to be better than its baseline."""

    minutes: float = 3.0  # of the wall, on two quiet cores, from empty caches
    metric: str | None = None  # the baseline's metric otherwise
    least: float | None = None


ASKED = {
    **dict.fromkeys(("alexnet", "vgg", "googlenet", "resnet"), Asked(2.0, "accuracy", 0.9)),
    "lenet": Asked(3.0, "accuracy", 0.985),
    "texture": Asked(3.0, "accuracy", 0.95),
    "detection": Asked(5.0, "mAP50", 0.85),
    "pillars": Asked(3.0, "bev_ap50", 0.8),
    "segmentation": Asked(3.0, "mIoU", 0.8),
    "depth": Asked(3.0, "delta1", 0.9),
    **dict.fromkeys(("synthesis", "stylenet", "videostyle"), Asked(5.0)),
}


class Ended(NamedTuple):
    """A process: its exit code, and seconds of the wall and of the CPU."""

    code: int
    wall: float
    cpu: float


def begin(words: list[str], caches: Path, log: Path) -> subprocess.Popen[bytes]:
    places = {"TRITONCNN_CACHE": str(caches / "kernels"), "TRITON_CACHE_DIR": str(caches / "triton")}
    with open(log, "ab") as file:
        return subprocess.Popen(
            [*COMMAND, *words], env=os.environ | places, stdout=file, stderr=file, start_new_session=True
        )


def end(process: subprocess.Popen[bytes], start: float) -> Ended:
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # or Popen would wait for it again
    return Ended(process.returncode, time.perf_counter() - start, usage.ru_utime + usage.ru_stime)


def ran(words: list[str], caches: Path, log: Path) -> Ended:
    start = time.perf_counter()
    ended = end(begin(words, caches, log), start)
    if ended.code:
        sys.exit(f"tritoncnn {shlex.join(words)} ended with {ended.code}:\n{log.read_text()[-2000:]}")
    return ended


def killed(words: list[str], run: Path, caches: Path, log: Path, draw: random.Random, seconds: float) -> bool:
    """Whether a SIGKILL came between a new checkpoint and the end, at a random moment of up to ``seconds`` after the former."""
    before = (run / CHECKPOINT).stat().st_mtime_ns if (run / CHECKPOINT).exists() else 0
    process = begin(words, caches, log)
    while process.poll() is None:
        if (run / CHECKPOINT).exists() and (run / CHECKPOINT).stat().st_mtime_ns > before:
            time.sleep(draw.uniform(0, seconds))
            break
        time.sleep(0.01)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def same(one: Path, other: Path) -> bool:
    return all(
        (one / name).read_bytes() == (other / name).read_bytes() for name in ("model.safetensors", "metrics.jsonl")
    )


def reached(task: str, summary: dict[str, Any], wall: float) -> tuple[str, bool]:
    """The metric in words, and whether it is what is asked: the limit, or better than the baseline, if any; and in time."""
    asked, baseline = ASKED.get(task, Asked()), summary["baseline"]
    if baseline is None:  # what it is compared with takes a second training: tritoncnn compare
        name, value = next(iter(summary["metrics"].items()))
        return f"{name} {value:.4f} | none", wall <= 60 * asked.minutes
    name = asked.metric or baseline["metric"]
    value = summary["metrics"][name]
    other = (
        f"{baseline['value']:.4g}" if baseline["metric"] == name else f"{baseline['metric']} {baseline['value']:.4g}"
    )
    measured, falls = summary["metrics"][baseline["metric"]], find_task(task).metrics[baseline["metric"]].falls
    better = measured < baseline["value"] if falls else measured > baseline["value"]
    enough = better and (asked.least is None or value >= asked.least)
    least = "" if asked.least is None else f" (asked {asked.least:g})"
    return f"{name} {value:.4f}{least} | {other}, {baseline['by']}", enough and wall <= 60 * asked.minutes


def places(folder: Path) -> list[Path]:
    """A task's caches, its log, the run that nobody interrupts and the one that is killed."""
    return [folder / name for name in ("caches", "log", "whole", "run")]


def measure(task: str, folder: Path, flags: list[str]) -> bool:
    """Run a task from empty caches and print its row. Whether all is as asked."""
    folder.mkdir(parents=True)
    caches, log, whole, _ = places(folder)
    once = ran(["train", task, *flags, "--out", str(whole)], caches, log)
    summary = json.loads((whole / "summary.json").read_text())
    figures, enough = reached(task, summary, once.wall)
    print(
        f"| {task} | {figures} | {once.wall:.0f} s | {once.cpu:.0f} s | {summary['launches']}"
        f" | {summary['peak_memory']} MB | {'yes' if enough else 'NO'} |",
        flush=True,
    )
    return enough


def again(task: str, folder: Path, flags: list[str], kills: int, draw: random.Random) -> bool:
    """Run a task that was measured once more, kill and resume it, and print its row. Whether its bits are the same."""
    caches, log, whole, run = places(folder)
    seconds = json.loads((whole / "summary.json").read_text())["seconds"]
    done, words = 0, ["train", task, *flags, "--out", str(run)]
    while done < kills and killed(words, run, caches, log, draw, seconds / (kills + 1)):
        done, words = done + 1, ["train", "--resume", str(run)]
    if done == kills:  # else the last one came to its end
        ran(words, caches, log)
    bits = same(whole, run)
    print(f"| {task} | {done} | {'the same' if bits else 'OTHERS'} |", flush=True)
    return bits


def main() -> None:
    parser = argparse.ArgumentParser(description="Every task by its command alone.")
    parser.add_argument("--only", default="", help="tasks, with commas between them (default all)")
    parser.add_argument("--flags", default="", help="of train, besides")
    parser.add_argument("--kills", type=int, default=1, help="of each second run (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument("--out", type=Path, help="keep the run folders here")
    asked = parser.parse_args()
    flags = shlex.split(asked.flags)
    tasks = asked.only.split(",") if asked.only else list(TASKS)
    if unknown := [name for name in tasks if name not in TASKS]:
        parser.error(f"no task is called {', '.join(unknown)}; there are {', '.join(TASKS)}")
    draw, right = random.Random(asked.seed), True
    with tempfile.TemporaryDirectory() as place:
        folders = {task: (asked.out or Path(place)) / task for task in tasks}
        print("| train | metric | baseline | wall | CPU | launches | memory | as asked |\n| --- " + "| --- " * 7 + "|")
        for task, folder in folders.items():
            right &= measure(task, folder, flags)
        print("\n| train | kills | bits |\n| --- | --- | --- |")
        for task, folder in folders.items():
            right &= again(task, folder, flags, asked.kills, draw)
    sys.exit(not right)


if __name__ == "__main__":
    main()
