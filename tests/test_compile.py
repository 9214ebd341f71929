"""The whole way: torch module -> plan -> numbers, against torch."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

import tritoncnn
from tritoncnn.errors import CheckpointError, DTypeError, InputError, ShapeError, UnsupportedError
from tritoncnn.models.lenet import LeNet

UNIT = 2.0**-24  # unit roundoff of f32
N = 16


def batch(seed: int, size: int = N) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(size, 1, 28, 28, generator=g), torch.randint(0, 10, (size,), generator=g)


def new_lenet() -> LeNet:
    torch.manual_seed(0)
    return LeNet()


@pytest.fixture(scope="module")
def sgd_step() -> tritoncnn.CompiledStep:
    return tritoncnn.compile_step(new_lenet(), F.cross_entropy, tritoncnn.SGD(lr=0.05, momentum=0.9), batch(0))


@pytest.fixture
def fresh_step(sgd_step: tritoncnn.CompiledStep) -> tritoncnn.CompiledStep:
    """The step as it was before its first call."""
    sgd_step.load_state_dict(new_lenet().state_dict())
    sgd_step.load_optimizer_state({k: torch.zeros_like(v) for k, v in sgd_step.optimizer_state().items()})
    sgd_step.lr = 0.05
    return sgd_step


class AbsoluteLeNet:
    """LeNet's error bound: every sum taken over absolute values, every relu and pool decided as in the true network.

    If each of L successive f32 operations sums at most n terms, |computed - exact| <= L * gamma_n * (that absolute sum),
    gamma_n = n u / (1 - n u) (Higham 2002, "Accuracy and Stability of Numerical Algorithms", section 3.1).
    """

    def __init__(self, model: LeNet) -> None:
        self.model = copy.deepcopy(model).double()
        self.absolute = copy.deepcopy(self.model)
        with torch.no_grad():
            for p in self.absolute.parameters():
                p.abs_()

    def gradients(
        self, x: torch.Tensor, target: torch.Tensor
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """(exact gradients in fp64, their absolute sums), by parameter name."""
        true, bound = x.double(), x.double().abs()
        for name, padding in (("conv1", 2), ("conv2", 0)):
            y = F.conv2d(true, *self._both(self.model, name), padding=padding)
            b = F.conv2d(bound, *self._both(self.absolute, name), padding=padding)
            true, index = F.max_pool2d(F.relu(y), 2, return_indices=True)
            b = b * (y > 0)
            bound = b.flatten(2).gather(2, index.flatten(2)).reshape(true.shape)
        true, bound = true.flatten(1), bound.flatten(1)
        for name in ("fc1", "fc2", "fc3"):
            y = F.linear(true, *self._both(self.model, name))
            b = F.linear(bound, *self._both(self.absolute, name))
            true, bound = (y, b) if name == "fc3" else (F.relu(y), b * (y > 0))
        F.cross_entropy(true, target).backward()
        dlogits = (true.detach().softmax(1) - F.one_hot(target, 10)).abs() / len(x)
        # The softmax turns an error e of the logits into at most 2 p e of its result.
        weight = dlogits + 2 * true.detach().softmax(1) * bound.detach().amax(1, keepdim=True) / len(x)
        (bound * weight).sum().backward()
        exact = {name: p.grad.clone() for name, p in self.model.named_parameters() if p.grad is not None}
        return exact, {name: p.grad.clone() for name, p in self.absolute.named_parameters() if p.grad is not None}

    @staticmethod
    def _both(model: nn.Module, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        layer = getattr(model, name)
        return layer.weight, layer.bias


def test_inference_agrees_with_torch() -> None:
    model = new_lenet().eval()
    x, _ = batch(1)
    with torch.no_grad():
        # 5 layers, sums of at most 400 terms of order 1.
        torch.testing.assert_close(tritoncnn.compile(model, x)(x), model(x), rtol=0.0, atol=5 * 400 * UNIT)


def test_gradients_of_every_parameter_are_within_the_error_bound_of_fp64(fresh_step: tritoncnn.CompiledStep) -> None:
    x, target = batch(2)
    exact, absolute = AbsoluteLeNet(new_lenet()).gradients(x, target)
    before = fresh_step.state_dict()
    fresh_step.lr = 1.0
    fresh_step(x, target)
    terms = 25 + 150 + 400 + 120 + 84 + 10 + 84 + 120 + 400 + N * 784  # summed along the longest way there and back
    for name, after in fresh_step.state_dict().items():
        error = (before[name].double() - after.double() - exact[name]).abs()
        limit = 2 * terms * UNIT * absolute[name] + UNIT * (before[name].double().abs() + after.double().abs())
        assert bool((error <= limit).all()), f"{name}: error {float((error / limit).max()):.2f} of the bound"
        assert float(error.max()) <= 1e-5 * float(exact[name].abs().max()), f"{name}: far above f32 rounding"


def digits(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of real scanned digits, 8x8 stretched to 28x28."""
    data = load_digits()
    rows = slice(step * N % 1600, step * N % 1600 + N)
    pictures = torch.tensor(data.images[rows], dtype=torch.float32)[:, None] / 16
    return F.interpolate(pictures, size=(28, 28), mode="bilinear"), torch.tensor(data.target[rows])


