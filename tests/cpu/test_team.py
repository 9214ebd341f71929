"""Teams: the same values whoever comes to help, and no helper is left behind by a fork, many callers or the end of Python."""

import os
import subprocess
import sys
import threading
import time

import pytest
import torch

from tests.cpu.child import exit_code_of
from tritoncnn import cpu
from tritoncnn.cpu.run import team

N, BLOCK = 1000, 16


class Chain:
    """Launches each of which reads, from other places, what the one before wrote."""

    def __init__(self, rotate, threads, length=8):
        self.x = torch.randint(-100, 100, (N,), dtype=torch.int32)
        self.buffers = [self.x.clone(), torch.zeros_like(self.x)]
        ends = [(self.buffers[(i + 1) % 2].data_ptr(), self.buffers[i % 2].data_ptr(), N) for i in range(length)]
        self.plan = cpu.NativePlan([(rotate, (-(-N // BLOCK),), values) for values in ends], threads=threads)
        offs, wanted = torch.arange(N), self.x
        for _ in range(length):
            wanted = wanted[(offs + N // 2 + 1) % N] + offs.int()
        self.wanted = wanted

    def right(self):
        self.buffers[0].copy_(self.x)
        self.plan.run()
        return torch.equal(self.buffers[0], self.wanted)


@pytest.fixture
def no_teams(monkeypatch):
    """Teams of this test's own, which end with it."""
    monkeypatch.setattr(team, "_free", [])
    monkeypatch.setattr(team, "_helpers", [])
    yield
    for helper in team._helpers:
        helper.end()
        assert not helper._thread.is_alive()


def test_helpers_that_sleep_and_are_woken(rotate, no_teams):
    chain = Chain(rotate, 3)
    for pause in (0, 0, 0.02, 0.0005, 0.002, 0.02, 0.004, 0):
        time.sleep(pause)
        assert all(chain.right() for _ in range(20))
    assert len(team._helpers) == 2


def test_a_team_grows_and_only_as_many_are_asked_as_a_plan_wants(rotate, no_teams):
    for threads in (2, 4, 1, 3, 2):
        assert Chain(rotate, threads).right()
    assert len(team._free) == 1
    assert len(team._helpers) == 3


def test_without_helpers_the_caller_does_all(rotate, no_teams, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert Chain(rotate, 4).right()
    assert team._helpers == []


def test_helpers_that_never_answer_hold_nothing_up(rotate, no_teams, monkeypatch):
    monkeypatch.setattr(team.Helper, "_work", lambda helper: None)
    assert Chain(rotate, 4).right()


def test_each_caller_has_a_team_of_its_own_for_as_long_as_it_calls(rotate, no_teams):
    callers, failures = 4, []
    ready = threading.Barrier(callers)

    def work():
        chain = Chain(rotate, 2)
        ready.wait(20)
        failures.extend(not chain.right() for _ in range(50))

    threads = [threading.Thread(target=work) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not any(failures)
    assert 1 <= len(team._free) <= callers
    assert len(team._helpers) == len(team._free)


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_makes_a_team_of_its_own_in_a_thread_of_its_own(rotate, no_teams):
    chain = Chain(rotate, 2)
    assert chain.right()
    child = os.fork()
    if child == 0:
        found = [chain.right(), team._helpers == []]
        thread = threading.Thread(target=lambda: found.extend([chain.right(), len(team._helpers) == 1]))
        thread.start()
        thread.join(10)
        os._exit(0 if found == [True] * 4 else 3)
    assert exit_code_of(child) == 0
    assert chain.right()


END = """
import threading, time, torch
from tests.cpu import small_kernels as kernels
from tests.cpu.test_team import BLOCK, Chain
from tritoncnn import cpu
rotate = cpu.compile_kernel(kernels.rotate_and_add, {"y_ptr": "*i32", "x_ptr": "*i32", "n": "i32"}, {"BLOCK": BLOCK})
def forever():
    chain = Chain(rotate, 3)
    while True:  # and nothing of torch's, which aborts where a thread of its own comes back to a Python that has ended
        chain.plan.run()
if DAEMON:
    threading.Thread(target=forever, daemon=True).start()
    time.sleep(0.05)
assert Chain(rotate, 3).right()
print("done", flush=True)
"""


@pytest.mark.parametrize(("policy", "daemon"), [("active", False), ("passive", True), (None, True)])
def test_python_ends_while_helpers_watch_or_work(policy, daemon):
    env = {name: word for name, word in os.environ.items() if name != "OMP_WAIT_POLICY"}
    env |= {"OMP_WAIT_POLICY": policy} if policy else {}
    command = [sys.executable, "-c", END.replace("DAEMON", str(daemon))]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
