"""What Triton asks of a backend: its options, its passes, and its stages from TTIR to object code."""

from __future__ import annotations

import hashlib
import importlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from triton._C.libtriton import ir, passes
from triton.backends.compiler import BaseBackend, GPUTarget

from tritoncnn.cpu.front import descriptors
from tritoncnn.cpu.sanitize import modes
from tritoncnn.settings import current

from . import engine
from .cache import sources_hash
from .lowering import dumped, to_llvm
from .objects import Objects

TARGET = GPUTarget("tritoncnn", "host", 1)
DIGEST = 32  # bytes of sha256 behind the object code that Triton keeps


@dataclass(frozen=True)
class Options:
    """What Triton's front end and runtime ask a backend's options for."""

    num_warps: int = 1
    num_ctas: int = 1
    num_stages: int = 1
    warp_size: int = 1
    cluster_dims: tuple[int, int, int] = (1, 1, 1)
    debug: bool = False
    enable_fp_fusion: bool = True
    launch_cooperative_grid: bool = False
    launch_pdl: bool = False
    extern_libs: tuple[Any, ...] = ()
    supported_fp8_dtypes: tuple[str, ...] = ("fp8e4nv", "fp8e5", "fp8e4b8", "fp8e5b16")
    deprecated_fp8_dot_operand_dtypes: tuple[str, ...] = ()
    default_dot_input_precision: str = "ieee"
    # All but ieee permit less precision; we give more.
    allowed_dot_input_precisions: tuple[str, ...] = ("ieee", "tf32", "tf32x3", "bf16x3", "bf16x6")
    max_num_imprecise_acc_default: int = 0
    sanitize_overflow: bool = False
    instrumentation_mode: str = ""
    fpsan_homomorphic_casts: bool = False
    ir_override: str | None = None
    backend_name: str = "tritoncnn"
    checks: str = ""  # a mode of modes.py
    arch: str = "host"
    # What kernels for GPUs ask of NVIDIA's and AMD's backends: accepted, without a meaning here.
    maxnreg: int | None = None
    ptx_version: int | None = None
    ptx_options: str | None = None
    enable_reflect_ftz: bool = True
    waves_per_eu: int = 0
    matrix_instr_nonkdim: int = 0
    kpack: int = 1
    allow_flush_denorm: bool = False
    schedule_hint: str = "none"

    def hash(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()


class Backend(BaseBackend):  # type: ignore[misc]  # triton has no types
    """Triton's view of us: TTIR in, object code out. In Triton's table of backends only while we are active."""

    binary_ext = "obj"

    @staticmethod
    def supports_target(target: GPUTarget) -> bool:
        return target.backend == TARGET.backend

    def parse_options(self, opts: Mapping[str, Any]) -> Options:
        known = Options.__dataclass_fields__
        return Options(**{k: v for k, v in opts.items() if k in known and v is not None} | {"checks": modes.checks()})

    def pack_metadata(self, metadata: Any) -> None:
        return None

    def get_codegen_implementation(self, options: Options) -> dict[str, Any]:
        return {"min_dot_size": lambda lhs, rhs: (1, 1, 1), "convert_custom_types": None}

    def get_module_map(self) -> dict[str, Any]:
        """tl.extra.libdevice is CUDA's: its symbols are what libdevice.py knows."""
        return {"triton.language.extra.libdevice": importlib.import_module("triton.language.extra.cuda.libdevice")}

    def load_dialects(self, context: Any) -> None:
        pass

    def hash(self) -> str:
        """What Triton's cache keys on. While dumping, and in the modes whose reports name the kernel's file, which may
        have moved since, every process compiles afresh.
        """
        fresh = f" fresh {time.time_ns()}" if dumped() or modes.checks() else ""
        return f"tritoncnn {engine.host().key} {sources_hash()}{fresh}"

    def add_stages(self, stages: dict[str, Any], options: Options, language: Any = None) -> None:
        stages["ttir"] = lambda module, metadata: run_passes(module)
        stages["llir"] = self.make_llvm
        stages["obj"] = self.make_object

    @staticmethod
    def make_llvm(module: Any, metadata: dict[str, Any]) -> str:
        metadata["name"] = module.get_entry_func_name()
        metadata["shared"] = 1  # nobody shares memory here, but programs for GPUs divide by it
        return to_llvm(metadata["name"], str(module), metadata["checks"])

    @staticmethod
    def make_object(text: str, metadata: dict[str, Any]) -> bytes:
        objects = Objects(current().cache)
        obj = objects.find(text)
        if obj is None:
            obj = engine.compile_text(text)
            objects.keep(text, obj)
        digest = hashlib.sha256(obj)
        metadata["digest"] = digest.hexdigest()
        return obj + digest.digest()


def run_passes(module: Any) -> Any:
    """Triton's own clean-up of TTIR, as its GPU compilers do it before they leave TTIR."""
    ones = descriptors.unit_strides(module)
    manager = ir.pass_manager(module.context)
    passes.common.add_inliner(manager)
    descriptors.add_passes(manager)
    passes.common.add_canonicalizer(manager)
    passes.ttir.add_combine(manager)
    passes.ttir.add_reorder_broadcast(manager)
    passes.common.add_cse(manager)
    passes.ttir.add_loop_unroll(manager)
    (passes.ttir.add_triton_licm if hasattr(passes.ttir, "add_triton_licm") else passes.common.add_licm)(manager)
    passes.common.add_symbol_dce(manager)
    passes.common.add_canonicalizer(manager)
    passes.common.add_cse(manager)
    manager.run(module, "make_ttir")
    descriptors.mark_ones(module, ones)
    return module
