"""What follows from parameters alone: moved into weights, cut off, computed at load."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

import tritoncnn
from tests.passes.golden import graph, lines, random_inputs, same_meaning
from tritoncnn.ir import Graph, parse_graph, verify
from tritoncnn.ops import check_node
from tritoncnn.ops.evaluate import evaluate
from tritoncnn.passes.fold_batch_norm import FoldBatchNorm
from tritoncnn.passes.simplify import Simplify
from tritoncnn.passes.split_constants import split_constants
from tritoncnn.passes.store_in_panels import StoreInPanels
from tritoncnn.runtime import target_of

CONV = "{stride=[1,1], padding=[0,0], dilation=[1,1]}"
CPU = target_of(torch.device("cpu"))
WEIGHTS = frozenset({"w", "b", "s", "t"})


AFFINE = f"""
    graph g(x: f32[2,3,4,4], w: f32[5,3,1,1], b: f32[1,5,1,1], s: f32[1,5,1,1], t: f32[1,5,1,1]) {{
      %1 = conv2d(x, w) {CONV} : f32[2,5,4,4]
      %2 = add(%1, b) : f32[2,5,4,4]
      %3 = mul(%2, s) : f32[2,5,4,4]
      %4 = add(%3, t) : f32[2,5,4,4]
      return %4
    }}"""


def folded(text: str) -> Graph:
    before = graph(text)
    after, _ = FoldBatchNorm(WEIGHTS)(before)
    verify(after, check_node, after="FoldBatchNorm")
    assert same_meaning(before, after)
    return Simplify()(after)[0]


def test_a_factor_and_both_shifts_leave_one_product_and_one_sum() -> None:
    assert lines(folded(AFFINE)) == [
        "%1 = reshape(s) {shape=[5,1,1,1]}",
        "%2 = mul(w, %1)",
        "%3 = mul(b, s)",
        "%4 = add(%3, t)",
        f"%5 = conv2d(x, %2) {CONV}",
        "%6 = add(%5, %4)",
        "return %6",
    ]


@pytest.mark.parametrize(("old", "new"), [
    ("mul(%2, s)", "mul(s, %2)"), ("mul(%2, s)", "div(%2, s)"), ("add(%3, t)", "sub(%3, t)"), ("add(%3, t)", "add(t, %3)"),
])  # fmt: skip
def test_every_affine_op_is_folded(old: str, new: str) -> None:
    after = folded(AFFINE.replace(old, new))
    on_pixels = [node.op for node in after.nodes if node.result.type.shape == (2, 5, 4, 4)]
    assert on_pixels == ["conv2d", "add"]


@pytest.mark.parametrize(("why", "old", "new"), [
    ("another reader", "return %4", "return %4, %2"),
    ("a factor that is no parameter", "mul(%2, s)", "mul(%2, x0)"),
    ("a factor per pixel", "mul(%2, s)", "mul(%2, pixels)"),
    ("weights that are no parameters", "conv2d(x, w)", "conv2d(x, w0)"),
    ("a constant divided by the product", "mul(%2, s)", "div(s, %2)"),
    ("16 bits", "f32", "bf16"),
])  # fmt: skip
def test_what_would_change_the_numbers_is_left_alone(why: str, old: str, new: str) -> None:
    inputs = "t: f32[1,5,1,1], x0: f32[1,5,1,1], pixels: f32[4], w0: f32[5,3,1,1]"
    before = graph(AFFINE.replace("t: f32[1,5,1,1]", inputs).replace(old, new))
    assert FoldBatchNorm(WEIGHTS | {"pixels"})(before) == (before, ""), why


def test_a_product_that_others_read_is_kept_for_them_when_only_its_shift_is_read_twice() -> None:
    after = folded(AFFINE.replace("return %4", "return %4, %1"))
    assert sum(node.op == "conv2d" for node in after.nodes) == 1, "a second product would cost more than a factor"


def test_constants_are_cut_off_below_the_views_of_them() -> None:
    before = graph("""
        graph g(x: f32[2,3], w: f32[5,3], b: f32[5]) {
          %1 = exp(w) : f32[5,3]
          %2 = permute(%1) {dims=[1,0]} : f32[3,5]
          %3 = matmul(x, %2) : f32[2,5]
          %4 = reshape(b) {shape=[1,5]} : f32[1,5]
          %5 = add(%3, %4) : f32[2,5]
          return %5
        }""")
    once, rest = split_constants(before, {"w", "b"})
    assert [v.name for v in once.inputs] == ["w"]
    assert lines(once) == ["%1 = exp(w)", "return %1"]
    assert [v.name for v in rest.inputs] == ["x", "b", "prepared/0"]
    assert lines(rest) == [
        "%1 = permute(prepared/0) {dims=[1,0]}",
        "%2 = matmul(x, %1)",
        "%3 = reshape(b) {shape=[1,5]}",
        "%4 = add(%2, %3)",
        "return %4",
    ]
    assert parse_graph(str(rest)) == rest


def test_the_two_halves_compute_what_the_whole_did_in_every_dtype() -> None:
    before = graph("""
        graph g(x: f32[4], w: f32[4], v: f32[4], unread: f32[2]) {
          %1 = gt(w, v) : i1[4]
          %2 = add(w, v) : f32[4]
          %3 = where(%1, x, %2) : f32[4]
          %4 = mul(%2, %2) : f32[4]
          return %3, %4, x, w
        }""")
    once, rest = split_constants(before, {"w", "v", "unread"})
    inputs = random_inputs(before)
    made = dict(zip((v.name for v in rest.inputs if v.name not in inputs), evaluate(once, inputs), strict=True))
    for got, want in zip(evaluate(rest, inputs | made), evaluate(before, inputs), strict=True):
        assert torch.equal(got, want)
    assert [v.type.dtype for v in once.outputs] == ["f32", "f32", "i1"]


def test_a_graph_without_computed_constants_is_left_as_it_is() -> None:
    before = graph("""
        graph g(x: f32[2,3], w: f32[3]) {
          %1 = const() {value=2.0, dtype='f32'} : f32[]
          %2 = mul(x, %1) : f32[2,3]
          %3 = add(%2, w) : f32[2,3]
          return %3
        }""")
    once, rest = split_constants(before, {"w"})
    assert (once.nodes, once.outputs, once.inputs) == ((), (), ())
    assert rest == before


class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.norm2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + x)


class _Shared(nn.Module):
    """A convolution's result is normalised and read as it is; its filters serve twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        z: torch.Tensor = self.norm(y) + y
        return z + self.norm(self.conv(z))