def test_200_sgd_steps_follow_torchs_loss_curve(fresh_step: tritoncnn.CompiledStep) -> None:
    """Equal weights, equal batches, 200 steps: our f32 run stays as close to torch's fp64 run as torch's f32 run does.

    Rounding grows with training in a way that no formula tells beforehand, so torch's own f32 run measures it: at every step
    |ours - fp64| <= 4 * (the largest |torch f32 - fp64| so far) + 8 u * loss. The factor is for two roundings of a sum that
    differ in order; the last term for the first steps, where torch may be exact by luck.
    """
    fresh_step.lr = 0.01
    models = [new_lenet(), new_lenet().double()]
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9) for model in models]
    allowed = 0.0
    for i in range(200):
        x, target = digits(i)
        ours = float(fresh_step(x, target))
        losses = []
        for model, optimizer in zip(models, optimizers, strict=True):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x.to(model.fc3.bias.dtype)), target)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(float(loss.detach()))
        single, exact = losses
        allowed = max(allowed, abs(single - exact))
        assert abs(ours - exact) <= 4 * allowed + 8 * UNIT * exact, (
            f"step {i}: ours {ours}, torch {single}, fp64 {exact}"
        )
    assert exact < 1.0, "the loss went down, so the curve is one of learning"


def test_one_seed_gives_the_same_bits(fresh_step: tritoncnn.CompiledStep) -> None:
    def run(threads: int) -> dict[str, torch.Tensor]:
        fresh_step.load_state_dict(new_lenet().state_dict())
        fresh_step.load_optimizer_state({k: torch.zeros_like(v) for k, v in fresh_step.optimizer_state().items()})
        torch.set_num_threads(threads)
        for i in range(5):
            fresh_step(*batch(i))
        return fresh_step.state_dict()

    threads = torch.get_num_threads()
    try:
        first, second, single = run(2), run(2), run(1)
    finally:
        torch.set_num_threads(threads)
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name])
        assert torch.equal(tensor, single[name])


def test_adamw_follows_torch() -> None:
    model = new_lenet()
    step = tritoncnn.compile_step(copy.deepcopy(model), F.cross_entropy, tritoncnn.AdamW(lr=1e-3), batch(0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    for i in range(10):
        x, target = batch(i)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), target)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        assert abs(float(step(x, target)) - float(loss.detach())) < 1e-4
    assert int(step.optimizer_state()["step"]) == 10


def test_learning_rate_is_data(fresh_step: tritoncnn.CompiledStep) -> None:
    before = fresh_step.state_dict()
    fresh_step.lr = 0.0
    fresh_step(*batch(0))
    assert all(torch.equal(tensor, before[name]) for name, tensor in fresh_step.state_dict().items())
    fresh_step.lr = 0.1
    fresh_step(*batch(0))
    assert not torch.equal(fresh_step.state_dict()["fc3.bias"], before["fc3.bias"])


def test_state_goes_out_and_in_unchanged(fresh_step: tritoncnn.CompiledStep) -> None:
    for i in range(3):
        fresh_step(*batch(i))
    weights, state = fresh_step.state_dict(), fresh_step.optimizer_state()
    losses = [float(fresh_step(*batch(i))) for i in range(3)]
    fresh_step.load_state_dict(weights)
    fresh_step.load_optimizer_state(state)
    assert [float(fresh_step(*batch(i))) for i in range(3)] == losses


def test_the_forward_plan_has_one_launch_per_layer() -> None:
    plan = tritoncnn.compile(new_lenet().eval(), batch(0)[0]).plan
    assert [call.node.op for call in plan.calls] == ["pad2d", "conv2d", "conv2d", "matmul", "matmul", "matmul"]
    assert [str(call.node.attrs.get("epilogue")) for call in plan.calls[1:]] == ["relu(add(acc, $0))"] * 4 + [
        "add(acc, $0)"
    ]
    assert plan.sizes["arena"] < plan.tensor_bytes


def test_inputs_unlike_the_example_are_refused(fresh_step: tritoncnn.CompiledStep) -> None:
    x, target = batch(0)
    with pytest.raises(
        ShapeError,
        match=r"x \[8, 1, 28, 28\], target \[16\] cannot be planned.*batch_size \(8\) to match",
    ):
        fresh_step(x[:8], target)
    with pytest.raises(DTypeError, match=r"got torch.float64"):
        fresh_step(x.double(), target)


