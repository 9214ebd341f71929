"""Tests of the CPU backend keep their compiled kernels in a folder of their own."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def _cache_folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITONCNN_CACHE", str(tmp_path_factory.mktemp("cache") / "tritoncnn"))
        yield
