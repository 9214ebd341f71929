"""Compiled models and gradients kept on disk with their plan, weights and native code: one that is read back needs neither
torch.export nor Triton, only torch and the code that replays launches.

An entry lies in the cache of this user, which nobody else can write to, for it holds code. Its key is all that the results
depend on: the module's code, modes and state, the sizes of the inputs, the sources of this package, the versions and the CPU.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

import tritoncnn
from tritoncnn import cpu
from tritoncnn.allowed import Allowed
from tritoncnn.errors import InputError, KernelError, ShapeError, input_named
from tritoncnn.settings import current
from tritoncnn.tree import TENSOR, Form, builder, form_from_words, form_to_words

ROOM = "models"  # the folder in the cache
LIMIT = 4 << 30  # bytes of all models that are kept
SEPARATE = {
    "_parameters",
    "_buffers",
    "_modules",
    "_non_persistent_buffers_set",
}  # told otherwise, or a set without an order
FOLLOWED = {"_graph", "_tracer_cls"}  # of what torch.fx wrote: how its code was found, which is in the key itself
Model = Callable[..., Any]


def compile_kept(module: torch.nn.Module, *inputs: torch.Tensor) -> Model:
    """What ``tritoncnn.compile(module, inputs)`` computes, for inputs like these and the state as it is now; taken from the disk
    where it was compiled before, with the same bits.

    Modules whose classes lie outside of this package and torch are compiled afresh: their sources are not in the key.
    """
    if not _can_be_kept(module):
        return tritoncnn.compile(module, inputs)
    key = _key("result", module, inputs)
    found = _thaw(key)
    if found is None:
        model = tritoncnn.compile(module, inputs)
        program = model.last()
        _freeze(program, program.captured.form, key)
        return model
    return found


def compile_grad_kept(module: torch.nn.Module, *inputs: torch.Tensor) -> Model:
    """What ``tritoncnn.compile_grad(module, example=inputs)`` computes, ``(result, gradient by the first input)``, kept as
    ``compile_kept`` keeps models. The module's result is one number."""
    if not _can_be_kept(module):
        return tritoncnn.compile_grad(module, example=inputs)
    key = _key("gradient", module, inputs)
    found = _thaw(key)
    if found is None:
        gradient = tritoncnn.compile_grad(module, example=inputs)
        program = gradient.last()
        if not program.seeds:  # else it takes a cotangent too
            _freeze(program, Form(tuple, (0, 1), (program.captured.form, Form(TENSOR)), True), key)
        return gradient
    return found


def launches_of(model: Model) -> int:
    """How many launches a call of what is kept takes, whether it was read back or compiled."""
    return model.launches if isinstance(model, Frozen) else len(model.plan.calls)  # type: ignore[attr-defined]


def _can_be_kept(module: torch.nn.Module) -> bool:
    settings = current()
    plain = not (settings.reference or settings.dump or settings.verify or cpu.checks())
    on_cpu = all(t.device.type == "cpu" for t in (*module.parameters(), *module.buffers()))
    return plain and on_cpu and all(_known(code) for part in module.modules() for code in _code_of(part))


