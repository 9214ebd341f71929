"""Which filter taps reach a pixel of a strided window: shared by the input gradients of convolutions and pools."""

from __future__ import annotations

import math


def tap_steps(R: int, U: int, DIL: int) -> tuple[int, int, int]:
    """(step, inverse, most): the taps r < R with h + PAD - r * DIL divisible by U, for a row h of the image.

    With g = gcd(U, DIL) there are some only if g divides h + PAD. The first is ((h + PAD) / g * inverse) mod step, the
    others follow at distances of step = U / g, at most ``most`` in all.
    """
    g = math.gcd(U, DIL)
    step = U // g
    return step, pow(DIL // g, -1, step) if step > 1 else 0, -(-R // step)
