"""Training steps over any inputs, results, modules and optimizers, against torch step by step."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tritoncnn
from tests.compiler.small_net import CLOSE, N, Net, X, Y, follow, new_net, same_state
from tritoncnn import SGD, Adam, AdamW, RMSprop, Update
from tritoncnn.errors import CheckpointError, InputError


def test_the_module_itself_is_trained() -> None:
    ours, theirs = new_net(), new_net()
    step = tritoncnn.compile_step(ours, F.cross_entropy, SGD(0.1, momentum=0.9), (X, Y))
    wanted = follow(
        theirs, lambda: F.cross_entropy(theirs(X), Y), torch.optim.SGD(theirs.parameters(), 0.1, momentum=0.9)
    )
    assert [float(step(X, Y)) for _ in range(3)] == pytest.approx(wanted, rel=1e-5)
    same_state(ours, theirs)
    torch.testing.assert_close(ours(X), theirs(X), **CLOSE)


class Batch(NamedTuple):
    a: torch.Tensor
    b: torch.Tensor


def _losses(nets: Any, batch: Batch) -> dict[str, Any]:
    fake = nets.G(batch.a)
    real, made = nets.D(batch.b), nets.D(fake.detach())
    return {
        "d": F.softplus(-real).mean() + F.softplus(made).mean(),
        "g": F.softplus(-nets.D(fake)).mean() + F.l1_loss(fake, batch.b),
        "fake": fake,
    }


def test_two_networks_are_trained_against_each_other_in_one_plan() -> None:
    torch.manual_seed(1)
    G, D = Net(5, 5), Net(5, 1)
    G2, D2 = copy.deepcopy(G), copy.deepcopy(D)
    batch = Batch(torch.randn(N, 5), torch.randn(N, 5))
    step = tritoncnn.compile_step(
        nets={"G": G, "D": D}, losses=_losses, example=batch,
        updates=[Update("d", of="D", by=Adam(1e-2)), Update("g", of="G", by=SGD(0.1))],
    )  # fmt: skip
    d, g = torch.optim.Adam(D2.parameters(), 1e-2), torch.optim.SGD(G2.parameters(), 0.1)
    for _ in range(4):
        out = step(batch)
        wanted = _losses(tritoncnn.tree.Fields(G=G2, D=D2), batch)
        for loss, net in (("d", D2), ("g", G2)):
            gradients = torch.autograd.grad(wanted[loss], tuple(net.parameters()), retain_graph=True)
            for p, gradient in zip(net.parameters(), gradients, strict=True):
                p.grad = gradient
        d.step()
        g.step()
        assert float(out.d) == pytest.approx(float(wanted["d"]), rel=1e-5)
        assert float(out["g"]) == pytest.approx(float(wanted["g"]), rel=1e-5)
        torch.testing.assert_close(out.fake, wanted["fake"].detach(), **CLOSE)
    same_state(G, G2)
    same_state(D, D2)
    assert set(step.state_dict()) == {f"{net}.{name}" for net in "GD" for name in G.state_dict()}


@dataclass
class Boxes:
    at: list[torch.Tensor]
    scale: float


def test_any_tree_goes_in_and_comes_out() -> None:
    def losses(net: Net, batch: Boxes, more: dict[str, Any]) -> tuple[torch.Tensor, Boxes]:
        y = net(batch.at[0]) * batch.scale + (more["mask"].float()[:, None] if more["use"] else 0)
        return F.mse_loss(y, batch.at[1]), Boxes([y.argmax(1)], batch.scale)

    ours, theirs = new_net(), new_net()
    batch = (Boxes([X, torch.randn(N, 3)], 0.5), {"mask": torch.arange(N) > 2, "use": True})
    step = tritoncnn.compile_step(nets=ours, losses=losses, example=batch, updates=[Update(by=SGD(0.1))])
    loss, found = step(*batch)
    wanted, boxes = losses(theirs, *batch)
    assert float(loss) == pytest.approx(float(wanted), rel=1e-6)
    assert isinstance(found, Boxes)
    assert found.scale == 0.5
    assert torch.equal(found.at[0], boxes.at[0])
    with pytest.raises(InputError, match=r"scale must be 0.5, as in the example; got 2.0"):
        step(Boxes(batch[0].at, 2.0), batch[1])
    with pytest.raises(InputError, match="must have mask, use, as in the example; got mask"):
        step(batch[0], {"mask": batch[1]["mask"]})


def test_a_loss_module_brings_buffers_and_parameters_of_its_own() -> None:
    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("weight", torch.tensor([1.0, 5.0, 20.0]))
            self.log = nn.Parameter(torch.zeros(()))

        def forward(self, y: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(y, target, weight=self.weight) * torch.exp(-self.log) + self.log

    ours, theirs = new_net(), new_net()
    loss, their_loss = Weighted(), Weighted()
    step = tritoncnn.compile_step(ours, loss, SGD(0.1), (X, Y))
    parameters = [*theirs.parameters(), *their_loss.parameters()]
    wanted = follow(theirs, lambda: their_loss(theirs(X), Y), torch.optim.SGD(parameters, 0.1))
    assert [float(step(X, Y)) for _ in range(3)] == pytest.approx(wanted, rel=1e-5)
    same_state(ours, theirs)
    torch.testing.assert_close(loss.log, their_loss.log, **CLOSE)
    assert set(step.state_dict()) == set(ours.state_dict())


def test_a_frozen_network_in_the_loss_is_read_and_left_alone() -> None:
    frozen = new_net(3, 2).requires_grad_(False)
    before = copy.deepcopy(frozen)
    ours, theirs = new_net(), new_net()
    step = tritoncnn.compile_step(ours, lambda y, t: F.mse_loss(frozen(y), frozen(t)), SGD(0.1), (X, torch.ones(N, 3)))
    wanted = follow(
        theirs,
        lambda: F.mse_loss(before(theirs(X)), before(torch.ones(N, 3))),
        torch.optim.SGD(theirs.parameters(), 0.1),
    )
    assert [float(step(X, torch.ones(N, 3))) for _ in range(3)] == pytest.approx(wanted, rel=1e-5)
    same_state(frozen, before)


def test_a_parameter_that_the_loss_never_reads_is_left_alone() -> None:
    module = new_net()
    module.unused = nn.Linear(2, 2)
    before = copy.deepcopy(module.unused)
    step = tritoncnn.compile_step(module, F.cross_entropy, SGD(0.1, weight_decay=0.5), (X, Y))
    step(X, Y)
    same_state(module.unused, before)


def test_some_parameters_are_chosen_and_the_others_stay() -> None:
    module = new_net()
    before = copy.deepcopy(module)
    step = tritoncnn.compile_step(
        nets=module,
        losses=lambda net, x, y: F.cross_entropy(net(x), y),
        example=(X, Y),
        updates=[Update(of="head.*", by=SGD(0.1))],
    )
    step(X, Y)
    same_state(module.body, before.body)
    assert not torch.equal(module.head.weight, before.head.weight)


def test_groups_have_numbers_of_their_own_and_are_clipped_together() -> None:
    ours, theirs = new_net(), new_net()
    step = tritoncnn.compile_step(
        ours, F.cross_entropy, Adam(1e-2, weight_decay=0.1, clip_norm=0.05, groups={"*.bias": {"weight_decay": 0.0, "lr": 1e-3}}),
        (X, Y),
    )  # fmt: skip
    biases = [p for name, p in theirs.named_parameters() if name.endswith("bias")]
    weights = [p for name, p in theirs.named_parameters() if not name.endswith("bias")]
    optimizer = torch.optim.Adam([{"params": weights, "weight_decay": 0.1}, {"params": biases, "lr": 1e-3}], 1e-2)
    for _ in range(3):
        step(X, Y)
        optimizer.zero_grad()
        F.cross_entropy(theirs(X), Y).backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.05)
        optimizer.step()
    same_state(ours, theirs)
    step.lr = 0.005
    assert [group["lr"] for group in step.optimizer.param_groups] == pytest.approx([0.005, 0.0005])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (RMSprop(1e-2), lambda p: torch.optim.RMSprop(p, 1e-2)),
        (
            RMSprop(1e-2, momentum=0.5, weight_decay=0.1),
            lambda p: torch.optim.RMSprop(p, 1e-2, momentum=0.5, weight_decay=0.1),
        ),
        (SGD(0.1, maximize=True), lambda p: torch.optim.SGD(p, 0.1, maximize=True)),
        (Adam(1e-2, maximize=True), lambda p: torch.optim.Adam(p, 1e-2, maximize=True)),
        (
            RMSprop(1e-2, centered=True, momentum=0.5),
            lambda p: torch.optim.RMSprop(p, 1e-2, centered=True, momentum=0.5),
        ),
        (
            SGD(0.1, momentum=0.9, dampening=0.5, weight_decay=0.1),
            lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, dampening=0.5, weight_decay=0.1),
        ),
        (Adam(1e-2, amsgrad=True, weight_decay=0.1), lambda p: torch.optim.Adam(p, 1e-2, amsgrad=True, weight_decay=0.1)),
        (AdamW(0.1, betas=(0.0, 0.5), amsgrad=True), lambda p: torch.optim.AdamW(p, 0.1, (0.0, 0.5), amsgrad=True)),
    ],
    ids=["rmsprop", "rmsprop with momentum", "sgd upwards", "adam upwards", "rmsprop, centered", "sgd, dampened", "amsgrad",
         "amsgrad, short memory"],
)  # fmt: skip
def test_optimizers_follow_torchs(ours: Any, theirs: Callable[[Any], torch.optim.Optimizer]) -> None:
    module, other = new_net(), new_net()
    step = tritoncnn.compile_step(module, F.cross_entropy, ours, (X, Y))
    wanted = follow(other, lambda: F.cross_entropy(other(X), Y), theirs(other.parameters()), 4)
    assert [float(step(X, Y)) for _ in range(4)] == pytest.approx(wanted, rel=1e-4)
    same_state(module, other)


def test_values_of_gradients_are_bounded() -> None:
    ours, theirs = new_net(), new_net()
    step = tritoncnn.compile_step(ours, F.cross_entropy, SGD(1.0, clip_value=0.01), (X, Y))
    step(X, Y)
    F.cross_entropy(theirs(X), Y).backward()
    torch.nn.utils.clip_grad_value_(theirs.parameters(), 0.01)
    torch.optim.SGD(theirs.parameters(), 1.0).step()
    same_state(ours, theirs)


def test_gradients_of_several_calls_add_up_and_can_be_read() -> None:
    ours, theirs = new_net(), new_net()
    step = tritoncnn.compile_step(ours, F.cross_entropy, SGD(0.1), (X, Y))
    parts = [(X, Y), (X + 1, Y), (-X, Y)]
    for x, y in parts:
        F.cross_entropy(theirs(x), y).backward()
    before = copy.deepcopy(ours)
    step(*parts[0], update=False)
    step(*parts[1], update=False)
    same_state(ours, before)
    state = step.optimizer_state()
    assert int(state["step"]) == 0
    assert "gradients.head.weight" in state
    step(*parts[2])
    torch.optim.SGD(theirs.parameters(), 0.1).step()
    same_state(ours, theirs)
    step(X, Y)
    twin = copy.deepcopy(theirs)
    twin.zero_grad()
    F.cross_entropy(twin(X), Y).backward()
    for name, p in twin.named_parameters():
        torch.testing.assert_close(step.gradients()[name], p.grad, **CLOSE)


def arenas(step: tritoncnn.CompiledStep) -> int:
    """Arenas besides the parameters' own."""
    return len(step._trained.states)


