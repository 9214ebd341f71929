"""Every kernel once more under Triton's own interpreter: the kernels mean the same to Triton as to our CPU backend."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from triton import knobs


@pytest.mark.skipif(knobs.runtime.interpret, reason="this is the interpreted run")
def test_kernels_pass_their_tests_when_interpreted() -> None:
    """One process for all files; two examples of each property."""
    here = Path(__file__).parent
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        str(here),
    ]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(command, env=environment, cwd=here.parents[1], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
