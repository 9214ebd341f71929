"""Several programs on the same parameters; state, files; dtypes."""

from __future__ import annotations

import copy
import io
import pickle
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

import tritoncnn
from tests.api.nets import Around, Net, labels, pictures, steps
from tests.api.registry import case, refused
from tritoncnn import SGD

GROUP = "programs, state, files"
TYPES = "dtypes"


@case(GROUP, "a smaller last batch: step(x[:5], y[:5])")
def smaller_batch(api: Any) -> Any:
    net, x, y = api.cast(Net(), pictures(), labels())
    step = api.compile_step(net, F.cross_entropy, SGD(0.1, momentum=0.9), (x, y))
    return [step(x, y), step(x[:5], y[:5]), step(x, y)], net.state_dict()


@case(GROUP, "two steps on the same parameters, in turn")
def two_steps(api: Any) -> Any:
    net, x, y = api.cast(Net(), pictures(), labels())
    a = api.compile_step(net, F.cross_entropy, SGD(0.1), (x, y))
    b = api.compile_step(net, lambda out, t: F.multi_margin_loss(out, t), SGD(0.05), (x[:5], y[:5]))
    return [a(x, y), b(x[:5], y[:5]), a(x, y), b(x[:5], y[:5])], net.state_dict()


@case(GROUP, "evaluation while training, without copies: step.model()")
def evaluation(api: Any) -> Any:
    net, x, y = api.cast(Net(True).train(), pictures(), labels())
    step = api.compile_step(net, F.cross_entropy, SGD(0.1), (x, y))
    model = step.model(example=x)
    found = []
    for _ in range(3):
        step(x, y)
        found.append(model(x).clone())
    return found, net.state_dict()


@case(GROUP, "eager torch changes parameters between calls")
def changed_outside(api: Any) -> Any:
    net, x = api.cast(Net(True).eval(), pictures())
    model = api.compile(net, x)
    first = model(x).clone()
    with torch.no_grad():
        net.conv.weight[2] = 0
        net.norm.running_var.mul_(2)
    return first, model(x)


@case(GROUP, "a parameter is set in place between steps")
def set_in_place(api: Any) -> Any:
    net, x, y = api.cast(Net(), pictures(), labels())
    step = api.compile_step(net, F.cross_entropy, SGD(0.1), (x, y))
    step(x, y)
    with torch.no_grad():
        net.head.weight[1:] = 0.25
    return steps(step, x, y), net.state_dict()


@case(GROUP, "a step's state goes into a module, and back")
def state_round_trip(api: Any) -> Any:
    net, x, y = api.cast(Net(True).train(), pictures(), labels())
    step = api.compile_step(net, F.cross_entropy, SGD(0.1), (x, y))
    step(x, y)
    other = api.cast(Net(True))
    other.load_state_dict(step.state_dict())
    step(x, y)
    net.load_state_dict(other.state_dict())
    return steps(step, x, y), net.state_dict()


@case(GROUP, "keys of a compiled model are the module's; strict loading back")
def same_keys(api: Any) -> Any:
    net, x = api.cast(Net(True).eval(), pictures())
    model, other = api.compile(net, x), api.cast(Net(True).eval())
    assert list(model.state_dict()) == list(net.state_dict())
    other.load_state_dict(model.state_dict())
    return api.compile(other, x)(x), model(x)


@refused(GROUP, "a state dict that lacks a part", "parameter 'conv.bias' is missing; wanted conv.weight, conv.bias")
def partial_state(api: Any) -> Any:
    net = Net()
    step = api.compile_step(net, F.cross_entropy, SGD(0.1), (pictures(), labels()))
    step.load_state_dict({"conv.weight": torch.zeros(8, 3, 3, 3)})


@case(GROUP, "training goes on from state and optimizer state")
def resume(api: Any) -> Any:
    net, x, y = api.cast(Net(), pictures(), labels())
    step = api.compile_step(net, F.cross_entropy, SGD(0.1, momentum=0.9), (x, y))
    losses = [step(x, y) for _ in range(2)]
    if isinstance(step, tritoncnn.CompiledStep):
        kept, states = step.state_dict(), step.optimizer_state()
        net = Net()
        step = tritoncnn.compile_step(net, F.cross_entropy, SGD(0.1, momentum=0.9), (x, y))
        step.load_state_dict(kept)
        step.load_optimizer_state(states)
    return losses, steps(step, x, y), net.state_dict()


@case(GROUP, "a model as one file: model.save, tritoncnn.load")
def one_file(api: Any) -> Any:
    net, x = api.cast(Net(True).eval(), pictures())
    model = api.compile(net, x)
    if isinstance(model, tritoncnn.CompiledModel):
        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder) / "net.safetensors")
            model = tritoncnn.load(Path(folder) / "net.safetensors")
    return model(x)


@case(GROUP, "pickle, deep copy and torch.save of a model")
def copies_of_models(api: Any) -> Any:
    net, x = api.cast(Net(True).eval(), pictures())
    model = api.compile(net, x)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    others = [pickle.loads(pickle.dumps(model)), copy.deepcopy(model), torch.load(file, weights_only=False)]
    return [other(x) for other in others]


@refused(GROUP, "a deep copy of a step", "a compiled step cannot be pickled or deep-copied, for it holds your code")
def copy_of_step(api: Any) -> Any:
    copy.deepcopy(api.compile_step(Net(), F.cross_entropy, SGD(0.1), (pictures(), labels())))


@case(GROUP, "buffers that forward changes, in eval too: a queue of samples")
def streaming(api: Any) -> Any:
    class Queue(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv1d(4, 4, 2)
            self.register_buffer("past", torch.zeros(2, 4, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            joined = torch.cat([self.past, x], 2)
            self.past.copy_(x)
            return self.conv(joined)

    net, x = api.cast(Queue().eval(), torch.randn(3, 2, 4, 1))
    model = api.compile(net, x[0])
    return [model(part).clone() for part in x], net.state_dict()


# One rounding to bf16 is 2**-9 of a number; a sum of four such terms and the activation before it were rounded, too.
@case(TYPES, "a bf16 model", limit=2**-6)
def bf16_model(api: Any) -> Any:
    net, x = api.half(Net().eval(), pictures())
    return api.compile(net, x)(x).float()


@case(TYPES, "autocast to bf16 inside forward, trained", limit=2**-6)
def autocast_inside(api: Any) -> Any:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            y = m.net(x)
        return y.to(x.dtype)

    net, x, y = api.cast(Around(forward, net=Net()), pictures(), labels())
    step = api.compile_step(net, F.cross_entropy, SGD(0.1), (x, y))
    return steps(step, x, y), net.state_dict()


@case(TYPES, "autocast to bf16 around compile", limit=2**-6)
def autocast_around(api: Any) -> Any:
    net, x = api.cast(Net().eval(), pictures())
    with torch.autocast("cpu", torch.bfloat16):
        model = api.compile(net, x)
        return model(x).float()


@refused(TYPES, "an f64 model", "parameter conv.weight must be f32 or f16 or bf16 or i64")
def f64_model(api: Any) -> Any:
    api.compile(Net().eval().double(), pictures().double())
