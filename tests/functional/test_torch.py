"""Fused ops as torch knows them: opcheck, gradcheck, torch.compile, several processes, modules, errors."""

from __future__ import annotations

import gc
import os
import re
import warnings
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from tests.functional.cases import CASES
from tests.functional.test_against_torch import as_tuple, make
from tritoncnn import functional as T
from tritoncnn.errors import UnsupportedError

CHECKED = ["conv2d fused", "conv1d causal", "conv_transpose2d", "batch_norm train", "group_norm", "layer_norm",
           "cross_entropy all",
           "prelu", "softmax", "max_pool2d", "bilinear", "focal_loss", "linear fused",
           "max_pool2d indices", "concat", "lp_pool2d"]  # fmt: skip


@pytest.mark.parametrize("name", CHECKED)
def test_the_library_op_passes_opcheck(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Schema, autograd registration, fake tensors and AOT dispatch of every library op that the case calls."""
    from tritoncnn.functional.dispatch import FusedOp

    called: list[tuple[Any, tuple[Any, ...]]] = []
    plain = FusedOp.__call__

    def recording(self: FusedOp, *arguments: Any) -> tuple[torch.Tensor, ...]:
        wanted = [bool(x.requires_grad) for x in self.present(arguments)]
        called.append((getattr(torch.ops.tritoncnn, self.name), (*arguments, wanted)))
        return plain(self, *arguments)

    monkeypatch.setattr(FusedOp, "__call__", recording)
    inputs = [make(spec, torch.float32, "contiguous", i) for i, spec in enumerate(CASES[name].inputs)]
    CASES[name].ours(*inputs)
    assert called
    for op, arguments in called:
        torch.library.opcheck(op, arguments, raise_exception=True)


@pytest.mark.parametrize(
    "name", ["conv2d all", "conv3d", "conv_transpose2d", "linear", "avg_pool2d", "bilinear", "pad reflect"]
)
def test_linear_ops_pass_gradcheck(name: str) -> None:
    """Numeric differences in f32 are exact enough where the op is linear in each operand and steps are large."""
    inputs = [make(spec, torch.float32, "contiguous", i) for i, spec in enumerate(CASES[name].inputs)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*double precision.*")
        assert torch.autograd.gradcheck(CASES[name].ours, inputs, eps=0.5, atol=1e-3, rtol=1e-3, fast_mode=True)


def model(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    y = T.conv2d(x, w, b, padding=1, activation="relu")
    y = T.batch_norm(y, None, None, g, b, training=True) * 2
    return T.adaptive_avg_pool2d(y, 1).flatten(1).square().mean()


def model_inputs() -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(shape, requires_grad=True) for shape in ((2, 3, 6, 6), (4, 3, 3, 3), (4,), (4,))]


@pytest.mark.parametrize("dynamic", [False, True])
def test_torch_compile_gives_the_same_values_and_gradients(dynamic: bool) -> None:
    torch._dynamo.reset()
    inputs = model_inputs()
    loss = model(*inputs)
    wanted = torch.autograd.grad(loss, inputs)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    found_loss = compiled(*inputs)
    torch.testing.assert_close(found_loss, loss)
    for found, gradient in zip(torch.autograd.grad(found_loss, inputs), wanted, strict=True):
        torch.testing.assert_close(found, gradient)


def test_torch_compile_takes_a_layout_that_rows_cannot_be_seen_in() -> None:
    x = torch.randn(2, 4, 3, 5).contiguous(memory_format=torch.channels_last).requires_grad_()
    compiled = torch.compile(lambda x: T.layer_norm(T.relu(x), (5,)), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), T.layer_norm(T.relu(x), (5,)))


def _train(rank: int, world: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", GLOO_SOCKET_IFNAME="lo")
    torch.set_num_threads(1)
    store = torch.distributed.FileStore(f"{folder}/store", world)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=world)

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = torch.nn.Parameter(torch.linspace(-1, 1, 4 * 3 * 9).reshape(4, 3, 3, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return T.conv2d(x, self.w, activation="relu").mean()

    net = torch.nn.parallel.DistributedDataParallel(Net())
    x = torch.arange(4 * 3 * 36.0).reshape(4, 3, 6, 6).sin()
    net(x[2 * rank : 2 * rank + 2]).backward()
    torch.save(net.module.w.grad, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_data_parallel_training_averages_gradients(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_train, args=(2, str(tmp_path)), nprocs=2)
    w = torch.linspace(-1, 1, 4 * 3 * 9).reshape(4, 3, 3, 3).requires_grad_()
    x = torch.arange(4 * 3 * 36.0).reshape(4, 3, 6, 6).sin()
    (wanted,) = torch.autograd.grad(F.relu(F.conv2d(x, w)).mean(), w)
    for rank in range(2):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt", weights_only=True), wanted)


def test_results_repeat_bit_for_bit_for_any_number_of_threads() -> None:
    before = torch.get_num_threads()
    inputs = model_inputs()
    found = []
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        found.append(torch.autograd.grad(model(*inputs), inputs))
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


def test_nothing_that_the_gradient_does_not_read_is_kept() -> None:
    x, w = torch.randn(2, 3, 32, 32, requires_grad=True), torch.randn(4, 3, 3, 3)
    y = T.conv2d(x, w, activation="none")
    kept = [t for t in y.grad_fn.saved_tensors if t.untyped_storage().nbytes() > 1000]  # type: ignore[union-attr]
    assert kept == []  # dx needs dy and the filters only


def test_operands_and_results_end_with_the_caller() -> None:
    """Programs are kept, not what they ran on last."""
    x = torch.randn(3, 5, 7)
    y = T.relu(x)
    held = [weakref.ref(t.untyped_storage()) for t in (x, y)]
    del x, y
    gc.collect()
    assert [ref() for ref in held] == [None, None]


def test_an_expanded_input_and_an_unused_gradient_are_fine() -> None:
    x = torch.randn(1, 3, 1, 1).expand(2, 3, 5, 5)
    w = torch.randn(4, 3, 3, 3)
    torch.testing.assert_close(T.conv2d(x, w), F.conv2d(x, w))


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_softmax_is_taken_in_the_dtype_that_is_asked_for(name: str, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 7, generator=generator).to(torch.bfloat16).requires_grad_()
    found, wanted = getattr(T, name)(x, 1, dtype=dtype), getattr(F, name)(x, 1, dtype=dtype)
    assert found.dtype == dtype
    torch.testing.assert_close(found, wanted)
    dy = torch.randn(5, 7, generator=generator).to(dtype)
    # Gradients are numbers below 8, rounded to bf16 once or twice.
    pair = (torch.autograd.grad(y, x, dy)[0] for y in (found, wanted))
    torch.testing.assert_close(*pair, rtol=0, atol=8 * 2.0**-8)


OUT_OF_RANGE = {
    "cross_entropy: target must hold numbers from 0 to 3, or -100; got 4":
        lambda x: T.cross_entropy(x, torch.tensor([0, 4, 1])),
    "cross_entropy: target must hold numbers from 0 to 3, or 7; got -1":
        lambda x: T.cross_entropy(x, torch.tensor([0, -1, 1]), ignore_index=7, label_smoothing=0.1),
    "cross_entropy: target must hold numbers from 0 to 2, or -100; got 3":
        lambda x: T.cross_entropy(x.reshape(1, 3, 2, 2), torch.tensor([[[0, 3], [2, 3]]]), weight=torch.ones(3)),
    "embedding: index must hold numbers from 0 to 2; got -1": lambda x: T.embedding(torch.tensor([[0], [-1]]), x),
    "max_unpool2d: indices must hold numbers from 0 to 47; got 48":
        lambda x: T.max_unpool2d(x.reshape(1, 1, 3, 4), torch.arange(37, 49).reshape(1, 1, 3, 4), 2),
    "one_hot: index must hold numbers from 0 to 4; got 5": lambda x: T.one_hot(torch.tensor([1, 5]), 5),
}  # fmt: skip


@pytest.mark.parametrize("said", OUT_OF_RANGE)
@pytest.mark.parametrize("gradients", [False, True])
def test_numbers_that_name_no_class_or_row_are_refused(said: str, gradients: bool) -> None:
    x = torch.randn(3, 4).requires_grad_(gradients)
    for _ in range(2):  # also once its kind is known
        with pytest.raises(IndexError, match=f"^{re.escape(said)}$"):
            OUT_OF_RANGE[said](x)


def test_numbers_out_of_range_are_refused_behind_torch_compile_too() -> None:
    step = torch.compile(lambda x, t: T.cross_entropy(x, t) * 2, backend="aot_eager")
    assert step(torch.randn(3, 4), torch.tensor([0, -100, 1])).isfinite()
    with pytest.raises(IndexError, match="target must hold numbers from 0 to 3, or -100; got 4"):
        step(torch.randn(3, 4), torch.tensor([0, 4, 1]))


AXES = [1, 2, 3]


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("transposed", [False, True])
def test_what_follows_a_convolution_is_rounded_once_with_it(axes: int, dtype: torch.dtype, transposed: bool) -> None:
    """Whole numbers past those that 16 bits hold: f64 is exact, one rounding of it is right, another before it is seen."""
    generator = torch.Generator().manual_seed(0)

    def whole(*shape: int, most: int = 5) -> torch.Tensor:
        return torch.randint(-most, most + 1, shape, generator=generator).to(dtype)

    x, w, b = whole(2, 8, *(6,) * axes), whole(8, 8, *(3,) * axes), whole(8, most=100)
    call = f"conv_transpose{axes}d" if transposed else f"conv{axes}d"
    options: dict[str, torch.Tensor] = {}
    wanted = getattr(F, call)(x.double(), w.double(), b.double())
    if not transposed:
        options = {"scale": whole(8, most=2), "shift": whole(8, most=100), "residual": whole(*wanted.shape, most=100)}
        at = (8, *(1,) * axes)
        wanted = wanted * options["scale"].view(at) + options["shift"].view(at) + options["residual"]
    found = getattr(T, call)(x, w, b, **options, activation="relu")
    assert torch.equal(found, wanted.relu().to(dtype))


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("transposed", [False, True])
def test_a_convolution_with_all_that_follows_is_one_launch(axes: int, transposed: bool) -> None:
    from tritoncnn.functional import convolution

    x, w, b = torch.randn(2, 8, *(6,) * axes), torch.randn(8, 8, *(3,) * axes), torch.randn(8)
    if transposed:
        op, call = convolution._conv_transpose, getattr(T, f"conv_transpose{axes}d")
        call(x, w, b, activation="tanh")
    else:
        op, call = convolution._conv, getattr(T, f"conv{axes}d")
        call(x, w, b, scale=b, shift=b, residual=torch.randn(2, 8, *(4,) * axes), activation="tanh")
    graph = next(reversed(op._ready.values()))[1].plan.graph
    work = [
        node.op for node in graph.nodes if node.op not in ("reshape", "copy")
    ]  # views, and operands brought in order
    assert work == ["conv2d_dgrad" if transposed else "conv2d"]
    assert graph.outputs[0].type.shape == tuple(call(x, w).shape)


def test_every_public_op_has_a_case() -> None:
    words = " ".join(CASES)
    named = {"binary_cross_entropy_with_logits": "bce", "interpolate": "bilinear", "activate": "relu"}
    named |= {"dropout": "relu", "channel_dropout": "relu"}  # test_dropout.py
    assert [name for name in T.__all__ if named.get(name, name) not in words] == []
    assert all(as_tuple(getattr(T, name).__doc__)[0] for name in T.__all__)


class Watching(TorchDispatchMode):
    """Notes our ops as they pass torch's dispatcher."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "tritoncnn":
            self.seen.append(func.name())
        return func(*args, **(kwargs or {}))


def test_a_call_that_is_watched_goes_through_the_dispatcher_with_the_same_bits() -> None:
    x, w = torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3, requires_grad=True)

    def run() -> tuple[torch.Tensor, torch.Tensor]:
        y = T.conv2d(x, w, padding=1, activation="gelu")
        return y.detach(), torch.autograd.grad(y.square().sum(), [w])[0]

    direct = run()
    with Watching() as mode:
        watched = run()
    assert mode.seen == ["tritoncnn::conv", "tritoncnn::conv_backward"]
    assert all(torch.equal(a, b) for a, b in zip(direct, watched, strict=True))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile, torch.no_grad():
        T.conv2d(x, w, padding=1, activation="gelu")
    assert any(event.key == "tritoncnn::conv" for event in profile.key_averages())


def test_a_gradient_of_a_gradient_is_refused() -> None:
    x = torch.randn(3, 5, requires_grad=True)
    with pytest.raises(UnsupportedError, match="gradients of gradients"):
        torch.autograd.grad(T.gelu(x).sum(), [x], create_graph=True)


def test_gradients_that_nobody_has_count_as_zero() -> None:
    x = torch.randn(2, 3, 6, 6, requires_grad=True)
    values, _ = T.max_pool2d(x, 2, return_indices=True)
    other = T.gelu(x)
    (dx,) = torch.autograd.grad(other.sum(), [x], retain_graph=True)
    (both,) = torch.autograd.grad([values, other], [x], [torch.zeros_like(values), torch.ones_like(other)])
    torch.testing.assert_close(dx, both)
