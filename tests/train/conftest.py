from __future__ import annotations

from pathlib import Path

import pytest

from tests.train.runs import StopAt, options
from tests.train.samples import write_idx
from tritoncnn.train import train


@pytest.fixture(scope="session")
def tiny_mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_idx(tmp_path_factory.mktemp("mnist"))


@pytest.fixture(scope="session")
def whole(tiny_mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing interrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train(options(tiny_mnist), run)
    return run


@pytest.fixture(scope="session")
def stopped(tiny_mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was interrupted after 5 steps."""
    run = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.raises(KeyboardInterrupt):
        train(options(tiny_mnist), run, StopAt(5))
    return run
