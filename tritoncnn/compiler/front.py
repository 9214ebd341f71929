"""The front doors: compile, compile_step, compile_grad."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch

from tritoncnn import garbage
from tritoncnn.capture import argument_names
from tritoncnn.compiler.gradient import CompiledGradient
from tritoncnn.compiler.model import CompiledModel, compile_module
from tritoncnn.compiler.step import CompiledStep
from tritoncnn.compiler.subject import Arguments, Subject, call_of, module_of, modules_in, unique
from tritoncnn.compiler.units import Update
from tritoncnn.errors import InputError
from tritoncnn.optim import Optimizer
from tritoncnn.tree import Fields


@garbage.later()
def compile(module: torch.nn.Module, example: Any = None) -> CompiledModel:
    """Compile ``module`` for inference, on the CPU, in the mode (eval or train) that it and its parts are in.

    ``example``: an input tensor, a tuple or list of inputs (trees of tensors, numbers, None), or a dict of them by name; None
    takes those of the first call. Parameters are not copied: the model reads the module's own.
    Raises UnsupportedError with all that cannot be compiled and its lines; DTypeError, ShapeError, InputError.
    """
    return compile_module(module_of("compile: module", module), example)


@garbage.later()
@torch.inference_mode(False)  # what it makes, parameters' memory too, outlives the caller's mode
def compile_step(
    module: torch.nn.Module | Mapping[str, torch.nn.Module] | None = None,
    loss: Callable[..., Any] | None = None,
    optimizer: Optimizer | None = None,
    example: Any = None,
    *,
    nets: torch.nn.Module | Mapping[str, torch.nn.Module] | None = None,
    losses: Callable[..., Any] | None = None,
    updates: Sequence[Update] | None = None,
    seed: int | None = None,
) -> CompiledStep:
    """Compile one training step, on the CPU: forward, losses, backward and updates in one plan of Triton kernels.

    The short way, ``compile_step(module, loss, optimizer, (x, target))``: ``loss(module(x), target)`` is lowered by
    ``step(x, target)``. Several inputs stand before the target; without one, ``(x,)``, it is ``loss(module(x))``.

    The long way, ``compile_step(nets=dict(G=G, D=D), losses=losses, example=batch, updates=[Update("g", of="G", by=Adam()),
    ...])``: ``losses(nets, batch)`` is any torch code; what it returns is what ``step(batch)`` returns. A tuple as example is
    several arguments. All gradients are those at the parameters before the step.

    Batch norm in training mode takes the batch's statistics and moves its running ones; random numbers are others in each
    step, which follow from ``seed`` (default: one of torch's generator) and the number of the call.
    Raises UnsupportedError with all that cannot be compiled and its lines; DTypeError, ShapeError, InputError.
    """
    if seed is not None and not (isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**62):
        raise InputError(f"compile_step: seed must be a whole number from 0 to below 2**62; got {seed!r}")
    if nets is None and losses is None and updates is None:
        return _short_step(module, loss, optimizer, example, seed)
    if module is not None or loss is not None or optimizer is not None:
        raise InputError(
            "compile_step: give either (module, loss, optimizer, example) or nets=, losses=, example=, updates="
        )
    return _long_step(nets, losses, example, updates, seed)


def _check_optimizer(optimizer: Any) -> Optimizer:
    if not isinstance(optimizer, Optimizer):
        got = f"torch's {type(optimizer).__name__}" if isinstance(optimizer, torch.optim.Optimizer) else repr(optimizer)
        raise InputError(f"compile_step: optimizer must be tritoncnn.SGD(...), Adam(...), AdamW(...); got {got}")
    return optimizer


def _short_step(module: Any, loss: Any, optimizer: Any, example: Any, seed: int | None) -> CompiledStep:
    module = module_of("compile_step: module", module)
    if not callable(loss):
        raise InputError(f"compile_step: loss must be a function of (output, target) or a module; got {loss!r}")
    if not isinstance(example, (tuple, list)) or not example:
        raise InputError(f"compile_step: example must be a tuple such as (x, target); got {_kind_of(example)}")
    _check_optimizer(optimizer)
    inputs = _inputs_of(module, loss, len(example), example)
    extra = _reachable(loss, {"module": module})

    def function(*batch: Any) -> Any:
        count = inputs if inputs >= 0 else 1
        given = batch[0] if inputs < 0 else batch[:count]
        return loss(module(*given), *batch[count:])

    names = [*(argument_names(module, inputs) if inputs >= 0 else ["inputs"]), "target"]
    subject = Subject(
        type(module).__name__, {"module": module, **extra}, function, unique(names), "module.", tuple(extra)
    )
    ours = {name: net for name, net in subject.nets.items() if net is module or net is loss}
    return CompiledStep(
        subject, [Update(by=optimizer)], subject.parameters(ours), Arguments.of(tuple(example)), _several, seed
    )


def _kind_of(example: Any) -> str:
    """What was handed in, in one line: numbers of tensors are no help."""
    if isinstance(example, torch.Tensor):
        return f"a tensor {list(example.shape)}"
    return f"{'an empty' if isinstance(example, (tuple, list)) else 'a'} {type(example).__name__}"


def _reachable(function: Any, nets: Mapping[str, torch.nn.Module]) -> dict[str, torch.nn.Module]:
    """Modules behind a loss function that are no nets of the step, under names of their own."""
    known = {id(part) for net in nets.values() for part in net.modules()}
    found: dict[str, torch.nn.Module] = {}
    for name, net in modules_in(function).items():
        if id(net) not in known:
            found[unique([*nets, *found, name])[-1]] = net
    return found


def _inputs_of(module: torch.nn.Module, loss: Callable[..., Any], count: int, example: Sequence[Any]) -> int:
    """How many of a short example's items go into the module: all but the target, unless the loss takes none; -1 when the
    first item is a tuple of them."""
    if _binds(module.forward, count) and (count == 1 or not _binds(loss, 2)) and _binds(loss, 1):
        return count
    inputs = count - 1 if count > 1 else 1
    if not _binds(module.forward, inputs) and isinstance(example[0], (tuple, list)) and count == 2:
        return -1
    argument_names(module, inputs)
    return inputs


def _binds(function: Any, count: int) -> bool:
    """Whether a function can be called with so many arguments; one that does not say counts as able."""
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # a built-in without a signature
        return True
    return True


def _long_step(nets: Any, losses: Any, example: Any, updates: Any, seed: int | None) -> CompiledStep:
    single = isinstance(nets, torch.nn.Module)
    named = {"net": nets} if single else nets
    if not isinstance(named, Mapping) or not named:
        raise InputError(f"compile_step: nets must be a module or a dict of modules by name; got {nets!r:.80}")
    for name, net in named.items():
        module_of(f"compile_step: net {name!r}", net)
        if not isinstance(name, str) or not name.isidentifier() or hasattr(torch.nn.Module, name):
            raise InputError(
                f"compile_step: the name of a net must be a word such as 'G', no attribute of modules; got {name!r}"
            )
    if not callable(losses):
        raise InputError(f"compile_step: losses must be a function of (nets, batch); got {losses!r}")
    if example is None:
        raise InputError("compile_step: example must be a batch; got None")
    if isinstance(updates, Update):
        updates = [updates]
    if not isinstance(updates, Sequence) or not updates or not all(isinstance(u, Update) for u in updates):
        raise InputError(f"compile_step: updates must be a list of tritoncnn.Update(loss, of=, by=); got {updates!r}")
    for update in updates:
        _check_optimizer(update.by)
    extra = _reachable(losses, named)
    given: Any = nets if single else Fields(named)

    def function(*batch: Any) -> Any:
        return losses(given, *batch)

    batch = example if type(example) is tuple else (example,)
    whole = type(example) is not tuple or not _binds(losses, 1 + len(example))
    spread = _one if whole else _unpacked if len(example) > 1 else _several
    names = _parameter_names(losses)[1:] or (["batch"] if whole else [])
    subject = Subject("_".join(named), {**named, **extra}, function, names, "net." if single else "", tuple(extra))
    return CompiledStep(subject, updates, subject.parameters(named), Arguments.of(spread(*batch)), spread, seed)


def _one(*batch: Any) -> tuple[Any, ...]:
    """A call's arguments as one: alone or as a tuple."""
    return (batch[0] if len(batch) == 1 else batch,)


def _several(*batch: Any) -> tuple[Any, ...]:
    return batch


def _unpacked(*batch: Any) -> tuple[Any, ...]:
    """A call's arguments, which may come as one tuple."""
    return batch[0] if len(batch) == 1 and type(batch[0]) is tuple else batch


def _parameter_names(function: Callable[..., Any]) -> list[str]:
    try:
        return [p.name for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_POSITIONAL]
    except ValueError:
        return []


@garbage.later()
def compile_grad(function: Callable[..., Any], wrt: str | Sequence[str] = (), example: Any = None) -> CompiledGradient:
    """Compile gradients of ``function(*example)`` without an update: ``grad(x, y)`` -> ``(result, gradients)``.

    ``function`` is a module or any torch code over modules that it reaches. ``wrt`` names inputs (``"x"``, ``"batch.a"``) or
    parameters (``"net.conv.weight"``; patterns too); one name gives one tensor, several a tuple; empty: the first input.
    The first tensor of the result is differentiated; where it is no scalar a call takes ``cotangent=``, of its shape. A tree of
    cotangents, like the result, differentiates several.
    Raises UnsupportedError with all that cannot be compiled and its lines; DTypeError, ShapeError, InputError.
    """
    if not callable(function):
        raise InputError(f"compile_grad: function must be a module or a function; got {function!r}")
    if example is None:
        raise InputError("compile_grad: example must be the function's arguments, such as (x, y); got None")
    args, kwargs = call_of(example)
    nets = {"module": function} if isinstance(function, torch.nn.Module) else modules_in(function)
    target: Any = function.forward if isinstance(function, torch.nn.Module) else function
    title = (
        type(function).__name__ if isinstance(function, torch.nn.Module) else getattr(function, "__name__", "function")
    )
    prefix = "module." if isinstance(function, torch.nn.Module) else ""
    subject = Subject(title.strip("<>"), nets, lambda *a, **k: function(*a, **k), _parameter_names(target), prefix)
    if not isinstance(wrt, Iterable):
        raise InputError(f"compile_grad: wrt must hold names of inputs or parameters; got {wrt!r}")
    names = (wrt,) if isinstance(wrt, str) else tuple(wrt)
    return CompiledGradient(subject, names, isinstance(wrt, str), Arguments.of(args, kwargs))
