"""The promises that every op keeps, for every sample: a new op's file needs no test of its own for them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.ops.run_node import Sample, as_tuple, node_of, operands_of, run_node, samples, type_of
from tritoncnn.ir import Graph, Node, Rewriter, TensorType, Value, parse_graph, verify
from tritoncnn.ops import OPS, TORCH_DTYPE, OpDef, Sym, check_node, types_tuple
from tritoncnn.ops.evaluate import evaluate

# Sums and products of small integers, which f32 holds exactly: these kernels must give fp64's bits.
EXACT = {
    "conv2d", "conv2d_dgrad", "conv2d_wgrad", "matmul", "sum", "max_pool2d", "max_pool2d_grad", "pad2d", "copy", "increment",
    "add", "sub", "mul", "neg", "abs", "relu", "maximum", "minimum", "where", "gt", "lt", "ge", "le", "eq", "ne", "cast_f32",
    "pointwise", "sgd_plain", "cast_bf16", "cast_f16", "uniform",
}  # fmt: skip


def test_every_op_has_samples() -> None:
    assert [op.name for op in OPS.values() if not op.samples and op.name != "const"] == []


def test_every_op_can_be_computed_or_is_a_view() -> None:
    special = {
        "const",
        "table",
        "pack",
    }  # the planner's own: numbers in a kernel's text or in memory; tensors side by side
    known = [op.name for op in OPS.values() if op.lower or op.view or op.triton or op.compose]
    assert set(OPS) - set(known) == special


@pytest.mark.parametrize(("op", "sample"), samples())
def test_infer_agrees_with_the_reference(op: OpDef, sample: Sample) -> None:
    wanted = types_tuple(op.infer(*map(type_of, sample[0]), **sample[1]))
    results = as_tuple(op.reference(*operands_of(sample), **sample[1]))
    assert [tuple(x.shape) for x in results] == [t.shape for t in wanted]
    for x, type in zip(results, wanted, strict=True):
        assert x.dtype == TORCH_DTYPE[type.dtype] or (x.dtype == torch.float64 and type.is_float)


def differentiable() -> list[Any]:
    """Samples of the ops that have a gradient, as they are before anything is fused into them."""
    return [p for p in samples(lambda op: op.grad is not None) if "expr" not in p.values[1][1]]


def gradients(op: OpDef, sample: Sample) -> tuple[list[torch.Tensor], Any, torch.Tensor, dict[int, torch.Tensor]]:
    """(operands, results, dy, autograd's gradient by operand) in fp64."""
    operands = operands_of(sample)
    leaves = [x.clone().requires_grad_() if x.is_floating_point() else x for x in operands]
    results = op.reference(*leaves, **sample[1])
    first = as_tuple(results)[0]
    dy = torch.randn(first.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    wanted = {i: torch.zeros_like(x) for i, x in enumerate(leaves) if x.requires_grad}
    if first.requires_grad:  # the reference of an empty tensor may be a constant
        found = torch.autograd.grad(first, [leaves[i] for i in wanted], dy, allow_unused=True)
        wanted = {i: wanted[i] if x is None else x for i, x in zip(wanted, found, strict=True)}
    plain = tuple(x.detach() for x in as_tuple(results))
    return operands, plain if len(plain) > 1 else plain[0], dy, wanted


@pytest.mark.parametrize(("op", "sample"), differentiable())
def test_grad_agrees_with_autograd(op: OpDef, sample: Sample) -> None:
    operands, y, dy, wanted = gradients(op, sample)
    assert op.grad is not None
    found = op.grad(dy, y, *operands, **sample[1])
    assert len(found) == len(operands)
    for i, gradient in wanted.items():
        given = torch.zeros_like(gradient) if found[i] is None else found[i]  # None: there is no gradient, as in torch
        torch.testing.assert_close(given, gradient, equal_nan=True)


@pytest.mark.parametrize(("op", "sample"), differentiable())
def test_grad_builds_a_graph_that_agrees_with_autograd(op: OpDef, sample: Sample) -> None:
    operands, _, dy, wanted = gradients(op, sample)
    graph, given = gradient_graph(op, sample, tuple(wanted))
    verify(graph, check_node)
    assert parse_graph(str(graph)) == graph
    found = evaluate(graph, {**{f"x{i}": x for i, x in enumerate(operands)}, "dy": dy})
    for i, gradient in zip(given, found, strict=True):
        torch.testing.assert_close(gradient, wanted[i], equal_nan=True)


def gradient_graph(op: OpDef, sample: Sample, wanted: tuple[int, ...]) -> tuple[Graph, tuple[int, ...]]:
    """The graph of the gradients of the operands ``wanted``, and which of them have one."""
    out = Rewriter("gradient")
    inputs = tuple(out.input(f"x{i}", type_of(spec)) for i, spec in enumerate(sample[0]))
    types = types_tuple(op.infer(*(v.type for v in inputs), **sample[1]))
    results = tuple(Sym(out, value) for value in out.add(op.name, inputs, types, sample[1]))
    dy = Sym(out, out.input("dy", types[0]))
    y = results if len(results) > 1 else results[0]
    assert op.grad is not None
    found = op.grad(dy, y, *(Sym(out, value) for value in inputs), **sample[1])
    given = tuple(i for i in wanted if found[i] is not None)
    return out.finish(tuple(found[i].value for i in given)), given


@pytest.mark.parametrize(("op", "sample"), samples(lambda op: op.view is not None))
def test_a_view_is_the_reference_in_the_operands_memory(op: OpDef, sample: Sample) -> None:
    (x,) = operands_of(sample)
    assert op.view is not None
    type = op.view(type_of(sample[0][0]), **sample[1])
    assert type is not None
    view = x.as_strided(type.shape, type.strides, op.offset(type_of(sample[0][0]), **sample[1]) if op.offset else 0)
    assert torch.equal(view, op.reference(x, **sample[1]))


def compare(
    op: OpDef, sample: Sample, node: Node, operands: list[torch.Tensor], wanted: tuple[torch.Tensor, ...]
) -> None:
    """Run the node's kernels and compare: integers bit for bit, else within the op's bound."""
    found = run_node(node, operands)
    for x, type, y in zip(found, (v.type for v in node.results), wanted, strict=True):
        further = "statistics" in sample[1] and len(y.shape) == 1  # mean and variance beside a convolution's result
        if not type.is_float or (op.name in EXACT and not further):
            assert torch.equal(x, y.to(x.dtype)), f"{op.name} {sample}"
            continue
        # The samples sum at most 64 terms after another (more go in trees); functions are good to 16 units in the last place.
        bound = (64 + 16) * 2**-24
        scale = float(y[y.isfinite()].abs().max()) if y.numel() and bool(y.isfinite().any()) else 1.0
        torch.testing.assert_close(x.double(), y, rtol=bound, atol=bound * max(scale, 1.0), equal_nan=True)


@pytest.mark.parametrize(("op", "sample"), samples(lambda op: op.compose is not None))
def test_what_an_op_is_composed_of_agrees_with_the_reference(op: OpDef, sample: Sample) -> None:
    operands = operands_of(sample)
    assert op.compose is not None
    for x, y in zip(
        as_tuple(op.compose(*operands, **sample[1])), as_tuple(op.reference(*operands, **sample[1])), strict=True
    ):
        torch.testing.assert_close(x, y)


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "row-major"])
@pytest.mark.parametrize(("op", "sample"), samples(lambda op: op.lower is not None))
def test_the_kernel_agrees_with_the_reference(op: OpDef, sample: Sample, fast: bool) -> None:
    node = node_of(op, sample, fast)
    operands = operands_of(sample, whole=op.name in EXACT)
    compare(op, sample, node, operands, as_tuple(op.reference(*operands, **sample[1])))


