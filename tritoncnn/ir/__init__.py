"""The one IR: types, graphs, pointwise expressions, verifier, text."""

from tritoncnn.ir.dtype import DTYPE_BYTES, DTYPES, FLOATS, DType
from tritoncnn.ir.expr import ACC, Expr, arg, constant, parse_expr
from tritoncnn.ir.graph import Attr, Graph, Node, Value, print_attrs, print_graph
from tritoncnn.ir.pattern import Match, Pattern, match, matches
from tritoncnn.ir.rewrite import Join, Rewriter, merge, number, place_after, remove_dead, rewrite
from tritoncnn.ir.text import parse_graph
from tritoncnn.ir.types import TensorType, dense_strides, parse_type
from tritoncnn.ir.verify import verify

__all__ = [
    "ACC", "DTYPES", "DTYPE_BYTES", "FLOATS", "Attr", "DType", "Expr", "Graph", "Join", "Match", "Node", "Pattern",
    "Rewriter", "TensorType", "Value", "arg", "constant", "dense_strides", "match", "matches", "merge", "number",
    "parse_expr", "parse_graph", "parse_type", "place_after", "print_attrs", "print_graph", "remove_dead", "rewrite",
    "verify",
]  # fmt: skip
