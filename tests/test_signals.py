"""What Ctrl-C waits for: a capture is not ended in the middle of torch's C++ code, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import tritoncnn
from tritoncnn.signals import HeldSignals, RaisedLater

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def usual_handlers() -> Iterator[None]:
    """A job in the background ignores Ctrl-C."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def test_what_a_handler_raises_is_raised_at_the_end() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), RaisedLater():
        press()
        done.append("all of it")
    assert done == ["all of it"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_inside_gives_way_to_the_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt), RaisedLater():
        press()
        raise ValueError("torn")


def test_a_second_signal_acts_at_once() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), RaisedLater():
        press()
        done.append(1)
        press()
        done.append(2)
    assert done == [1]


def test_handlers_are_called_when_the_signal_comes_and_as_often() -> None:
    called = []
    signal.signal(signal.SIGTERM, lambda *_: called.append(len(called)))
    with RaisedLater():
        for count in (1, 2):
            signal.raise_signal(signal.SIGTERM)
            assert len(called) == count
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_inside_the_other_raises_at_the_end_of_the_outer_one() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), RaisedLater():
        with RaisedLater():
            press()
            done.append("inner")
        done.append("outer")
    assert done == ["inner", "outer"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_within_a_training_the_signal_is_noted_and_the_next_one_is_another_ones() -> None:
    with HeldSignals() as held:
        with RaisedLater():
            press()
            assert held.asked
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_signals_that_no_python_code_handles_are_left_alone() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with RaisedLater():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_other_threads_take_no_handlers() -> None:
    found: list[object] = []

    def work() -> None:
        with RaisedLater():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]


calls: list[str] = []


class Pressed(nn.Module):
    """A net during whose first call Ctrl-C is pressed."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        calls.append("begun")
        if len(calls) == 1:
            press()
        calls.append("done")
        return self.linear(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize("way", ["plain", "step"])
def test_a_capture_is_interrupted_at_its_end_and_the_next_one_is_right(way: str) -> None:
    calls.clear()
    classes = (torch.Tensor, nn.Module, torch.autograd.Function, torch.nn.Parameter)
    before = [dict(vars(one)) for one in classes]
    torch.manual_seed(0)
    net, x = Pressed(), torch.randn(4, 3)

    def compiled() -> torch.Tensor:
        if way == "plain":
            return tritoncnn.compile(net, (x,))(x)
        step = tritoncnn.compile_step(
            net, lambda y, target: (y - target).square().mean(), tritoncnn.SGD(0.0), (x, x[:, :2])
        )
        return step(x, x[:, :2])

    with pytest.raises(KeyboardInterrupt):
        compiled()
    assert calls[:2] == ["begun", "done"]
    assert [dict(vars(one)) for one in classes] == before
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    want = net(x) if way == "plain" else (net(x) - x[:, :2]).square().mean()
    torch.testing.assert_close(compiled(), want.detach(), rtol=1e-5, atol=1e-6)


def test_an_import_of_the_compiler_is_whole_or_not_begun() -> None:
    """Half an import is kept by Python; a second one of Triton's language then fails."""
    code = """
import signal, sys

class Pressed:
    def find_spec(self, name, *_):
        if name == "triton.language":
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Pressed())
import tritoncnn
try:
    tritoncnn.compile
    print("not interrupted")
except KeyboardInterrupt:
    pass
import triton.language
print(triton.language.core.__name__, tritoncnn.compile.__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=dict(os.environ))
    assert done.stdout == "triton.language.core compile\n", done.stderr
