"""Norms that keep running statistics: what a compiled training step leaves in their buffers is torch's."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn as nn

import tritoncnn
from tritoncnn.ops import OPS


class Net(nn.Module):
    """A product, a norm (which is called ``calls`` times), another product."""

    def __init__(self, first: nn.Module, norm: nn.Module, last: nn.Module, calls: int = 1) -> None:
        super().__init__()
        self.first, self.norm, self.last, self.calls = first, norm, last, calls

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        for _ in range(self.calls):
            y = torch.relu(self.norm(y))
        out: torch.Tensor = self.last(y)
        return out


def lines(norm: nn.Module, calls: int = 1) -> tuple[nn.Module, torch.Tensor]:
    return Net(nn.Conv1d(2, 6, 3), norm, nn.Conv1d(6, 2, 1), calls), torch.randn(5, 2, 19)


def pictures(norm: nn.Module, calls: int = 1) -> tuple[nn.Module, torch.Tensor]:
    return Net(nn.Conv2d(2, 6, 3), norm, nn.Conv2d(6, 2, 1), calls), torch.randn(4, 2, 9, 8)


def volumes(norm: nn.Module) -> tuple[nn.Module, torch.Tensor]:
    return Net(nn.Conv3d(2, 6, 2), norm, nn.Conv3d(6, 2, 1)), torch.randn(3, 2, 4, 5, 6)


def rows(norm: nn.Module) -> tuple[nn.Module, torch.Tensor]:
    return Net(nn.Linear(7, 6), norm, nn.Linear(6, 2)), torch.randn(33, 7)


CASES = {
    "rows": lambda: rows(nn.BatchNorm1d(6)),
    "lines": lambda: lines(nn.BatchNorm1d(6, momentum=0.3)),
    "pictures": lambda: pictures(nn.BatchNorm2d(6, momentum=0.25, eps=0.01)),
    "volumes": lambda: volumes(nn.BatchNorm3d(6)),
    "without weights": lambda: pictures(nn.BatchNorm2d(6, affine=False)),
    "without statistics": lambda: pictures(nn.BatchNorm2d(6, track_running_stats=False)),
    "all of it": lambda: pictures(nn.BatchNorm2d(6, momentum=1.0)),
    "none of it": lambda: pictures(nn.BatchNorm2d(6, momentum=0.0)),
    "called three times": lambda: pictures(nn.BatchNorm2d(6), calls=3),
    "instance": lambda: pictures(nn.InstanceNorm2d(6, affine=True, track_running_stats=True)),
    "instance of lines": lambda: lines(nn.InstanceNorm1d(6, track_running_stats=True)),
    "many": lambda: pictures(nn.Sequential(*(nn.BatchNorm2d(6, momentum=0.05 * i) for i in range(1, 12)))),
}


def square(out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return ((out - target) ** 2).mean()


@pytest.mark.parametrize("name", CASES)
def test_running_statistics_are_torchs(name: str) -> None:
    torch.manual_seed(5)
    module, x = CASES[name]()
    module.train()
    exact = copy.deepcopy(module).double()
    optimizer = torch.optim.SGD(exact.parameters(), lr=0.05)
    target = torch.randn(copy.deepcopy(module)(x).shape)
    step = tritoncnn.compile_step(module, square, tritoncnn.SGD(0.05), (x, target))
    for i in range(3):
        batch = x * (1 + i) + 10 * i
        step(batch, target)
        optimizer.zero_grad()
        square(exact(batch.double()), target.double()).backward()
        optimizer.step()
    found, wanted = module.state_dict(), exact.state_dict()
    assert found.keys() == wanted.keys() == step.state_dict().keys()
    for key, value in wanted.items():
        if not value.is_floating_point():
            assert torch.equal(found[key], value), key
            continue
        # f32 sums of 20 to 300 pixels around 20, and three steps of training: some hundred roundings of the largest value.
        bound = 300 * 2**-24 * max(1.0, float(value.abs().max()))
        assert float((found[key].double() - value).abs().max()) <= bound, key


def test_statistics_of_all_norms_are_updated_by_few_launches() -> None:
    module, x = CASES["many"]()
    step = tritoncnn.compile_step(module.train(), square, tritoncnn.SGD(0.05), (x, module(x).detach()))
    small = [call for call in step.plan.calls if OPS[call.node.op].inplace and call.launch.results > 1]
    assert len(small) == 3  # 22 running statistics of at most 16 a launch, 11 counters
    assert len({id(call.launch.kernel) for call in small}) == 1


def test_a_step_goes_on_from_a_state_that_was_loaded_with_the_same_bits() -> None:
    torch.manual_seed(6)
    module, x = CASES["pictures"]()
    other, _ = CASES["pictures"]()
    target = torch.zeros_like(copy.deepcopy(module)(x))
    first, second = (
        tritoncnn.compile_step(net.train(), square, tritoncnn.SGD(0.05, momentum=0.9), (x, target))
        for net in (module, other)
    )
    first(x, target)
    second.load_state_dict(first.state_dict())
    second.load_optimizer_state(first.optimizer_state())
    assert torch.equal(first(2 * x, target), second(2 * x, target))
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key]), key


def test_what_torch_does_to_the_buffers_between_steps_is_seen() -> None:
    torch.manual_seed(7)
    module, x = CASES["pictures"]()
    target = torch.zeros_like(copy.deepcopy(module)(x))
    step = tritoncnn.compile_step(module.train(), square, tritoncnn.SGD(0.0), (x, target))
    step(x, target)
    once = {key: value.clone() for key, value in module.state_dict().items() if "running" in key}
    step(x, target)
    module.norm.reset_running_stats()  # type: ignore[operator, union-attr]
    step(x, target)
    assert int(module.norm.num_batches_tracked) == 1  # type: ignore[arg-type, union-attr]
    for key, value in once.items():
        assert torch.equal(module.state_dict()[key], value), key
