"""A launch compiled for a GPU that need not be there."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import triton
from triton.compiler import ASTSource

from tritoncnn.errors import KernelError
from tritoncnn.gpu.targets import Gpu
from tritoncnn.kernels.launch import Launch


@dataclass(frozen=True)
class Binary:
    """What the compiler made of a launch.

    texts    ``ttgir``, and ``ptx`` or ``amdgcn``
    cubin    NVIDIA machine code, else empty
    shared   bytes of shared memory of a block
    """

    launch: Launch
    target: Gpu
    texts: dict[str, str]
    cubin: bytes
    shared: int
    warps: int
    tensor_memory: int = 0  # columns, of sm_100


def launch_key(launch: Launch) -> str:
    """Equal for launches that are the same machine code."""

    def stable(value: Any) -> Any:
        value = getattr(value, "function", value)
        if isinstance(value, (tuple, list)):
            return [stable(item) for item in value]
        return getattr(value, "cache_key", None) or repr(value)

    parts = (
        launch.kernel.cache_key, launch.pointers, [t.dtype for t in launch.operands],
        sorted((name, str(stable(value))) for name, value in launch.constants.items()), launch.num_warps, launch.num_stages,
    )  # fmt: skip
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def compile_for(launch: Launch, target: Gpu, unaligned: Collection[str] = ()) -> Binary:
    """Compile as a real launch would: pointers are multiples of 16 bytes (but for those named in ``unaligned``).

    Raises KernelError with the compiler's words when it refuses the kernel.
    """
    facts: list[list[Any]] = [["tt.divisibility", 16]]
    if target.backend == "hip":
        facts.append(["tt.pointer_range", 32])
    signature: dict[str, Any] = {}
    constants: dict[tuple[int, ...], Any] = {}
    attributes: dict[tuple[int, ...], Any] = {}
    for index, name in enumerate(launch.kernel.arg_names):
        kind = signature[name] = launch.signature.get(name, "constexpr")
        if kind == "constexpr":
            constants[index,] = launch.constants[name]
        elif isinstance(kind, tuple):
            attributes.update({(index, i): facts for i in range(len(kind))})
        elif name not in unaligned:
            attributes[index,] = facts
    source = ASTSource(launch.kernel, signature, constants, attributes)
    options = {"num_warps": launch.num_warps, "num_stages": launch.num_stages}
    try:
        made = triton.compile(source, target=target.triton, options=options)
    except Exception as error:  # Triton lets any exception through
        words = " ".join(str(error.__cause__ or error).split())[:500]
        raise KernelError(f"{launch.kernel.__name__}: Triton refused the kernel for {target.name}: {words}") from error
    texts = {name: made.asm[name] for name in ("ttgir", "ptx", "amdgcn") if name in made.asm}
    tensor_memory = getattr(made.metadata, "tmem_size", None) or 0
    cubin = made.asm.get("cubin", b"")
    return Binary(launch, target, texts, cubin, made.metadata.shared, made.metadata.num_warps, tensor_memory)
