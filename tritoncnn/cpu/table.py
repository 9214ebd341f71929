"""The TTIR ops that the CPU backend knows, a row each: whatever depends on an op's name stands here (``front/row.py``)."""

from __future__ import annotations

from typing import Any

from .dot.batches import product
from .emit import (
    arith,
    atomics,
    casts,
    control,
    elements,
    groups,
    loads,
    mathematics,
    program,
    rearrange,
    regions,
    report,
    scan,
)
from .emit import reduce as reductions
from .emit.division import division
from .emit.division import weight as division_weight
from .emit.functions import call
from .emit.libdevice import extern
from .emit.state import Apply, Lanes
from .front import addresses, axes
from .front.row import Row, Table, always


def _elementwise(apply: Apply, **columns: Any) -> Row:
    """An op that computes one element from the elements at the same place."""
    given: dict[str, Any] = {"pull": elements.elementwise, "axis": axes.same, "weight": 1} | columns
    return Row(apply=apply, lazy=always, pointwise=True, **given)


def _lanes(write: Lanes, **columns: Any) -> Row:
    return _elementwise(arith.on_lanes(write), **columns)


def _cast(write: Lanes, **columns: Any) -> Row:
    return _lanes(write, fp8=True, **columns)


_MEMORY: Table = {
    "tt.load": Row(pull=loads.load, lazy=always, meet=loads.note_load, weight=loads.weight, access="load", mask=1),
    "tt.store": Row(group=groups.together, emit_group=program.lower_stores, access="store", mask=2, writes=True),
    "tt.atomic_rmw": Row(emit=atomics.read_modify_write, access="atomic", mask=2, writes=True),
    "tt.atomic_cas": Row(emit=atomics.compare_and_swap, access="atomic", writes=True),
}

_CONTROL: Table = {
    "scf.for": Row(emit=control.scf_for, loops=True),
    "scf.if": Row(emit=control.scf_if),
    "scf.while": Row(emit=control.scf_while, loops=True),
    "scf.yield": Row(ends=True),
    "scf.condition": Row(ends=True),
    "cf.br": Row(ends=True),
    "cf.cond_br": Row(ends=True),
    "tt.call": Row(emit=call, writes=True),
    "tt.return": Row(emit=program.ignore, ends=True),
    "tt.reduce.return": Row(ends=True),
    "tt.scan.return": Row(ends=True),
    "tt.map_elementwise.return": Row(ends=True),
    "tt.print": Row(emit=report.printed),
    "tt.assert": Row(emit=report.asserted, writes=True),
    "tt.assume": Row(emit=program.ignore),
    "llvm.intr.assume": Row(emit=program.ignore),
    "ttg.barrier": Row(emit=program.ignore),
    "gpu.barrier": Row(emit=program.ignore),
}

_WHOLE: Table = {
    "tt.dot": Row(emit=product, reaches=True),
    "tt.reduce": Row(
        group=groups.reduced_together, emit_group=program.lower_reductions, lazy=elements.along_a_small_axis,
        pull=regions.small_reduce, weight=reductions.weight, elsewhere=elements.size_of_axis,
    ),
    "tt.scan": Row(emit=scan.scan),
    "tt.map_elementwise": Row(
        emit=scan.map_packs, lazy=elements.one_at_a_time, pull=regions.map_elements, weight=regions.weight,
    ),
    "tt.join": Row(emit=rearrange.join),
    "tt.cat": Row(emit=rearrange.cat),
    "tt.gather": Row(emit=rearrange.gather),
    "tt.histogram": Row(emit=rearrange.histogram),
}  # fmt: skip

_SHAPES: Table = {
    "arith.constant": Row(pull=regions.constant, lazy=always, pointwise=True, literal=True),
    "ub.poison": Row(pull=elements.poison, lazy=always, literal=True),
    "tt.make_range": Row(pull=elements.make_range, lazy=always),
    "tt.get_program_id": Row(pull=elements.program_id),
    "tt.get_num_programs": Row(pull=elements.num_programs),
    "tt.splat": Row(pull=elements.splat, lazy=always, pointwise=True, address=addresses.nothing),
    "tt.broadcast": Row(pull=elements.broadcast, lazy=always, axis=axes.same, address=addresses.nothing, spreads=True),
    "tt.expand_dims": Row(pull=elements.expand_dims, lazy=always, axis=axes.without_new, address=addresses.new_axis),
    "tt.trans": Row(pull=elements.trans, lazy=always, axis=axes.permuted),
    "tt.reshape": Row(
        pull=elements.split_axes, lazy=elements.only_splits_axes, emit=rearrange.reshape, elsewhere=elements.once
    ),
    "tt.split": Row(pull=elements.split, lazy=always),
    "tt.unsplat": Row(emit=rearrange.unsplat),
}

