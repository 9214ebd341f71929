"""Did torch compute anything?"""

from __future__ import annotations

from typing import Any

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
