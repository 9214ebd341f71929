"""One kernel on one problem, run several times between guard pages: everything that any kernel must keep.

Each output starts poisoned, by NaN in the first run and by a number in the others: an element that keeps both was never
written. Gaps between elements are poisoned as well: a value read there spoils the result, one written there is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from tritoncnn.errors import InputError, KernelBug
from tritoncnn.ir import DTYPE_BYTES, TensorType

from .arena import DTYPES, SMALL, Block, span_bytes
from .problems import FILL, Problem
from .worker import Fault, Worker, name_of

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
# Bits of a NaN with a payload nobody computes, and of a plain number.
_NAN = {"f64": 0x7FF8DEADBEEF0001, "f32": 0x7FC0DEAD, "f16": 0x7E5D, "bf16": 0x7FDD}
_NUMBER = {"f64": 0x40534DEADBEEF001, "f32": 0x429ADEAD, "f16": 0x54DD, "bf16": 0x429B}


class Run(NamedTuple):
    """How tensors lie (flush to the end of their pages or to the start), the poison, the threads; whether every access is
    checked against its tensor and the other programs.
    """

    end: bool
    nan: bool
    threads: int
    checked: bool = False


FIRST = Run(True, True, 1)
CHECKED = Run(True, True, 1, checked=True)
CHECKED_BYTES = 1 << 18  # of a problem, inputs and outputs together; a checked run takes four slow ones


class Signature(NamedTuple):
    """Names of inputs, then outputs; their types."""

    names: tuple[str, ...]
    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]


def runs(threads: int) -> tuple[Run, ...]:
    """Both sides and poisons; then the second run again, on several threads."""
    return FIRST, Run(False, False, 1), Run(False, False, threads)


def poison(type: TensorType, nan: bool) -> int:
    """The bits that an element starts with."""
    if type.is_float:
        return (_NAN if nan else _NUMBER)[type.dtype]
    return (0 if nan else 1) if type.dtype == "i1" else (85 if nan else 42)


def work(type: TensorType) -> int:
    """Bytes of all elements, repeated ones too, or of the memory from the first to the last one."""
    return max(type.numel * DTYPE_BYTES[type.dtype], span_bytes(type))


def bits(tensor: torch.Tensor) -> torch.Tensor:
    """The elements' bits, as integers of their size."""
    return tensor.contiguous().view(_INTEGERS[tensor.element_size()])


