"""ClampBeforePool: a pooling behind which relu stands is fused as one before which it stands, and is torch's at every tie."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tritoncnn
from tests.computing import assert_as_near_as_torch
from tests.passes.golden import POOL, STEPS, after, graph
from tritoncnn import SGD
from tritoncnn.autodiff import differentiate
from tritoncnn.ops.evaluate import evaluate
from tritoncnn.passes.clamp_before_pool import ClampBeforePool


def text(pool: str = POOL, size: str = "2,2", returned: str = "%4", between: str = "add(%1, b)") -> str:
    return f"""
        graph g(x: f32[2,3,4,4], w: f32[5,3,1,1], b: f32[1,5,1,1]) {{
          %1 = conv2d(x, w) {{{STEPS}, groups=1}} : f32[2,5,4,4]
          %2 = {between} : f32[2,5,4,4]
          %5, %6 = max_pool2d(%2) {{{pool}, ceil_mode=False}} : f32[2,5,{size}], u8[2,5,{size}]
          %4 = relu(%5) : f32[2,5,{size}]
          return {returned}
        }}"""


def test_relu_comes_before_the_pooling() -> None:
    assert after(ClampBeforePool(), text()) == [
        f"%1 = conv2d(x, w) {{{STEPS}, groups=1}}", "%2 = add(%1, b)", "%3 = relu(%2)",
        f"%4, %5 = max_pool2d(%3) {{{POOL}, ceil_mode=False}}", "return %4",
    ]  # fmt: skip


@pytest.mark.parametrize("kept", [
    text(returned="%4, %6"), text(returned="%4, %5"), text(returned="%4, %2"),
    text(between="mul(b, b)").replace("f32[1,5,1,1]", "f32[2,5,4,4]"),
])  # fmt: skip
def test_it_stays_where_others_read_or_nothing_would_be_fused(kept: str) -> None:
    new, note = ClampBeforePool()(graph(kept))
    assert not note
    assert new == graph(kept)


@pytest.mark.parametrize("pool", [POOL, "window=[3,3], stride=[1,1], padding=[1,1], dilation=[1,1]"])
def test_values_and_gradients_are_torchs_at_ties_zeros_and_nan(pool: str) -> None:
    """Whole numbers from -2 to 2 and some NaN: several taps of most windows are equal, or are once relu was there."""
    g = torch.Generator().manual_seed(0)
    size = "2,2" if pool == POOL else "4,4"
    before = graph(text(pool, size))
    x, w, b = (torch.randint(-2, 3, v.type.shape, generator=g).double() for v in before.inputs)
    x[0, 0, 0, 0] = x[1, 2, 3, 1] = float("nan")
    x[0, :, 3] = -0.0
    leaves = [t.requires_grad_() for t in (x, w, b)]
    steps = {"kernel_size": 2} if pool == POOL else {"kernel_size": 3, "stride": 1, "padding": 1}
    y = F.relu(F.max_pool2d(F.conv2d(x, w) + b, **steps))
    dy = torch.randint(-3, 4, y.shape, generator=g).double()
    wanted = torch.autograd.grad(y, leaves, dy)
    weighted = text(pool, size).replace("return %4", f"""%7 = mul(%4, dy) : f32[2,5,{size}]
          %8 = sum(%7) {{dims=[0,1,2,3]}} : f32[]
          return %8, %4""").replace("1,5,1,1])", f"1,5,1,1], dy: f32[2,5,{size}])")  # fmt: skip
    new, note = ClampBeforePool()(graph(weighted))
    assert note
    both = differentiate(new, new.inputs[:3])
    _, pooled, *found = evaluate(both, {"x": x.detach(), "w": w.detach(), "b": b.detach(), "dy": dy})
    torch.testing.assert_close(pooled, y.detach(), rtol=0, atol=0, equal_nan=True)
    for got, want in zip(found, wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=0, equal_nan=True)


class Mnist(nn.Module):
    """The net of PyTorch's example as it was until 2019, without its dropout between fc1 and fc2."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 10, 5), nn.Conv2d(10, 20, 5)
        self.conv2_drop, self.fc1, self.fc2 = nn.Dropout2d(), nn.Linear(320, 50), nn.Linear(50, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2_drop(self.conv2(x)), 2))
        return F.log_softmax(self.fc2(F.relu(self.fc1(x.view(-1, 320)))), dim=1)


def test_the_net_of_torchs_example_pools_in_its_convolutions() -> None:
    torch.manual_seed(0)
    net, x, target = Mnist().eval(), torch.randn(4, 1, 28, 28), torch.tensor([1, 7, 0, 7])
    model = tritoncnn.compile(net, x)
    assert [call.node.op for call in model.plan.calls] == ["conv2d", "conv2d", "matmul", "matmul", "log_softmax"]
    with torch.no_grad():
        assert_as_near_as_torch("answers", model(x), net(x), copy.deepcopy(net).double()(x.double()))
    x[2, 0, 5, 5] = float("nan")
    assert model(x).isnan().any(1).tolist() == [False, False, True, False]
    x[2, 0, 5, 5] = 0.0
    single, exact = copy.deepcopy(net), copy.deepcopy(net).double()
    step = tritoncnn.compile_step(net, F.nll_loss, SGD(0.05), (x, target))
    assert "max_pool2d" not in [call.node.op for call in step.plan.calls]
    for _ in range(3):
        step(x, target)
    for other in (single, exact):
        optimizer = torch.optim.SGD(other.parameters(), 0.05)
        for _ in range(3):
            optimizer.zero_grad()
            F.nll_loss(other(x.to(other.fc1.weight.dtype)), target).backward()
            optimizer.step()
    for (name, p), q, z in zip(net.named_parameters(), single.parameters(), exact.parameters(), strict=True):
        assert_as_near_as_torch(name, p.detach(), q.detach(), z.detach())
