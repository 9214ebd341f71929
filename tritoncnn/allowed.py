"""Which whole numbers a caller's tensor may hold: places of an index, numbers of classes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tritoncnn.errors import OutOfRangeError


@dataclass(frozen=True)
class Allowed:
    """Numbers from ``low`` to below ``high``, or ``but``; ``what`` asks for them, as 'cross_entropy'."""

    what: str
    low: int
    high: int
    but: int | None = None

    def check(self, numbers: torch.Tensor, name: str) -> None:
        """Raises OutOfRangeError, which calls the tensor by its name."""
        if not numbers.numel():
            return
        least, most = torch.aminmax(numbers)
        if int(least) >= self.low and int(most) < self.high:
            return
        wrong = (numbers < self.low) | (numbers >= self.high)
        if self.but is not None:
            wrong &= numbers != self.but
        if wrong.any():
            allowed = f"numbers from {self.low} to {self.high - 1}{'' if self.but is None else f', or {self.but}'}"
            got = int(numbers[wrong].flatten()[0])
            raise OutOfRangeError(f"{self.what}: {name} must hold {allowed}; got {got}")
