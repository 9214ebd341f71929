"""Optimizers, rates, gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from tests.api.nets import Around, Net, labels, pictures, steps
from tests.api.registry import case, refused
from tritoncnn import LBFGS, SGD, Adam, AdamW, RMSprop, Update
from tritoncnn.ops import OPS, Sym
from tritoncnn.optim import Optimizer

GROUP = "optimizers, rates, gradients"


def _trained(api: Any, optimizer: Any, count: int = 3, norm: bool = False) -> Any:
    net, x, y = api.cast(Net(norm), pictures(), labels())
    step = api.compile_step(net, F.cross_entropy, optimizer, (x, y))
    return steps(step, x, y, count=count), net.state_dict()


@case(GROUP, "SGD: momentum, Nesterov, weight decay")
def sgd(api: Any) -> Any:
    return _trained(api, SGD(0.1, momentum=0.9, weight_decay=0.01)), _trained(
        api, SGD(0.1, momentum=0.9, nesterov=True)
    )


@case(GROUP, "Adam, AdamW")
def adam(api: Any) -> Any:
    # eps lets small gradients count by their size: without it their sign alone would, which roundoff decides
    return _trained(api, Adam(0.01, eps=1e-3, weight_decay=0.1)), _trained(api, AdamW(0.01, eps=1e-3))


@case(GROUP, "RMSprop")
def rmsprop(api: Any) -> Any:
    return _trained(api, RMSprop(0.01, eps=1e-3, momentum=0.5))


# Directions come from differences of gradients, which lose about two digits here.
@case(GROUP, "L-BFGS: one iteration a step", limit=2e-4)
def lbfgs(api: Any) -> Any:
    net, x, y = api.cast(Net(), pictures(), labels())
    step = api.compile_step(net, F.cross_entropy, LBFGS(0.5, history_size=3), (x, y))
    return steps(step, x, y, count=4), net.state_dict()


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Duchi et al. 2011: steps by the gradient over the root of the sum of all its squares."""

    lr: float = 0.01

    @property
    def state(self) -> tuple[str, ...]:
        return ("sum",)

    def update(self, p: Sym, g: Sym, lr: Sym, step: Sym, state: tuple[Sym, ...]) -> tuple[Sym, ...]:
        total = state[0] + g * g
        return p - lr * g / (OPS["sqrt"](total) + 1e-3), total

    def twin(self, parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.Adagrad(parameters, self.lr, eps=1e-3)


@case(GROUP, "an optimizer of one's own, 10 lines: Adagrad")
def own_optimizer(api: Any) -> Any:
    return _trained(api, Adagrad(0.05))


@dataclass(frozen=True)
class NAdam(Optimizer):
    """Dozat 2016: Adam with Nesterov's momentum. The product of the schedule is kept as its distance from 1."""

    lr: float = 0.01

    @property
    def state(self) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq", "mu_product")

    def update(self, p: Sym, g: Sym, lr: Sym, step: Sym, state: tuple[Sym, ...]) -> tuple[Sym, ...]:
        t = OPS["cast_f32"](step)
        mu, after = (0.9 * (1 - 0.5 * OPS["exp2"]((t + k) * 0.004 * -0.0588936890535686)) for k in (0.0, 1.0))
        m, v = state[0] * 0.9 + g * 0.1, state[1] * 0.999 + g * g * 0.001
        product = (1 - state[2]) * mu
        root = OPS["sqrt"](v / (1 - OPS["exp2"](t * -0.0014434168696687144))) + 1e-3
        move = g * (1 - mu) / (1 - product) + m * after / (1 - product * after)
        return p - lr * move / root, m, v, 1 - product

    def twin(self, parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.NAdam(parameters, self.lr, eps=1e-3)


@case(GROUP, "an optimizer of one's own with a schedule inside: NAdam")
def own_optimizer_with_schedule(api: Any) -> Any:
    return _trained(api, NAdam(0.01))


@case(GROUP, "maximize")
def maximize(api: Any) -> Any:
    return _trained(api, SGD(0.1, maximize=True))


@refused(GROUP, "a rate below 0", "SGD: lr must be a finite number from 0; got -0.1")
def negative_rate(api: Any) -> Any:
    SGD(lr=-0.1)


@refused(
    GROUP,
    "an optimizer of torch",
    "compile_step: optimizer must be tritoncnn.SGD(...), Adam(...), AdamW(...); got torch's SGD",
)
def torch_optimizer(api: Any) -> Any:
    net = Net()
    api.compile_step(net, F.cross_entropy, torch.optim.SGD(net.parameters(), 0.1), (pictures(), labels()))


@case(GROUP, "parameter groups: no weight decay for biases and norms")
def no_decay_for_biases(api: Any) -> Any:
    none = {"weight_decay": 0.0}
    return _trained(api, AdamW(0.01, eps=1e-3, groups={"*.bias": none, "norm.*": none}), norm=True)


@case(GROUP, "a rate for each part")
def rate_for_each_part(api: Any) -> Any:
    return _trained(api, SGD(0.1, groups={"conv.*": {"lr": 0.01}, "head.bias": {"lr": 0.5}}))


@refused(
    GROUP, "a group that fits no parameter", "no trained parameter is called 'convolution.*'; there are conv.weight"
)
def group_of_nothing(api: Any) -> Any:
    _trained(api, SGD(0.1, groups={"convolution.*": {"lr": 0.01}}))


@case(GROUP, "gradients of several calls are added up: update=False")
def accumulation(api: Any) -> Any:
    net, x, y = api.cast(Net(), pictures(), labels())
    step = api.compile_step(net, F.cross_entropy, SGD(0.1, momentum=0.9), (x, y))
    losses = [step(x, y, update=False), step(x * 0.5, y, update=False), step(x, y), step(x, y)]
    return losses, net.state_dict()


@case(GROUP, "gradients are read: norms for the log")
def read_gradients(api: Any) -> Any:
    net, x, y = api.cast(Net(), pictures(), labels())
    step = api.compile_step(net, F.cross_entropy, SGD(0.1), (x, y))
    step(x, y)
    return {name: g.norm() for name, g in step.gradients().items()}, step.gradients()


@case(GROUP, "gradients bound by norm, by value")
def clipping(api: Any) -> Any:
    return _trained(api, SGD(0.5, clip_norm=0.05)), _trained(api, SGD(0.5, clip_value=0.01))


@case(GROUP, "a moving average of the parameters")
def moving_average(api: Any) -> Any:
    net, x, y = api.cast(Net(), pictures(), labels())
    step = api.compile_step(net, F.cross_entropy, SGD(0.5, ema=0.9), (x, y))
    return steps(step, x, y), step.averages()


@case(GROUP, "step.lr is set between steps")
def rate_is_set(api: Any) -> Any:
    net, x, y = api.cast(Net(), pictures(), labels())
    step = api.compile_step(net, F.cross_entropy, SGD(0.1), (x, y))
    losses = []
    for lr in (0.1, 0.5, 0.0, 0.2):
        step.lr = lr
        losses.append(step(x, y).clone())
    return torch.stack(losses), net.state_dict()


@case(GROUP, "a scheduler of torch: CosineAnnealingLR(step.optimizer, 10)")
def scheduler(api: Any) -> Any:
    net, x, y = api.cast(Net(), pictures(), labels())
    step = api.compile_step(net, F.cross_entropy, SGD(0.5), (x, y))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(step.optimizer, 3)
    losses = []
    for _ in range(4):
        losses.append(step(x, y).clone())
        if not hasattr(step, "nets"):
            step.optimizer.step()  # what the scheduler wants to see; the eager step has done it
        schedule.step()
    return torch.stack(losses), net.state_dict()


@refused(GROUP, "a rate that is no number", "lr must be a finite number from 0; got nan")
def rate_of_nan(api: Any) -> Any:
    step = api.compile_step(Net(), F.cross_entropy, SGD(0.1), (pictures(), labels()))
    step.lr = float("nan")


@refused(GROUP, "a rate of infinity", "lr must be a finite number from 0; got inf")
def rate_of_infinity(api: Any) -> Any:
    SGD(float("inf"))


@case(GROUP, "the gradient of an input: adversarial examples")
def gradient_of_input(api: Any) -> Any:
    net, x, y = api.cast(Net().eval(), pictures(), labels())

    def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(net(x), y)

    return api.compile_grad(loss, wrt="x", example=(x, y))(x, y)


@case(GROUP, "gradients of parameters by a cotangent")
def gradient_by_cotangent(api: Any) -> Any:
    net, x, dy = api.cast(Net().eval(), pictures(), torch.randn(8, 4))
    names = tuple(name for name, _ in net.named_parameters())
    return api.compile_grad(net, wrt=names, example=(x,))(x, cotangent=dy)


INSIDE = "torch.export cannot follow the gradients that it takes inside; tritoncnn.compile_grad gives gradients"


@refused(GROUP, "torch.autograd.grad inside forward", INSIDE)
def autograd_inside(api: Any) -> Any:
    def forward(m: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return torch.autograd.grad(F.cross_entropy(m.net(x), y), x)[0]

    api.compile(Around(forward, net=Net().eval()), (pictures(), labels()))


@refused(GROUP, "torch.func.grad inside forward", INSIDE)
def func_grad_inside(api: Any) -> Any:
    def forward(m: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            return torch.func.grad(lambda z: F.cross_entropy(m.net(z), y))(x)

    api.compile(Around(forward, net=Net().eval()), (pictures(), labels()))


@refused(GROUP, "a gradient penalty (WGAN-GP): gradients of gradients of a net", INSIDE)
def gradient_penalty(api: Any) -> Any:
    def loss(net: Any, x: torch.Tensor) -> torch.Tensor:
        x = x.detach().requires_grad_()
        (dx,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
        return ((dx.flatten(1).norm(dim=1) - 1) ** 2).mean()

    api.compile_step(nets=Net(), losses=loss, example=(pictures(),), updates=[Update(by=SGD(0.1))])


@refused(GROUP, "a compiled model under autograd", "an input requires a gradient, and a compiled model gives none: use")
def model_under_autograd(api: Any) -> Any:
    x = pictures()
    api.compile(Net().eval(), x)(x.requires_grad_())
