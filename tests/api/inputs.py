"""What goes into a step or a model, and what comes out."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from tests.api.nets import Around, Net, labels, pictures, steps
from tests.api.registry import case, refused
from tritoncnn import SGD

GROUP = "inputs and results"


@case(GROUP, "several inputs before the target")
def several_inputs(api: Any) -> Any:
    net, a, b, y = api.cast(Around(lambda m, a, b: m.net(a) - m.net(b), net=Net()), pictures(), pictures(1), labels())
    step = api.compile_step(net, F.cross_entropy, SGD(0.1), (a, b, y))
    return steps(step, a, b, y), net.state_dict()


@refused(GROUP, "more inputs than forward takes", "Net.forward takes 1 inputs; the example has 2")
def too_many_inputs(api: Any) -> Any:
    x = pictures()
    api.compile_step(Net(), F.cross_entropy, SGD(0.1), (x, x, labels()))


class Pairs(Net):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(a) - super().forward(b)


@case(GROUP, "inputs as one tuple: ((a, b), target)")
def nested_inputs(api: Any) -> Any:
    net, a, b, y = api.cast(Pairs(), pictures(), pictures(1), labels())
    step = api.compile_step(net, F.cross_entropy, SGD(0.1), ((a, b), y))
    return steps(step, (a, b), y), net.state_dict()


@case(GROUP, "a tuple of targets: classes and boxes")
def tuple_of_targets(api: Any) -> Any:
    two = Around(lambda m, x: (m.net(x), m.box(x).flatten(1)), net=Net(), box=nn.Conv2d(3, 4, 8))
    net, x, y = api.cast(two, pictures(), (labels(), torch.randn(8, 4)))
    step = api.compile_step(
        net, lambda out, t: F.cross_entropy(out[0], t[0]) + F.mse_loss(out[1], t[1]), SGD(0.1), (x, y)
    )
    return steps(step, x, y), net.state_dict()


@case(GROUP, "a dict as target")
def dict_target(api: Any) -> Any:
    net, x, y = api.cast(Net(), pictures(), labels())
    step = api.compile_step(net, lambda out, t: F.cross_entropy(out, t["class"]), SGD(0.1), (x, {"class": y}))
    return steps(step, x, {"class": y}), net.state_dict()


@case(GROUP, "no target: loss(output)")
def no_target(api: Any) -> Any:
    net, x = api.cast(Net(), pictures())
    step = api.compile_step(net, lambda out: out.square().mean(), SGD(0.1), (x,))
    return steps(step, x), net.state_dict()


@case(GROUP, "the input is the target: an autoencoder")
def autoencoder(api: Any) -> Any:
    net, x = api.cast(nn.Conv2d(3, 3, 3, padding=1), pictures())
    step = api.compile_step(net, F.mse_loss, SGD(0.1), (x, x))
    return steps(step, x, x), net.state_dict()


@case(GROUP, "several results: an auxiliary head in the loss")
def auxiliary_head(api: Any) -> Any:
    two = Around(lambda m, x: (m.net(x), m.aux(x.flatten(1))), net=Net(), aux=nn.Linear(192, 4))
    net, x, y = api.cast(two, pictures(), labels())

    def loss(out: Any, t: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(out[0], t) + 0.3 * F.cross_entropy(out[1], t)

    step = api.compile_step(net, loss, SGD(0.1), (x, y))
    return steps(step, x, y), net.state_dict()


@case(GROUP, "the loss returns a tuple: the first is lowered, the rest is for the log")
def tuple_of_losses(api: Any) -> Any:
    net, x, y = api.cast(Net(), pictures(), labels())
    step = api.compile_step(net, lambda out, t: (F.cross_entropy(out, t), out.mean(), out), SGD(0.1), (x, y))
    return step(x, y), step(x, y), net.state_dict()


@case(GROUP, "the loss returns a dict")
def dict_of_losses(api: Any) -> Any:
    net, x, y = api.cast(Net(), pictures(), labels())
    step = api.compile_step(net, lambda out, t: {"loss": F.cross_entropy(out, t), "mean": out.mean()}, SGD(0.1), (x, y))
    out = step(x, y)
    return out.loss, out["mean"], net.state_dict()


@case(GROUP, "predictions of the training batch beside the loss")
def predictions(api: Any) -> Any:
    net, x, y = api.cast(Net(), pictures(), labels())
    step = api.compile_step(
        net, lambda out, t: {"loss": F.cross_entropy(out, t), "right": (out.argmax(1) == t).sum()}, SGD(0.1), (x, y)
    )
    out = [step(x, y) for _ in range(3)]
    return [o.loss for o in out], [o.right for o in out]


@case(GROUP, "keyword inputs, and None for one")
def keyword_inputs(api: Any) -> Any:
    class Masked(Net):
        def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
            return super().forward(x if mask is None else x * mask)

    net, x, mask = api.cast(Masked().eval(), pictures(), (pictures(1)[:, :1] > 0).float())
    plain, nothing = api.compile(net, x), api.compile(net, (x, None))
    masked = api.compile(net, {"x": x, "mask": mask})
    return plain(x), nothing(x, None), masked(x, mask=mask)


@case(GROUP, "the example as a list or a dict")
def example_as_list_or_dict(api: Any) -> Any:
    net, x = api.cast(Net().eval(), pictures())
    return api.compile(net, [x])(x), api.compile(net, {"x": x})(x)


@case(GROUP, "no example: sizes of the first call")
def no_example(api: Any) -> Any:
    net, x = api.cast(Net().eval(), pictures())
    model = api.compile(net)
    return model(x), model(x[:5])


@case(GROUP, "results as dict, ordered dict, dataclass")
def dict_result(api: Any) -> Any:
    net, x = api.cast(Net().eval(), pictures())
    out = api.compile(Around(lambda m, x: {"out": m.net(x), "twice": x * 2}, net=net), x)(x)
    pair = api.compile(Around(lambda m, x: Pair(m.net(x), x + 1), net=net), x)(x)
    assert isinstance(pair, Pair)
    return out["out"], out["twice"], pair.first, pair.second


@dataclasses.dataclass
class Pair:
    first: torch.Tensor
    second: torch.Tensor


@case(GROUP, "nested results: [(a, b), c]")
def nested_result(api: Any) -> Any:
    x = api.cast(pictures())
    (a, b), c = api.compile(Around(lambda m, x: [(x * 2, x), x + 1]), x)(x)
    return a, b, c


@case(GROUP, "an input as a result, one tensor twice")
def input_as_result(api: Any) -> Any:
    def twice(_: Any, x: torch.Tensor) -> Any:
        y = x * 2
        return y, x, y

    x = api.cast(pictures())
    return api.compile(Around(twice), x)(x)


@case(GROUP, "whole numbers as result: argmax")
def whole_numbers(api: Any) -> Any:
    net, x = api.cast(Net().eval(), pictures())
    return api.compile(Around(lambda m, x: m.net(x).argmax(1), net=net), x)(x)


@case(GROUP, "a float target of shape [N, 1]")
def float_target(api: Any) -> Any:
    net, x, y = api.cast(nn.Sequential(Net(), nn.Linear(4, 1)), pictures(), torch.randn(8, 1))
    step = api.compile_step(net, F.mse_loss, SGD(0.1), (x, y))
    return steps(step, x, y), net.state_dict()


@case(GROUP, "targets of i32, bool, u8")
def small_integer_targets(api: Any) -> Any:
    found = []
    for dtype in (torch.int32, torch.bool, torch.uint8):
        net, x, y = api.cast(Net(), pictures(), labels().to(dtype))
        found.append(
            steps(api.compile_step(net, lambda out, t: F.cross_entropy(out, t.long()), SGD(0.1), (x, y)), x, y)
        )
    return found


@case(GROUP, "u8 pictures, divided by 255 inside")
def byte_pictures(api: Any) -> Any:
    net, x = api.cast(Net().eval(), (pictures().abs() * 60).to(torch.uint8))
    return api.compile(Around(lambda m, x: m.net(x.to(m.net.head.weight.dtype) / 255), net=net), x)(x)


@case(GROUP, "channels-last pictures, those of a row-major example")
def channels_last(api: Any) -> Any:
    net, x = api.cast(Net().eval(), pictures())
    model = api.compile(net, x)
    return model(x.to(memory_format=torch.channels_last)), model(x)


@case(GROUP, "expanded, sliced and transposed inputs")
def odd_strides(api: Any) -> Any:
    net, x = api.cast(Net().eval(), pictures())
    model = api.compile(net, x)
    wide = torch.cat([x, x], 3)[..., ::2]
    return model(x[:1].expand(8, -1, -1, -1)), model(wide), model(x.transpose(2, 3))


@case(GROUP, "a result is the caller's: a later call leaves it")
def results_are_kept(api: Any) -> Any:
    net, x, y = api.cast(Net(), pictures(), labels())
    step = api.compile_step(net, F.cross_entropy, SGD(0.1), (x, y))
    first = step(x, y)
    second = step(x, y)
    return first, second
