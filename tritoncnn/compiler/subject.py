"""What is compiled: a function over modules, and how a call's arguments become its tensors."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tritoncnn.capture import Captured, capture
from tritoncnn.compiler.memory import Locks, Slot, slots
from tritoncnn.compiler.parts import check_parts
from tritoncnn.compiler.unchanged import Unchanged
from tritoncnn.errors import CheckpointError, InputError, input_named
from tritoncnn.runtime import readable
from tritoncnn.tree import Form, builder, flatten

EXTRA = "_extra_state"  # torch's name of what get_extra_state gives


def call_of(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """An example as a call: a dict gives inputs by name, a tuple or list several, anything else is the one input."""
    if isinstance(example, Mapping):
        return (), dict(example)
    return (tuple(example), {}) if type(example) in (tuple, list) else ((example,), {})


class Subject:
    """``function(*args, **kwargs)`` over ``nets``, in the modes that the nets are in now, under the autocast that is on now."""

    def __init__(self, title: str, nets: Mapping[str, torch.nn.Module], function: Callable[..., Any],
                 names: Sequence[str] = (), prefix: str = "", hidden: Sequence[str] = ()) -> None:  # fmt: skip
        self.title, self.function, self.prefix = title, function, prefix
        self.nets = dict(nets)
        self.names = tuple(names)  # of positional arguments
        self.hidden = tuple(hidden)  # nets whose state is not the caller's: those found in a function
        check_parts(title, self.nets)
        self._modes = [(module, module.training) for net in self.nets.values() for module in net.modules()]
        self._unchanged = Unchanged(title, [module for module, _ in self._modes])
        self.check = self._unchanged.check
        self._autocast = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
        self.locks = Locks(self.nets.values())

    def capture(self, arguments: Arguments, *, gradients: bool) -> Captured:
        """The graph of one call with arguments of this form."""
        build = builder(arguments.form)
        names = self.input_names(arguments.form)
        for name, tensor in zip(names, arguments.tensors, strict=True):
            readable(tensor, input_named(name))
        self._unchanged.take_hooks(gradients=gradients)

        def traced(*tensors: torch.Tensor) -> Any:
            args, kwargs = build(tensors)
            if self._autocast is None:
                return self.function(*args, **kwargs)
            with torch.autocast("cpu", self._autocast):  # inside, where the tracer keeps it
                return self.function(*args, **kwargs)

        with self.locks, self._in_mode(), torch.autocast("cpu", enabled=False):
            return capture(
                self.nets, traced, arguments.tensors, names, title=self.title,
                gradients=gradients, prefix=self.prefix,
            )  # fmt: skip

    @contextlib.contextmanager
    def _in_mode(self) -> Iterator[None]:
        now = [(module, module.training) for module, _ in self._modes]
        try:
            for module, training in self._modes:
                module.training = training
            yield
        finally:
            for module, training in now:
                module.training = training

    def input_names(self, form: Form) -> tuple[str, ...]:
        """Names of a call's tensors: ``x``, ``batch_boxes_0``; those of the arguments they come from."""
        args, kwargs = form.parts
        found: list[str] = []
        for i, part in enumerate(args.parts):
            found += part.paths(self.names[i] if i < len(self.names) else f"input_{i}")
        found += kwargs.paths()
        return unique([_word(path) for path in found])

    def slots(self) -> dict[str, Slot]:
        """Parameters and buffers by state name, those of found modules too."""
        return slots(self.nets, self.prefix)

    def parameters(self, nets: Iterable[str]) -> frozenset[str]:
        """State names of the parameters of some of the nets."""
        return frozenset(
            f"{net}.{name}".removeprefix(self.prefix)
            for net in nets
            for name, _ in self.nets[net].named_parameters(remove_duplicate=False)
        )

    def _entries(self) -> dict[str, Any]:
        """The nets' state dict, with the names that callers know: no copies."""
        found = {}
        for name, net in self.nets.items():
            if name not in self.hidden:
                found.update({f"{name}.{key}".removeprefix(self.prefix): t for key, t in net.state_dict().items()})
        return found

    def state(self) -> dict[str, torch.Tensor]:
        """Those entries of the nets' state dict that are memory of theirs, under its names: no copies."""
        own = {slot.tensor.untyped_storage()._cdata for slot in self.slots().values()}
        return {
            name: tensor
            for name, tensor in self._entries().items()
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage()._cdata in own
        }

    def copied_state(self) -> dict[str, Any]:
        """The nets' state dict, copied; what is not memory of theirs (``get_extra_state``, hooks) is as they give it."""
        with self.locks:
            own = self.state()
            return {
                name: t.detach().clone(memory_format=torch.contiguous_format) if name in own else copy.deepcopy(t)
                for name, t in self._entries().items()
            }

    def load(self, state: Mapping[str, Any]) -> None:
        """Copy ``state`` into the nets; all is checked before the first is written. Raises CheckpointError."""
        wanted = self.state()
        extra = self._extra()
        if not isinstance(state, Mapping):
            raise CheckpointError(f"a state dict must map names to tensors; got {type(state).__name__}")
        for name, tensor in wanted.items():
            if name not in state:
                raise CheckpointError(f"{_kind(tensor)} {name!r} is missing; wanted {', '.join(wanted)}")
            _check_loadable(name, tensor, state[name])
        entries = self._entries()
        for name in state:
            if name not in entries and name not in extra:
                raise CheckpointError(f"{name!r} is no parameter or buffer here; wanted {', '.join(wanted)}")
        for name in entries.keys() - wanted.keys() - extra.keys():
            raise CheckpointError(
                f"{name!r} is made by a hook of state_dict, no memory of the module: call the module's own load_state_dict"
            )
        with self.locks, torch.no_grad():
            for name, tensor in wanted.items():
                tensor.copy_(state[name])
            for name in extra.keys() & state.keys():
                extra[name].set_extra_state(state[name])

    def _extra(self) -> dict[str, torch.nn.Module]:
        """Modules that have state of their own kind, by the name of its entry."""
        return {
            ".".join(word for word in (net_name, path, EXTRA) if word).removeprefix(self.prefix): module
            for net_name, net in self.nets.items()
            for path, module in net.named_modules()
            if type(module).get_extra_state is not torch.nn.Module.get_extra_state
        }


