"""Training steps of modules in training mode: batch norm with its running statistics, and dropout."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

import tritoncnn
from tritoncnn.errors import CheckpointError, InputError, ShapeError, UnsupportedError

X, TARGET = torch.randn(4, 1, 8, 8), torch.randint(0, 3, (4,))


class Block(nn.Module):
    """Two convolutions with batch norm and a residual, dropout of channels and of elements, a classifier."""

    def __init__(self, drop: bool, frozen: bool = False) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8, track_running_stats=not frozen)
        self.channels, self.elements = (nn.Dropout2d(0.5), nn.Dropout(0.25)) if drop else (nn.Identity(), nn.Identity())
        self.classify = nn.Linear(8 * 64, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.norm1(self.conv1(x)))
        y = self.elements(self.channels(torch.relu(self.norm2(self.conv2(y)) + y)))
        out: torch.Tensor = self.classify(y.flatten(1))
        return out


def block(drop: bool = False, frozen: bool = False) -> Block:
    torch.manual_seed(3)
    return Block(drop, frozen).train()


@pytest.mark.parametrize("frozen", [False, True])
def test_batch_norm_trains_as_torch_does_and_moves_its_running_statistics(frozen: bool) -> None:
    module = block(frozen=frozen)
    theirs = {dtype: copy.deepcopy(module).to(dtype) for dtype in (torch.float32, torch.float64)}
    optimizers = {d: torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9) for d, m in theirs.items()}
    step = tritoncnn.compile_step(module, F.cross_entropy, tritoncnn.SGD(0.1, momentum=0.9), (X, TARGET))
    generator = torch.Generator().manual_seed(0)
    for _ in range(12):
        x, target = torch.randn(X.shape, generator=generator), torch.randint(0, 3, (4,), generator=generator)
        step(x, target)
        for dtype, reference in theirs.items():
            optimizers[dtype].zero_grad()
            F.cross_entropy(reference(x.to(dtype)), target).backward()
            optimizers[dtype].step()
    found, exact = step.state_dict(), theirs[torch.float64].state_dict()
    assert set(found) == set(exact)
    plain = theirs[torch.float32].state_dict()
    worst = max(float((plain[name] - exact[name]).abs().max()) for name in exact)  # what f32 may differ after 12 steps
    for name, value in exact.items():
        if value.is_floating_point():
            assert float((found[name] - value).abs().max()) <= 4 * worst, name
        else:
            assert torch.equal(found[name], value), name


def test_what_was_trained_can_be_loaded_and_used_for_inference() -> None:
    module = block(drop=True)
    step = tritoncnn.compile_step(module, F.cross_entropy, tritoncnn.SGD(0.1), (X, TARGET))
    for _ in range(3):
        step(X, TARGET)
    module.load_state_dict(step.state_dict())
    module.eval()
    compiled = tritoncnn.compile(module, X)
    torch.testing.assert_close(compiled(X), module(X).detach(), rtol=1e-5, atol=1e-5)
    assert int(module.norm1.num_batches_tracked) == 3  # type: ignore[arg-type]


def losses(step: Any, count: int) -> list[float]:
    return [float(step(X, TARGET)) for _ in range(count)]


def test_dropout_draws_other_numbers_in_each_step_which_follow_from_the_seed() -> None:
    def make(seed: int | None = None) -> Any:
        return tritoncnn.compile_step(block(drop=True), F.cross_entropy, tritoncnn.SGD(0.0), (X, TARGET), seed=seed)

    first = losses(make(7), 6)
    assert len(set(first)) == 6  # nothing is learned: only the masks differ
    assert losses(make(7), 6) == first
    assert losses(make(8), 6) != first
    torch.manual_seed(1)
    drawn = losses(make(), 3)
    torch.manual_seed(1)
    assert losses(make(), 3) == drawn


def test_a_resumed_run_goes_on_with_the_same_bits() -> None:
    def make(seed: int) -> Any:
        return tritoncnn.compile_step(
            block(drop=True), F.cross_entropy, tritoncnn.SGD(0.1, momentum=0.9), (X, TARGET), seed=seed
        )

    whole, part, resumed = make(5), make(5), make(6)
    losses(whole, 6)
    losses(part, 3)
    resumed.load_state_dict(part.state_dict())
    resumed.load_optimizer_state(part.optimizer_state())
    losses(resumed, 3)
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    with pytest.raises(CheckpointError, match="'seed' must be one whole number"):
        resumed.load_optimizer_state({k: v for k, v in part.optimizer_state().items() if k != "seed"})
    with pytest.raises(CheckpointError, match="'norm1.running_mean' is missing"):
        resumed.load_state_dict({k: v for k, v in part.state_dict().items() if k != "norm1.running_mean"})


@pytest.mark.parametrize("channels", [False, True])
def test_the_backward_pass_sees_the_mask_of_the_forward_pass(channels: bool) -> None:
    """loss = sum(w * dropped x) and dw = sum over samples of dropped x: so loss = sum(w * dw)."""
    p, shape = 0.3, (2, 64, 5, 5)
    drop = nn.Dropout2d(p) if channels else nn.Dropout(p)
    module = nn.Sequential(drop, nn.Flatten(), nn.Linear(64 * 25, 1, bias=False)).train()
    w = module[2].weight.detach().clone()
    x = torch.ones(shape)
    step = tritoncnn.compile_step(module, lambda y, _: y.sum(), tritoncnn.SGD(1.0), (x, torch.zeros(2, 1)), seed=11)
    loss = float(step(x, torch.zeros(2, 1)))
    dw = w - step.state_dict()["2.weight"]
    assert abs(loss - float((w * dw).sum())) < 1e-4
    kept = (dw * (1 - p)).round().reshape(64, 25)  # of two samples
    torch.testing.assert_close(dw, (kept / (1 - p)).reshape(1, -1), rtol=0, atol=1e-5)
    assert set(kept.unique().tolist()) == {0.0, 1.0, 2.0}
    assert bool((kept == kept[:, :1]).all()) == channels
    draws = 2 * (64 if channels else 1600)
    assert abs(float(kept.mean()) / 2 - (1 - p)) < 5 * (p * (1 - p) / draws) ** 0.5


def test_what_cannot_be_trained_or_compiled_so_is_refused() -> None:
    with pytest.raises(InputError, match="seed must be a whole number from 0 to below .*; got -1"):
        tritoncnn.compile_step(block(), F.cross_entropy, tritoncnn.SGD(0.1), (X, TARGET), seed=-1)
    one = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64)).train()
    with pytest.raises((ShapeError, UnsupportedError, ValueError), match="more than 1 value per channel"):
        tritoncnn.compile_step(one, F.cross_entropy, tritoncnn.SGD(0.1), (X[:1], TARGET[:1]))


def test_a_forward_pass_in_training_mode_is_torchs_and_moves_the_running_statistics() -> None:
    module = block()
    twin = copy.deepcopy(module)
    model = tritoncnn.compile(module, X)
    for _ in range(2):
        torch.testing.assert_close(model(X), twin(X).detach(), rtol=1e-4, atol=1e-5)
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(module.state_dict()[name], value, rtol=1e-5, atol=1e-6)


def test_dropout_of_a_forward_pass_in_training_mode_draws_other_numbers_each_time() -> None:
    model = tritoncnn.compile(nn.Dropout(0.5).train(), torch.ones(1000))
    first, second = model(torch.ones(1000)), model(torch.ones(1000))
    assert set(first.unique().tolist()) == {0.0, 2.0}
    assert not torch.equal(first, second)
