"""Processes that compile beside this one: the same code and the same errors, and none of them is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tritoncnn.cpu.run import engine, pool
from tritoncnn.cpu.run.pool import Pool
from tritoncnn.errors import InputError, KernelError

BAD = "define i32 @bad() { ret i64 }"


def text(number: int) -> str:
    return f"define i32 @f(i32 %x) {{\n  %y = mul i32 %x, {number}\n  ret i32 %y\n}}\n"


def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("count", [0, 1, 3])
def test_object_code_comes_in_order_and_is_what_this_process_makes(count: int) -> None:
    with Pool(count) as found:
        for number in range(7):
            found.submit(text(number))
        objects = found.finish()
    assert objects == [engine.compile_text(text(number)) for number in range(7)]
    code = engine.load(objects[3], ("f",))
    assert code.addresses["f"]


def test_work_is_done_before_it_is_asked_for() -> None:
    with Pool(1) as found:
        found.submit(text(2))
        until(lambda: found._jobs[0].answer is not None)
        assert found.finish() == [engine.compile_text(text(2))]


@pytest.mark.parametrize("wait", [False, True])
def test_a_refusal_has_the_words_it_has_here(wait: bool) -> None:
    with pytest.raises(KernelError) as here:
        engine.compile_text(BAD)
    with Pool(1) as found:
        for one in (text(1), BAD, text(2)):
            found.submit(one)
        if wait:  # the process meets it, not this one
            until(lambda: found._jobs[1].answer is not None)
        with pytest.raises(KernelError) as there:
            found.finish()
    assert str(there.value) == str(here.value)


def test_what_a_killed_process_had_is_done_here() -> None:
    found = Pool(1)
    try:
        found._processes[0].kill()
        for number in range(3):
            found.submit(text(number))
        with pytest.warns(RuntimeWarning, match=r"has ended \(code -9\); its work is done here. TRITONCNN_WORKERS=0"):
            found._serve(found._processes[0])  # what its thread does
        assert found.finish() == [engine.compile_text(text(number)) for number in range(3)]
    finally:
        found.__enter__().__exit__()


def test_a_process_that_cannot_be_started_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.warns(RuntimeWarning, match=r"could be started .*No such file or directory"):
        without = Pool(1)
    with without as found:
        found.submit(text(4))
        assert found.finish() == [engine.compile_text(text(4))]


@pytest.mark.parametrize("error", [KeyboardInterrupt, KernelError])
def test_no_process_outlives_the_block(error: type[BaseException]) -> None:
    with pytest.raises(error), Pool(2) as found:
        for number in range(50):
            found.submit(text(number))
        raise error
    assert all(process.poll() is not None for process in found._processes)
    assert not any(thread.is_alive() for thread in found._threads)


def test_no_process_outlives_one_that_is_killed() -> None:
    program = (
        "import os, signal; from tritoncnn.cpu.run.pool import Pool\n"
        "found = Pool(1).__enter__(); print(found._processes[0].pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL
    until(lambda: not alive(int(done.stdout)))


def test_kernels_of_a_plan_are_compiled_beside_a_program_without_a_main_guard() -> None:
    program = (
        "import os, resource, tempfile, torch, tritoncnn\n"
        "os.environ['TRITONCNN_CACHE'] = tempfile.mkdtemp()\n"
        "torch.manual_seed(0); x = torch.linspace(-1, 1, 24).reshape(4, 6)\n"
        "net = torch.nn.Sequential(*(part for n in (5, 4, 3, 2) for part in (torch.nn.Linear(n + 1, n), torch.nn.Softmax(1))))\n"
        "y, used = tritoncnn.compile(net, x)(x), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime\n"
        "torch.testing.assert_close(y, net(x).detach()); print(used > 0, y.tolist())"
    )
    said = {}
    for workers in ("0", "2"):
        environment = {**os.environ, "TRITONCNN_WORKERS": workers}
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        assert "Warning" not in done.stderr
        said[workers] = done.stdout.partition(" ")[::2]
    assert said["0"][0] == "False"
    assert said["2"][0] == "True"
    assert said["0"][1] == said["2"][1]


def test_how_many_processes_is_said_by_the_setting_and_by_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITONCNN_WORKERS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(2)))
    assert [pool.helpers(kernels) for kernels in (1, 3, 4, 25, 100)] == [0, 0, 1, 1, 1]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    assert [pool.helpers(kernels) for kernels in (1, 4, 8, 100)] == [0, 1, 2, 3]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert pool.helpers(100) == 0
    monkeypatch.setenv("TRITONCNN_WORKERS", "2")
    assert [pool.helpers(kernels) for kernels in (1, 4, 100)] == [0, 1, 2]
    monkeypatch.setenv("TRITONCNN_WORKERS", "0")
    assert pool.helpers(100) == 0
    for wrong in ("-1", "many", "1.5", "65"):
        monkeypatch.setenv("TRITONCNN_WORKERS", wrong)
        with pytest.raises(
            InputError, match=f"TRITONCNN_WORKERS must be a whole number from 0 to 64, or unset; got '{wrong}'"
        ):
            pool.helpers(100)
