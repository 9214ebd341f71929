"""A net of two layers, a batch for it, and what torch makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

N = 6
torch.manual_seed(0)
X, Y = torch.randn(N, 5), torch.randint(0, 3, (N,))
CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-6}  # a few f32 sums of some ten terms of order 1


class Net(nn.Module):
    def __init__(self, inputs: int = 5, outputs: int = 3) -> None:
        super().__init__()
        self.body = nn.Linear(inputs, 4)
        self.head = nn.Linear(4, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(torch.tanh(self.body(x)))
        return y


def new_net(*sizes: int) -> Net:
    torch.manual_seed(0)
    return Net(*sizes)


def follow(
    module: nn.Module, loss: Callable[[], torch.Tensor], optimizer: torch.optim.Optimizer, steps: int = 3
) -> list[float]:
    """torch's losses."""
    found = []
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        found.append(float(value.detach()))
    return found


def same_state(a: nn.Module, b: nn.Module) -> None:
    for (name, one), two in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        torch.testing.assert_close(one, two, **CLOSE, msg=lambda text, name=name: f"{name}: {text}")
