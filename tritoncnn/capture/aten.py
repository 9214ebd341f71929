"""ATen ops -> our ops: walk the flat list that torch's tracer gives and say each op by the table."""

from __future__ import annotations

import inspect
import math
import operator
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tritoncnn.capture.decompose import decompose, formulas_of
from tritoncnn.capture.gaps import gap
from tritoncnn.capture.kinds import EXPANDS, FILLS, IDENTITIES, PLACEMENT, RESHAPES
from tritoncnn.capture.regions import name_of
from tritoncnn.capture.selected import Call, Selection
from tritoncnn.capture.selecting import STAND_INS, printed
from tritoncnn.capture.selection import emit_selected, is_selecting
from tritoncnn.capture.table import TABLE
from tritoncnn.errors import InputError, UnsupportedError
from tritoncnn.formulas.diagonals import STRIDED
from tritoncnn.formulas.dtypes import COMPUTED, cast
from tritoncnn.formulas.random import uniform
from tritoncnn.formulas.refused import Refused
from tritoncnn.formulas.training import NORMS, RANDOM, norm
from tritoncnn.ir import Rewriter, TensorType
from tritoncnn.ops import IR_DTYPE, OPS, Sym
from tritoncnn.ops.define import constant
from tritoncnn.ops.table import table_for

_TORCH = str(Path(torch.__file__).parent) + os.sep
_PYTHON = str(Path(os.__file__).parent) + os.sep
_OURS = str(Path(__file__).parent.parent) + os.sep
_MODELS = str(Path(__file__).parent.parent / "models") + os.sep

SEED = "seed"
DEEPEST = 8  # formulas of formulas


def model_line(frames: list[tuple[str, int]]) -> str:
    """The innermost line that is the user's, as folder/file.py:12."""
    for file, line in reversed(frames):
        python = file.startswith(_PYTHON) and "site-packages" not in file
        if (
            not python
            and not file.startswith((_TORCH, "<"))
            and (not file.startswith(_OURS) or file.startswith(_MODELS))
        ):
            return f"{'/'.join(Path(file).parts[-2:])}:{line}"
    return ""


def _source(node: torch.fx.Node) -> str:
    if "source" in node.meta:
        return str(node.meta["source"])
    trace = node.meta.get("stack_trace") or ""
    return model_line([(file, int(line)) for file, line in re.findall(r'File "([^"]+)", line (\d+)', trace)])


def _is_one_number(tensor: torch.Tensor) -> bool:
    """Whether all elements are the same; 0.0 is not -0.0."""
    first = tensor.reshape(-1)[:1]
    return tensor.numel() <= 1 or bool(((tensor == first) & (tensor.signbit() == first.signbit())).all())


def _is_free_of_sizes(node: torch.fx.Node, found: torch.fx.GraphModule) -> bool:
    """Whether torch's formula for an op is the same one however many places are selected."""
    again = decompose(node, dict([STAND_INS]))
    return again is not None and printed(found.graph) == printed(again[0].graph)


