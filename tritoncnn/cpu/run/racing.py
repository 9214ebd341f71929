"""``check_races``: one launch of a kernel under the check for races."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from triton.runtime.jit import JITFunction

from tritoncnn.cpu.sanitize.modes import races
from tritoncnn.errors import InputError

from .compiler import compile_request
from .driver import active
from .launch import CpuKernel
from .request import Request


def check_races(kernel: Any, grid: Sequence[int], args: Sequence[Any], **options: Any) -> None:
    """Launch a kernel in the ``races`` mode; its results are in its tensors afterwards, as after a plain launch.

    kernel         a CpuKernel, whose ``args`` are in the order of its ``arguments``, or a ``@triton.jit`` function
    args, options  what a launch would be given

    Raises RaceError for two programs that touch one byte which one of them writes, or whose order changes the result;
    BoundsError for an access outside of its tensor; and the errors of a launch.
    """
    if isinstance(kernel, CpuKernel):
        if options:
            raise InputError(
                f"check_races: {kernel.name} is compiled already; {', '.join(options)} cannot be chosen now"
            )
        assert isinstance(kernel.request, Request)  # what compiled it
        compile_request(replace(kernel.request, checks="races")).launch(grid, args)
    elif isinstance(kernel, JITFunction):
        with races(), active():
            kernel[tuple(grid)](*args, **options)
    else:
        raise InputError(
            f"check_races: wanted a compiled kernel or a @triton.jit function; got {type(kernel).__name__}"
        )
