"""A function as a module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class Applied(torch.nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *x: torch.Tensor) -> Any:
        return self.function(*x)
