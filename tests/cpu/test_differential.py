"""Random kernels, compiled by our backend and run by Triton's own interpreter, must agree bit for bit.

Kernels come from fixed seeds (``generated.py``); the interpreter runs them all in one process of its own.
HYPOTHESIS_PROFILE=deep runs twenty times as many. To look at one: ``python -m tests.cpu.test_differential show SEED``.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy
import pytest
import torch
import triton

from tests.cpu.generated import Array, Generator, Kernel, module_text
from tests.cpu.generated_values import HELPERS, ValueGenerator
from tritoncnn.cpu.run import engine

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
COUNT = 2000 if DEEP else 100
BATCH = 25  # seeds a test
# Switched off for some seeds: narrower vectors too, where the CPU has them to switch off.
NARROWER = ("", "", "-avx512f", "-avx512f,-avx2") if "avx2" in engine.optional_features() else ("",)
EDGE = 16  # elements on each side of an output that must stay as they are
UNTOUCHED = 3
TORCH = {
    "fp64": torch.float64, "fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16, "i64": torch.int64,
    "i32": torch.int32, "i16": torch.int16, "i8": torch.int8, "u8": torch.uint8, "i1": torch.bool,
    "u16": torch.uint16, "u32": torch.uint32, "u64": torch.uint64,
}  # fmt: skip
# By bits: what ordinary random values would never hit.
SPECIAL = {
    "fp64": (64, [0, 1 << 63, 1, 0x000FFFFFFFFFFFFF, 0x0010000000000000, 0x3FF0000000000000, 0x7FEFFFFFFFFFFFFF,
                  0x7FF0000000000000, 0xFFF0000000000000, 0x7FF8000000000000, 0x43E0000000000000, 0xBFF8000000000000]),
    "fp32": (32, [0, 1 << 31, 1, 0x807FFFFF, 0x00800000, 0x3F800000, 0x7F7FFFFF, 0x7F800000, 0xFF800000, 0x7FC00000,
                  0x4F000000, 0xBFC00000, 0x38800000, 0x33000000, 0x477FF000]),
    "fp16": (16, [0, 1 << 15, 1, 0x83FF, 0x0400, 0x3C00, 0x7BFF, 0x7C00, 0xFC00, 0x7E00, 0xBE00]),
    "bf16": (16, [0, 1 << 15, 0x0080, 0x3F80, 0x7F7F, 0x7F80, 0xFF80, 0x7FC0, 0xBFC0]),
    **{f"{sign}{n}": (n, [0, 1, 2, (1 << n) - 1, (1 << n) - 2, 1 << n - 1, (1 << n - 1) - 1, (1 << n - 1) + 1, 100])
       for sign in "iu" for n in (8, 16, 32, 64)},
}  # fmt: skip
OLD_INTERPRETER = triton.__version__.startswith("3.6") and tuple(map(int, numpy.__version__.split(".")[:2])) >= (2, 4)


def memory(array: Array, seed: int) -> torch.Tensor:
    """The array with its edges; the same in both processes."""
    if array.special:
        return special(array, seed)
    if array.fill is None:
        return torch.full((array.size + 2 * EDGE,), UNTOUCHED, dtype=TORCH[array.dtype])
    low, high = array.fill
    values = numpy.random.default_rng(seed).integers(low, high + 1, array.size)
    return torch.nn.functional.pad(torch.from_numpy(values), (EDGE, EDGE)).to(TORCH[array.dtype])


def special(array: Array, seed: int) -> torch.Tensor:
    """Half special values, half any bits (no signalling NaN: whether an operation quiets it is left open)."""
    random = numpy.random.default_rng(seed + array.size)
    size = array.size + 2 * EDGE
    if array.dtype == "i1":
        return torch.from_numpy(random.integers(0, 2, size).astype(bool))
    n, known = SPECIAL[array.dtype]
    anything = random.integers(0, 1 << n, size, dtype=numpy.uint64, endpoint=False) if n < 64 else random.integers(
        0, (1 << 64) - 1, size, dtype=numpy.uint64, endpoint=True
    )  # fmt: skip
    if array.dtype in ("fp64", "fp32", "fp16", "bf16"):
        quiet = 1 << {"fp64": 51, "fp32": 22, "fp16": 9, "bf16": 6}[array.dtype]
        exponent = {"fp64": 0x7FF << 52, "fp32": 0xFF << 23, "fp16": 0x1F << 10, "bf16": 0xFF << 7}[array.dtype]
        e, q = numpy.uint64(exponent), numpy.uint64(quiet)
        anything = numpy.where((anything & e) == e, anything | q, anything)
        if array.dtype == "bf16":  # the interpreter misreads its denormals
            anything = numpy.where((anything & e) == 0, anything | numpy.uint64(1 << 7), anything)
    chosen = random.choice(numpy.array(known, dtype=numpy.uint64), size)
    values = numpy.where(random.random(size) < 0.5, chosen, anything).astype(f"uint{n}")
    return torch.from_numpy(values.view(f"int{n}")).view(TORCH[array.dtype])


def allocate(kernel: Kernel) -> dict[str, torch.Tensor]:
    return {a.name: memory(a, place) for place, a in enumerate(kernel.arrays)}


def inner(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: t[EDGE : len(t) - EDGE] for name, t in tensors.items()}


def results(tensors: dict[str, torch.Tensor]) -> dict[str, numpy.ndarray]:
    """Outputs with their edges, widened exactly: bf16 has no numpy type, nor uint64 a wider one."""

    def wide(t: torch.Tensor) -> torch.Tensor:
        if t.is_floating_point():
            return t.double()
        return t.view(torch.int64) if t.dtype == torch.uint64 else t.long()

    return {name: wide(t).numpy() for name, t in tensors.items() if name[0] == "y"}


def load_module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def generate(first: int, last: int) -> list[Kernel]:
    """Of each pair of seeds, the first varies addresses, the second values."""
    return [(ValueGenerator if seed % 2 else Generator)(seed // 2).kernel() for seed in range(first, last)]


def interpret(folder: str, first: int, last: int) -> None:
    """Run by the interpreter's process: every kernel's outputs into one .npz file."""
    kernels = generate(first, last)
    module = load_module(Path(folder) / f"generated_{first}.py")
    found = {}
    for kernel in kernels:
        tensors = allocate(kernel)
        getattr(module, kernel.name)[kernel.grid](**inner(tensors), **kernel.scalars, **kernel.constants)
        found |= {f"{kernel.name}/{name}": y for name, y in results(tensors).items()}
    numpy.savez(Path(folder) / f"interpreted_{first}.npz", **found)


def run_native(module: ModuleType, kernel: Kernel) -> dict[str, numpy.ndarray]:
    from tritoncnn import cpu

    tensors = allocate(kernel)
    compiled = cpu.compile_kernel(getattr(module, kernel.name), kernel.signature, kernel.constants)
    arguments = {**inner(tensors), **kernel.scalars}
    compiled.launch(kernel.grid, [arguments[name] for name, _ in compiled.arguments])
    return results(tensors)


@pytest.mark.skipif(OLD_INTERPRETER, reason="triton 3.6's interpreter fails under numpy 2.4")
@pytest.mark.parametrize("first", range(0, COUNT, BATCH))
def test_generated_kernels_agree_with_the_interpreter(first, tmp_path, monkeypatch):
    kernels = generate(first, first + BATCH)
    path = tmp_path / f"generated_{first}.py"
    path.write_text(module_text(kernels, HELPERS))
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "tests.cpu.test_differential", str(tmp_path), str(first), str(first + BATCH)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    module = load_module(path)
    failures = []
    with numpy.load(tmp_path / f"interpreted_{first}.npz") as expected:
        for seed, kernel in enumerate(kernels, first):
            if off := NARROWER[seed // 2 % len(NARROWER)]:
                monkeypatch.setenv("TRITONCNN_CPU", off)
            else:
                monkeypatch.delenv("TRITONCNN_CPU", raising=False)
            try:
                found = run_native(module, kernel)
            except Exception as error:
                failures.append(f"{kernel.name}: {type(error).__name__}: {error}")
                continue
            for name, y in found.items():
                wanted = expected[f"{kernel.name}/{name}"]
                wrong = numpy.flatnonzero((wanted != y) & ((wanted == wanted) | (y == y)))
                if len(wrong):
                    at = wrong[0]
                    failures.append(
                        f"{kernel.name}: {name}[{at - EDGE}] is {y[at]}, interpreted {wanted[at]}; {len(wrong)} differ"
                    )
    assert not failures, "\n".join(failures)


if __name__ == "__main__":
    if sys.argv[1] == "show":
        (shown,) = generate(int(sys.argv[2]), int(sys.argv[2]) + 1)
        print(shown.source, shown.grid, shown.scalars, shown.constants, sep="\n")
    else:
        interpret(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
