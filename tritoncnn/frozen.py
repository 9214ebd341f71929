"""Compiled models kept on disk with their plan, weights and native code: one that is read back needs neither torch.export nor
Triton, only torch and the code that replays launches.

An entry lies in the cache of this user, which nobody else can write to, for it holds code. Its key is all that the results
depend on: the module's code, modes and state, the sizes of the input, the sources of this package, the versions and the CPU.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
import torch

import tritoncnn
from tritoncnn import cpu
from tritoncnn.errors import InputError, KernelError, ShapeError, input_named
from tritoncnn.settings import current
from tritoncnn.tree import builder, form_from_words, form_to_words

if TYPE_CHECKING:
    from tritoncnn.compiler import CompiledModel

ROOM = "models"  # the folder in the cache
LIMIT = 4 << 30  # bytes of all models that are kept
SEPARATE = {
    "_parameters",
    "_buffers",
    "_modules",
    "_non_persistent_buffers_set",
}  # told otherwise, or a set without an order
Model = Callable[[torch.Tensor], Any]


def compile_kept(module: torch.nn.Module, x: torch.Tensor) -> Model:
    """What ``tritoncnn.compile(module, x)`` computes, for inputs like ``x`` and the state as it is now; taken from the disk
    where it was compiled before, with the same bits.

    Modules whose classes lie outside of this package and torch are compiled afresh: their sources are not in the key.
    """
    settings = current()
    plain = not (settings.reference or settings.dump or settings.verify or cpu.checks())
    on_cpu = all(t.device.type == "cpu" for t in (*module.parameters(), *module.buffers()))
    if not plain or not on_cpu or not all(_known(type(part)) for part in module.modules()):
        return tritoncnn.compile(module, x)
    key = _key(module, x)
    found = _thaw(key)
    if found is None:
        model = tritoncnn.compile(module, x)
        _freeze(model, key)
        return model
    return found


class Frozen:
    """``frozen(x)`` -> the result of a model that was compiled before, in its nesting."""

    def __init__(self, header: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        """Raises KeyError, TypeError, ValueError, IndexError, KernelError for what ``_freeze`` did not write."""
        kernels = [
            cpu.load_kernel(
                name, [tuple(pair) for pair in arguments], divisible, tensors[f"code.{i}"].numpy().tobytes()
            )
            for i, (name, arguments, divisible) in enumerate(header["kernels"])
        ]
        launches = [
            cpu.Recorded(kernels[kernel], tuple(grid), tuple(cpu.Placed(*place) for place in places))
            for kernel, grid, places in header["launches"]
        ]
        buffers = {name: cpu.aligned_zeros(nbytes) for name, nbytes in header["scratch"].items()}
        for name, nbytes in header["held"].items():
            buffers[name] = cpu.aligned_zeros(nbytes)
            buffers[name].copy_(tensors[f"held.{name}"])
        name, dtype, shape, strides = header["input"]
        self._input, self._dtype = str(name), getattr(torch, dtype)
        self._shape, self._strides = tuple(shape), tuple(strides)
        self._outputs = [
            (tuple(shape), tuple(strides), getattr(torch, dtype)) for dtype, shape, strides in header["outputs"]
        ]
        self._build = builder(form_from_words(header["form"]))
        self._replay = cpu.Replay(launches, buffers)
        self._lock = threading.Lock()

    def __call__(self, x: torch.Tensor) -> Any:
        """Raises ShapeError for an input of another size, dtype or memory layout than the model was compiled for."""
        if (x.dtype, tuple(x.shape), x.stride()) != (self._dtype, self._shape, self._strides) or x.device.type != "cpu":
            wanted = f"{_word(self._dtype)} {list(self._shape)} with strides {list(self._strides)} on cpu"
            got = f"{_word(x.dtype)} {list(x.shape)} with strides {list(x.stride())} on {x.device}"
            raise ShapeError(f"{input_named(self._input)} must be {wanted}; got {got}")
        results = [torch.empty_strided(*place, dtype=dtype, device="cpu") for *place, dtype in self._outputs]
        lent = {self._input: x, **{f"output {i}": result for i, result in enumerate(results)}}
        with self._lock:
            self._replay.run(lent.items())
        return self._build(results)


def _thaw(key: str) -> Frozen | None:
    """The model under this key; None where there is none, or a damaged one, which is told."""
    cache = cpu.DiskCache(current().cache, ROOM, LIMIT)
    found = cache.get(key)
    if found is None:
        if not os.path.lexists(cache.folder / key):
            return None
        said = "its sum is wrong"
    else:
        try:
            return Frozen(found[0], safetensors.torch.load(found[1]))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError, KernelError,
                safetensors.SafetensorError) as error:  # fmt: skip
            said = next(iter(str(error).splitlines()), type(error).__name__)
    warnings.warn(
        f"{cache.folder / key} is damaged ({said}); the model is compiled again", RuntimeWarning, stacklevel=3
    )
    return None


def _freeze(model: CompiledModel, key: str) -> None:
    """Keep a compiled model of one input, unless it draws random numbers, changes state, or its result has no form that a
    file can name."""
    program = model.last()
    replay, captured = program.run.ready(), program.captured
    value = program.run.inputs[0] if len(program.run.inputs) == 1 else None
    if not isinstance(replay, cpu.Replay) or value is None or captured.random or captured.updated:
        return
    try:
        form = form_to_words(captured.form, "the result")
    except InputError:
        return
    read = {place.buffer for launch in replay.launches for place in launch.places}
    scratch = {name: n for name, n in program.planned.plan.sizes.items() if name in read and name != "constants"}
    held = {name: _bytes(t) for name, t in replay.buffers.items() if name in read and name not in scratch}
    kernels = list({id(launch.kernel): launch.kernel for launch in replay.launches}.values())
    code = [cpu.object_code(kernel) for kernel in kernels]
    if None in code:  # a cache that keeps nothing
        return
    place = {id(kernel): i for i, kernel in enumerate(kernels)}
    outputs = program.run.empty()
    header = {
        "kernels": [[k.name, [list(pair) for pair in k.arguments], sorted(k.divisible)] for k in kernels],
        "launches": [[place[id(launch.kernel)], launch.grid, launch.places] for launch in replay.launches],
        "scratch": scratch,
        "held": {name: t.numel() for name, t in held.items()},
        "input": [value.name, _word(program.run.dtypes[0]), value.type.shape, value.type.strides],
        "outputs": [[_word(t.dtype), tuple(t.shape), t.stride()] for t in outputs],
        "form": form,
    }
    tensors = {f"held.{name}": t for name, t in held.items()}
    tensors |= {f"code.{i}": torch.frombuffer(bytearray(obj or b""), dtype=torch.uint8) for i, obj in enumerate(code)}
    cpu.DiskCache(current().cache, ROOM, LIMIT).put(key, header, safetensors.torch.save(tensors))


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    """The memory from a tensor's first element to its last one, strides as they are."""
    reach = 1 + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
    flat = tensor.detach().as_strided((reach if tensor.numel() else 0,), (1,))
    return flat.view(torch.uint8).clone()


