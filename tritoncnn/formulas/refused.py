"""What capture knows of and does not compute: second results such as indices and saved statistics."""

from __future__ import annotations


class Refused:
    """Stands for a result that we do not compute; whoever reads it is unsupported."""

    def __init__(self, why: str) -> None:
        self.why = why
