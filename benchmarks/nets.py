"""Every task's net: the training step against torch eager and torch.compile, inference against inference engines.

    python benchmarks/nets.py [--only resnet,vgg] [--all-models] [--kind step,inference] [--threads 2] [--cpu]
                               [--json FILE]

Data, shapes, loss, batch and optimizer are those of ``tritoncnn train TASK`` with no other flag. A step's peers are torch eager
in both layouts and torch.compile; inference, at batch 1 and 8, has torch eager, torch.compile with frozen weights, ONNX Runtime
and OpenVINO, in f32 on as many threads. Engines that are not installed (``pip install -e '.[bench]'``), or that fail on a net,
are told and left out. Outputs are compared before anything is timed; so are the losses of three steps, where the net draws no
random numbers: dropout's are other ones in torch. The last lines are geometric means over the nets, against each one's best peer.
On a machine that others use too, ``--threads 1 --cpu`` takes CPU time, which their load changes far less than the wall's.
"""

from __future__ import annotations

import argparse
import copy
import functools
import importlib.util
import io
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from measure import Interleave, Row, arguments, conclude, read, report, rows_of

import tritoncnn
from tritoncnn.data import Dataset, Facts, Reader, load_data
from tritoncnn.task import LOSS, MODEL, Move, Task
from tritoncnn.tasks import TASKS, find_task
from tritoncnn.train import Options
from tritoncnn.train.training_step import TrainingStep, build_beside

BATCHES = (1, 8)  # of inference
STEPS = 3  # whose losses are compared
TOLERANCE = 0.02  # of their relative difference: Adam's first steps have the sign of each gradient, whatever its size
TORCHS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop}
Call = Callable[[], Any]


class Net(NamedTuple):
    """A model of a task, as ``train`` would build it."""

    name: str
    task: Task
    options: Options

    @classmethod
    def of(cls, task: Task, model: str) -> Net:
        usual = model == next(iter(task.models))
        return cls(task.name if usual else f"{task.name} {model}", task, Options.of(task, model=model))

    def module(self) -> torch.nn.Module:
        return self.options.build_model(self.example(1)[2])

    def example(self, batch: int) -> tuple[Any, Any, Facts]:
        """The first training examples of the task's default data, and its facts."""
        data = dataset(self.options.data, self.task.reader(self.options.size))
        rows = data.train.take(slice(batch))
        return rows.x, rows.y, data.facts


@functools.lru_cache(maxsize=1)
def dataset(name: str, read: Reader) -> Dataset:
    return load_data(name, None, read)


def torch_step(net: Net, module: torch.nn.Module, batch: int, *, compiled: bool = False, last: bool = False) -> Call:
    """A step as one writes it: one backward for each net that moves; ``last``: weights and input in channels-last."""
    x, y, facts = net.example(batch)
    options, step = net.options, net.options.step
    values = {row.name: options.own[row.name] for row in step.options}
    modules = {MODEL: copy.deepcopy(module), **build_beside(step, values, facts, options.seed)}
    if last and x.dim() == 4:
        modules = {name: one.to(memory_format=torch.channels_last) for name, one in modules.items()}
        x = x.to(memory_format=torch.channels_last)
    moves = [(move, list(modules[move.net].parameters())) for move in step.moves]
    optimizers = [torch_optimizer(options, move, some) for move, some in moves]
    losses, nets, rows = step.losses(values), SimpleNamespace(**modules), SimpleNamespace(x=x, y=y)

    def forward() -> Mapping[str, torch.Tensor]:
        return losses(nets, rows)

    found_by = torch.compile(forward) if compiled else forward

    def moved() -> torch.Tensor:
        for optimizer in optimizers:
            optimizer.zero_grad()
        found = found_by()
        for move, some in moves:
            found[move.loss].backward(inputs=some, retain_graph=move is not step.moves[-1])
        for (_, some), optimizer in zip(moves, optimizers, strict=True):
            if options.clip:
                torch.nn.utils.clip_grad_norm_(some, options.clip)
            optimizer.step()
        return found[LOSS].detach()

    return moved


