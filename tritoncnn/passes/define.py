"""What a pass is."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.ir import Graph


@dataclass(frozen=True)
class Pass:
    """Graph -> (Graph, note): a new graph and, in words, what was changed; an empty note when nothing was."""

    @property
    def name(self) -> str:
        return type(self).__name__

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        raise NotImplementedError


def count(number: int, thing: str) -> str:
    """'' for 0, '1 node', '2 nodes'."""
    return f"{number} {thing}{'s' if number != 1 else ''}" if number else ""
