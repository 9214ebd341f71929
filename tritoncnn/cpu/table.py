"""The TTIR ops that the CPU backend knows, a row each: what an op is stands here and nowhere else (``Row``)."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .dot.batches import product
from .emit import (
    arith,
    atomics,
    casts,
    control,
    division,
    elementary,
    functions,
    groups,
    libdevice,
    loads,
    program,
    rearrange,
    reduce,
    regions,
    report,
    scan,
    shapes,
)
from .emit.arith import comparison, instruction, intrinsic, on_lanes, shift, with_unit, wrapping
from .emit.state import Row, State, Table
from .emit.values import Coords, Res
from .facts import flow, fold, offsets, ranges, strides
from .facts.analysis import Facts
from .front import addresses, axes, forms
from .front.traits import always, operands
from .front.ttir import Op, Value


@dataclass(frozen=True)
class Elementwise(Row):
    """An op that computes one element from the elements at the same place."""

    pull: Callable[[State, Op, Value, Coords], Res] | None = shapes.elementwise
    lazy: Callable[[Op], bool] = always
    axis: Callable[[Op, int], int | None] | None = axes.same
    stride: Callable[[Facts, Op, int, int], int | None] | None = strides.only_equal
    weight: int | Callable[[State, Op], int] = 1
    pointwise: bool = True


@dataclass(frozen=True)
class Cast(Elementwise):
    """An elementwise op that knows 8-bit floats."""

    fp8: bool = True


MEMORY: Table = {
    "tt.load": Row(
        pull=loads.load, lazy=always, meet=loads.note_load, weight=loads.weight, access="load", mask=1,
        stride=strides.only_equal, computes_address=True, results=forms.pointed_at,
    ),
    "tt.store": Row(group=groups.together, emit_group=program.lower_stores, access="store", mask=2, writes=True),
    "tt.atomic_rmw": Row(emit=atomics.read_modify_write, access="atomic", mask=2, writes=True),
    "tt.atomic_cas": Row(emit=atomics.compare_and_swap, access="atomic", writes=True),
}  # fmt: skip

CONTROL: Table = {
    "scf.for": Row(reads=forms.counted, emit=control.scf_for, flow=flow.loop, loops=True, counts=True),
    "scf.if": Row(reads=forms.either, emit=control.scf_if, flow=flow.branch, branches=True),
    "scf.while": Row(reads=forms.repeated, emit=control.scf_while, flow=flow.while_loop, loops=True),
    "scf.yield": Row(ends=True),
    "scf.condition": Row(ends=True),
    "cf.br": Row(reads=forms.jump, flow=flow.jump, ends=True),
    "cf.cond_br": Row(reads=forms.jump, flow=flow.jump, ends=True),
    "tt.call": Row(called=True, emit=functions.call, flow=flow.call, writes=True, computes_address=True),
    "tt.return": Row(emit=program.ignore, ends=True),
    "tt.reduce.return": Row(ends=True),
    "tt.scan.return": Row(ends=True),
    "tt.map_elementwise.return": Row(ends=True),
    "tt.print": Row(reads=forms.told, emit=report.printed),
    "tt.assert": Row(reads=forms.told, emit=report.asserted, writes=True),
    "tt.assume": Row(emit=program.ignore, assumes=True),
    "llvm.intr.assume": Row(emit=program.ignore, assumes=True),
    "ttg.barrier": Row(emit=program.ignore),
    "gpu.barrier": Row(emit=program.ignore),
}

WHOLE: Table = {  # ops that need more of their operands than an element
    "tt.dot": Row(emit=product, reaches=True),
    "tt.reduce": Row(
        group=groups.reduced_together, emit_group=program.lower_reductions, lazy=shapes.along_a_small_axis,
        pull=regions.small_reduce, weight=reduce.weight, elsewhere=shapes.size_of_axis,
    ),
    "tt.scan": Row(emit=scan.scan),
    "tt.map_elementwise": Row(
        emit=scan.map_packs, lazy=shapes.one_at_a_time, pull=regions.map_elements, weight=regions.weight,
    ),
    "tt.join": Row(emit=rearrange.join),
    "tt.cat": Row(emit=rearrange.cat),
    "tt.gather": Row(emit=rearrange.gather),
    "tt.histogram": Row(emit=rearrange.histogram),
}  # fmt: skip

SHAPES: Table = {
    "arith.constant": Row(
        reads=forms.constant, pull=regions.constant, lazy=always, fold=fold.constant, stride=strides.zero,
        pointwise=True, literal=True,
    ),
    "ub.poison": Row(pull=shapes.poison, lazy=always, literal=True),
    "tt.make_range": Row(pull=shapes.make_range, lazy=always, fold=fold.make_range),
    "tt.get_program_id": Row(pull=shapes.program_id, range=ranges.program_id),
    "tt.get_num_programs": Row(pull=shapes.num_programs, range=ranges.num_programs),
    "tt.splat": Row(
        pull=shapes.splat, lazy=always, fold=fold.repeat, range=ranges.of_operand, truth=ranges.truth_of_operand,
        stride=strides.zero, multiple=strides.multiple_of_scalar, moves=True, even=True,
        address=addresses.nothing, pointwise=True, spreads=True,
    ),
    "tt.broadcast": Row(
        pull=shapes.broadcast, lazy=always, fold=fold.repeat, range=ranges.of_operand, truth=ranges.truth_of_operand,
        stride=strides.broadcast, multiple=strides.multiple_along, offsets=offsets.along, conjuncts=operands,
        moves=True, even=True, axis=axes.same, address=addresses.nothing, spreads=True,
    ),
    "tt.expand_dims": Row(
        pull=shapes.expand_dims, lazy=always, fold=fold.reshape, range=ranges.of_operand, truth=ranges.truth_of_operand,
        stride=strides.along, multiple=strides.multiple_along, offsets=offsets.along,
        moves=True, even=True, axis=axes.without_new, address=addresses.new_axis,
    ),
    "tt.trans": Row(
        pull=shapes.trans, lazy=always, fold=fold.transpose, range=ranges.of_operand, truth=ranges.truth_of_operand,
        stride=strides.along, multiple=strides.multiple_along, moves=True, even=True, axis=axes.permuted,
    ),
    "tt.reshape": Row(
        emit=rearrange.reshape, pull=shapes.split_axes, lazy=shapes.only_splits_axes, fold=fold.reshape,
        range=ranges.of_operand, truth=ranges.truth_of_operand, stride=strides.reshape, moves=True, even=True,
        elsewhere=shapes.once,
    ),
    "tt.split": Row(pull=shapes.split, lazy=always, results=forms.twice),
    "tt.unsplat": Row(
        emit=rearrange.unsplat, fold=fold.reshape, range=ranges.of_operand, truth=ranges.truth_of_operand,
        multiple=strides.multiple_of_operand, moves=True, results=forms.one_element,
    ),
}  # fmt: skip

FLOATS: Table = {
    "arith.addf": Elementwise(apply=instruction("fadd contract")),
    "arith.subf": Elementwise(apply=instruction("fsub contract")),
    "arith.mulf": Elementwise(apply=instruction("fmul contract")),
    "arith.divf": Elementwise(apply=instruction("fdiv"), weight=8),
    "tt.precise_divf": Elementwise(apply=instruction("fdiv"), weight=8),
    "arith.remf": Elementwise(apply=instruction("frem")),
    "arith.negf": Elementwise(apply=instruction("fneg")),
    "arith.cmpf": Elementwise(apply=comparison("fcmp"), results=forms.truths),
    "arith.maxnumf": Elementwise(apply=intrinsic("maxnum")),
    "arith.minnumf": Elementwise(apply=intrinsic("minnum")),
    "arith.maximumf": Elementwise(apply=intrinsic("maximum")),
    "arith.minimumf": Elementwise(apply=intrinsic("minimum")),
    "tt.clampf": Elementwise(apply=on_lanes(elementary.clamp)),
    "tt.precise_sqrt": Elementwise(apply=intrinsic("sqrt"), weight=8),
    "math.sqrt": Elementwise(apply=intrinsic("sqrt"), weight=8),
    "math.rsqrt": Elementwise(apply=on_lanes(elementary.reciprocal_root), weight=8),
    "math.absf": Elementwise(apply=intrinsic("fabs")),
    "math.floor": Elementwise(apply=intrinsic("floor")),
    "math.ceil": Elementwise(apply=intrinsic("ceil")),
    "math.trunc": Elementwise(apply=intrinsic("trunc")),
    "math.round": Elementwise(apply=intrinsic("round")),
    "math.roundeven": Elementwise(apply=intrinsic("roundeven")),
    "math.fma": Elementwise(apply=intrinsic("fma")),
    "math.copysign": Elementwise(apply=intrinsic("copysign")),
    "tt.extern_elementwise": Elementwise(reads=forms.extern, apply=on_lanes(libdevice.extern), weight=16),
    **{
        f"math.{name}": Elementwise(apply=elementary.function(ours), weight=16)
        for name, ours in elementary.FUNCTIONS.items()
    },
}

INTEGERS: Table = {
    "arith.addi": Elementwise(
        apply=wrapping("add"), simplify=with_unit("0"), fold=fold.arithmetic(operator.add, operator.xor),
        range=ranges.total, stride=strides.total, multiple=strides.multiple_of_both, offsets=offsets.total(1), even=True,
    ),
    "arith.subi": Elementwise(
        apply=wrapping("sub"), simplify=with_unit("0", commutes=False), fold=fold.arithmetic(operator.sub, operator.xor),
        range=ranges.difference, stride=strides.difference, multiple=strides.multiple_of_both,
        offsets=offsets.total(-1), even=True,
    ),
    "arith.muli": Elementwise(
        apply=wrapping("mul"), simplify=with_unit("1"), fold=fold.arithmetic(operator.mul, operator.and_),
        range=ranges.product, stride=strides.product, multiple=strides.multiple_of_product, offsets=offsets.product,
        even=True, uneven=strides.unknown_factor,
    ),
    "arith.andi": Elementwise(
        apply=instruction("and"), simplify=arith.mask_of("1"), fold=fold.elements(operator.and_),
        range=ranges.some_bits, truth=ranges.all_true, conjuncts=operands,
    ),
    "arith.ori": Elementwise(
        apply=instruction("or"), simplify=arith.mask_of("0"), fold=fold.elements(operator.or_), truth=ranges.any_true,
    ),
    "arith.xori": Elementwise(apply=instruction("xor"), fold=fold.elements(operator.xor)),
    "arith.divsi": Elementwise(
        apply=division.division("div", signed=True), weight=division.weight, fold=fold.division(True, signed=True),
        range=ranges.quotient, stride=strides.quotient, uneven=strides.jumps("the quotient"),
    ),
    "arith.divui": Elementwise(
        apply=division.division("div", signed=False), weight=division.weight, fold=fold.division(True, signed=False),
        range=ranges.quotient, stride=strides.quotient, uneven=strides.jumps("the quotient"),
    ),
    "arith.remsi": Elementwise(
        apply=division.division("rem", signed=True), weight=division.weight, fold=fold.division(False, signed=True),
        range=ranges.remainder(signed=True), stride=strides.remainder, uneven=strides.jumps("the remainder"),
    ),
    "arith.remui": Elementwise(
        apply=division.division("rem", signed=False), weight=division.weight, fold=fold.division(False, signed=False),
        range=ranges.remainder(signed=False), stride=strides.remainder, uneven=strides.jumps("the remainder"),
    ),
    "arith.shli": Elementwise(apply=shift("shl"), fold=fold.shift(operator.lshift)),
    "arith.shrsi": Elementwise(apply=shift("ashr"), fold=fold.shift(operator.rshift)),
    "arith.shrui": Elementwise(apply=shift("lshr"), fold=fold.shift(operator.rshift, signed=False)),
    "arith.maxsi": Elementwise(apply=intrinsic("smax"), fold=fold.elements(np.maximum), range=ranges.greatest),
    "arith.minsi": Elementwise(apply=intrinsic("smin"), fold=fold.elements(np.minimum), range=ranges.least),
    "arith.maxui": Elementwise(apply=intrinsic("umax")),
    "arith.minui": Elementwise(apply=intrinsic("umin")),
    "arith.cmpi": Elementwise(
        results=forms.truths, apply=comparison("icmp"), simplify=arith.known_truth, fold=fold.compare,
        truth=ranges.compared,
    ),
    "arith.select": Elementwise(
        results=forms.last, apply=arith.select, fold=fold.elements(np.where), range=ranges.either, fp8=True,
    ),
    "tt.addptr": Elementwise(
        apply=arith.add_pointer, stride=strides.total, offsets=offsets.total(1), even=True, fp8=True,
        address=addresses.offset,
    ),
    "tt.mulhiui": Elementwise(apply=on_lanes(elementary.high_product)),
    "math.absi": Elementwise(apply=on_lanes(elementary.absolute)),
}  # fmt: skip

CASTS: Table = {
    "arith.extsi": Cast(
        apply=on_lanes(casts.resize("sext")), fold=fold.extend_sign, range=ranges.of_operand, stride=strides.first,
        multiple=strides.multiple_of_operand, offsets=offsets.along, even=True,
    ),
    "arith.extui": Cast(
        apply=on_lanes(casts.resize("zext")), fold=fold.extend_zeros, range=ranges.if_it_fits,
        stride=strides.first_if_not_negative, multiple=strides.multiple_of_operand, even=True,
    ),
    "arith.trunci": Cast(apply=on_lanes(casts.resize("trunc")), fold=fold.truncate, range=ranges.if_it_fits),
    "arith.sitofp": Cast(apply=on_lanes(casts.resize("sitofp"))),
    "arith.uitofp": Cast(apply=on_lanes(casts.resize("uitofp"))),
    "tt.int_to_ptr": Cast(apply=on_lanes(casts.resize("inttoptr")), computes_address=True),
    "tt.ptr_to_int": Cast(apply=on_lanes(casts.resize("ptrtoint"))),
    "arith.extf": Cast(apply=on_lanes(casts.float_cast)),
    "arith.truncf": Cast(apply=on_lanes(casts.float_cast)),
    "tt.fp_to_fp": Cast(apply=on_lanes(casts.rounded_float_cast), simplify=arith.same_type),
    "tt.bitcast": Cast(apply=on_lanes(casts.bitcast), simplify=arith.same_type, stride=strides.first, even=True),
    "arith.bitcast": Cast(apply=on_lanes(casts.bitcast), simplify=arith.same_type),
    "arith.fptosi": Cast(apply=on_lanes(casts.to_integer(unsigned=False))),
    "arith.fptoui": Cast(apply=on_lanes(casts.to_integer(unsigned=True))),
    "arith.index_cast": Cast(
        apply=on_lanes(casts.index_cast), range=ranges.of_operand, stride=strides.first, even=True,
    ),
}  # fmt: skip

TABLE: Table = {**MEMORY, **CONTROL, **WHOLE, **SHAPES, **FLOATS, **INTEGERS, **CASTS}