def test_there_is_room_for_gradients_only_where_they_are_added_up() -> None:
    step = tritoncnn.compile_step(new_net(), F.cross_entropy, SGD(0.1, groups={"*.bias": {"lr": 0.2}}), (X, Y))
    step(X, Y)
    assert len(step.gradients()) == 4  # read from where the plan wrote them
    assert arenas(step) == 0
    step(X, Y, update=False)
    assert arenas(step) == 2  # one per group
    step(X, Y)
    resumed = tritoncnn.compile_step(new_net(), F.cross_entropy, SGD(0.1), (X, Y))
    resumed.load_optimizer_state(step.optimizer_state())
    assert arenas(resumed) == 0
    step(X, Y, update=False)
    resumed.load_optimizer_state(step.optimizer_state())
    assert arenas(resumed) == 1
    assert all(torch.equal(g, resumed.gradients()[name]) for name, g in step.gradients().items())


def test_an_optimizer_state_that_is_refused_changes_nothing() -> None:
    step = tritoncnn.compile_step(new_net(), F.cross_entropy, SGD(0.1, momentum=0.9), (X, Y))
    step(X, Y)
    before = step.optimizer_state()
    waiting = {f"gradients.{name}": g for name, g in step.gradients().items()}
    wrong = {name: t + 1 for name, t in before.items()}
    for change in (
        {**waiting, "gradients.head.bias": torch.zeros(2)},
        {name: g for name, g in waiting.items() if name != "gradients.head.bias"},
        {"momentum_buffer.head.bias": torch.zeros(4)},
        {"momentum_buffer.head.bias": torch.zeros(3, dtype=torch.int64)},
        {"step": torch.tensor(1.5)},
        {"step": torch.zeros(2, dtype=torch.int64)},
        {"step": torch.tensor(-1)},
        {"exp_avg.head.bias": torch.zeros(3)},  # Adam's
    ):
        with pytest.raises(CheckpointError, match="optimizer state"):
            step.load_optimizer_state({**wrong, **change})
        assert step.optimizer_state().keys() == before.keys()
        assert all(torch.equal(t, before[name]) for name, t in step.optimizer_state().items())