@pytest.mark.parametrize(("op", "sample"), samples(lambda op: bool(op.triton)))
def test_the_pointwise_kernel_agrees_with_the_reference(op: OpDef, sample: Sample) -> None:
    """One word of an expression alone: its Triton text means what its torch reference means."""
    operands = operands_of(sample, whole=op.name in EXACT)
    values = tuple(Value(f"x{i}", type_of(spec)) for i, spec in enumerate(sample[0]))
    (type,) = types_tuple(op.infer(*(v.type for v in values)))
    expr = f"{op.name}({', '.join(f'${i}' for i in range(len(values)))})"
    node = Node("pointwise", values, (Value("%1", type),), {"expr": expr})
    compare(op, sample, node, operands, as_tuple(op.reference(*operands)))


ONE_TAP = (  # x, w, groups
    ((1, 17, 9, 9), (33, 17, 1, 1), 1), ((2, 34, 5, 5), (66, 17, 1, 1), 2), ((1, 17, 3, 4, 4), (33, 17, 1, 1, 1), 1),
    ((2, 600, 5, 4), (8, 600, 1, 1), 1),
)  # fmt: skip


@pytest.mark.parametrize("epilogue", [False, True])
@pytest.mark.parametrize("shape", ONE_TAP)
def test_the_prologue_runs_on_what_is_convolved(shape: Any, epilogue: bool) -> None:
    """relu(x * one value per channel + a tensor of x's shape) + 1: which is not 0 where x is masked."""
    x, w, groups = shape
    axes = len(x) - 2
    attrs = {"stride": (1,) * (axes - 1) + (2,), "padding": (0,) * axes, "dilation": (1,) * axes, "groups": groups}
    sample = ((x, w), attrs)
    operands = operands_of(sample, whole=True)
    op = OPS["conv2d"]
    ones = (1,) * axes
    extra = [TensorType.dense("f32", (x[1], *ones)), TensorType.dense("f32", x, op.orders[len(x)])]
    extra += [TensorType.dense("f32", (w[0], *ones))] if epilogue else []
    node = node_of(
        op, sample, True, "add(acc, $2)" if epilogue else "", tuple(extra), "add(relu(add(mul(acc, $0), $1)), 1.0)"
    )
    generator = torch.Generator().manual_seed(5)
    more = [torch.randint(-4, 5, type.shape, generator=generator).double() for type in extra]
    wanted = op.reference(torch.relu(operands[0] * more[0] + more[1]) + 1, operands[1], **attrs)
    compare(op, sample, node, [*operands, *more], (wanted + more[2] if epilogue else wanted,))


