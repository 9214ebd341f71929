"""A fork beside other threads' calls and captures: the child has no lock that nobody holds, and nothing half done."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

import tritoncnn
import tritoncnn.functional as ours
from tests.cpu.child import exit_code_of
from tritoncnn import forks

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="forks"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]
X, W = torch.linspace(-1, 1, 768).reshape(1, 3, 16, 16), torch.linspace(-1, 1, 108).reshape(4, 3, 3, 3)


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()


NET, SETATTR = _net(), nn.Module.__setattr__
MODEL = tritoncnn.compile(NET, X)
WORK: dict[str, Callable[[], object]] = {
    "model": lambda: MODEL(X),
    "functional": lambda: ours.conv2d(X, W),
    "compile": lambda: tritoncnn.compile(NET, X),
}


@pytest.fixture(params=WORK)
def busy(request: pytest.FixtureRequest) -> Iterator[Callable[[], object]]:
    """Work that another thread does over and over."""
    work, over, begun = WORK[request.param], threading.Event(), threading.Event()

    def repeat() -> None:
        while not over.is_set():
            work()
            begun.set()

    thread = threading.Thread(target=repeat)
    thread.start()
    begun.wait()
    yield work
    over.set()
    thread.join()


def test_a_child_forked_beside_other_threads_can_do_what_they_did(busy: Callable[[], object]) -> None:
    want, sums = MODEL(X), ours.conv2d(X, W)
    for _ in range(4):
        child = os.fork()
        if child == 0:
            usual = gc.isenabled() and nn.Module.__setattr__ is SETATTR
            busy()
            same = torch.equal(MODEL(X), want) and torch.equal(ours.conv2d(X, W), sums)
            os._exit(0 if usual and same else 1)
        assert exit_code_of(child) == 0


def test_a_fork_in_the_middle_of_ones_own_work_waits_for_nobody() -> None:
    began, over = threading.Event(), threading.Event()

    def work() -> None:
        with forks.apart():
            began.set()
            over.wait()

    thread = threading.Thread(target=work)
    thread.start()
    began.wait()
    with forks.apart():
        child = os.fork()
        if child == 0:
            with forks.apart():
                os._exit(0)
        assert exit_code_of(child) == 0
    over.set()
    thread.join()
    assert torch.equal(MODEL(X), MODEL(X))