def test_torchs_schedulers_drive_the_learning_rate() -> None:
    ours, theirs = new_net(), new_net()
    step = tritoncnn.compile_step(ours, F.cross_entropy, SGD(0.1), (X, Y))
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(step.optimizer, 4)
    optimizer = torch.optim.SGD(theirs.parameters(), 0.1)
    other = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4)
    for _ in range(4):
        step(X, Y)
        step.optimizer.step()
        scheduler.step()
        follow(theirs, lambda: F.cross_entropy(theirs(X), Y), optimizer, 1)
        other.step()
        assert step.lr == pytest.approx(optimizer.param_groups[0]["lr"])
    same_state(ours, theirs)


@pytest.mark.parametrize(
    "lr", [torch.tensor(0.05), np.float32(0.05), np.float64(0.05), torch.tensor([0.05], dtype=torch.float64)], ids=repr
)
def test_numbers_of_numpy_and_tensors_of_one_element_are_numbers(lr: Any) -> None:
    ours, theirs, plain = new_net(), new_net(), float(lr)
    options = {"momentum": np.float32(0.5), "weight_decay": torch.tensor(0.25)}
    step = tritoncnn.compile_step(ours, F.cross_entropy, SGD(lr, **options), (X, Y))
    assert step.updates[0].by == SGD(plain, momentum=0.5, weight_decay=0.25)
    optimizer = torch.optim.SGD(theirs.parameters(), plain, momentum=0.5, weight_decay=0.25)
    held = torch.tensor(0.5)
    for now, rate in ((lr, plain), (held, 0.5), (held, 0.25)):
        held.fill_(rate)  # as torch's schedulers change a rate that is a tensor
        step.optimizer.param_groups[0]["lr"] = now
        optimizer.param_groups[0]["lr"] = rate
        step(X, Y)
        follow(theirs, lambda: F.cross_entropy(theirs(X), Y), optimizer, 1)
    assert step.lr == 0.25
    step.lr = held
    held.fill_(0.125)
    assert step.lr == 0.125
    step.lr = lr
    assert step.lr == plain
    same_state(ours, theirs)


