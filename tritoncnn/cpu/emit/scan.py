"""tt.scan and packed tt.map_elementwise, with any function and any number of operands."""

from __future__ import annotations

from tritoncnn.cpu.front.elements import llvm_type
from tritoncnn.cpu.front.ttir import Op, unsupported

from .pull import pull
from .regions import combine, region_of
from .scratch import new_buffer, write
from .state import State
from .values import Coord, Coords, Res


def scan(code: State, op: Op) -> None:
    """Prefix sums and the like: in order along the axis, lanes along another axis where there is one."""
    shape = op.operands[0].type.shape
    axis, size = op.number("axis"), op.operands[0].type.shape[op.number("axis")]
    others = [d for d in range(len(shape)) if d != axis and shape[d] > 1]
    vaxis = others[-1] if others else None
    outputs = [new_buffer(code, r, vaxis) for r in op.results]
    elems = [x.type.elem for x in op.operands]
    backwards = str(op.attrs.get("reverse")) == "true"

    def one(coords: Coords) -> None:
        vl = max([c.vl for d, c in enumerate(coords) if d != axis], default=0)

        def at(c: Coord) -> Coords:
            return (*coords[:axis], c, *coords[axis + 1 :])

        def put(c: Coord, rs: list[Res]) -> list[str]:
            for b, r in zip(outputs, rs, strict=True):
                write(code, b, at(c), r)
            return [code.widen(r, e, vl) for r, e in zip(rs, elems, strict=True)]

        def body(c: Coord, args: list[str]) -> list[str]:
            if backwards:
                flipped = code.let(c.lvl, f"sub i32 {size - 1}, {c.name}")
                c = Coord(flipped, c.lvl)
            xs = [pull(code, x, at(c)) for x in op.operands]
            return put(c, combine(code, op, [Res(a, code.depth, vl) for a in args], xs))

        edge = Coord(str(size - 1 if backwards else 0))
        start = put(edge, [pull(code, x, at(edge)) for x in op.operands])
        code.loop(1, size, 1, body, list(zip([llvm_type(e, vl) for e in elems], start, strict=True)))

    outer = tuple(1 if d == axis else n for d, n in enumerate(shape))
    code.nest(outer, vaxis, one)
    code.buffers.update(zip(op.results, outputs, strict=True))


def map_packs(code: State, op: Op) -> None:
    """``tl.map_elementwise`` of several neighbours along the last axis at a time, into scratch."""
    pack, blocks, shape = op.number("pack"), op.regions[0], op.results[0].type.shape
    if shape[-1] % pack:
        raise unsupported(op, f"pack must divide the last axis of {list(shape)}; got {pack}")
    outputs = [new_buffer(code, r) for r in op.results]

    def one(coords: Coords) -> None:
        at = [(*coords[:-1], code.plus(code.times(coords[-1], pack), k)) for k in range(pack)]
        args = [pull(code, x, c) for x in op.operands for c in at]
        found = region_of(code, op, blocks, dict(zip(blocks[0].args, args, strict=True)))
        for n, r in enumerate(found):
            write(code, outputs[n // pack], at[n % pack], r)

    code.nest((*shape[:-1], shape[-1] // pack), len(shape) - 1, one)
    code.buffers.update(zip(op.results, outputs, strict=True))
