"""The pipeline on one page: torch module -> graph -> passes -> plan -> program.

compile(module, example)                          inference
compile_step(module, loss, optimizer, example)    a whole training step: forward, loss, backward, optimizer
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import torch

from tritoncnn import cpu, settings
from tritoncnn.autodiff import differentiate
from tritoncnn.capture import SEED, Captured, capture, capture_loss
from tritoncnn.errors import CheckpointError, DTypeError, InputError, ShapeError
from tritoncnn.ir import Graph, TensorType, Value, verify
from tritoncnn.ops import TORCH_DTYPE, check_node
from tritoncnn.optim import AVERAGE, SGD, AdamW, Optimizer, add_optimizer
from tritoncnn.passes import FORWARD, LOWERING, Stage, run_passes
from tritoncnn.passes.fold_batch_norm import FoldBatchNorm
from tritoncnn.passes.pack_parameters import (
    ARENA,
    ParameterLayout,
    lay_out,
    lay_out_prepared,
    pack_outputs,
    pack_parameters,
)
from tritoncnn.passes.simplify import Simplify
from tritoncnn.passes.split_constants import split_constants
from tritoncnn.plan import Plan, make_plan
from tritoncnn.runtime import CpuProgram, ReferenceProgram

__all__ = ["SGD", "AdamW", "CompiledModel", "CompiledStep", "compile", "compile_step"]


def compile(module: torch.nn.Module, example: torch.Tensor | tuple[torch.Tensor, ...]) -> CompiledModel:
    """Compile ``module`` for inference on inputs of the example's shapes, on the CPU.

    The parameters are copied: later changes of ``module`` do not show; use ``load_state_dict``.
    Raises UnsupportedError with every op that the compiler does not know and its source line; DTypeError, ShapeError.
    """
    inputs = _as_tuple(example)
    captured = capture(module, inputs)
    stages = [Stage("capture", "torch.export, ATen ops as IR ops", captured.graph)]
    graph = _run(captured.graph, FORWARD, stages)
    fixed = frozenset((*captured.parameters, *captured.constants))
    graph = _run(graph, (FoldBatchNorm(fixed), Simplify()), stages)
    layout = lay_out(graph, tuple(graph.input(name) for name in captured.parameters))
    once, graph = split_constants(graph, fixed)
    stages.append(Stage("SplitConstants", f"{len(once.nodes)} nodes follow from parameters alone: run at load", graph))
    prepared = lay_out_prepared(graph)
    graph = pack_parameters(graph, layout, *prepared)
    stages.append(Stage("PackParameters", f"{len(layout.slices)} parameters in one arena", graph))
    graph = _run(graph, LOWERING, stages)
    plan = make_plan(graph)
    _dump(graph.name, stages, plan)
    once, _ = run_passes(pack_outputs(pack_parameters(once, layout), *prepared), LOWERING)
    return CompiledModel(captured, layout, tuple(stages), plan, module.state_dict(), make_plan(once), prepared)


def compile_step(
    module: torch.nn.Module,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    optimizer: Optimizer,
    example: tuple[torch.Tensor, torch.Tensor],
    *,
    seed: int | None = None,
) -> CompiledStep:
    """Compile one training step of ``module`` on batches ``(x, target)`` of the example's shapes, on the CPU.

    ``loss(output, target)`` is any torch function of known ops with a scalar result. In the step's plan every launch is
    a Triton kernel. Learning rate and step count are data. The parameters are copied out of ``module``.
    In training mode batch norm takes the batch's statistics and moves its running ones (``state_dict`` has them); dropout
    draws other numbers in each step, which follow from ``seed`` (default: one of torch's generator) and the step's number.
    Raises UnsupportedError with every op that the compiler does not know and its source line; DTypeError, ShapeError.
    """
    if not isinstance(optimizer, Optimizer):
        raise InputError(
            f"compile_step: optimizer must be tritoncnn.SGD(...), Adam(...) or AdamW(...); got {optimizer!r}"
        )
    if seed is not None and not (isinstance(seed, int) and 0 <= seed < 2**62):
        raise InputError(f"compile_step: seed must be a whole number from 0 to below 2**62; got {seed!r}")
    captured = capture_loss(module, loss, example[:-1], example[-1])
    stages = [Stage("capture", "torch.export, ATen ops as IR ops", captured.graph)]
    graph = _run(captured.graph, FORWARD, stages)
    trained = tuple(graph.input(name) for name in captured.parameters)
    layout = lay_out(graph, trained)
    graph = differentiate(graph, trained)
    stages.append(Stage("differentiate", f"gradients of {len(trained)} parameters", graph))
    graph = pack_outputs(pack_parameters(graph, layout), layout)
    stages.append(Stage("PackParameters", f"{len(layout.slices)} parameters and their gradients in arenas", graph))
    graph = add_optimizer(graph, optimizer, ARENA, captured.updated)
    stages.append(Stage("add_optimizer", f"{optimizer} on one arena of {layout.size} elements", graph))
    graph = _run(graph, LOWERING, stages)
    plan = make_plan(graph)
    _dump(f"{graph.name}-step", stages, plan)
    return CompiledStep(captured, layout, tuple(stages), plan, module.state_dict(), optimizer, seed)


def _run(graph: Graph, passes: tuple[Any, ...], stages: list[Stage]) -> Graph:
    if settings.current().verify:
        verify(graph, check_node, after=stages[-1].name)
    graph, new = run_passes(graph, passes)
    stages.extend(new)
    return graph


def _dump(name: str, stages: list[Stage], plan: Plan) -> None:
    """Under TRITONCNN_DUMP=passes,plan: the graph after every stage and the plan, in <cache>/dump."""
    wanted, folder = settings.current().dump, settings.current().cache
    if "passes" in wanted:
        for number, stage in enumerate(stages):
            text = f"# {stage.name}: {stage.note}\n{stage.graph}\n"
            cpu.write_text(folder, "dump", f"{name}-{number:02}-{stage.name}.txt", text)
    if "plan" in wanted:
        cpu.write_text(folder, "dump", f"{name}-plan.txt", f"{plan}\n")


def _as_tuple(example: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    inputs = example if isinstance(example, tuple) else (example,)
    for i, tensor in enumerate(inputs):
        if not isinstance(tensor, torch.Tensor):
            raise InputError(
                f"compile: example must be a tensor or a tuple of tensors; item {i} is {type(tensor).__name__}"
            )
    return inputs


class Parameters:
    """The arena of parameters, and its tensors under torch's names, shapes and layouts."""

    def __init__(self, captured: Captured, layout: ParameterLayout, module_state: Mapping[str, torch.Tensor]) -> None:
        self.layout = layout
        self.shapes = {name: tuple(module_state[name].shape) for name in captured.parameters.values()}
        self.names = dict(captured.parameters)  # graph input -> torch name
        self.aliases = captured.aliases  # tied tensors: further torch names of one tensor
        self.arena = self.new_arena()

    def new_arena(self) -> torch.Tensor:
        return torch.zeros(self.layout.size, dtype=torch.float32)

    def read(self, arena: torch.Tensor) -> dict[str, torch.Tensor]:
        """Contiguous copies out of ``arena``, by torch name."""
        found = {}
        for part in self.layout.slices:
            stored = arena.as_strided(part.type.shape, part.type.strides, part.offset)
            name = self.names[part.name]
            found[name] = stored.reshape(self.shapes[name]).clone(memory_format=torch.contiguous_format)
        return found | {alias: found[name] for alias, name in self.aliases.items() if name in found}

    def write(self, arena: torch.Tensor, tensors: Mapping[str, torch.Tensor], what: str = "parameter") -> None:
        """Copy ``tensors`` into ``arena``; all are checked before the first is written. Raises CheckpointError."""
        for name, shape in self.shapes.items():
            if name not in tensors:
                raise CheckpointError(f"{what} {name!r} is missing; wanted {', '.join(self.shapes)}")
            if tuple(tensors[name].shape) != shape or not tensors[name].is_floating_point():
                got = f"{tensors[name].dtype} {list(tensors[name].shape)}"
                raise CheckpointError(f"{what} {name!r} must be torch.float32 {list(shape)}; got {got}")
        for part in self.layout.slices:
            source = tensors[self.names[part.name]].detach().reshape(part.type.shape)
            arena.as_strided(part.type.shape, part.type.strides, part.offset).copy_(source)


class _Compiled:
    """What a compiled model and a compiled step share: stages, plan, parameters, checked inputs."""

    def __init__(self, captured: Captured, layout: ParameterLayout, stages: tuple[Stage, ...], plan: Plan,
                 module_state: Mapping[str, torch.Tensor]) -> None:  # fmt: skip
        self.stages = stages
        self.plan = plan
        self._lock = threading.Lock()
        self._parameters = Parameters(captured, layout, module_state)
        self._parameters.write(self._parameters.arena, module_state)
        self._buffer_names = dict(captured.buffers)  # graph input -> torch name
        self._buffers = {
            key: module_state[name].detach().clone().contiguous() for key, name in captured.buffers.items()
        }
        self._buffers |= {key: tensor.detach().clone().contiguous() for key, tensor in captured.constants.items()}
        self._inputs = tuple(captured.graph.input(name) for name in captured.inputs)

    def _program(self, plan: Plan, fixed: Mapping[str, torch.Tensor]) -> CpuProgram | ReferenceProgram:
        buffers = {ARENA: self._parameters.arena, **self._buffers, **fixed}
        return ReferenceProgram(plan, buffers) if settings.current().reference else CpuProgram(plan, buffers)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Copies of the parameters, and of the buffers that a step reads, under torch's names, shapes and layouts."""
        found = self._parameters.read(self._parameters.arena)
        return found | {name: self._buffers[key].clone() for key, name in self._buffer_names.items()}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Set all parameters and such buffers. Raises CheckpointError, before anything is changed, when one is missing or
        misshapen."""
        for key, name in self._buffer_names.items():
            buffer = self._buffers[key]
            if name not in state or (state[name].shape, state[name].dtype) != (buffer.shape, buffer.dtype):
                got = f"{state[name].dtype} {list(state[name].shape)}" if name in state else "none"
                raise CheckpointError(f"buffer {name!r} must be {buffer.dtype} {list(buffer.shape)}; got {got}")
        self._parameters.write(self._parameters.arena, state)
        for key, name in self._buffer_names.items():
            self._buffers[key].copy_(state[name])

    def _bind_inputs(self, program: CpuProgram | ReferenceProgram, tensors: tuple[torch.Tensor, ...]) -> None:
        if len(tensors) != len(self._inputs):
            raise InputError(
                f"expected {len(self._inputs)} inputs ({', '.join(v.name for v in self._inputs)}); got {len(tensors)}"
            )
        for value, tensor in zip(self._inputs, tensors, strict=True):
            if (
                tensor.shape != value.type.shape
                or tensor.dtype != TORCH_DTYPE[value.type.dtype]
                or tensor.device.type != "cpu"
            ):
                raise _misfit(value, tensor)
            program.bind(value.name, tensor if tensor.is_contiguous() else tensor.contiguous())


def _misfit(value: Value, tensor: torch.Tensor) -> InputError:
    wanted = (
        f"input {value.name} must be {TORCH_DTYPE[value.type.dtype]} {list(value.type.shape)} on cpu, as in the example"
    )
    got = f"got {tensor.dtype} {list(tensor.shape)} on {tensor.device}"
    kind = ShapeError if tuple(tensor.shape) != value.type.shape else DTypeError
    return kind(f"{wanted}; {got}; compile again for other inputs")


class CompiledModel(_Compiled):
    """``model(*inputs)`` -> the module's output(s), computed by one native call."""

    def __init__(self, captured: Captured, layout: ParameterLayout, stages: tuple[Stage, ...], plan: Plan,
                 state: Mapping[str, torch.Tensor], prepare: Plan, prepared: tuple[ParameterLayout, ...]) -> None:  # fmt: skip
        """``prepare``: the plan that computes the arenas ``prepared`` of parameters, run when these are set."""
        super().__init__(captured, layout, stages, plan, state)
        self.prepare = prepare
        self._single = captured.single
        arenas = {part.arena: torch.zeros(part.size, dtype=TORCH_DTYPE[part.dtype]) for part in prepared}
        self._run = self._program(plan, arenas)
        self._prepare = self._program(prepare, {f"output {i}": arena for i, arena in enumerate(arenas.values())})
        self._prepare.run()
        self._outputs = tuple(_output(value.type.packed()) for value in self.plan.graph.outputs)

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        with self._lock:
            super().load_state_dict(state)
            self._prepare.run()

    def __call__(self, *inputs: torch.Tensor) -> Any:
        """Raises ShapeError or DTypeError when an input is not like the example."""
        results = tuple(make() for make in self._outputs)
        with self._lock:  # from binding to running the memory is this call's
            self._bind_inputs(self._run, inputs)
            for i, result in enumerate(results):
                self._run.bind(f"output {i}", result)
            self._run.run()
        return results[0] if self._single else results


def _output(type: TensorType) -> Callable[[], torch.Tensor]:
    dtype = TORCH_DTYPE[type.dtype]
    return lambda: torch.empty_strided(type.shape, type.strides, dtype=dtype)


class CompiledStep(_Compiled):
    """``step(x, target)`` -> the loss; parameters and optimizer state are updated in place."""

    def __init__(self, captured: Captured, layout: ParameterLayout, stages: tuple[Stage, ...], plan: Plan,
                 module_state: Mapping[str, torch.Tensor], optimizer: Optimizer, seed: int | None = None) -> None:  # fmt: skip
        super().__init__(captured, layout, stages, plan, module_state)
        self.optimizer = optimizer
        drawn = torch.randint(2**62, (), dtype=torch.int64) if seed is None else torch.tensor(seed, dtype=torch.int64)
        self._first_seed = drawn if captured.random else None
        self._seed = torch.zeros((), dtype=torch.int64)
        self._lr = torch.tensor(optimizer.lr, dtype=torch.float32)
        self._step = torch.zeros((), dtype=torch.int64)
        kept = (*optimizer.state, AVERAGE) if optimizer.ema else optimizer.state
        self._states = {name: self._parameters.new_arena() for name in kept}
        self._loss = torch.zeros((), dtype=TORCH_DTYPE[plan.graph.outputs[0].type.dtype])
        fixed = {"lr": self._lr, "step": self._step, **self._states, "output 0": self._loss}
        fixed |= {SEED: self._seed} if captured.random else {}
        self._run = self._program(plan, fixed)

    def __call__(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """One step. The result is a view of memory that the next step overwrites: use ``float(loss)`` to keep it."""
        with self._lock:
            self._bind_inputs(self._run, (x, target))
            if self._first_seed is not None:
                torch.add(self._first_seed, self._step, out=self._seed)
            self._run.run()
        return self._loss

    @property
    def lr(self) -> float:
        """The learning rate of the next step; set it at any time."""
        return float(self._lr)

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr.fill_(value)

    def averages(self) -> dict[str, torch.Tensor]:
        """Copies of the parameters' moving averages, named as in ``state_dict``; before the first step the parameters.

        Raises InputError when the optimizer keeps none.
        """
        if AVERAGE not in self._states:
            raise InputError(
                f"averages: the optimizer keeps none; compile with {type(self.optimizer).__name__}(ema=0.999)"
            )
        return self._parameters.read(self._states[AVERAGE] if int(self._step) else self._parameters.arena)

    def optimizer_state(self) -> dict[str, torch.Tensor]:
        """Copies: ``step`` (i64), each state tensor as ``momentum_buffer.conv1.weight`` and so on, ``seed`` where one is used."""
        found = {"step": self._step.clone()}
        if self._first_seed is not None:
            found[SEED] = self._first_seed.clone()
        for state, arena in self._states.items():
            found.update({f"{state}.{name}": tensor for name, tensor in self._parameters.read(arena).items()})
        return found

    def load_optimizer_state(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """The reverse of ``optimizer_state``. Raises CheckpointError when a tensor is missing or misshapen."""
        if "step" not in tensors or tensors["step"].numel() != 1:
            raise CheckpointError("optimizer state 'step' must be one whole number; it is missing or misshapen")
        if self._first_seed is not None and (SEED not in tensors or tensors[SEED].numel() != 1):
            raise CheckpointError("optimizer state 'seed' must be one whole number; it is missing or misshapen")
        for state, arena in self._states.items():
            prefix = f"{state}."
            part = {key[len(prefix) :]: tensor for key, tensor in tensors.items() if key.startswith(prefix)}
            self._parameters.write(arena, part, what=f"optimizer state {state} of parameter")
        self._step.copy_(tensors["step"].reshape(()))
        if self._first_seed is not None:
            self._first_seed.copy_(tensors[SEED].reshape(()))
