"""Processes that start together compile the same kernels into one cache folder: no error, and the same bytes.

    python benchmarks/cold_starts.py [--processes 8] [--starts 20]

Each process starts so often, in rounds; the folder is emptied before every fifth round, so that all race to write, then read.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import triton
import triton.language as tl


@triton.jit
def scale(y_ptr, x_ptr, n, FACTOR: tl.constexpr):
    offs = tl.program_id(0) * 256 + tl.arange(0, 256)
    tl.store(y_ptr + offs, tl.load(x_ptr + offs, mask=offs < n) * FACTOR, mask=offs < n)


def start() -> None:
    """What one process does: a line of the kernels' and results' sums."""
    from tritoncnn import cpu

    x, y = torch.arange(1000.0), torch.zeros(1000)
    digest = hashlib.sha256()
    for factor in (2.0, 3.0, 5.0):
        kernel = cpu.compile_kernel(scale, {"y_ptr": "*fp32", "x_ptr": "*fp32", "n": "i32"}, {"FACTOR": factor})
        kernel.launch((4,), (y, x, 1000))
        assert torch.equal(y, factor * x)
        digest.update(y.numpy().tobytes())
    with cpu.active():
        scale[(4,)](y, x, 1000, FACTOR=7.0)
    assert torch.equal(y, 7 * x)
    print(digest.hexdigest())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--start", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.start:
        start()
        return 0
    failures, seen, entries = 0, set(), set()
    root = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as folder:
        cache, own = Path(folder) / "cache", Path(folder) / "triton"
        path = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "TRITONCNN_CACHE": str(cache), "TRITON_CACHE_DIR": str(own), "PYTHONPATH": path}
        for turn in range(options.starts):
            if turn % 5 == 0:
                shutil.rmtree(cache, ignore_errors=True)
                shutil.rmtree(own, ignore_errors=True)
            command = [sys.executable, __file__, "--start"]
            running = [
                subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                for _ in range(options.processes)
            ]
            for process in running:
                out, error = process.communicate()
                failures += process.returncode != 0
                seen.add(out.strip())
                if process.returncode:
                    print(error, file=sys.stderr)
            files = sorted((cache / "cpu").iterdir())
            entries.add(tuple((f.name, hashlib.sha256(f.read_bytes()).hexdigest()) for f in files))
    print(f"{options.processes * options.starts} starts: {failures} failed, {len(seen)} different results, "
          f"{len(entries)} different contents of the folder")  # fmt: skip
    return int(failures > 0 or len(seen) != 1 or len(entries) != 1)


if __name__ == "__main__":
    sys.exit(main())
