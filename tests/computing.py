"""Did torch compute anything?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

ROOM_AND_VIEWS = ("empty_strided", "empty", "as_strided", "view", "detach", "alias")


class Computing(TorchDispatchMode):
    """Notes every torch op but those that make room for results and look at memory in another form."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.name().split("::")[1].split(".")[0] not in ROOM_AND_VIEWS:
            self.seen.append(func.name())
        return func(*args, **(kwargs or {}))


def assert_as_near_as_torch(
    name: str, ours: torch.Tensor, single: torch.Tensor, exact: torch.Tensor, terms: torch.Tensor | None = None
) -> None:
    """Ours in f32 is as close to fp64 as torch's own f32 is, in the 2-norm: |ours - exact| <= 4 |single - exact| + 8 u |terms|.

    How far rounding reaches through a net no formula tells beforehand, so torch's f32 measures it. The factor is for sums that
    are added up in another order, the last term for values where torch is exact by luck; u: 2**-24. ``terms`` are as large as
    what was added up, where that cancels; else ``exact`` itself.
    """
    off = float((ours.double() - exact).norm())
    bound = 4 * float((single.double() - exact).norm()) + 8 * 2.0**-24 * float(
        (exact if terms is None else terms).norm()
    )
    assert off <= bound, f"{name}: off by {off:.3g}, more than {bound:.3g}"


def assert_gradients_as_near_as_torchs(
    ours: Mapping[str, torch.Tensor], single: torch.nn.Module, exact: Mapping[str, torch.Tensor]
) -> None:
    """The same of the gradients of all parameters: ``single`` is the net of torch in f32, ``exact`` are leaves in fp64."""
    for name, parameter in single.named_parameters():
        wanted = exact[name].grad
        assert parameter.grad is not None, name
        assert wanted is not None, name
        assert_as_near_as_torch(name, ours[name], parameter.grad, wanted)


def assert_same_meaning(one: torch.Tensor, other: torch.Tensor) -> None:
    """Two ways to compute the same outputs in fp64 differ by 2**20 of its units at most, relative to the largest value.

    Rounding grows on the way through a net, but is far from what a wrong formula would make.
    """
    torch.testing.assert_close(one, other, rtol=0, atol=2.0**-33 * float(other.detach().abs().max()))