@pytest.mark.parametrize(
    "lr",
    [
        float("nan"),
        float("inf"),
        -0.1,
        "0.1",
        True,
        torch.tensor([0.1, 0.2]),
        torch.tensor(True),
        torch.tensor(1j),
        np.inf,
    ],
    ids=repr,
)
def test_a_learning_rate_that_is_none_is_refused_and_changes_nothing(lr: Any) -> None:
    module = new_net()
    step = tritoncnn.compile_step(module, F.cross_entropy, SGD(0.1), (X, Y))
    before = copy.deepcopy(module)
    with pytest.raises(InputError, match="lr must be a finite number from 0; got"):
        step.lr = lr
    step.optimizer.param_groups[0]["lr"] = lr
    with pytest.raises(InputError, match="lr must be a finite number from 0; got"):
        step(X, Y)
    same_state(module, before)


def test_programs_of_other_sizes_share_parameters_and_states() -> None:
    ours, theirs = new_net(), new_net()
    step = tritoncnn.compile_step(ours, F.cross_entropy, SGD(0.1, momentum=0.9), (X, Y))
    optimizer = torch.optim.SGD(theirs.parameters(), 0.1, momentum=0.9)
    for size in (N, 2, N, 3):
        (wanted,) = follow(theirs, lambda size=size: F.cross_entropy(theirs(X[:size]), Y[:size]), optimizer, 1)
        assert float(step(X[:size], Y[:size])) == pytest.approx(wanted, rel=1e-5)
    same_state(ours, theirs)
    assert int(step.optimizer_state()["step"]) == 4


