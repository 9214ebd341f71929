"""The one IR: types, graph, verifier, text."""

from tritoncnn.ir.types import DTYPE_BYTES, FLOATS, TensorType, dense_strides, parse_type

__all__ = ["DTYPE_BYTES", "FLOATS", "TensorType", "dense_strides", "parse_type"]
