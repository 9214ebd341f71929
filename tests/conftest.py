"""Long sweeps: a share of their cases by default, all of them in the deep profile (HYPOTHESIS_PROFILE=deep). And a collector of
garbage that does not look through torch and the list of tests again and again."""

from __future__ import annotations

import gc
import zlib

import pytest

from tests.kernels.cases import DEEP


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out cases of a parametrised test that is marked ``sweep(n)``, but for every n-th of them.

    Which ones stay follows from their names alone: the same on every run, in every process, whatever else is collected. A test
    that is named on the command line runs.
    """
    if DEEP or any("::" in word for word in config.args):
        return
    left_out = [item for item in items if not _stays(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if _stays(item)]


def _stays(item: pytest.Item) -> bool:
    mark = item.get_closest_marker("sweep")
    return mark is None or not hasattr(item, "callspec") or zlib.crc32(item.name.encode()) % mark.args[0] == 0


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What is there now stays: a million objects of modules and tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
