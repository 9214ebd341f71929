"""What a loss may be, and what of a net is trained."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from tests.api.nets import Around, Net, labels, pictures, steps
from tests.api.registry import case, refused
from tritoncnn import SGD, Adam, Update

GROUP = "losses and parameters"


@case(GROUP, "a loss module without weights")
def loss_module(api: Any) -> Any:
    net, x, y = api.cast(Net(), pictures(), labels())
    step = api.compile_step(net, nn.CrossEntropyLoss(label_smoothing=0.1), SGD(0.1), (x, y))
    return steps(step, x, y), net.state_dict()


@case(GROUP, "a loss module with a buffer: class weights")
def class_weights(api: Any) -> Any:
    net, loss, x, y = api.cast(Net(), nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2, 3, 4])), pictures(), labels())
    step = api.compile_step(net, loss, SGD(0.1), (x, y))
    return steps(step, x, y), net.state_dict()


def _features() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3)).requires_grad_(False)


@case(GROUP, "a fixed net in the loss, by closure")
def perceptual_closure(api: Any) -> Any:
    net, features, x = api.cast(nn.Conv2d(3, 3, 3, padding=1), _features(), pictures())
    step = api.compile_step(net, lambda out, t: F.mse_loss(features(out), features(t)), SGD(0.1), (x, x * 0.5))
    return steps(step, x, x * 0.5), net.state_dict(), features.state_dict()


@case(GROUP, "a fixed net in the loss, as a module")
def perceptual_module(api: Any) -> Any:
    class Perceptual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = _features()

        def forward(self, out: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return F.mse_loss(self.features(out), self.features(t))

    net, loss, x = api.cast(nn.Conv2d(3, 3, 3, padding=1), Perceptual(), pictures())
    step = api.compile_step(net, loss, SGD(0.1), (x, x * 0.5))
    return steps(step, x, x * 0.5), net.state_dict(), loss.state_dict()


@case(GROUP, "a trained parameter in the loss: learned weights of tasks")
def trained_loss(api: Any) -> Any:
    class Weighed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.s = nn.Parameter(torch.zeros(()))

        def forward(self, out: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(out, t) * torch.exp(-self.s) + self.s

    net, loss, x, y = api.cast(Net(), Weighed(), pictures(), labels())
    step = api.compile_step(net, loss, SGD(0.1), (x, y))
    return steps(step, x, y), net.state_dict(), loss.state_dict()


@case(GROUP, "tied weights: a matrix used three times")
def tied_weights(api: Any) -> Any:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(192, 16, bias=False), nn.Linear(192, 16, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.flatten(1)
            return F.linear(self.a(x), self.a.weight.t()) + self.b(x).sum(1, keepdim=True)

    net, x, y = api.cast(Tied(), pictures(), pictures(1).flatten(1))
    step = api.compile_step(net, F.mse_loss, SGD(1e-4), (x, y))
    return steps(step, x, y), net.state_dict()


@case(GROUP, "frozen parameters")
def frozen(api: Any) -> Any:
    net, x, y = api.cast(Net(True).train(), pictures(), labels())
    net.conv.requires_grad_(False)
    step = api.compile_step(net, F.cross_entropy, SGD(0.1), (x, y))
    return steps(step, x, y), net.state_dict()


@case(GROUP, "a part is thawed later: a second step on the same parameters")
def thawed_later(api: Any) -> Any:
    net, x, y = api.cast(Net(), pictures(), labels())
    head = api.compile_step(
        nets={"net": net}, losses=_classify, example=(x, y), updates=[Update(of="net.head", by=SGD(0.1))]
    )
    first = steps(head, x, y)
    whole = api.compile_step(net, F.cross_entropy, SGD(0.05), (x, y))
    return first, steps(whole, x, y), net.state_dict()


def _classify(nets: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(nets.net(x), y)


@refused(
    GROUP, "all parameters are frozen", "all parameters are frozen (requires_grad=False): there is nothing to train"
)
def all_frozen(api: Any) -> Any:
    api.compile_step(Net().requires_grad_(False), F.cross_entropy, SGD(0.1), (pictures(), labels()))


@case(GROUP, "a frozen batch norm in a trained net: net.norm.eval()")
def frozen_batch_norm(api: Any) -> Any:
    net, x, y = api.cast(Net(True).train(), pictures(), labels())
    net.norm.eval()
    step = api.compile_step(net, F.cross_entropy, SGD(0.1), (x, y))
    return steps(step, x, y), net.state_dict()


@case(GROUP, "a net called twice in one loss: siamese")
def siamese(api: Any) -> Any:
    net, x, y = api.cast(Around(lambda m, x: m.net(x) + 0.5 * m.net(x.flip(3)), net=Net()), pictures(), labels())
    step = api.compile_step(net, F.cross_entropy, SGD(0.1), (x, y))
    return steps(step, x, y), net.state_dict()


@case(GROUP, "a batch norm called twice: its statistics move twice")
def siamese_batch_norm(api: Any) -> Any:
    both = Around(lambda m, x: m.net(x) + 0.5 * m.net(x * 2), net=Net(True)).train()
    net, x, y = api.cast(both, pictures(), labels())
    step = api.compile_step(net, F.cross_entropy, SGD(0.1), (x, y))
    return steps(step, x, y), net.state_dict()


@case(GROUP, "detach between two nets: the first is left alone")
def detached_net(api: Any) -> Any:
    both = Around(lambda m, x: m.b(m.a(x).detach()), a=nn.Conv2d(3, 3, 1), b=Net())
    net, x, y = api.cast(both, pictures(), labels())
    step = api.compile_step(net, F.cross_entropy, SGD(0.1, weight_decay=0.1), (x, y))
    return steps(step, x, y), net.state_dict()


@case(GROUP, "detach of a branch in the loss")
def detached_branch(api: Any) -> Any:
    net, x, y = api.cast(Net(), pictures(), labels())
    step = api.compile_step(net, lambda out, t: F.cross_entropy(out, t) + (out.detach() * out).mean(), SGD(0.1), (x, y))
    return steps(step, x, y), net.state_dict()


@case(GROUP, "a no_grad block in forward")
def no_grad_block(api: Any) -> Any:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            h = m.a(x)
        return m.b(h) + m.a(x).mean()

    net, x, y = api.cast(Around(forward, a=nn.Conv2d(3, 3, 1), b=Net()), pictures(), labels())
    step = api.compile_step(net, lambda out, t: F.mse_loss(out, F.one_hot(t, 4).to(out.dtype)), SGD(0.1), (x, y))
    return steps(step, x, y), net.state_dict()


@case(GROUP, "a parameter that the loss never reads: no decay either")
def unread_parameter(api: Any) -> Any:
    net, x, y = api.cast(Around(lambda m, x: m.net(x), net=Net(), spare=nn.Linear(3, 3)), pictures(), labels())
    step = api.compile_step(net, F.cross_entropy, SGD(0.1, weight_decay=0.1), (x, y))
    return steps(step, x, y), net.state_dict()


@case(GROUP, "two optimizers: a GAN in one plan")
def gan(api: Any) -> Any:
    G, D, a, b = api.cast(
        nn.Linear(6, 4),
        nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)),
        torch.randn(32, 6),
        torch.randn(32, 4),
    )

    def losses(nets: Any, batch: Any) -> Any:
        fake = nets.G(batch.a)
        d = F.softplus(-nets.D(batch.b)).mean() + F.softplus(nets.D(fake.detach())).mean()
        return {"d": d, "g": F.softplus(-nets.D(fake)).mean(), "fake": fake}

    batch = {"a": a, "b": b}
    step = api.compile_step(
        nets={"G": G, "D": D}, losses=losses, example=batch,
        updates=[Update("d", of="D", by=Adam(1e-2, eps=1e-3)), Update("g", of="G", by=Adam(1e-2, eps=1e-3))],
    )  # fmt: skip
    outs = [step(batch) for _ in range(3)]
    return [o.d for o in outs], [o.g for o in outs], outs[-1].fake, G.state_dict(), D.state_dict()


@case(GROUP, "a picture is trained, the net is fixed: dreaming")
def trained_picture(api: Any) -> Any:
    class Picture(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pixels = nn.Parameter(pictures()[:1].clone())

    picture, features = api.cast(Picture(), _features())
    step = api.compile_step(
        nets={"picture": picture}, losses=lambda nets, scale: -(features(nets.picture.pixels) * scale).square().mean(),
        example=torch.ones(()), updates=[Update(by=SGD(0.1))],
    )  # fmt: skip
    return steps(step, torch.ones(())), picture.state_dict(), features.state_dict()


@case(GROUP, "forward hooks that change a result")
def forward_hook(api: Any) -> Any:
    net, x = api.cast(Net().eval(), pictures())
    net.conv.register_forward_hook(lambda _, inputs, out: out * 2)
    return api.compile(net, x)(x)


@case(GROUP, "a forward hook that keeps an activation for the loss")
def keeping_hook(api: Any) -> Any:
    class Tapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.kept = Net(), {}
            self.net.conv.register_forward_hook(lambda _, inputs, out: self.kept.__setitem__("conv", out))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.net(x)
            return self.kept["conv"].square().mean()

    torch.manual_seed(0)
    net, (x,) = Tapped().eval(), [pictures()]
    net.to(api.cast(x).dtype)  # in place: a deep copy's hook would keep in the first
    x = api.cast(x)
    return api.compile(net, x)(x)