def test_every_program_of_a_module_sees_the_same_parameters() -> None:
    module = new_net()
    before = tritoncnn.compile(module, X)
    step = tritoncnn.compile_step(module, F.cross_entropy, SGD(0.5), (X, Y))
    inside = step.model(example=X)
    for _ in range(2):
        step(X, Y)
        for model in (before, inside, tritoncnn.compile(module, X)):
            torch.testing.assert_close(model(X), module(X).detach(), **CLOSE)
    with torch.no_grad():
        module.head.bias.add_(1.0)
    for model in (before, inside):
        torch.testing.assert_close(model(X), module(X).detach(), **CLOSE)
    module.head.bias.data.mul_(2.0)  # unseen by torch's version counters
    torch.testing.assert_close(inside(X), module(X).detach(), **CLOSE)
    before.refresh()
    torch.testing.assert_close(before(X), module(X).detach(), **CLOSE)


def test_steps_on_parts_of_one_module_take_turns() -> None:
    """Each step's parameters lie in its own arena; whoever comes next brings them home."""
    ours, theirs = new_net(), new_net()
    whole = tritoncnn.compile_step(ours, F.cross_entropy, SGD(0.1), (X, Y))
    ours.body.requires_grad_(False)
    head = tritoncnn.compile_step(ours, F.cross_entropy, SGD(0.2), (X, Y))
    ours.body.requires_grad_(True)  # a step whose parameters were frozen meanwhile would refuse
    both, one = torch.optim.SGD(theirs.parameters(), 0.1), torch.optim.SGD(theirs.head.parameters(), 0.2)
    for _ in range(2):
        whole(X, Y)
        head(X, Y)
        follow(theirs, lambda: F.cross_entropy(theirs(X), Y), both, 1)
        follow(theirs, lambda: F.cross_entropy(theirs(X), Y), one, 1)
    same_state(ours, theirs)


def test_parameters_that_someone_moves_or_replaces_are_found() -> None:
    ours, theirs = new_net(), new_net()
    step = tritoncnn.compile_step(ours, F.cross_entropy, SGD(0.1), (X, Y))
    model = tritoncnn.compile(ours, X)
    fresh = {name: torch.randn_like(p) for name, p in ours.state_dict().items()}
    ours.load_state_dict(fresh, assign=True)
    theirs.load_state_dict(fresh)
    torch.testing.assert_close(model(X), theirs(X).detach(), **CLOSE)
    step(X, Y)
    follow(theirs, lambda: F.cross_entropy(theirs(X), Y), torch.optim.SGD(theirs.parameters(), 0.1), 1)
    same_state(ours, theirs)


def test_buffers_that_forward_changes_are_kept_in_training_and_in_inference() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(5, 3)
            self.register_buffer("mean", torch.zeros(5))
            self.register_buffer("queue", torch.zeros(2, 5))

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
            old = self.queue[0]
            self.queue.copy_(torch.cat([self.queue[1:], x[:1]]))
            return self.layer(x + self.mean), old + 0.0

    torch.manual_seed(0)
    ours = Counting()
    theirs = copy.deepcopy(ours)
    model = tritoncnn.compile(ours.eval(), X)
    with torch.no_grad():
        for i in range(3):
            for got, want in zip(model(X + i), theirs(X + i), strict=True):
                torch.testing.assert_close(got, want, **CLOSE)
    same_state(ours, theirs)
    step = tritoncnn.compile_step(ours, lambda y, t: F.cross_entropy(y[0], t), SGD(0.1), (X, Y))
    step(X, Y)
    follow(theirs, lambda: F.cross_entropy(theirs(X)[0], Y), torch.optim.SGD(theirs.parameters(), 0.1), 1)
    same_state(ours, theirs)
