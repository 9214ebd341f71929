"""ATen ops -> our ops: walk the flat list that torch's tracer gives and say each op by the table."""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tritoncnn.capture.table import EXPANDS, FACTORIES, IDENTITIES, PICKS, RESHAPES, TABLE, WHY
from tritoncnn.errors import InputError, UnsupportedError
from tritoncnn.formulas.refused import Refused
from tritoncnn.formulas.training import TRAINING, emit_training
from tritoncnn.ir import Rewriter, TensorType
from tritoncnn.ops import IR_DTYPE, OPS, Sym

_TORCH = str(Path(torch.__file__).parent) + os.sep
_OURS = str(Path(__file__).parent.parent) + os.sep
_MODELS = str(Path(__file__).parent.parent / "models") + os.sep

SEED = "seed"
HELD = tuple(name for name in IR_DTYPE.values() if name != "f64")  # what inputs and state may hold


def model_line(frames: list[tuple[str, int]]) -> str:
    """The innermost line that is the user's, as folder/file.py:12."""
    for file, line in reversed(frames):
        if not file.startswith((_TORCH, "<")) and (not file.startswith(_OURS) or file.startswith(_MODELS)):
            return f"{'/'.join(Path(file).parts[-2:])}:{line}"
    return ""


def _source(node: torch.fx.Node) -> str:
    trace = node.meta.get("stack_trace") or ""
    return model_line([(file, int(line)) for file, line in re.findall(r'File "([^"]+)", line (\d+)', trace)])


def picks(node: torch.fx.Node) -> bool:
    """Whether a tensor of whole numbers only says which elements are picked."""

    def reads(user: torch.fx.Node) -> bool:
        name = getattr(user.target, "__name__", "")
        return name in PICKS or (name in IDENTITIES | RESHAPES | EXPANDS and picks(user))

    return bool(node.users) and all(reads(user) for user in node.users)


def dtypes_of(node: torch.fx.Node) -> tuple[str, ...]:
    """What an input may hold."""
    return ("f32", "i64") if picks(node) else ("f32",)


@dataclass
class Walk:
    """The graph under construction: what stands for each FX node, and what went wrong so far."""

    out: Rewriter
    training: bool
    known: dict[torch.fx.Node, Any] = field(default_factory=dict)
    refused: dict[str, None] = field(default_factory=dict)  # ordered set
    constants: dict[str, torch.Tensor] = field(default_factory=dict)  # graph input -> tensor that the code holds
    counters: set[torch.fx.Node] = field(default_factory=set)  # the additions of 1 that count calls
    wrong_dtype: list[str] = field(default_factory=list)
    drawn: int = 0  # random numbers so far

    def run(self, nodes: Iterable[torch.fx.Node]) -> None:
        for node in nodes:
            if node.op == "call_function":
                self._call(node)

    def input(self, node: torch.fx.Node, name: str, what: str, dtypes: tuple[str, ...] = HELD) -> bool:
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
            return self.known.get(value)
        if isinstance(value, (list, tuple)):
            return type(value)(self.argument(item) for item in value)
        return value

    def refuse(self, why: str, source: str) -> None:
        self.refused[f"{why} ({source})" if source else why] = None

    def _call(self, node: torch.fx.Node) -> None:
        """Emit one ATen op; after a refusal its users are still looked up, not emitted, so that all gaps are named."""
        source = _source(node)
        self.out.source = source
        name = getattr(node.target, "__name__", str(node.target)) if callable(node.target) else str(node.target)
        if node.target is operator.getitem:
            assert isinstance(node.args[0], torch.fx.Node)
            parent = self.known.get(node.args[0])
            if parent is not None and node.users:
                value = parent[node.args[1]]
                if isinstance(value, Refused):
                    self.refuse(value.why, source)
                else:
                    self.known[node] = value
            return
        if name.startswith(("_assert", "sym_")) or not (node.users or name in TABLE):
            return
        if getattr(node.target, "__module__", "") == "_operator":
            return  # arithmetic on a size that data decide: the op that makes it was refused
        if node in self.counters:
            self.known[node] = OPS["increment"](self.known[node.all_input_nodes[0]])
            return
        if self.training and name in TRAINING and (name != "batch_norm.default" or node.args[5]):
            if all(self.known.get(operand) is not None for operand in node.all_input_nodes):
                self.known[node] = self._emit_training(node, name)
            return
        if name in FACTORIES:
            self._constant(node)
            return
        if name not in TABLE and name not in RESHAPES | EXPANDS | IDENTITIES:
            self.refuse(WHY.get(name, f"{name.removesuffix('.default')}"), source)
            return
        if any(self.known.get(operand) is None for operand in node.all_input_nodes):
            return
        try:
            self.known[node] = self._emit(node, name)
        except UnsupportedError as error:
            self.refuse(str(error), source)

    def _constant(self, node: torch.fx.Node) -> None:
        """torch.ones(3) and the like are computed now and become an input of the graph."""
        assert callable(node.target)
        tensor = node.target(*node.args, **node.kwargs)
        if tensor.dim() == 0:
            self.known[node] = number_of(self.out, tensor)
            return
        if self.input(node, node.name, f"the constant at {_source(node)}", dtypes_of(node)):
            self.constants[node.name] = tensor

    def _emit(self, node: torch.fx.Node, name: str) -> Any:
        args = [self.argument(value) for value in node.args]
        kwargs = {key: self.argument(value) for key, value in node.kwargs.items()}
        if name in TABLE:
            return TABLE[name](*args, **kwargs)
        x = args[0]
        if name in IDENTITIES:
            return self._identity(node, name, x)
        shape = tuple(node.meta["val"].shape)
        return OPS["expand" if name in EXPANDS else "reshape"](x, shape=shape) if shape != x.shape else x

    def _emit_training(self, node: torch.fx.Node, name: str) -> Any:
        args = [self.argument(value) for value in node.args]
        found, drawn = emit_training(name, args, node.meta["val"], self._seed, self.drawn)
        self.drawn += drawn
        return found

    def _seed(self) -> Sym:
        known = next((v for v in self.out.inputs if v.name == SEED), None)
        return Sym(self.out, known or self.out.input(SEED, TensorType.dense("i64", ())))

    def _identity(self, node: torch.fx.Node, name: str, x: Any) -> Any:
        if name.startswith("detach") and self.training and self._trains(node):
            raise UnsupportedError("detach inside a model that is trained")
        if "dropout" in name and node.args[1] and node.args[2]:
            raise UnsupportedError(WHY["native_dropout.default"])
        wanted = node.meta["val"].dtype
        if not isinstance(x, Sym) or IR_DTYPE[wanted] == x.dtype:
            return x
        if wanted != torch.float32:
            raise UnsupportedError(f"a cast from {x.dtype} to {IR_DTYPE.get(wanted, wanted)}")
        return OPS["cast_f32"](x)

    def _trains(self, node: torch.fx.Node) -> bool:
        """Whether anything but constants comes in."""
        return any(
            operand.op != "placeholder" or isinstance(self.known.get(operand), Sym) for operand in node.all_input_nodes
        )


def number_of(out: Rewriter, tensor: torch.Tensor) -> Sym:
    """A 0-d constant of the model's code; integers serve as f32 in arithmetic, as torch promotes them."""
    value = float(tensor)
    types = (TensorType.dense("f32", ()),)
    return Sym(out, out.add("const", (), types, {"value": value, "dtype": "f32"})[0])
