"""Plan -> results."""

from tritoncnn.runtime.alike import Alike
from tritoncnn.runtime.cpu_program import compile_launch
from tritoncnn.runtime.executable import Executable, fit, is_plain_kind, misfit, readable
from tritoncnn.runtime.program import Program
from tritoncnn.runtime.ranges import ranges_of
from tritoncnn.runtime.reference_program import ReferenceProgram
from tritoncnn.runtime.targets import target_of

__all__ = [
    "Alike", "Executable", "Program", "ReferenceProgram", "compile_launch", "fit", "is_plain_kind", "misfit", "ranges_of",
    "readable", "target_of",
]  # fmt: skip
