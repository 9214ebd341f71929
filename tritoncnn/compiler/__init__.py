"""torch modules and functions -> compiled models, steps and gradients."""

from tritoncnn.compiler.front import compile, compile_grad, compile_step
from tritoncnn.compiler.gradient import CompiledGradient
from tritoncnn.compiler.model import CompiledModel, compile_module, load
from tritoncnn.compiler.step import CompiledStep
from tritoncnn.compiler.units import Update

__all__ = [
    "CompiledGradient", "CompiledModel", "CompiledStep", "Update", "compile", "compile_grad", "compile_module", "compile_step",
    "load",
]  # fmt: skip