def torch_optimizer(options: Options, move: Move, parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    more = {"momentum": options.momentum} if options.optimizer in ("sgd", "rmsprop") else {}
    lr = options.lr * move.lr
    return TORCHS[options.optimizer](parameters, lr=lr, weight_decay=options.weight_decay, **more, **move.numbers)


def our_step(net: Net, module: torch.nn.Module, batch: int) -> Call:
    x, y, facts = net.example(batch)
    step = TrainingStep(net.options, module, facts, x, y)
    return lambda: step(x, y)[LOSS]


def compare_steps(net: Net, interleave: Interleave) -> list[Row]:
    """One row a peer, of one training step."""
    batch, module = net.task.recipe.batch, net.module()
    sides = {
        "ours": our_step(net, copy.deepcopy(module), batch),
        "torch eager": torch_step(net, module, batch),
        "torch channels-last": torch_step(net, module, batch, last=True),
        "torch.compile": torch_step(net, module, batch, compiled=True),
    }
    losses = {name: [float(side()) for _ in range(STEPS)] for name, side in sides.items()}
    if not any(isinstance(part, torch.nn.Dropout) for part in module.modules()):
        for name, found in losses.items():
            for mine, wanted in zip(found, losses["torch eager"], strict=True):
                assert math.isclose(mine, wanted, rel_tol=TOLERANCE), f"{net.name}, {name}: {found}; {losses}"
    return rows_of(f"{net.name} step, batch {batch}", interleave(sides))


def compare_inference(net: Net, batch: int, interleave: Interleave) -> list[Row]:
    """One row a peer, of one call."""
    module, (x, _, _) = net.module().eval(), net.example(batch)
    ours = tritoncnn.compile(module, x)
    with torch.no_grad():
        wanted = module(x)
        frozen = torch.compile(copy.deepcopy(module), options={"freezing": True})
        peers: dict[str, Call] = {"torch eager": lambda: module(x), "freezing": lambda: frozen(x)}
        peers |= engines(module, x)
        sides = {"ours": lambda: ours(x), **peers}
        for name, side in sides.items():
            close(side(), wanted, f"{net.name}, {name}")
        return rows_of(f"{net.name}, batch {batch}", interleave(sides))


def close(found: Any, wanted: Any, what: str) -> None:
    """Compare tensors, or trees of them, within the rounding of nets of this depth. Raises AssertionError."""
    torch.testing.assert_close(
        found, wanted, rtol=1e-3, atol=1e-3, check_stride=False, msg=lambda text: f"{what}: {text}"
    )


def engines(module: torch.nn.Module, x: torch.Tensor) -> dict[str, Call]:
    """ONNX Runtime and OpenVINO on the module's ONNX file, as far as they are installed."""
    made: dict[str, Callable[[bytes, torch.Tensor], Call]] = {"onnxruntime": onnxruntime, "openvino": openvino}
    there = [name for name in made if installed(name)]
    if not there:
        return {}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells of every library that it does without
    file, calls = io.BytesIO(), {}
    for name in there:
        try:
            if not file.getbuffer():
                torch.onnx.export(module, (x,), file, dynamo=True, verbose=False)
            calls[name] = made[name](file.getvalue(), x)
            calls[name]()
        except Exception as error:  # of many kinds, each engine's own
            calls.pop(name, None)
            print(f"{name} fails and is left out: {str(error).splitlines()[0][:100]}")
    return calls


def installed(name: str) -> bool:
    return all(importlib.util.find_spec(module) is not None for module in (name, "onnx", "onnxscript"))


def onnxruntime(model: bytes, x: torch.Tensor) -> Call:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: x.numpy()}
    return lambda: tensors(session.run(None, feed))


def openvino(model: bytes, x: torch.Tensor) -> Call:
    import openvino as ov

    core = ov.Core()
    hints = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(), "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"
    }  # fmt: skip
    compiled = core.compile_model(core.read_model(model), "CPU", hints)
    request, feed = compiled.create_infer_request(), x.numpy()
    return lambda: tensors(list(request.infer([feed], share_inputs=True).values()))


def tensors(arrays: list[Any]) -> Any:
    """One output alone, several as a tuple."""
    found = tuple(torch.from_numpy(array) for array in arrays)
    return found[0] if len(found) == 1 else found


def nets(only: list[str], all_models: bool) -> Iterator[Net]:
    for name in only or TASKS:
        task = find_task(name)
        for model in task.models if all_models else list(task.models)[:1]:
            yield Net.of(task, model)


def words(text: str) -> list[str]:
    return text.split(",")


def main() -> None:
    parser: argparse.ArgumentParser = arguments("Every task's net against torch and inference engines")
    parser.add_argument("--only", type=words, default=[], help="tasks, with commas (default: all)")
    parser.add_argument("--all-models", action="store_true", help="every model of each task, not the default alone")
    parser.add_argument("--kind", type=words, default=["step", "inference"], help="step,inference")
    parser.set_defaults(repeats=15)
    options, interleave = read(parser)
    for name in ("onnxruntime", "openvino"):
        if not installed(name):
            print(f"{name} is not installed and left out: pip install -e '.[bench]'")
    cases: dict[str, list[list[Row]]] = {"step": [], "inference": []}
    for net in nets(options.only, options.all_models):
        if "step" in options.kind:
            cases["step"].append(compare_steps(net, interleave))
            report(cases["step"][-1], None)
        if "inference" in options.kind:
            for batch in BATCHES:
                cases["inference"].append(compare_inference(net, batch, interleave))
                report(cases["inference"][-1], None)
        torch._dynamo.reset()  # the next net has its own code
    conclude(cases, options.json)


if __name__ == "__main__":
    main()
