"""For people who write Triton kernels: random problems, the right answer, guard pages, poison and laws, in one call.

    from tritoncnn.testing import check_kernel, convs
    check_kernel(my_conv, None, convs())        # my_conv(y, x, w, problem) launches kernels on CPU tensors

Importing this room imports nothing else; names are found on first use. Strategies need hypothesis.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tritoncnn.ir import TensorType

    from .check import check_adjoint, check_kernel
    from .laws import LAWS
    from .oracle import UNIT, assert_exact, assert_within, differences, error_bound, floats, integers, specials
    from .problems import Conv, ConvFilterGrad, ConvInputGrad, Norm, Pointwise, Pool, Problem, Resize
    from .strategies import convs, dtypes, layouts, norms, pointwises, pools, resizes, seeds, with_layouts

_HOME = {
    "check": ("check_adjoint", "check_kernel"),
    "laws": ("LAWS",),
    "oracle": ("UNIT", "assert_exact", "assert_within", "differences", "error_bound", "floats", "integers", "specials"),
    "problems": (
        "Conv",
        "ConvFilterGrad",
        "ConvInputGrad",
        "Norm",
        "Pointwise",
        "Pool",
        "Problem",
        "Resize",
        "TensorType",
    ),
    "strategies": ("convs", "dtypes", "layouts", "norms", "pointwises", "pools", "resizes", "seeds", "with_layouts"),
}
__all__ = [
    "LAWS", "UNIT", "Conv", "ConvFilterGrad", "ConvInputGrad", "Norm", "Pointwise", "Pool", "Problem", "Resize", "TensorType",
    "assert_exact", "assert_within", "check_adjoint", "check_kernel", "convs", "differences", "dtypes", "error_bound", "floats",
    "integers", "layouts", "norms", "pointwises", "pools", "resizes", "seeds", "specials", "with_layouts",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    home = next((file for file, names in _HOME.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "hypothesis":
            raise
        raise ImportError(
            f"tritoncnn.testing.{name} needs hypothesis; install it with: pip install 'tritoncnn[testing]'"
        ) from None


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
