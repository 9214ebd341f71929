"""What each IR op means, one file per op. The room finds its own modules: a file that defines an OpDef adds an op."""

from __future__ import annotations

from tritoncnn.ops.define import IR_DTYPE, OPS, TORCH_DTYPE, Lowering, OpDef, Sym, check_node, emit, types_tuple
from tritoncnn.rooms import find_all

OPS.update(find_all(__name__, __path__, OpDef))

__all__ = ["IR_DTYPE", "OPS", "TORCH_DTYPE", "Lowering", "OpDef", "Sym", "check_node", "emit", "types_tuple"]
