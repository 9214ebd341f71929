"""What tests of the CPU backend share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cpu import small_kernels as kernels
from tritoncnn import cpu


@pytest.fixture
def active() -> Iterator[None]:
    """Kernels run on CPU tensors."""
    with cpu.active():
        yield


@pytest.fixture(scope="session")
def rotate() -> cpu.CpuKernel:
    """``rotate_and_add`` of i32, 16 numbers a program."""
    return cpu.compile_kernel(kernels.rotate_and_add, {"y_ptr": "*i32", "x_ptr": "*i32", "n": "i32"}, {"BLOCK": 16})