def _word(dtype: torch.dtype | None) -> str:
    return str(dtype).removeprefix("torch.")


def _known(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in ("torch", "tritoncnn")


def _key(module: torch.nn.Module, x: torch.Tensor) -> str:
    """sha256 of all that the result of the module for inputs like ``x`` depends on, and the code that computes it."""
    digest = hashlib.sha256()

    def add(*words: object) -> None:
        digest.update(f"{words!r}\n".encode())

    add(_sources(), torch.__version__, importlib.metadata.version("triton"), cpu.code_key())
    add(x.dtype, tuple(x.shape), x.stride(), torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"))
    for path, part in module.named_modules():
        own = [
            (name, value) for name, value in vars(part).items() if name not in SEPARATE
        ]  # hooks and modes are among them
        add(path, type(part).__module__, type(part).__qualname__, own)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        add(name, tensor.dtype, tuple(tensor.shape), tensor.stride())
        digest.update(_bytes(tensor).numpy().data)
    return digest.hexdigest()


@functools.lru_cache
def _sources() -> str:
    """sha256 of this package's sources."""
    digest, root = hashlib.sha256(), Path(__file__).parent
    for folder, inner, files in os.walk(root, followlinks=True):  # kernels and models are links in a checkout
        inner.sort()
        for name in sorted(files):
            if name.endswith(".py"):
                path = Path(folder, name)
                digest.update(f"{path.relative_to(root)} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()
