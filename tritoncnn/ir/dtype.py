"""What there is to know of a dtype, one row each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DType:
    """A dtype under the IR's ``name``.

    nbytes    of an element
    torch     name of torch's dtype
    triton    name of Triton's type, as signatures have it
    roundoff  largest relative error of rounding to it; None for integers
    smallest  positive number, for floats; 0 where nothing is wider
    """

    name: str
    nbytes: int
    torch: str
    triton: str
    roundoff: float | None = None
    smallest: float = 0.0


DTYPES = {
    row.name: row
    for row in (
        DType("f64", 8, "float64", "fp64", 2.0**-53),
        DType("f32", 4, "float32", "fp32", 2.0**-24, 2.0**-149),
        DType("f16", 2, "float16", "fp16", 2.0**-11, 2.0**-24),
        DType("bf16", 2, "bfloat16", "bf16", 2.0**-8, 2.0**-133),
        DType("i64", 8, "int64", "i64"),
        DType("i32", 4, "int32", "i32"),
        DType("i16", 2, "int16", "i16"),
        DType("i8", 1, "int8", "i8"),
        DType("u8", 1, "uint8", "u8"),
        DType("i1", 1, "bool", "i1"),
    )
}
DTYPE_BYTES = {name: row.nbytes for name, row in DTYPES.items()}
FLOATS = frozenset(name for name, row in DTYPES.items() if row.roundoff is not None)