@dataclass
class Walk:
    """The graph under construction: what stands for each FX node, and what went wrong so far."""

    out: Rewriter
    known: dict[torch.fx.Node, Any] = field(default_factory=dict)
    held: dict[torch.fx.Node, Any] = field(default_factory=dict)  # what is known before the model runs
    refused: dict[str, None] = field(default_factory=dict)  # ordered set
    constants: dict[str, torch.Tensor] = field(default_factory=dict)  # graph input -> tensor that the code holds
    wrong_dtype: list[str] = field(default_factory=list)
    drawn: int = 0  # random numbers so far
    inside: list[str] = field(default_factory=list)  # the lines of the ops that are being taken apart

    def run(self, nodes: Iterable[torch.fx.Node]) -> None:
        for node in nodes:
            if node.op == "call_function":
                self._call(node)

    def input(self, node: torch.fx.Node, name: str, what: str, dtypes: tuple[str, ...] = COMPUTED) -> bool:
        tensor = node.meta["val"]
        dtype = IR_DTYPE.get(tensor.dtype, str(tensor.dtype))
        if dtype not in dtypes:  # told after the unsupported ops, which may be why it is there
            self.wrong_dtype.append(f"{what} must be {' or '.join(dtypes)}; it is {dtype}")
            return False
        taken = {value.name for value in self.out.inputs}
        if name in taken:
            raise InputError(f"{what} has the name of an input of forward: rename one of them")
        self.known[node] = Sym(self.out, self.out.input(name, TensorType.dense(dtype, tuple(tensor.shape))))
        return True

    def argument(self, value: Any) -> Any:
        if isinstance(value, torch.fx.Node):
            if value not in self.known and value in self.held:
                self._show(value)
            return self.known.get(value)
        if isinstance(value, (list, tuple)):
            return type(value)(self.argument(item) for item in value)
        return value

    def refuse(self, why: str, source: str) -> None:
        self.refused[f"{why} ({source})" if source else why] = None

    def _call(self, node: torch.fx.Node) -> None:
        """Emit one ATen op; after a refusal its users are still looked up, not emitted, so that all gaps are named."""
        source = self.inside[-1] if self.inside else _source(node)
        self.out.source = source
        name = name_of(node)
        if node.target is operator.getitem:
            self._pick(node, source)
            return
        if name.startswith("_assert_async"):
            self.refuse(gap(name), source)
        if name.startswith(("_assert", "sym_")) or not (node.users or name in TABLE):
            return
        if getattr(node.target, "__module__", "") == "_operator":
            return  # arithmetic on a size that data decide: the op that makes it was refused
        selecting = is_selecting(node, self.known)
        if not selecting and self._compute_now(node, name):
            return
        for x in node.all_input_nodes:
            self.argument(x)  # what the code holds goes into the graph, where its dtype can
        missing = any(self.known.get(x) is None for x in node.all_input_nodes)
        if missing:
            if not self._listed(name) and not formulas_of(node.target):
                self.refuse(gap(name), source)
            return
        why = gap(name)
        if selecting or self._listed(name):
            try:
                emit = self._emit_selected if selecting else self._emit
                self.known[node] = self._agreed(node, name, emit(node, name))
                return
            except UnsupportedError as error:
                why = str(error)
        if name in NORMS or name in RANDOM or name in STRIDED or not self._take_apart(node, source):
            self.refuse(why, source)

    def _listed(self, name: str) -> bool:
        return (
            name in TABLE
            or name in RESHAPES | EXPANDS | IDENTITIES
            or any(name in more for more in (RANDOM, NORMS, STRIDED))
        )

    def _pick(self, node: torch.fx.Node, source: str) -> None:
        """One of several results."""
        assert isinstance(node.args[0], torch.fx.Node)
        if node.args[0] in self.held:
            self.held[node] = self.held[node.args[0]][node.args[1]]
            return
        parent = self.known.get(node.args[0])
        if parent is None or not node.users:
            return
        value = parent[node.args[1]]
        if isinstance(value, Refused):
            self.refuse(value.why, source)
        else:
            self.known[node] = value

    def _compute_now(self, node: torch.fx.Node, name: str) -> bool:
        """Whether the op reads nothing but what the code holds; its result is then computed by torch, once."""
        tensor = node.meta.get("val")
        if name in FILLS and isinstance(tensor, torch.Tensor):
            number = FILLS[name](node.args)
            if not isinstance(number, torch.fx.Node):
                self.held[node] = torch.full((), number, dtype=tensor.dtype).expand(tensor.shape)
                return True
        target = node.target
        if not isinstance(target, torch._ops.OpOverload):
            return False
        random = torch.Tag.nondeterministic_seeded in target.tags
        if random or target._schema.is_mutable or any(x not in self.held for x in node.all_input_nodes):
            return False

        def now(value: Any) -> Any:
            return self.held[value] if isinstance(value, torch.fx.Node) else value

        args, kwargs = torch.fx.node.map_aggregate((node.args, node.kwargs), now)  # type: ignore[arg-type,misc]
        self.held[node] = target(*args, **kwargs)
        return True

    def _show(self, node: torch.fx.Node) -> None:
        """Put what is known now into the graph: a number, or an input that holds it."""
        tensor = self.held[node]
        dtype = "f32" if tensor.dtype == torch.float64 and not tensor.dim() else IR_DTYPE.get(tensor.dtype, "")
        if dtype not in COMPUTED or not _is_one_number(tensor):
            name = self._fresh(node.name)
            if self.input(node, name, f"the constant at {self.out.source}"):
                self.constants[name] = tensor.contiguous()
            return
        number = tensor.reshape(-1)[0].item() if tensor.numel() else 0
        if dtype == "i1":
            seed = Sym(self.out, constant(self.out, 0, "i64"))
            one = table_for(seed, (bool(number),), (), dtype)
        else:
            one = Sym(self.out, constant(self.out, number, dtype))
        self.known[node] = OPS["expand"](one, shape=tuple(tensor.shape)) if tensor.dim() else one

    def _fresh(self, name: str) -> str:
        taken = {value.name for value in self.out.inputs}
        return next(one for one in (name, *(f"{name}_{i}" for i in range(2, 2 + len(taken)))) if one not in taken)

    def _operands(self, node: torch.fx.Node) -> tuple[list[Any], dict[str, Any]]:
        args = [self.argument(value) for value in node.args]
        return args, {key: self.argument(value) for key, value in node.kwargs.items() if key not in PLACEMENT}

    def _emit_selected(self, node: torch.fx.Node, name: str) -> Any:
        def run(*args: Any, **kwargs: Any) -> Any:
            if name not in TABLE and name not in IDENTITIES and name not in NORMS:
                raise UnsupportedError(gap(name))
            return self._emitted(node, name, list(args), kwargs)

        args, kwargs = self._operands(node)
        return emit_selected(Call(node, name, tuple(args), kwargs, run))

    def _emit(self, node: torch.fx.Node, name: str) -> Any:
        return self._emitted(node, name, *self._operands(node))

    def _emitted(self, node: torch.fx.Node, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        if kwargs.pop("generator", None) is not None:
            raise UnsupportedError(gap(f"{name.partition('.')[0]}.generator"))
        if name in RANDOM:
            return RANDOM[name](self._draw, node.meta["val"], *args, **kwargs)
        if name in NORMS:
            return norm(name, args)
        if name in STRIDED:
            return STRIDED[name](node.all_input_nodes[0].meta["val"], *args, **kwargs)
        if name in TABLE:
            try:
                inspect.signature(TABLE[name]).bind(*args, **kwargs)
            except TypeError as error:
                raise UnsupportedError(f"{name.removesuffix('.default')} with such options: {error}") from error
            return TABLE[name](*args, **kwargs)
        x = args[0]
        if name in IDENTITIES:
            return self._identity(node, name, x)
        if not isinstance(x, Sym):
            raise UnsupportedError(name.removesuffix(".default"))
        shape = tuple(node.meta["val"].shape)
        return OPS["expand" if name in EXPANDS else "reshape"](x, shape=shape) if shape != x.shape else x

    def _identity(self, node: torch.fx.Node, name: str, x: Any) -> Any:
        wanted = node.meta["val"].dtype
        x = cast(x, IR_DTYPE.get(wanted, str(wanted)))
        detached = name.startswith("detach") and isinstance(x, Sym) and x.value.type.is_float
        return OPS["detach"](x) if detached else x

    def _agreed(self, node: torch.fx.Node, name: str, found: Any) -> Any:
        """``found``, whose shapes and dtypes are those that torch gives. Raises UnsupportedError for others."""

        def check(ours: Any, theirs: Any) -> None:
            if isinstance(theirs, (tuple, list)) and isinstance(ours, (tuple, list)):
                for one, other in zip(ours, theirs, strict=False):
                    check(one, other)
            if not isinstance(ours, (Sym, Selection)) or not isinstance(theirs, torch.Tensor):
                return
            dtype = IR_DTYPE.get(theirs.dtype, str(theirs.dtype))
            if (dtype, tuple(theirs.shape)) != (ours.dtype, ours.shape):
                what = f"{dtype}{list(theirs.shape)}"
                raise UnsupportedError(
                    f"{name.removesuffix('.default')} that gives {what}: ours gives {ours.dtype}{list(ours.shape)}"
                )

        check(found, node.meta.get("val"))
        return found

    def _take_apart(self, node: torch.fx.Node, source: str) -> bool:
        """Emit what torch's formula for the op consists of; False when it has none, or one that is unsupported."""
        parts = decompose(node) if len(self.inside) < DEEPEST else None
        if parts is None or (is_selecting(node, self.known) and not _is_free_of_sizes(node, parts[0])):
            return False
        graph, operands = parts
        before = dict(self.refused)
        for inner, outer in zip((n for n in graph.graph.nodes if n.op == "placeholder"), operands, strict=True):
            if outer in self.held:
                self.held[inner] = self.held[outer]
            else:
                self.known[inner] = self.known[outer]
        for inner in graph.graph.nodes:
            if inner.op == "get_attr":
                self.held[inner] = getattr(graph, str(inner.target))
        self.inside.append(source)
        self.run(graph.graph.nodes)
        self.inside.pop()
        (results,) = next(inner.args for inner in graph.graph.nodes if inner.op == "output")
        found = self.argument(results)
        if self.refused != before or found is None:
            self.refused = before
            return False
        self.known[node] = found
        return True

    def _draw(self, shape: tuple[int, ...]) -> Sym:
        """Random numbers in [0, 1), other ones each time."""
        known = next((v for v in self.out.inputs if v.name == SEED), None)
        seed = Sym(self.out, known or self.out.input(SEED, TensorType.dense("i64", ())))
        first, self.drawn = self.drawn, self.drawn + math.prod(shape)
        drawn: Sym = uniform(seed, shape, first)
        return drawn
