"""torch.compile with kernels from the CPU backend."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch._inductor.config as settings
import triton.backends
from torch import nn

from tritoncnn import cpu
from tritoncnn.cpu.run.driver import Utils
from tritoncnn.errors import KernelError


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """Names of the kernels that our driver loads, while torch and Triton know of nothing compiled before."""
    names: list[str] = []
    load = Utils.load_binary

    def noted(self: Utils, name: str, *rest: object) -> object:
        names.append(name)
        return load(self, name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Utils, "load_binary", noted)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "triton"))
    torch._dynamo.reset()
    yield names
    torch._dynamo.reset()


def test_a_training_step_compiled_by_inductor_runs_on_our_kernels(loaded: list[str]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5)
    )
    x, labels = torch.randn(2, 3, 8, 8), torch.tensor([1, 4])
    nn.functional.cross_entropy(model(x), labels).backward()
    wanted = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    with cpu.use_for_inductor():
        compiled = torch.compile(model)
        nn.functional.cross_entropy(compiled(x), labels).backward()
    assert any("native_batch_norm" in name for name in loaded)
    assert any("backward" in name for name in loaded)
    for p, grad in zip(model.parameters(), wanted, strict=True):
        torch.testing.assert_close(p.grad, grad, rtol=1e-4, atol=1e-5)


def test_what_was_compiled_goes_on_and_what_comes_later_is_inductors_own(loaded: list[str]) -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(torch.sin(x) * 2, -1)

    x = torch.randn(4, 40)
    before = settings.cpu_backend, settings.compile_threads, dict(triton.backends.backends)
    with cpu.use_for_inductor(), cpu.use_for_inductor():
        compiled = torch.compile(f)
        torch.testing.assert_close(compiled(x), f(x))
    kernels = len(loaded)
    assert kernels > 0
    assert (settings.cpu_backend, settings.compile_threads, dict(triton.backends.backends)) == before
    torch.testing.assert_close(compiled(x + 1), f(x + 1))
    assert len(loaded) == kernels


def test_another_backend_for_cpus_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(triton.backends.backends, "cpu", SimpleNamespace(compiler=object, driver=object))
    refusal = r"use_for_inductor: Triton has another backend called 'cpu'"
    with pytest.raises(KernelError, match=refusal), cpu.use_for_inductor():
        pass
