"""Non-maximum suppression: of boxes that find the same thing the one with the highest score stays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def suppress(
    overlap: NDArray[np.float64],
    scores: NDArray[np.float64],
    classes: NDArray[np.int64],
    limit: float,
    most: int | None = None,
) -> NDArray[np.int64]:
    """The boxes that stay, at most ``most``, by falling score; of equal scores the first goes before.

    overlap  [N,N], of each box with each other
    scores   [N]; classes [N]: boxes of different classes leave each other alone
    limit    a box goes when it overlaps one that stays by more than this
    """
    order = np.argsort(-scores, kind="stable")
    alive = np.ones(len(scores), bool)
    kept: list[int] = []
    for i in order.tolist():
        if alive[i]:
            kept.append(i)
            if len(kept) == most:
                break
            alive &= ~((overlap[i] > limit) & (classes == classes[i]))
    return np.array(kept, np.int64)
