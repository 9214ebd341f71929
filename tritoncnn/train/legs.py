"""A run that had ended and was told to go on has several legs: each has a warm-up and a schedule of its own.

``12/12,20/50`` says: it ended after 12 of 12 epochs, then after 20 epochs of a leg that was planned up to 50.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tritoncnn.errors import InputError


class Leg(NamedTuple):
    """Epochs: the first, the end (the first of the next leg), and where the end was planned, which its schedule follows."""

    first: int
    end: int
    planned: int


def read_legs(text: str, epochs: int) -> list[Leg]:
    """All legs of a run of ``epochs``; the last one is what is trained now. Raises InputError."""
    legs, first = [], 0
    for part in text.split(",") if text else []:
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", part)
        if found is None or not first < int(found[1]) <= int(found[2]) or (epochs and int(found[1]) >= epochs):
            raise InputError(f"legs must be as 12/12,20/50, epochs that grow up to --epochs {epochs}; got {text!r}")
        legs.append(Leg(first, int(found[1]), int(found[2])))
        first = legs[-1].end
    return [*legs, Leg(first, epochs, epochs)]
