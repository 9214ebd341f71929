"""The CPU backend of Triton: ``@triton.jit`` kernels become native code, with no GPU and no C compiler.

    kernel = cpu.compile_kernel(add, {"x_ptr": "*fp32", "n": "i32"}, {"BLOCK": 256})
    kernel.launch((4,), (x, 1000))                        # one launch
    plan = cpu.NativePlan([(kernel, (4,), values), ...])  # many launches, bound once
    plan.run()                                            # one native call
    with cpu.active():                                    # or by Triton's own way of launching
        add[(4,)](x, 1000, BLOCK=256)

Importing this room imports nothing else; names are found on first use. Triton's own choice of driver is left alone
until ``activate``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .facts.remarks import Access
    from .run.cache import DiskCache, write_text
    from .run.compiler import compile_kernel, compile_requests
    from .run.driver import activate, active, deactivate
    from .run.explanation import Explanation, explain
    from .run.health import Facts, host, self_test
    from .run.inductor import use_for_inductor
    from .run.launch import CpuKernel
    from .run.plan import NativePlan
    from .run.racing import check_races
    from .run.replay import Placed, Recorded, Replay, aligned_zeros, code_key, load_kernel, object_code
    from .run.request import request
    from .sanitize.checked import Address
    from .sanitize.modes import bounds, checks, races

_NAMES = {
    "facts.remarks": ("Access",),
    "run.cache": ("DiskCache", "write_text"),
    "run.compiler": ("compile_kernel", "compile_requests"),
    "run.driver": ("activate", "active", "deactivate"),
    "run.explanation": ("Explanation", "explain"),
    "run.health": ("Facts", "host", "self_test"),
    "run.inductor": ("use_for_inductor",),
    "run.launch": ("CpuKernel",),
    "run.plan": ("NativePlan",),
    "run.racing": ("check_races",),
    "run.replay": ("Placed", "Recorded", "Replay", "aligned_zeros", "code_key", "load_kernel", "object_code"),
    "run.request": ("request",),
    "sanitize.checked": ("Address",),
    "sanitize.modes": ("bounds", "checks", "races"),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}
__all__ = [
    "Access", "Address", "CpuKernel", "DiskCache", "Explanation", "Facts", "NativePlan", "Placed", "Recorded", "Replay",
    "activate", "active", "aligned_zeros", "bounds", "check_races", "checks", "code_key", "compile_kernel",
    "compile_requests", "deactivate", "explain", "host", "load_kernel", "object_code", "races", "request", "self_test",
    "use_for_inductor", "write_text",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
