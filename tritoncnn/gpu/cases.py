"""Which kernels there are: derived from the ops' own samples, the tiles of the kernels, and whole models' plans.

A case is one node of a graph; lowered for a GPU it gives the launches that a plan would have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F

from tritoncnn import compiler
from tritoncnn.errors import TritonCNNError
from tritoncnn.ir import Node, TensorType, Value
from tritoncnn.kernels import conv2d, conv2d_dgrad, matmul
from tritoncnn.kernels.target import Target
from tritoncnn.models.lenet import LeNet
from tritoncnn.ops import OPS, Lowering, OpDef, types_tuple
from tritoncnn.optim import SGD, AdamW

MATRIX_KERNELS = {"conv2d_kernel", "conv2d_dgrad_kernel", "conv2d_wgrad_kernel", "matmul_kernel"}
STEPS = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1)}


@dataclass(frozen=True)
class Case:
    """``main``: sizes of a real layer, for which speed counts: its code must meet the whole gate."""

    name: str
    node: Node
    sample: tuple[Any, ...] | None = None  # the specs of the operands' data
    main: bool = False

    def lower(self, target: Target) -> Lowering:
        lower = OPS[self.node.op].lower
        assert lower is not None
        return lower(self.node, target)


def cases(fast: bool = False) -> Iterator[Case]:
    """All of them; ``fast``: the first two samples of an op in f32, and one real layer of each kernel."""
    yield from sample_cases(fast)
    yield from part_cases(fast)
    yield from layer_cases(fast)
    yield from prologue_cases(fast)
    if not fast:
        yield from model_cases()


def sample_cases(fast: bool) -> Iterator[Case]:
    """Every sample of every op that has a kernel, in f32, and in bf16 where the op takes it, as the planner lays it out."""
    for op in OPS.values():
        if op.lower is None:
            continue
        kept = [sample for sample in op.samples if all(0 not in _type(spec, "f32").shape for spec in sample[0])]
        for number, sample in enumerate(kept[: 2 if fast else None]):
            for dtype in ("f32",) if fast else ("f32", "bf16"):
                try:
                    node = _node(op, sample, dtype)
                except TritonCNNError:
                    if dtype == "f32":
                        raise
                    continue  # an op that takes f32 only
                if dtype == "f32" or any(v.type.dtype == dtype for v in node.operands):
                    yield Case(f"{op.name} {number} {dtype}", node, sample[0])


def part_cases(fast: bool) -> Iterator[Case]:
    """Samples of the ops whose operands may lie in their parts of the result already (see ``OpDef.parts``): of an image that was
    computed inside of its padding the border alone is made.
    """
    for case in sample_cases(fast):
        node, parts = case.node, OPS[case.node.op].parts
        if parts is None:
            continue
        places = parts(node.result.type, tuple(v.type for v in node.operands), **node.attrs)
        inside = tuple(
            v if place is None else Value(v.name, place[0]) for v, place in zip(node.operands, places, strict=True)
        )
        if inside != node.operands:
            yield replace(case, name=f"{case.name} inside", node=replace(node, operands=inside))


def _type(spec: Any, dtype: str) -> TensorType:
    if spec and isinstance(spec[0], str):
        return TensorType.dense(dtype if spec[0] == "positive" else spec[0], spec[1])
    return TensorType.dense(dtype, spec)


def _node(op: OpDef, sample: Any, dtype: str) -> Node:
    specs, attrs = sample
    types = [_type(spec, dtype) for spec in specs]
    results = list(types_tuple(op.infer(*types, **attrs)))
    images = {4: (0, 2, 3, 1)} if op.orders else {}
    types = [t.with_order(order) if (order := op.wants.get(i, images).get(t.rank)) else t for i, t in enumerate(types)]
    results = [t.with_order(op.orders[t.rank]) if t.rank in op.orders else t for t in results]
    operands = tuple(Value(f"x{i}", type) for i, type in enumerate(types))
    return Node(op.name, operands, tuple(Value(f"%{i}", type) for i, type in enumerate(results)), attrs)


def layer_cases(fast: bool) -> Iterator[Case]:
    """Layers whose sizes make the planner pick each tile of each matrix kernel, in f32 and 16 bits."""
    for dtype in ("bf16",) if fast else ("f32", "bf16", "f16"):
        for op, shapes, attrs in _layers(fast):
            yield replace(_case(op, shapes, attrs, dtype), main=True)


def prologue_cases(fast: bool) -> Iterator[Case]:
    """Convolutions of one tap that scale, shift and rectify what they load: a small one, and one for each tile."""
    shapes = [((1, 17, 9, 9), 33), *((((2 * t.BLOCK_NPQ // 32, 64, 64, 32), t.BLOCK_K)) for t in conv2d.GPU_TILES)]
    for dtype in ("f32",) if fast else ("f32", "bf16", "f16"):
        for x, K in shapes[: 1 if fast else None]:
            attrs = {**STEPS, "padding": (0, 0), "prologue": "relu(add(mul(acc, $0), $1))", "epilogue": "add(acc, $2)"}
            plain = {key: value for key, value in attrs.items() if key not in ("prologue", "epilogue")}
            case = _case("conv2d", (x, (K, x[1], 1, 1)), plain, dtype)
            extra = [TensorType.dense(dtype, (channels, 1, 1)) for channels in (x[1], x[1], K)]
            operands = (*case.node.operands, *(Value(f"s{i}", type) for i, type in enumerate(extra)))
            node = replace(case.node, operands=operands, attrs=attrs)
            yield Case(f"{case.name} prologue", node, case.sample)


def _layers(fast: bool) -> Iterator[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    end = 1 if fast else None
    for tile in conv2d.GPU_TILES[:end]:
        shape = (2 * tile.BLOCK_NPQ // 32, 64, 64, 32)
        yield "conv2d", (shape, (tile.BLOCK_K, 64, 3, 3)), STEPS
    for rows, channels, *_ in conv2d_dgrad.GPU_TILES[:end]:
        N = 2 * rows // 32
        attrs = {**STEPS, "input_shape": (N, channels, 64, 32)}
        yield "conv2d_dgrad", ((N, 64, 64, 32), (64, channels, 3, 3)), attrs
    for C, K in ((64, 64), (128, 128))[:end]:
        yield "conv2d_wgrad", ((8, C, 32, 32), (8, K, 32, 32)), {**STEPS, "filter_shape": (K, C, 3, 3)}
    for product in matmul.GPU_TILES[:end]:
        yield "matmul", ((128 * product.BLOCK_M, 1024), (1024, product.BLOCK_N)), {}
    if not fast:
        yield "matmul", ((64, 4096), (4096, 64)), {}


def _case(op: str, shapes: tuple[Any, ...], attrs: dict[str, Any], dtype: str) -> Case:
    words = " ".join("x".join(map(str, shape)) for shape in shapes)
    return Case(f"{op} {words} {dtype}", _node(OPS[op], (shapes, attrs), dtype), shapes)


def model_cases() -> Iterator[Case]:
    """Every launch of LeNet's inference and of its training steps."""
    x, target = torch.zeros(64, 1, 28, 28), torch.zeros(64, dtype=torch.int64)
    model = LeNet(10)
    plans = [
        ("lenet", compiler.compile(model.eval(), x).plan),
        ("lenet sgd", compiler.compile_step(model, F.cross_entropy, SGD(0.1), (x, target)).plan),
        ("lenet adamw", compiler.compile_step(model, F.cross_entropy, AdamW(0.1), (x, target)).plan),
    ]
    for name, plan in plans:
        nodes = list(dict.fromkeys(call.node for call in plan.calls))
        for number, node in enumerate(nodes):
            yield Case(f"{name} {number} {node.op}", node)
