"""Blocks of a function or region: all of their ops, and an order in which they can be gone through once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from .traits import Traits
from .ttir import Block, Function, Op, Value


def walk(function: Function) -> Iterator[Op]:
    """All ops of a function, those of regions too."""

    def ops(blocks: Iterable[Block]) -> Iterator[Op]:
        for block in blocks:
            for op in block.ops:
                yield op
                for region in op.regions:
                    yield from ops(region)

    return ops(function.blocks)


def edges(block: Block) -> list[tuple[str, list[Value]]]:
    """Where a block's terminator may go: (label, what that block's arguments become)."""
    targets = block.ops[-1].attrs.get("targets", [])
    assert isinstance(targets, list)
    return targets


def in_order(blocks: Sequence[Block]) -> list[Block]:
    """Every block after those that lead to it (where there are no cycles)."""
    by_label = {block.label: block for block in blocks}
    seen: set[str] = set()
    order: list[Block] = []

    def visit(block: Block) -> None:
        seen.add(block.label)
        for label, _ in edges(block):
            if label not in seen:
                visit(by_label[label])
        order.append(block)

    visit(blocks[0])
    return order[::-1]


def loop_of(v: Value, rows: Mapping[str, Traits]) -> Op | None:
    """The loop over numbers whose index a value is."""
    owner = v.block.owner if v.block else None
    return owner if owner is not None and rows[owner.name].counts and v is owner.regions[0][0].args[0] else None
