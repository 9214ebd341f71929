"""What all builders share: sizes, checks, and the assembly of a ``Launch``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from tritoncnn.errors import DTypeError, ShapeError
from tritoncnn.ir import DTYPE_BYTES, TensorType
from tritoncnn.kernels.launch import Launch, Slot

KERNEL_FLOATS = ("f32", "f16", "bf16")


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def power_of_2(size: int) -> int:
    """Smallest power of two that is at least ``size`` and 1."""
    return 1 << max(size - 1, 0).bit_length()


def row_block(rows: int, programs: int, largest: int, smallest: int, columns: int = 1) -> int:
    """Largest power of two in [smallest, largest] that still makes so many programs, else the smallest.

    ``rows`` are cut into blocks; each block is a program for each of the ``columns``. No block is larger than the power of two
    that holds all rows.
    """
    most = power_of_2(rows)
    smallest = min(smallest, most)
    block = min(power_of_2(largest + 1) // 2, most)
    while block > smallest and ceil_div(rows, block) * columns < programs:
        block //= 2
    return block


def reduction_step(size: int, whole: int) -> int:
    """How much of a reduction of ``size`` is taken in one step, on a CPU: all of it up to ``whole``; else the longest of 256 to
    16 that divides it, for a last step of which a part is masked takes the time of several; else 256.
    """
    if size <= whole:
        return power_of_2(size)
    return next((length for length in (256, 128, 64, 32, 16) if size % length == 0), 256)


AnyTile = TypeVar("AnyTile", bound=tuple[int, ...])
GPU_PROGRAMS = 128  # about one per multiprocessor
GPU_SUMS_F32 = 64 * 128  # products of f32 need more registers than wider tiles of four warps leave


def gpu_tile(tiles: tuple[AnyTile, ...], rows: int, columns: int, dtype: str, copies: int = 1) -> AnyTile:
    """First of the tiles (rows, columns, ...) that is no wider than the result, leaves enough programs and keeps its sums in
    registers for operands of ``dtype``; else the last.
    """

    def fits(tile: AnyTile) -> bool:
        programs = copies * ceil_div(rows, tile[0]) * ceil_div(columns, tile[1])
        kept = dtype != "f32" or tile[0] * tile[1] <= GPU_SUMS_F32
        return kept and tile[1] <= power_of_2(columns) and programs >= GPU_PROGRAMS

    return next(filter(fits, tiles), tiles[-1])


def offset_span(tensor: TensorType) -> int:
    """Elements from the first to the last address of a tensor."""
    return 1 + sum((size - 1) * abs(stride) for size, stride in zip(tensor.shape, tensor.strides, strict=True) if size)


def reach(tensor: TensorType) -> int:
    """Bytes from the first element of a tensor to the end of its last one."""
    return offset_span(tensor) * DTYPE_BYTES[tensor.dtype] if tensor.numel else 0


def needs_int64(*tensors: TensorType) -> bool:
    """Whether an offset can pass 2**31 - 1. The margin covers the masked-off lanes of the last block."""
    return any(max(offset_span(t), t.numel) >= 2**31 - 2**22 for t in tensors)


def check_floats(op: str, **tensors: TensorType | None) -> None:
    """Every tensor has one of the float types that kernels widen to f32."""
    for name, tensor in tensors.items():
        if tensor is not None and tensor.dtype not in KERNEL_FLOATS:
            raise DTypeError(f"{op}: {name} must be one of {', '.join(KERNEL_FLOATS)}; got {tensor.dtype}")


def check_rank(op: str, rank: int, **tensors: TensorType) -> None:
    for name, tensor in tensors.items():
        if tensor.rank != rank:
            raise ShapeError(f"{op}: {name} must have {rank} dims; got {list(tensor.shape)}")


def check_shape(op: str, name: str, tensor: TensorType, wanted: tuple[int, ...], why: str) -> None:
    if tensor.shape != wanted:
        raise ShapeError(f"{op}: {name} must be {list(wanted)}, {why}; got {list(tensor.shape)}")


def check_positive(op: str, **sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ShapeError(f"{op}: {name} must be at least 1; got {size}")


def conv_size(op: str, H: int, R: int, U: int, sides: tuple[int, int], DIL: int) -> int:
    """Pixels of output along one axis.

    H input pixels, R filter taps, U window step, padding before and after, DIL tap spacing.
    Raises ShapeError when the dilated filter is longer than the padded input.
    Source: Dumoulin & Visin 2016, "A guide to convolution arithmetic", dilated convolutions.
    """
    length = DIL * (R - 1) + 1
    padded = H + sum(sides)
    if length > padded:
        raise ShapeError(
            f"{op}: weight of {R} taps with dilation {DIL} must fit into the padded input; got {padded} pixels"
        )
    return (padded - length) // U + 1


def build(
    kernel: Any,
    grid: tuple[int, ...],
    pointers: Mapping[str, TensorType | None],
    *,
    slot: Slot | None = None,
    prologue: Slot | None = None,
    results: int = 1,
    flops: int = 0,
    num_warps: int = 4,
    num_stages: int = 2,
    **constants: Any,
) -> Launch:
    """A Launch; ``constants`` are the kernel's, the fields of its tile among them.

    A pointer that is None becomes the constant None, so that the kernel's branch on it folds. The kernel has the constant WIDE
    (offsets are int64), GRID unless it serves grids of any size and, when it takes a slot, EPILOGUE and the tuple ``args``;
    PROLOGUE too when it takes a ``prologue``, which is made for the same operands.
    """
    present = {name: tensor for name, tensor in pointers.items() if tensor is not None}
    absent = {name: None for name, tensor in pointers.items() if tensor is None}
    slots = tuple(one for one in (slot, prologue) if one is not None)
    extra = slots[0].operands if slots else ()
    operands = (*present.values(), *extra)
    names = tuple(present)
    filled: dict[str, Any] = {**absent, **constants}
    if "args" in kernel.arg_names:
        filled["EPILOGUE"] = slot.function if slot is not None else None
        if "PROLOGUE" in kernel.arg_names:
            filled["PROLOGUE"] = prologue.function if prologue is not None else None
        if extra:
            names += ("args",)
        else:
            filled["args"] = None
    filled["WIDE"] = needs_int64(*operands)
    programs = (*grid, 1, 1)
    if "GRID" in kernel.arg_names:
        filled["GRID"] = programs[:3]
    return Launch(
        kernel=kernel,
        grid=(programs[0], programs[1], programs[2]),
        pointers=names,
        operands=operands,
        constants=filled,
        slots=slots,
        results=results,
        flops=flops,
        nbytes=sum(tensor.nbytes for tensor in operands),
        num_warps=num_warps,
        num_stages=num_stages,
    )
