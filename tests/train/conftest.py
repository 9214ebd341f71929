from __future__ import annotations

from pathlib import Path

import pytest

from tests.train.samples import write_idx


@pytest.fixture(scope="session")
def tiny_mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_idx(tmp_path_factory.mktemp("mnist"))
