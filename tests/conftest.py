"""Long sweeps: a share of their cases by default, all of them in the deep profile (HYPOTHESIS_PROFILE=deep). Work for several
processes, so cut that none makes what another has. And a collector of garbage that does not look through torch and the list of
tests again and again."""

from __future__ import annotations

import gc
import zlib
from typing import Any

import pytest
from hypothesis import settings

from tests.kernels.cases import DEEP

# No test asserts a time. The same examples in every run, as those of the kernels, but for the deep profile.
settings.register_profile("usual", deadline=None, derandomize=not DEEP)
settings.load_profile("usual")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every", type=int, default=1, help="run every n-th case of each parametrised test")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out cases of a parametrised test that is marked ``sweep(n)``, but for every n-th of them.

    Which ones stay follows from their names alone: the same on every run, in every process, whatever else is collected. A test
    that is named on the command line runs.
    """
    if DEEP or any("::" in word for word in config.args):
        return
    every = config.getoption("--every")
    left_out = [item for item in items if not _stays(item, every)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if _stays(item, every)]


def _stays(item: pytest.Item, every: int) -> bool:
    mark = item.get_closest_marker("sweep")
    share = every * (mark.args[0] if mark is not None else 1)
    return not hasattr(item, "callspec") or zlib.crc32(item.name.encode()) % share == 0


TOGETHER = (  # a fixture or a cache of the process serves all tests of the file, or of the folder
    "tests/capture/test_table.py", "tests/commands/test_commands.py", "tests/cpu/test_engine_plan.py", "tests/cpu/test_random.py",
    "tests/data/test_photographs.py", "tests/test_compile.py", "tests/train/",
)  # fmt: skip
BY_FILE = ("tests/tasks/", "tests/style/", "tests/lecture/")  # each file has runs and programs of its own


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``-n 2``, one process runs all cases of a test: they share programs that are compiled once a process, and two that
    come to the same kernel at the same time would both compile it. Tests with the most cases go first.
    """
    if config.getvalue("dist") != "load":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByTest(LoadScopeScheduling):  # type: ignore[misc]  # untyped
        def _split_scope(self, nodeid: str) -> str:
            if nodeid.startswith(BY_FILE):
                return nodeid.partition("::")[0]
            return next((place for place in TOGETHER if nodeid.startswith(place)), nodeid.partition("[")[0])

    return ByTest(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What is there now stays: a million objects of modules and tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
