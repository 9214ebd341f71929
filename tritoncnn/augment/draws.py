"""Random numbers that follow from (seed, epoch, example) alone: batches, threads and resumptions change none of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GOLDEN, MIX_1, MIX_2 = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


@dataclass(frozen=True)
class Draws:
    """Draws for the examples ``rows`` i64[N] of the training part, in one epoch of a run with this seed."""

    seed: int
    epoch: int
    rows: NDArray[np.int64]

    def uniform(self, what: str, count: int) -> NDArray[np.float64]:
        """f64[N,count] in [0, 1): ``count`` numbers for each example, others for each ``what``.

        Source: Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators": the numbers of SplitMix64 at the
        places count * row, count * row + 1...
        """
        digest = hashlib.sha256(f"{self.seed} {self.epoch} {what}".encode()).digest()
        key = np.frombuffer(digest[:8], "<u8").astype(np.uint64)
        places = self.rows.astype(np.uint64)[:, None] * np.uint64(count) + np.arange(1, count + 1, dtype=np.uint64)
        z = key + places * GOLDEN  # whole numbers modulo 2**64
        z = (z ^ (z >> np.uint64(30))) * MIX_1
        z = (z ^ (z >> np.uint64(27))) * MIX_2
        z = z ^ (z >> np.uint64(31))
        return (z >> np.uint64(11)) * 2.0**-53
