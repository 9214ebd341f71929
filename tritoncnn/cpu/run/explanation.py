"""``explain``: in words, how a kernel's loads, stores and dots are computed, with its source lines.

The lowering writes its decisions down as it takes them (``remarks.py``); this runs it on the kernel's TTIR and shows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from triton.runtime.jit import JITFunction

from tritoncnn.cpu.facts.remarks import Access, Product, Remarks
from tritoncnn.errors import InputError

from .driver import active, argument_names
from .launch import CpuKernel
from .lowering import lower_text
from .request import Request


@dataclass(frozen=True)
class Explanation:
    """``print`` it. A load that is used in several ways is listed once for each."""

    name: str
    accesses: tuple[Access, ...]
    dots: tuple[Product, ...]

    @property
    def loads(self) -> tuple[Access, ...]:
        return tuple(note for note in self.accesses if note.op == "load")

    @property
    def stores(self) -> tuple[Access, ...]:
        return tuple(note for note in self.accesses if note.op == "store")

    @property
    def atomics(self) -> tuple[Access, ...]:
        return tuple(note for note in self.accesses if note.op == "atomic")

    @property
    def slow(self) -> tuple[Access, ...]:
        """Loads and stores that gather or scatter."""
        return tuple(note for note in self.accesses if note.how in ("strided", "gather"))

    def __str__(self) -> str:
        remarks = (*self.loads, *self.stores, *self.atomics, *self.dots)
        return "\n".join([f"{self.name}:", *map(str, remarks)])


def explain(kernel: Any, *args: Any, **options: Any) -> Explanation:
    """How a kernel's memory accesses and dots are computed on this CPU. Nothing is launched.

        print(cpu.explain(cpu.compile_kernel(...)))
        print(cpu.explain(relu_add, y, x, n, BLOCK=1024))

    kernel         a CpuKernel, what ``cpu.request`` returned (LLVM then has no work), or a ``@triton.jit`` function
    args, options  for a function: what a launch would be given; tensors may be of any size

    Raises InputError for anything else, and the errors of compiling.
    """
    if isinstance(kernel, (CpuKernel, Request)):
        if args or options:
            raise InputError(f"explain: {kernel.name} has its arguments' types already; give it alone")
        ttir = kernel.ttir if isinstance(kernel, CpuKernel) else kernel.ttir()
        name, names = kernel.name, [name for name, _ in kernel.arguments]
    elif isinstance(kernel, JITFunction):
        with active():
            compiled = kernel.warmup(*args, grid=(1,), **options)
        name, ttir, names = compiled.name, compiled.asm["ttir"], argument_names(compiled.src.signature)
    else:
        raise InputError(
            f"explain: wanted a compiled kernel, a request for one or a @triton.jit function; got {type(kernel).__name__}"
        )
    remarks = Remarks(names)
    lower_text(name, ttir, remarks=remarks)
    return Explanation(name, tuple(remarks.accesses), tuple(remarks.products))
