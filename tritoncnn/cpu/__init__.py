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
    from .cache import write_text
    from .checked import Address
    from .compiler import compile_kernel
    from .driver import activate, active, deactivate
    from .explanation import Explanation, explain
    from .health import Facts, host, self_test
    from .inductor import use_for_inductor
    from .launch import CpuKernel
    from .modes import bounds, races
    from .notes import Access
    from .plan import NativePlan
    from .racing import check_races

_HOME = {
    "Access": "notes", "Address": "checked", "CpuKernel": "launch", "Explanation": "explanation", "Facts": "health",
    "NativePlan": "plan", "activate": "driver", "active": "driver", "bounds": "modes", "check_races": "racing",
    "compile_kernel": "compiler", "deactivate": "driver", "explain": "explanation", "host": "health", "races": "modes",
    "self_test": "health", "use_for_inductor": "inductor", "write_text": "cache",
}  # fmt: skip
__all__ = [
    "Access", "Address", "CpuKernel", "Explanation", "Facts", "NativePlan", "activate", "active", "bounds",
    "check_races", "compile_kernel", "deactivate", "explain", "host", "races", "self_test", "use_for_inductor", "write_text",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