class Bench:
    """Runs kernels of a worker on values; raises KernelBug for what no kernel may do."""

    def __init__(self, worker: Worker, threads: int = 2, deterministic: bool = True) -> None:
        self.worker = worker
        self.threads = threads
        self.deterministic = deterministic

    def checked(self, kernel: int, problem: Any, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The outputs of the first run, after all runs."""
        name = name_of(self.worker.kernels[kernel])
        names = problem.names[len(inputs) :]
        small = sum(map(work, (*problem.inputs, *problem.outputs))) <= CHECKED_BYTES
        try:
            first, second, third = (self.once(kernel, problem, inputs, run) for run in runs(self.threads))
        except Fault as fault:
            raise KernelBug(f"{fault}{self._line(kernel, problem, inputs) if small else ''}") from None
        for i, type in enumerate(problem.outputs):
            kept = (bits(first[i]) == poison(type, True)) & (bits(second[i]) == poison(type, False))
            if bool(kept.any()):
                at = f"{names[i]}{kept.nonzero()[0].tolist()}"
                raise KernelBug(f"{name} never wrote {at}: {int(kept.sum())} of {kept.numel()} are unwritten")
            if self.deterministic:
                self._same(name, names[i], second[i], third[i])
        if small and self.deterministic:
            self.once(kernel, problem, inputs, CHECKED)
        return first

    def _line(self, kernel: int, problem: Any, inputs: Sequence[torch.Tensor]) -> str:
        """What a checked run says of the kernel that faulted; nothing, where it faults as well or finds no fault."""
        try:
            self.once(kernel, problem, inputs, CHECKED)
        except Fault:
            return ""
        except KernelBug as told:
            return "\n  " + str(told).partition(": ")[2]  # behind the name, which the fault has told
        return ""

    def _same(self, name: str, output: str, one: torch.Tensor, several: torch.Tensor) -> None:
        other = (bits(one) != bits(several)) & ~(one.isnan() & several.isnan())
        if bool(other.any()):
            at = tuple(other.nonzero()[0].tolist())
            raise KernelBug(
                f"{name} is not deterministic: {output}{list(at)} was {one[at].item()} on 1 thread and "
                f"{several[at].item()} on {self.threads}"
            )

    def once(
        self, kernel: int, problem: Any, inputs: Sequence[torch.Tensor], run: Run, signature: Signature | None = None
    ) -> list[torch.Tensor]:
        """Copies of the outputs of one run, after looking at the inputs and all gaps."""
        arena, name = self.worker.arena, name_of(self.worker.kernels[kernel])
        arena.clear()
        own = signature or Signature(problem.names, problem.inputs, problem.outputs)
        types = (*own.outputs, *own.inputs)
        names = (*own.names[len(inputs) :], *own.names[: len(inputs)])
        blocks = [arena.block(n, t, run.end) for n, t in zip(names, types, strict=True)]
        for block in blocks:
            self._poison(block, run.nan)
        count = len(own.outputs)
        for block, x in zip(blocks[count:], inputs, strict=True):
            write(arena.tensor(block), x)
        before = [arena.bytes(block).clone() if block.high - block.low <= SMALL else None for block in blocks]
        self.worker.run(kernel, blocks, problem, run.threads, run.checked)
        for i, (block, old) in enumerate(zip(blocks, before, strict=True)):
            if old is not None and not torch.equal(old, arena.bytes(block)):
                self._look(name, block, old, output=i < count)
        return [arena.tensor(block).clone(memory_format=torch.contiguous_format) for block in blocks[:count]]

    def _poison(self, block: Block, nan: bool) -> None:
        value, item = poison(block.type, nan), DTYPE_BYTES[block.type.dtype]
        integers = _INTEGERS[item]
        if block.high - block.low <= SMALL:
            self.worker.arena.bytes(block)[(block.first - block.low) % item :].view(integers).fill_(value)
        elif block.type.numel:
            self.worker.arena.tensor(block).view(integers).fill_(value)

    def _look(self, name: str, block: Block, old: torch.Tensor, output: bool) -> None:
        """Find the first byte that may not have changed."""
        arena = self.worker.arena
        gaps = arena.gaps(block)
        changed = old != arena.bytes(block)
        if not output and bool((changed & ~gaps).any()):
            raise KernelBug(f"{name} changed its input {block.name}")
        if bool((changed & gaps).any()):
            at = int((changed & gaps).nonzero()[0]) + block.low
            if at < block.first:
                where = f"{block.first - at} bytes before the start"
            elif at >= block.last:
                where = f"{at - block.last} bytes behind the end"
            else:
                where = f"in a gap, {at - block.first} bytes behind the start,"
            raise KernelBug(f"{name} wrote {where} of {block.name}, {block.type}")


def write(tensor: torch.Tensor, values: torch.Tensor) -> None:
    """Fill a tensor; of dims with stride 0 the first entry counts."""
    for d, (size, step) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        if step == 0 and size > 1:
            tensor, values = tensor.narrow(d, 0, 1), values.narrow(d, 0, 1)
    tensor.copy_(values)


def check_problem(problem: Any) -> None:
    """Raises InputError for what is no problem, outputs that overlap themselves, and dtypes without a torch one."""
    if not isinstance(problem, Problem):
        raise InputError(f"problems must be drawn as instances of tritoncnn.testing.Problem; got {problem!r}")
    kind, types = type(problem).__name__, (*problem.inputs, *problem.outputs)
    if len(problem.names) != len(types):
        raise InputError(
            f"{kind}.names must name its {len(problem.inputs)} inputs, then its {len(problem.outputs)} outputs; "
            f"got {problem.names!r}"
        )
    if problem.values not in FILL:
        raise InputError(f"{kind}.values must be one of {', '.join(FILL)}; got {problem.values!r}")
    for output in problem.outputs:
        if any(step == 0 and size > 1 for size, step in zip(output.shape, output.strides, strict=True)):
            raise InputError(f"an output may not have stride 0; got {output}: give it memory of its own")
    for held in types:
        if any(step < 0 for step in held.strides) or held.dtype not in DTYPES:
            raise InputError(f"strides must not be negative; got {held}")