class Frozen:
    """``frozen(*inputs)`` -> the result of what was compiled before, in its nesting."""

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
        self._inputs = [
            None if word is None else (str(word[0]), getattr(torch, word[1]), tuple(word[2]), tuple(word[3]))
            for word in header["inputs"]
        ]
        self._allowed = [(int(position), Allowed(*words)) for position, words in header["allowed"]]
        self._outputs = [
            (tuple(shape), tuple(strides), getattr(torch, dtype)) for dtype, shape, strides in header["outputs"]
        ]
        self._build = builder(form_from_words(header["form"]))
        names = ["" if place is None else place[0] for place in self._inputs]
        self._replay = cpu.Replay(launches, buffers, (*names, *(f"output {i}" for i in range(len(self._outputs)))))

    @property
    def launches(self) -> int:
        """Of one call."""
        return len(self._replay.launches)

    def __call__(self, *inputs: torch.Tensor) -> Any:
        """Raises ShapeError for an input of another size, dtype or memory layout than was compiled for, OutOfRangeError for a
        place or class that there is not."""
        results = [torch.empty_strided(*place, dtype=dtype, device="cpu") for *place, dtype in self._outputs]
        for place, x in zip(self._inputs, inputs, strict=True):
            if place is not None:  # else it is not read
                name, dtype, shape, strides = place
                if (x.dtype, x.shape, x.device.type) != (dtype, shape, "cpu") or not _lies_as(x, strides):
                    wanted = f"{_word(dtype)} {list(shape)} with strides {list(strides)} on cpu"
                    got = f"{_word(x.dtype)} {list(x.shape)} with strides {list(x.stride())} on {x.device}"
                    raise ShapeError(f"{input_named(name)} must be {wanted}; got {got}")
        for position, allowed in self._allowed:
            name, *_ = self._inputs[position] or ("",)
            allowed.check(inputs[position], input_named(name))
        self._replay.run((*inputs, *results))
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


def _freeze(program: Any, form: Form, key: str) -> None:
    """Keep the program of a compiled model or gradient, whose results have this form, unless it draws random numbers, changes
    state, has to compute what an input is checked for, or its result has no form that a file can name."""
    replay, captured = program.run.ready(), program.captured
    if not isinstance(replay, cpu.Replay) or captured.random or captured.updated:
        return
    if any(range.nodes for range in program.ranges):
        return
    try:
        words = form_to_words(form, "the result")
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
        "inputs": [
            None if value is None else [value.name, _word(dtype), value.type.shape, value.type.strides]
            for value, dtype in zip(program.run.inputs, program.run.dtypes, strict=True)
        ],
        "allowed": [[range.positions[0], list(vars(range.allowed).values())] for range in program.ranges],
        "outputs": [[_word(t.dtype), tuple(t.shape), t.stride()] for t in outputs],
        "form": words,
    }
    tensors = {f"held.{name}": t for name, t in held.items()}
    tensors |= {f"code.{i}": torch.frombuffer(bytearray(obj or b""), dtype=torch.uint8) for i, obj in enumerate(code)}
    cpu.DiskCache(current().cache, ROOM, LIMIT).put(key, header, safetensors.torch.save(tensors))


def _lies_as(x: torch.Tensor, strides: tuple[int, ...]) -> bool:
    return x.stride() == strides or all(a == b or n <= 1 for a, b, n in zip(x.stride(), strides, x.shape, strict=True))


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    """The memory from a tensor's first element to its last one, strides as they are."""
    reach = 1 + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
    flat = tensor.detach().as_strided((reach if tensor.numel() else 0,), (1,))
    return flat.view(torch.uint8).clone()


def _word(dtype: torch.dtype | None) -> str:
    return str(dtype).removeprefix("torch.")


def _code_of(part: torch.nn.Module) -> Iterator[Any]:
    """The classes and functions that a part runs: of what torch.fx wrote, those that it calls."""
    yield type(part)
    if type(part).__module__ == "torch.fx.graph_module":
        yield from (node.target for node in part.graph.nodes if node.op == "call_function")  # type: ignore[union-attr]


def _known(code: Any) -> bool:
    """Whether a class or function cannot change without the key: it is torch's, Python's or this package's."""
    room = (getattr(code, "__module__", "") or "builtins").partition(".")[0]
    return room in ("torch", "tritoncnn", "_operator", "builtins")


def _key(what: str, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> str:
    """sha256 of all that the result of the module for inputs like these depends on, and the code that computes it."""
    digest = hashlib.sha256()

    def add(*words: object) -> None:
        digest.update(f"{words!r}\n".encode())

    add(what, _sources(), torch.__version__, importlib.metadata.version("triton"), cpu.code_key())
    add(*((x.dtype, tuple(x.shape), x.stride()) for x in inputs))
    add(torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"))
    for path, part in module.named_modules():
        own = [
            (name, value) for name, value in vars(part).items() if name not in SEPARATE | FOLLOWED
        ]  # hooks, modes and the code that torch.fx wrote are among them
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
