from __future__ import annotations

import io

import pytest

from tritoncnn.tasks import find_task
from tritoncnn.train import Bar, Lines, pick_progress

LENET = find_task("lenet")
ROW = {"epoch": 2, "step": 9, "loss": 0.5, "test_loss": 0.25, "accuracy": 0.9876}


def test_lines_say_one_line_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines.begin(100, 0)
    lines.step(8, 0.5)
    lines.evaluated(LENET, 5, ROW, 12345.0)
    lines.end()
    wanted = "epoch 2/5  loss 0.5000  test loss 0.2500  accuracy 98.76%  12,345 examples/s\n"
    assert capsys.readouterr().out == wanted


def test_a_bar_shows_loss_accuracy_speed_and_time_left() -> None:
    terminal = io.StringIO()
    bar = Bar(terminal)
    bar.wait("compiling")
    assert terminal.getvalue() == "compiling ...\n"
    bar.begin(1000, 200)
    bar.evaluated(LENET, 5, ROW, 12345.0)
    assert bar.bar is not None
    bar.bar.mininterval = 0
    bar.next = 0.0
    bar.step(100, 0.4321)
    bar.bar.refresh()
    shown = terminal.getvalue().split("\r")[-1]
    bar.end()
    for part in ("30%", "300/1.00k", "<", "examples/s", "loss 0.4321", "accuracy 98.76%"):
        assert part in shown


def test_without_a_terminal_there_is_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert type(pick_progress()) is Lines
