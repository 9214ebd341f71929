"""What the benchmarks share: interleaved timing, the table, the JSON rows.

A row is {"case", "ours_ms", "peer", "peer_ms", "ratio"}; ratio = peer_ms / ours_ms, above 1: we are faster.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch

Row = dict[str, str | float]
Interleave = Callable[[dict[str, Callable[[], object]]], dict[str, float]]
PAUSE, WARM, TURN = 0.05, 0.015, 0.02  # seconds


def arguments(description: str) -> argparse.ArgumentParser:
    """The flags every benchmark has: --json FILE, --threads N, --repeats N, --cpu."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--threads", type=int, default=2, help="torch.set_num_threads of both sides (default 2)")
    parser.add_argument("--repeats", type=int, default=31, help="timed rounds per case (default 31)")
    parser.add_argument(
        "--cpu",
        action="store_true",
        help="CPU time in place of the wall's, which the load of a machine that others use too changes far more",
    )
    return parser


def read(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, Interleave]:
    """Read the command line and set torch's threads. Gives the options, and ``interleave`` as they say."""
    options = parser.parse_args()
    if options.cpu and options.threads != 1:
        parser.error(f"--cpu adds up the time of all threads; it needs --threads 1, got {options.threads}")
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.cpu else time.perf_counter
    return options, functools.partial(interleave, repeats=options.repeats, clock=clock)


def interleave(
    sides: dict[str, Callable[[], object]], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median milliseconds per call of each side: in every round each side runs in turn for about 20 ms.

    ``clock`` tells seconds: those of the wall, or ``time.process_time``, which counts all threads.

    Before each turn there is a pause, for idle threads of the side before spin for a while, on cores that are not theirs any
    more; and untimed calls, until the side's own threads are awake, which takes up to 8 ms on a virtual machine.
    """
    calls = {}
    for name, call in sides.items():
        for _ in range(3):
            call()
        start = clock()
        call()
        calls[name] = max(1, int(TURN / max(clock() - start, 1e-7)))
    rounds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, call in sides.items():
            time.sleep(PAUSE)
            awake = time.perf_counter() + WARM
            while time.perf_counter() < awake:
                call()
            start = clock()
            for _ in range(calls[name]):
                call()
            rounds[name].append((clock() - start) / calls[name])
    return {name: statistics.median(times) * 1e3 for name, times in rounds.items()}


def rows_of(case: str, milliseconds: dict[str, float], ours: str = "ours") -> list[Row]:
    """One row a peer."""
    mine = milliseconds[ours]
    peers = {name: ms for name, ms in milliseconds.items() if name != ours}
    return [{"case": case, "ours_ms": mine, "peer": n, "peer_ms": ms, "ratio": ms / mine} for n, ms in peers.items()]


def report(rows: list[Row], file: Path | None) -> None:
    """Print the table; write the rows as JSON when a file is named."""
    print(f"{'case':34} {'ours ms':>9}  {'peer':22} {'peer ms':>9}  {'ratio':>6}")
    for row in rows:
        print(f"{row['case']:34} {row['ours_ms']:9.3f}  {row['peer']:22} {row['peer_ms']:9.3f}  {row['ratio']:6.2f}")
    sys.stdout.flush()
    if file is not None:
        file.write_text(json.dumps(rows, indent=1) + "\n")


def conclude(cases: Mapping[str, list[list[Row]]], file: Path | None) -> None:
    """Report all rows of all kinds, and a line for each kind."""
    report([row for of_kind in cases.values() for rows in of_kind for row in rows], file)
    for line in summary(cases):
        print(line)


def best_of(rows: list[Row]) -> float:
    """The ratio to the fastest peer."""
    return min(float(row["ratio"]) for row in rows)


def summary(cases: Mapping[str, list[list[Row]]]) -> Iterator[str]:
    """A line for each kind: the geometric mean of the ratios to the best peer of each case."""
    for kind, of_kind in cases.items():
        ratios = [best_of(rows) for rows in of_kind]
        if ratios:
            worst = min(of_kind, key=best_of)[0]["case"]
            yield (
                f"{kind}: geomean {statistics.geometric_mean(ratios):.2f} against the best peer of each of "
                f"{len(ratios)} cases; least {min(ratios):.2f} ({worst})"
            )
