"""What tests of the CPU backend share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tritoncnn import cpu


@pytest.fixture
def active() -> Iterator[None]:
    """Kernels run on CPU tensors."""
    with cpu.active():
        yield