@pytest.mark.parametrize(("op", "sample"), samples(lambda op: op.epilogue))
def test_the_epilogue_runs_on_the_result(op: OpDef, sample: Sample) -> None:
    """relu(result + one value per column + a tensor of the result's shape), before a fused pooling."""
    window = sample[1].get("pool")
    operands = operands_of(sample, whole=True)
    plain = as_tuple(op.reference(*operands, **{k: v for k, v in sample[1].items() if k != "pool"}))
    shape = tuple(plain[0].shape)
    column = (1, shape[1], *(1,) * (len(shape) - 2)) if len(shape) > 2 else (shape[1],)
    extra = (TensorType.dense("f32", column), TensorType.dense("f32", shape, op.orders.get(len(shape))))
    node = node_of(op, sample, True, "relu(add(add(acc, $0), $1))", extra)
    generator = torch.Generator().manual_seed(5)
    more = [torch.randint(-4, 5, type.shape, generator=generator).double() for type in extra]
    wanted = (torch.relu(plain[0] + more[0] + more[1]), *plain[1:])
    if window:
        wanted = as_tuple(
            OPS["max_pool2d"].reference(wanted[0], window=window, stride=window, padding=(0, 0), dilation=(1, 1))
        )
    compare(op, sample, node, [*operands, *more], wanted)


@pytest.mark.parametrize(("op", "sample"), samples(lambda op: op.scaled is not None))
def test_scaled_operands_give_a_result_that_is_scaled_by_channel(op: OpDef, sample: Sample) -> None:
    operands, attrs = (
        operands_of(sample),
        {k: v for k, v in sample[1].items() if k not in ("pool", "statistics", "sums")},
    )
    y = op.reference(*operands, **attrs)
    s = torch.randn(y.shape[op.channel], generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert op.scaled is not None
    scaled = op.scaled(s, *operands, **attrs)
    assert scaled[0] is operands[0]
    wanted = y.movedim(op.channel, -1).mul(s).movedim(-1, op.channel)
    torch.testing.assert_close(op.reference(*scaled, **attrs), wanted, rtol=1e-12, atol=1e-12)