class _Scale(nn.Module):
    """A factor for each feature, which come last, as layer scale has."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.randn(features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


class _WeightNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.v, self.g = nn.Parameter(torch.randn(6, 4, 3, 3)), nn.Parameter(torch.randn(6, 1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        norm = (self.v * self.v).sum((1, 2, 3), keepdim=True).sqrt()
        return torch.nn.functional.conv2d(x, self.v * (self.g / norm))


MODULES: list[tuple[str, Callable[[], nn.Module], tuple[int, ...], int]] = [
    ("residual", _Residual, (2, 4, 6, 6), 2),
    ("shared", _Shared, (2, 4, 6, 6), 3),
    ("linear", lambda: nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU()), (3, 5), 1),
    ("linear on words", lambda: nn.Sequential(nn.Linear(5, 7), _Scale(7)), (2, 3, 5), 1),
    ("conv1d", lambda: nn.Sequential(nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6), nn.ReLU()), (2, 4, 9), 1),
    ("conv3d", lambda: nn.Sequential(nn.Conv3d(3, 4, 2), nn.BatchNorm3d(4)), (1, 3, 4, 4, 3), 1),
    ("transposed", lambda: nn.Sequential(nn.ConvTranspose2d(4, 6, 3, 2, groups=2), nn.BatchNorm2d(6)), (1, 4, 3, 3), 1),
    (
        "depthwise",
        lambda: nn.Sequential(nn.Conv2d(6, 6, 3, groups=6), nn.BatchNorm2d(6, affine=False)),
        (1, 6, 5, 5),
        1,
    ),
    ("before", lambda: nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3)), (2, 4, 5, 5), 2),
    ("weight norm", _WeightNorm, (1, 4, 5, 5), 1),
]


@pytest.mark.parametrize(("make", "shape", "launches"), [m[1:] for m in MODULES], ids=[m[0] for m in MODULES])
def test_a_model_computes_constants_at_load_and_again_when_parameters_change(
    make: Callable[[], nn.Module], shape: tuple[int, ...], launches: int
) -> None:
    torch.manual_seed(0)
    module, x = make().eval(), torch.randn(shape)
    states = []
    for _ in range(2):
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor) + 0.5 if name.endswith("var") else torch.randn_like(tensor))
        states.append({name: tensor.clone() for name, tensor in module.state_dict().items()})
    model = tritoncnn.compile(module, x)
    for state in (states[1], states[0]):
        module.load_state_dict(state)
        model.load_state_dict(state)
        # Sums of at most 108 products of values of order 1, in f32, twice.
        torch.testing.assert_close(model(x), module(x).detach(), rtol=1e-4, atol=1e-4)
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, state[name])
    assert len([call for call in model.plan.calls if call.node.op not in ("copy", "pad2d")]) <= launches


def test_variances_near_zero_and_factors_of_zero_are_folded_without_loss() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    norm = module[1]
    assert isinstance(norm, nn.BatchNorm2d)
    norm.running_var = torch.tensor([0.0, 1e-12, 1e12, 1.0])
    norm.weight.data = torch.tensor([1.0, -2.0, 3.0, 0.0])
    x = torch.randn(2, 3, 6, 6)
    exact = module.double()(x.double()).detach()
    model = tritoncnn.compile(module.float(), x)
    # Each factor, product and sum is rounded: a few units of 27 products of about 1 times at most 2 / sqrt(1e-5).
    torch.testing.assert_close(model(x).double(), exact, rtol=1e-5, atol=1e-4)
    assert torch.equal(model(x)[:, 3], norm.bias[3].detach().expand(2, 4, 4))


def in_panels(text: str) -> Graph:
    before = graph(text)
    after, _ = StoreInPanels(WEIGHTS, CPU)(before)
    verify(after, check_node, after="StoreInPanels")
    assert same_meaning(before, after)
    return after


def test_heavy_filters_are_stored_in_panels_with_the_factor_before_them() -> None:
    after = in_panels(f"""
        graph g(x: f32[2,3,4,4], w: f32[192,3,2,1], s: f32[192,1,1,1]) {{
          %1 = mul(w, s) : f32[192,3,2,1]
          %2 = conv2d(x, %1) {CONV} : f32[2,192,3,4]
          return %2
        }}""")
    *_, laid, flat, conv = after.nodes
    assert laid.result.type.shape == (3, 2, 1, 3, 64)
    assert flat.result.type.shape == (3, 6, 64)
    assert conv.attrs["taps"] == (2, 1)
    assert [node.op for node in after.nodes] == ["reshape", "reshape", "mul", "permute", "copy", "reshape", "conv2d"]


def test_a_matrix_in_the_order_of_a_flattened_picture_is_copied_once() -> None:
    after = in_panels("""
        graph g(x: f32[2,12], w: f32[96,3,2,2]) {
          %1 = permute(w) {dims=[2,3,1,0]} : f32[2,2,3,96]
          %2 = reshape(%1) {shape=[12,96]} : f32[12,96]
          %3 = copy(%2) {order=[0,1]} : f32[12,96]
          %4 = matmul(x, %3) : f32[2,96]
          return %4
        }""")
    assert [node.op for node in after.nodes].count("copy") == 1
    assert after.nodes[-1].attrs["panels"]
    assert after.nodes[-1].operands[1].type.shape == (3, 12, 32)


@pytest.mark.parametrize(("x", "w", "y", "more"), [
    ("2,3,4,4", "64,3,1,1", "2,64,4,4", ""),  # one panel
    ("2,3,4,4", "200,3,1,1", "2,200,4,4", ""),  # a rest
    ("2,3,9,9", "96,3,1,1", "2,96,9,9", ""),  # lighter than the picture
    ("2,6,4,4", "192,3,1,1", "2,192,4,4", ", groups=2"),
])  # fmt: skip
def test_filters_that_would_gain_nothing_stay(x: str, w: str, y: str, more: str) -> None:
    attrs = CONV.replace("}", f"{more}}}")
    text = f"graph g(x: f32[{x}], w: f32[{w}]) {{\n  %1 = conv2d(x, w) {attrs} : f32[{y}]\n  return %1\n}}"
    before = graph(text)
    assert StoreInPanels(WEIGHTS, CPU)(before) == (before, "")
    assert StoreInPanels(frozenset(), CPU)(before) == (before, "")


class Heavy(nn.Module):
    """Few pixels, many filters: convolutions with batch norm, a flatten, matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(70, 128, 3, padding=1), nn.BatchNorm2d(128)
        self.last = nn.Conv2d(128, 112, (2, 1), stride=2)
        self.linear, self.out = nn.Linear(112 * 4, 160), nn.Linear(160, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.max_pool2d(torch.relu(self.norm(self.conv(x))), 2)
        return self.out(torch.relu(self.linear(self.last(y).flatten(1))))


@pytest.mark.parametrize("batch", [1, 3, 17])
def test_a_net_of_weights_in_panels_computes_what_torch_does(batch: int) -> None:
    torch.manual_seed(0)
    net, x = Heavy().eval(), torch.randn(batch, 70, 8, 8)
    net.norm.running_mean.normal_()
    net.norm.running_var.uniform_(0.5, 2)
    model = tritoncnn.compile(net, x)

    def apart() -> float:
        """The largest error, as a share of what a random walk of rounding errors makes of sums of 630, 256, 448 and 160 terms."""
        wanted = copy.deepcopy(net).double()(x.double()).detach()
        walk = (630**0.5 + 256**0.5 + 448**0.5 + 160**0.5) * 2**-24 * float(wanted.abs().max())
        return float((model(x) - wanted).abs().max()) / walk

    assert apart() <= 4  # standard deviations
    nodes = [node for stage in model.stages if stage.name == "StoreInPanels" for node in stage.graph.nodes]
    stored = sum(node.attrs.get("taps", ()) != () or bool(node.attrs.get("panels")) for node in nodes)
    assert stored >= (3 if batch < 17 else 2)  # of 17 pictures one is heavier than its weights
    with torch.no_grad():
        net.linear.weight.mul_(2)
        net.conv.weight.mul_(0.5)
    assert apart() <= 4