def _kind(tensor: torch.Tensor) -> str:
    return "parameter" if tensor.is_floating_point() else "buffer"


def _check_loadable(name: str, tensor: torch.Tensor, given: Any) -> None:
    if not isinstance(given, torch.Tensor):
        raise CheckpointError(f"{_kind(tensor)} {name!r} must be a tensor; got {type(given).__name__}")
    same = given.shape == tensor.shape and given.is_floating_point() == tensor.is_floating_point()
    if not same or given.device.type == "meta" or given.layout is not torch.strided:
        got = f"{given.dtype} {list(given.shape)} on {given.device}"
        raise CheckpointError(f"{_kind(tensor)} {name!r} must be {tensor.dtype} {list(tensor.shape)}; got {got}")


def _word(path: str) -> str:
    """A path as a name in a graph."""
    return "_".join(word for word in path.replace("[", ".").replace("]", "").split(".") if word) or "input"


def unique(names: list[str]) -> tuple[str, ...]:
    """The names, numbered where one comes again."""
    found: list[str] = []
    for name in names:
        number = 2
        candidate = name
        while candidate in found:
            candidate, number = f"{name}_{number}", number + 1
        found.append(candidate)
    return tuple(found)


@dataclass(frozen=True)
class Arguments:
    """The tensors of one call, and its form: ``(args, kwargs)``."""

    tensors: tuple[torch.Tensor, ...]
    form: Form

    @staticmethod
    def of(args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None, like: Form | None = None) -> Arguments:
        """``like``: the form of an example, in whose order entries of dicts are taken."""
        tensors, form = flatten((args, dict(kwargs or {})), like)
        return Arguments(tuple(tensors), form)

    def like(self) -> Arguments:
        """The same form, dtypes and sizes, without the memory."""
        # Not torch.empty_like, which loads sympy for tensors without memory.
        return Arguments(tuple(torch.empty(t.shape, dtype=t.dtype, device="meta") for t in self.tensors), self.form)


def module_of(what: str, module: Any) -> torch.nn.Module:
    """``module``, which must be one. Raises InputError."""
    if not isinstance(module, torch.nn.Module):
        got = f"a {type(module).__name__}"
        if isinstance(module, type):
            got = f"the class {module.__name__}; make one: {module.__name__}()"
        elif callable(module):
            got = f"the function {getattr(module, '__name__', module)}; wrap it in a module"
        raise InputError(f"{what} must be a torch.nn.Module; got {got}")
    check_parts(type(module).__name__, {"module": module})
    return module


def modules_in(function: Callable[..., Any]) -> dict[str, torch.nn.Module]:
    """Modules that a function reaches: itself, what it is bound to or closes over, its defaults, names of its file."""
    found: dict[str, torch.nn.Module] = {}
    seen: set[int] = set()

    def visit(name: str, value: Any) -> None:
        if id(value) in seen:
            return
        seen.add(id(value))
        if isinstance(value, torch.nn.Module):
            word = f"{_word(name)}_net" if hasattr(torch.nn.Module, _word(name)) else _word(name)
            found[unique([*found, word])[-1]] = value
        elif isinstance(value, functools.partial):
            visit(name, value.func)
            for i, part in enumerate((*value.args, *value.keywords.values())):
                visit(f"{name}_{i}", part)
        elif inspect.ismethod(value):
            visit(name, value.__self__)
            visit(name, value.__func__)
        elif inspect.isfunction(value):
            _visit_function(value, visit)
        elif isinstance(value, Mapping):
            for key, part in value.items():
                visit(f"{name}_{key}", part)
        elif isinstance(value, (list, tuple)):
            for i, part in enumerate(value):
                visit(f"{name}_{i}", part)

    visit("loss", function)
    return found


def _visit_function(function: Any, visit: Callable[[str, Any], None]) -> None:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # a cell that is not filled yet
            visit(name, cell.cell_contents)
    for name, value in (function.__kwdefaults__ or {}).items():
        visit(name, value)
    for i, value in enumerate(function.__defaults__ or ()):
        visit(f"default_{i}", value)
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, torch.nn.Module) or (
            inspect.isfunction(value) and value.__module__ == function.__module__
        ):
            visit(name, value)
