"""Block pointers and tensor descriptors: Triton's own passes make pointers and masks of them before the lowering.

A descriptor that is made on the host is one argument of the source and many of the native kernel: base, shape, strides, is
the padding NaN, (from triton 3.7 on) is it rounded to tf32, then shape and strides once more for the kernel's own use.
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

from triton._C.libtriton import passes
from triton.tools.tensor_descriptor import TensorDescriptor

from tritoncnn.errors import DTypeError

_FLAGS = 1 + any(field.name == "round_f32_to_tf32" for field in fields(TensorDescriptor))


def add_passes(manager: Any) -> None:
    """Block pointers, where the language still has them as types of their own (up to triton 3.7), then descriptors."""
    if hasattr(passes.ttir, "add_rewrite_tensor_pointer"):
        passes.ttir.add_rewrite_tensor_pointer(manager)
    passes.ttir.add_rewrite_tensor_descriptor_to_pointer(manager)


def is_descriptor(kind: str) -> bool:
    return kind.startswith("tensordesc<")


def rank(kind: str) -> int:
    """``tensordesc<fp16[16, 64]>`` -> 2."""
    return kind[kind.index("[") : kind.index("]")].count(",") + 1


def kinds(kind: str) -> list[str]:
    """The native arguments that a descriptor becomes."""
    n = rank(kind)
    base = "*" + kind[len("tensordesc<") : kind.index("[")]
    return [base, *["i64"] * (2 * n), *["i1"] * _FLAGS, *["i32"] * n, *["i64"] * n]


def values(name: str, descriptor: Any) -> list[Any]:
    """What goes into them. Raises DTypeError for anything but a TensorDescriptor."""
    if not isinstance(descriptor, TensorDescriptor):
        raise DTypeError(f"{name}: wanted a TensorDescriptor; got {type(descriptor).__name__}")
    place = [*descriptor.shape, *descriptor.strides]
    flags = [descriptor.padding == "nan", getattr(descriptor, "round_f32_to_tf32", False)][:_FLAGS]
    return [descriptor.base, *place, *flags, *place]


def unit_strides(module: Any) -> list[int]:
    """Which native arguments are the last strides of descriptors: always 1. To be asked before the passes run."""
    found, at = [], 0
    for kind in module.get_function_signature(module.get_function(module.get_entry_func_name())):
        if shape := re.match(r"!tt\.tensordesc<(?:tensor<)?((?:\d+x)+)", kind):
            n = shape[1].count("x")
            found.append(at + 2 * n)
            at += 2 * n + _FLAGS  # the second shape and strides are arguments already
        at += 1
    return found


def mark_ones(module: Any, arguments: list[int]) -> None:
    """Tell the lowering of arguments that are 1."""
    function = module.get_function(module.get_entry_func_name())
    for at in arguments:
        function.set_arg_attr(at, "tt.equal_to_1", 1)