_ARITHMETIC: Table = {
    "arith.addf": _elementwise(arith.instruction("fadd contract")),
    "arith.subf": _elementwise(arith.instruction("fsub contract")),
    "arith.mulf": _elementwise(arith.instruction("fmul contract")),
    "arith.divf": _elementwise(arith.instruction("fdiv"), weight=8),
    "tt.precise_divf": _elementwise(arith.instruction("fdiv"), weight=8),
    "arith.remf": _elementwise(arith.instruction("frem")),
    "arith.negf": _elementwise(arith.instruction("fneg")),
    "arith.addi": _elementwise(arith.wrapping("add"), simplify=arith.with_unit("0")),
    "arith.subi": _elementwise(arith.wrapping("sub"), simplify=arith.with_unit("0", commutes=False)),
    "arith.muli": _elementwise(arith.wrapping("mul"), simplify=arith.with_unit("1")),
    "arith.andi": _elementwise(arith.instruction("and"), simplify=arith.mask_of("1")),
    "arith.ori": _elementwise(arith.instruction("or"), simplify=arith.mask_of("0")),
    "arith.xori": _elementwise(arith.instruction("xor")),
    "arith.divsi": _elementwise(division("div", signed=True), weight=division_weight),
    "arith.remsi": _elementwise(division("rem", signed=True), weight=division_weight),
    "arith.divui": _elementwise(division("div", signed=False), weight=division_weight),
    "arith.remui": _elementwise(division("rem", signed=False), weight=division_weight),
    "arith.shli": _elementwise(arith.shift("shl")),
    "arith.shrsi": _elementwise(arith.shift("ashr")),
    "arith.shrui": _elementwise(arith.shift("lshr")),
    "arith.maxnumf": _elementwise(arith.intrinsic("maxnum")),
    "arith.minnumf": _elementwise(arith.intrinsic("minnum")),
    "arith.maximumf": _elementwise(arith.intrinsic("maximum")),
    "arith.minimumf": _elementwise(arith.intrinsic("minimum")),
    "arith.maxsi": _elementwise(arith.intrinsic("smax")),
    "arith.minsi": _elementwise(arith.intrinsic("smin")),
    "arith.maxui": _elementwise(arith.intrinsic("umax")),
    "arith.minui": _elementwise(arith.intrinsic("umin")),
    "arith.cmpi": _elementwise(arith.comparison("icmp"), simplify=arith.known_truth),
    "arith.cmpf": _elementwise(arith.comparison("fcmp")),
    "arith.select": _elementwise(arith.select, fp8=True),
    "tt.addptr": _elementwise(arith.add_pointer, fp8=True, address=addresses.offset),
    "tt.clampf": _lanes(mathematics.clamp),
    "tt.mulhiui": _lanes(mathematics.high_product),
}

_CASTS: Table = {
    "arith.extsi": _cast(casts.resize("sext")),
    "arith.extui": _cast(casts.resize("zext")),
    "arith.trunci": _cast(casts.resize("trunc")),
    "arith.sitofp": _cast(casts.resize("sitofp")),
    "arith.uitofp": _cast(casts.resize("uitofp")),
    "tt.int_to_ptr": _cast(casts.resize("inttoptr")),
    "tt.ptr_to_int": _cast(casts.resize("ptrtoint")),
    "arith.extf": _cast(casts.float_cast),
    "arith.truncf": _cast(casts.float_cast),
    "tt.fp_to_fp": _cast(casts.rounded_float_cast, simplify=arith.same_type),
    "tt.bitcast": _cast(casts.bitcast, simplify=arith.same_type),
    "arith.bitcast": _cast(casts.bitcast, simplify=arith.same_type),
    "arith.fptosi": _cast(casts.to_integer(unsigned=False)),
    "arith.fptoui": _cast(casts.to_integer(unsigned=True)),
    "arith.index_cast": _cast(casts.index_cast),
}

_FUNCTIONS: Table = {
    "tt.precise_sqrt": _elementwise(arith.intrinsic("sqrt"), weight=8),
    "math.sqrt": _elementwise(arith.intrinsic("sqrt"), weight=8),
    "math.rsqrt": _lanes(mathematics.reciprocal_root, weight=8),
    "math.absf": _elementwise(arith.intrinsic("fabs")),
    "math.absi": _lanes(mathematics.absolute),
    "math.floor": _elementwise(arith.intrinsic("floor")),
    "math.ceil": _elementwise(arith.intrinsic("ceil")),
    "math.trunc": _elementwise(arith.intrinsic("trunc")),
    "math.round": _elementwise(arith.intrinsic("round")),
    "math.roundeven": _elementwise(arith.intrinsic("roundeven")),
    "math.fma": _elementwise(arith.intrinsic("fma")),
    "math.copysign": _elementwise(arith.intrinsic("copysign")),
    "tt.extern_elementwise": _lanes(extern, weight=16),
    **{
        f"math.{name}": _elementwise(mathematics.function(ours), weight=16)
        for name, ours in mathematics.FUNCTIONS.items()
    },
}

TABLE: Table = {**_MEMORY, **_CONTROL, **_WHOLE, **_SHAPES, **_ARITHMETIC, **_CASTS, **_FUNCTIONS}
