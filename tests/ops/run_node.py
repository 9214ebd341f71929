"""Data for an op's samples, and one node run by its kernels."""

from __future__ import annotations

from typing import Any

import torch

from tests.kernels.run import place, run, surroundings_intact
from tests.targets import CPU
from tritoncnn.ir import Node, TensorType, Value
from tritoncnn.ops import OPS, TORCH_DTYPE, OpDef, types_tuple

Sample = tuple[tuple[Any, ...], dict[str, Any]]


def samples(wanted: Any = lambda op: True) -> list[Any]:
    """(op, sample) of every op for which ``wanted`` holds, as pytest parameters."""
    import pytest

    return [
        pytest.param(op, sample, id=f"{op.name}-{i}")
        for op in OPS.values()
        if wanted(op)
        for i, sample in enumerate(op.samples)
    ]


def type_of(spec: Any) -> TensorType:
    if spec and isinstance(spec[0], str):
        return TensorType.dense("f32" if spec[0] == "positive" else spec[0], spec[1])
    return TensorType.dense("f32", spec)


def make(spec: Any, generator: torch.Generator, whole: bool = False) -> torch.Tensor:
    """An fp64 tensor (or one of the spec's integer dtype); ``whole``: integers in [-4, 4], whose sums are exact."""
    type = type_of(spec)
    if spec and isinstance(spec[0], str) and spec[0] == "positive":
        return torch.rand(type.shape, generator=generator, dtype=torch.float64) + 0.25
    if type.dtype == "i1":
        return torch.rand(type.shape, generator=generator) > 0.5
    if not type.is_float:
        low = spec[3] if len(spec) > 3 else 0
        return torch.randint(low, spec[2], type.shape, generator=generator).to(TORCH_DTYPE[type.dtype])
    if whole:
        return torch.randint(-4, 5, type.shape, generator=generator).double()
    return torch.randn(type.shape, generator=generator, dtype=torch.float64)


def operands_of(sample: Sample, whole: bool = False) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(len(sample[0]))
    return [make(spec, generator, whole) for spec in sample[0]]


def as_tuple(results: Any) -> tuple[Any, ...]:
    return results if isinstance(results, tuple) else (results,)


def node_of(op: OpDef, sample: Sample, fast: bool, epilogue: str = "", extra: tuple[TensorType, ...] = (),
            prologue: str = "") -> Node:  # fmt: skip
    """A node of ``op``, in the memory orders its kernel likes (``fast``) or all row-major."""
    specs, attrs = sample
    types = [type_of(spec) for spec in specs]
    results = list(types_tuple(op.infer(*types, **attrs)))
    if fast:
        images = {4: (0, 2, 3, 1)} if op.orders else {}
        types = [
            t.with_order(order) if (order := op.wants.get(i, images).get(t.rank)) else t for i, t in enumerate(types)
        ]
        results = [t.with_order(op.orders[t.rank]) if t.rank in op.orders else t for t in results]
    operands = tuple(Value(f"x{i}", type) for i, type in enumerate((*types, *extra)))
    slots = {"epilogue": epilogue, "prologue": prologue}
    attrs = {**attrs, **{key: text for key, text in slots.items() if text}}
    return Node(op.name, operands, tuple(Value(f"%{i}", type) for i, type in enumerate(results)), attrs)


def run_node(node: Node, operands: list[torch.Tensor]) -> list[torch.Tensor]:
    """The node's results by its kernels. Every tensor lies between NaNs, which must be there afterwards."""
    op = OPS[node.op]
    assert op.lower is not None
    lowering = op.lower(node, CPU)
    placed = {f"o{i}": place(v.type, x) for i, (v, x) in enumerate(zip(node.operands, operands, strict=True))}
    shared = dict(op.inplace)
    for i, value in enumerate(node.results):
        placed[f"r{i}"] = placed[f"o{shared[i]}"] if i in shared else place(value.type)
    placed.update({f"w{i}": place(type) for i, type in enumerate(lowering.workspaces)})
    for i, table in enumerate(lowering.tables):
        numbers = torch.tensor(table.numbers, dtype=TORCH_DTYPE[table.type.dtype])
        placed[f"t{i}"] = place(table.type, numbers.reshape(table.type.shape))
    for launch, refs in lowering.steps:
        parts = [ref.partition("+") for ref in refs]
        tensors = [placed[name] for name, _, _ in parts]
        views = [
            x.as_strided(type.shape, type.strides, x.storage_offset() + int(first or 0))
            for x, type, (_, _, first) in zip(tensors, launch.operands, parts, strict=True)
        ]
        run(launch, *views)
    assert all(surroundings_intact(x) for x in placed.values())
    return [placed[f"r{i}"] for i in range(len(node.results))]
