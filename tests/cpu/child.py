"""A forked child, whose end is awaited without hanging where it hangs."""

from __future__ import annotations

import os
import signal
import time

import pytest


def exit_code_of(child: int, seconds: float = 20) -> int:
    """The exit code of a process of this number. It is killed, and the test fails, when it takes longer than ``seconds``."""
    deadline = time.monotonic() + seconds
    while (done := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail("the child hangs")
        time.sleep(0.01)
    return os.waitstatus_to_exitcode(done[1])
