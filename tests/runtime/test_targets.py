"""Targets: which program runs a plan, and which plans none runs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import tritoncnn
from tests.targets import CUDA
from tritoncnn.errors import UnsupportedError
from tritoncnn.ir import parse_graph
from tritoncnn.passes import lowering, run_passes
from tritoncnn.plan import Plan, make_plan
from tritoncnn.runtime import Executable, ReferenceProgram, targets

GRAPH = """graph g(x: f32[2,3]) {
  %1 = exp(x) : f32[2,3]
  %2 = mul(%1, x) : f32[2,3]
  return %2
}"""


def gpu_plan() -> Plan:
    graph, _ = run_passes(parse_graph(GRAPH), lowering(CUDA))
    return make_plan(graph, CUDA)


def test_a_plan_that_no_program_runs_is_refused_by_its_targets_kind() -> None:
    with pytest.raises(UnsupportedError, match=r"plans for cuda are made but not run; those for cpu are"):
        Executable(gpu_plan(), ["x"], 1).run([torch.zeros(2, 3)])


def test_a_targets_program_is_the_row_of_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(targets.PROGRAMS, "cuda", ReferenceProgram)
    executable = Executable(gpu_plan(), ["x"], 1)
    x = torch.arange(6.0).reshape(2, 3)
    (y,) = executable.run([x])
    assert isinstance(executable.ready(), ReferenceProgram)
    torch.testing.assert_close(y, x.exp() * x)


def test_a_plan_that_is_larger_than_memory_is_refused_before_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 1, 3)), torch.zeros(1, 1, 9, 9)
    monkeypatch.setattr("tritoncnn.runtime.cpu_program.memory_left", lambda: 10)
    tritoncnn.compile(net, x)(x)  # little is not asked for
    monkeypatch.setattr("tritoncnn.runtime.cpu_program.LARGE", 0)
    with pytest.raises(MemoryError, match=r"^what is compiled needs .* of memory; 10 bytes are left$"):
        tritoncnn.compile(net, x)(x)