def test_a_wrong_state_dict_changes_nothing(fresh_step: tritoncnn.CompiledStep) -> None:
    before = fresh_step.state_dict()
    missing = {k: v for k, v in before.items() if k != "fc2.bias"}
    with pytest.raises(CheckpointError, match=r"'fc2\.bias' is missing"):
        fresh_step.load_state_dict(missing)
    with pytest.raises(
        CheckpointError, match=r"'conv1.weight' must be torch.float32 \[6, 1, 5, 5\]; got torch.float32 \[6, 1, 3, 3\]"
    ):
        fresh_step.load_state_dict({**before, "conv1.weight": torch.zeros(6, 1, 3, 3)})
    assert all(torch.equal(tensor, before[name]) for name, tensor in fresh_step.state_dict().items())


def test_unknown_ops_are_listed_with_their_lines() -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.fft.fft(x).real + torch.linalg.det(x)[:, None, None]

    with pytest.raises(UnsupportedError, match=r"(?s)fft.*test_compile\.py:\d+.*det.*test_compile\.py:\d+"):
        tritoncnn.compile(Odd(), torch.randn(2, 3, 3))


def test_an_optimizer_of_torch_is_refused() -> None:
    with pytest.raises(InputError, match=r"optimizer must be tritoncnn\.SGD"):
        tritoncnn.compile_step(new_lenet(), F.cross_entropy, torch.optim.SGD(new_lenet().parameters()), batch(0))  # type: ignore[arg-type]


def test_reference_mode_gives_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = new_lenet().eval(), batch(3)[0]
    native = tritoncnn.compile(model, x)(x)
    monkeypatch.setenv("TRITONCNN_REFERENCE", "1")
    torch.testing.assert_close(tritoncnn.compile(model, x)(x), native, rtol=0.0, atol=5 * 400 * UNIT)


def test_passes_and_plan_are_dumped_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITONCNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TRITONCNN_DUMP", "passes,plan")
    tritoncnn.compile(nn.Linear(3, 2), torch.zeros(4, 3))
    dumped = {path.name: path.read_text() for path in (tmp_path / "cache" / "dump").iterdir()}
    assert "graph Linear(" in dumped["Linear-00-capture.txt"]
    assert "matmul_kernel" in dumped["Linear-plan.txt"]


def test_one_model_serves_several_python_threads() -> None:
    model = new_lenet().eval()
    compiled = tritoncnn.compile(model, batch(0)[0])
    inputs = [batch(seed)[0] for seed in range(4)]
    alone = [compiled(x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda i: compiled(inputs[i % 4]), range(200)))
    assert all(torch.equal(y, alone[i % 4]) for i, y in enumerate(together))


@pytest.mark.parametrize("kind", ["Adam", "SGD"])
def test_adam_and_clipped_gradients_follow_torch(kind: str) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))
    theirs = copy.deepcopy(model)
    options: dict[str, float] = {"lr": 0.05, "weight_decay": 0.1} | ({"momentum": 0.9} if kind == "SGD" else {})
    optimizer = getattr(torch.optim, kind)(theirs.parameters(), **options)
    x, target = torch.randn(8, 6), torch.randint(0, 3, (8,))
    step = tritoncnn.compile_step(
        model, F.cross_entropy, getattr(tritoncnn, kind)(**options, clip_norm=0.25), (x, target)
    )
    for _ in range(5):
        optimizer.zero_grad()
        loss = F.cross_entropy(theirs(x), target)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.25)
        assert norm > 0.25  # else nothing was clipped
        optimizer.step()
        torch.testing.assert_close(step(x, target), loss.detach())
    for name, tensor in theirs.state_dict().items():
        torch.testing.assert_close(step.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["AdamW", "SGD"])
def test_moving_averages_follow_torch(kind: str) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))
    theirs = copy.deepcopy(model)
    average = torch.optim.swa_utils.AveragedModel(theirs, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.75))
    optimizer = getattr(torch.optim, kind)(theirs.parameters(), lr=0.05)
    x, target = torch.randn(8, 6), torch.randint(0, 3, (8,))
    step = tritoncnn.compile_step(model, F.cross_entropy, getattr(tritoncnn, kind)(lr=0.05, ema=0.75), (x, target))
    assert all(torch.equal(tensor, step.state_dict()[name]) for name, tensor in step.averages().items())
    for _ in range(4):
        optimizer.zero_grad()
        F.cross_entropy(theirs(x), target).backward()
        optimizer.step()
        average.update_parameters(theirs)
        step(x, target)
    for name, tensor in average.module.state_dict().items():
        torch.testing.assert_close(step.averages()[name], tensor, rtol=1e-4, atol=1e-5)
        assert not torch.equal(step.averages()[name], step.state_dict()[name])
    assert "average.0.weight" in step.optimizer_state()


def test_an_optimizer_without_averages_says_how_to_get_them(fresh_step: tritoncnn.CompiledStep) -> None:
    with pytest.raises(InputError, match=r"the optimizer keeps none; compile with \w+\(ema=0\.999\)"):
        fresh_step.averages()
    with pytest.raises(InputError, match=r"SGD: ema must lie in \[0, 1\); got 1\.0"):
        tritoncnn.SGD(ema=1.0)
