"""Plan -> results."""

from tritoncnn.runtime.cpu_program import CpuProgram, compile_launch
from tritoncnn.runtime.reference_program import ReferenceProgram

__all__ = ["CpuProgram", "ReferenceProgram", "compile_launch"]
