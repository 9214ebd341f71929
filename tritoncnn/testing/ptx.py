"""Execute the PTX that Triton writes for sm_80 on the CPU: every thread of a block in lockstep, block after block.

    run = run_ptx(binary.texts["ptx"], tensors, grid=(4,), warps=4, shared=binary.shared)
    assert not run.races                            # and compare the tensors, which the kernel has written

``tensors`` are CPU tensors by name in the order of the kernel's pointers. An access outside all of them raises PtxFault with
the tensor's name; shared memory is poisoned until it is written, and the target of an asynchronous copy until it is waited
for; touching what another warp wrote with no barrier between is a race, and a barrier that only some threads reach a fault.

Not known: wgmma, TMA, warp specialisation (sm_90 and later).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch

from tritoncnn.testing import ptx_arithmetic as arithmetic
from tritoncnn.testing.ptx_arithmetic import TYPES
from tritoncnn.testing.ptx_matrix import ldmatrix, mma
from tritoncnn.testing.ptx_memory import Array, GlobalMemory, PtxFault, SharedMemory
from tritoncnn.testing.ptx_parse import Instruction, Program, parse_ptx, registers

UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


@dataclass(frozen=True)
class PtxRun:
    """``races`` of shared memory, each with its instruction; ``steps`` instructions executed by all blocks."""

    races: tuple[str, ...]
    steps: int


def run_ptx(
    text: str, tensors: Mapping[str, torch.Tensor], *, grid: tuple[int, ...], warps: int, shared: int,
    blocks: Iterable[tuple[int, int, int]] | None = None,
) -> PtxRun:  # fmt: skip
    """Run a kernel on tensors, in place; ``blocks``: only these of the grid. Raises PtxFault."""
    program, memory = parse_ptx(text), GlobalMemory(tensors)
    whole = (*grid, 1, 1)[:3]
    addresses = [tensor.data_ptr() for tensor in tensors.values()]
    addresses += [0] * (len(program.parameters) - len(addresses))  # Triton's scratch pointers
    parameters = dict(zip(program.parameters, addresses, strict=True))
    races: dict[str, None] = {}
    steps = 0
    with np.errstate(all="ignore"):
        every = ((x, y, z) for z, y, x in product(*(range(size) for size in reversed(whole))))
        for block in every if blocks is None else blocks:
            machine = _Block(program, memory, parameters, whole, block, warps, max(shared, 16))
            steps += machine.run()
            races.update(machine.races)
    return PtxRun(tuple(races), steps)


def _storage(register: str) -> Any:
    """How a register's bits are kept."""
    if register.startswith(("%rd", "%fd")):
        return np.uint64
    return np.uint16 if register.startswith(("%rs", "%h")) else np.bool_ if register.startswith("%p") else np.uint32


PARAMETER = 8  # bytes of a parameter


class _Block:
    """One block: its registers [threads], shared memory, and the place in the program."""

    def __init__(self, program: Program, memory: GlobalMemory, parameters: Mapping[str, int], grid: tuple[int, ...],
                 block: tuple[int, int, int], warps: int, shared: int) -> None:  # fmt: skip
        self.program, self.memory = program, memory
        self.parameters = np.array(list(parameters.values()), np.uint64)
        self.places = {name: PARAMETER * i for i, name in enumerate(parameters)}  # addresses of the parameters
        self.warps, self.threads = warps, 32 * warps
        self.shared = SharedMemory(shared, warps)
        self.block = block
        self.everyone = np.ones(self.threads, np.bool_)
        self.values: dict[str, Array] = {"%tid.x": np.arange(self.threads, dtype=np.uint32)}
        for name, sizes in (("ctaid", block), ("nctaid", grid), ("ntid", (self.threads, 1, 1))):
            for axis, size in zip("xyz", sizes, strict=True):
                self.values[f"%{name}.{axis}"] = np.full(self.threads, size, np.uint32)
        self.values |= {f"%tid.{axis}": np.zeros(self.threads, np.uint32) for axis in "yz"}
        self.races: dict[str, None] = {}

    def run(self) -> int:
        """All threads to the end; those that are furthest behind go first. The number of steps."""
        places = np.zeros(self.threads, np.int64)
        end, steps = len(self.program.code), 0
        together, place = True, 0
        while place < end:
            instruction = self.program.code[place]
            here = None if together else places == place
            steps += 1
            try:
                jump, taken = self._step(instruction, here)
            except PtxFault as fault:
                raise PtxFault(f"block {self.block}, instruction {place}: {instruction}: {fault}") from None
            target = place + 1 if jump is None else end if jump == "exit" else self.program.labels[jump]
            if together and (taken is None or taken.all()):
                place = target
            elif together and taken is not None and not taken.any():
                place += 1
            else:
                if together:
                    places[:] = place
                now = places == place
                places = np.where(now, place + 1 if taken is not None else target, places)
                places = np.where(now & taken, target, places) if taken is not None else places
                place = int(places.min())
                together = bool((places == place).all())
            self.races.update({f"{instruction}: {race}": None for race in self.shared.races})
            self.shared.races.clear()
        return steps

    # ---- operands
    def read(self, operand: str, kind: str) -> Array:
        wanted = np.dtype(TYPES[kind])
        if operand.startswith("%"):
            value = self.values.get(operand)
            if value is None:  # never written: any value will do, as on the device
                value = self.values[operand] = np.zeros(self.threads, _storage(operand))
            if value.dtype == wanted:
                return value
            return value.view(wanted) if value.dtype.itemsize == wanted.itemsize else value.astype(wanted)
        number = self.places.get(operand)
        bits = _constant(operand, wanted) if number is None else number
        return np.full(self.threads, bits, UNSIGNED[wanted.itemsize]).view(wanted)

    def write(self, register: str, value: Array, active: Array | None) -> None:
        if register == "_":
            return
        wanted = np.dtype(_storage(register))
        if value.dtype != wanted:
            value = value.view(wanted) if value.dtype.itemsize == wanted.itemsize else value.astype(wanted)
        if active is not None:
            value = np.where(active, value, self.values.get(register, np.zeros(self.threads, wanted)))
        self.values[register] = value

    def address(self, operand: str, kind: str) -> Array:
        found = re.match(r"\[\s*([%$\w.]+)\s*(?:\+\s*(-?\w+))?\s*\]", operand)
        assert found is not None, operand
        base = self.read(found[1], kind)
        return base + self.read(found[2], kind) if found[2] else base

    def _parameter(self, address: Array, active: Array | None) -> Array:
        chosen = self.everyone if active is None else active
        index = np.where(chosen, address // PARAMETER, 0)
        if (chosen & (address % PARAMETER != 0)).any() or (index >= len(self.parameters)).any():
            raise PtxFault("an address in the memory of the parameters is that of none")
        return self.parameters[index]

    # ---- instructions
    def _step(self, instruction: Instruction, here: Array | None) -> tuple[str | None, Array | None]:
        """Do it for the threads ``here`` (None: all); (the label to go on at, if not the next instruction; for whom)."""
        guard, words, operands = instruction
        active = here
        if guard:
            value = self.read(guard.lstrip("!"), "pred")
            value = ~value if guard[0] == "!" else value
            active = value if here is None else value & here
        name = words[0]
        if name in ("bra", "ret", "exit"):
            return (operands[-1] if name == "bra" else "exit"), active
        if name in ("bar", "barrier"):
            if "warp" not in words:
                if here is not None:
                    raise PtxFault("only some threads of the block come to this barrier")
                self.shared.barrier()
        elif name not in ("membar", "fence"):
            special: Callable[..., None] | None = getattr(self, f"_{name}", None)
            (special or self._arithmetic)(words, operands, active)
        return None, None

    def _arithmetic(self, words: tuple[str, ...], operands: tuple[str, ...], active: Array | None) -> None:
        name, kind = words[0], words[-1]
        kinds = [kind] * (len(operands) - 1)
        if name in ("shl", "shr"):
            kinds[1] = "u32"
        elif name in ("bfe", "bfi"):
            kinds[-2:] = ["u32", "u32"]
        elif name == "mad" and "wide" in words:
            kinds[2] = f"{kind[0]}{2 * int(kind[1:])}"
        values = [self.read(operand, k) for operand, k in zip(operands[1:], kinds, strict=True)]
        self.write(operands[0], arithmetic.compute(words, values), active)

    def _cvt(self, words: tuple[str, ...], operands: tuple[str, ...], active: Array | None) -> None:
        values = [self.read(operand, words[-1]) for operand in operands[1:]]
        self.write(operands[0], arithmetic.convert(words, values), active)

    def _setp(self, words: tuple[str, ...], operands: tuple[str, ...], active: Array | None) -> None:
        kind = words[-1]
        x, y = (self.read(operand, kind) for operand in operands[1:3])
        if kind in arithmetic.HALVES:
            x, y = arithmetic.widen(x, kind), arithmetic.widen(y, kind)
        self.write(operands[0], arithmetic.COMPARE[words[1]](x, y), active)

    def _selp(self, words: tuple[str, ...], operands: tuple[str, ...], active: Array | None) -> None:
        x, y = (self.read(operand, words[-1]) for operand in operands[1:3])
        self.write(operands[0], np.where(self.read(operands[3], "pred"), x, y), active)

    def _mov(self, words: tuple[str, ...], operands: tuple[str, ...], active: Array | None) -> None:
        """Also packs registers into a wider one, and unpacks them."""
        (to, source), kind = operands, words[-1]
        if source.startswith("{"):
            parts = registers(source)
            width = 8 * np.dtype(TYPES[kind]).itemsize // len(parts)
            columns = [self.read(part, f"b{width}") for part in parts]
            self.write(to, np.stack(columns, 1).view(TYPES[f"b{width * len(parts)}"]).ravel(), active)
        elif to.startswith("{"):
            parts = registers(to)
            width = 8 * np.dtype(TYPES[kind]).itemsize // len(parts)
            split = np.ascontiguousarray(self.read(source, kind)).view(TYPES[f"b{width}"]).reshape(self.threads, -1)
            for i, part in enumerate(parts):
                self.write(part, np.ascontiguousarray(split[:, i]), active)
        else:
            self.write(to, self.read(source, kind), active)

    def _shfl(self, words: tuple[str, ...], operands: tuple[str, ...], active: Array | None) -> None:
        value, by = (self.read(operand, "u32").reshape(self.warps, 32) for operand in operands[1:3])
        lane, by = np.arange(32), by.astype(np.int64)
        source = {"bfly": lane ^ by, "up": lane - by, "down": lane + by, "idx": by + 0 * lane}[words[2]]
        source = np.where((source < 0) | (source > 31), lane, source)
        self.write(operands[0].split("|")[0].strip(), np.take_along_axis(value, source, 1).ravel(), active)

    def _ld(self, words: tuple[str, ...], operands: tuple[str, ...], active: Array | None) -> None:
        kind, to = words[-1], registers(operands[0])
        if "param" in words:
            return self.write(to[0], self._parameter(self.address(operands[1], "u64"), active), active)
        size, chosen = np.dtype(TYPES[kind]).itemsize * len(to), self.everyone if active is None else active
        if any(word.startswith("shared") for word in words):
            raw = self.shared.load(self.address(operands[1], "u32"), size, chosen)
        else:
            raw = np.zeros((self.threads, size), np.uint8)
            raw[chosen] = self.memory.load(self.address(operands[1], "u64")[chosen], size)
        for i, register in enumerate(to):
            self.write(register, np.ascontiguousarray(raw.view(TYPES[kind])[:, i]), active)
        return None

    def _st(self, words: tuple[str, ...], operands: tuple[str, ...], active: Array | None) -> None:
        kind, chosen = words[-1], self.everyone if active is None else active
        values = [self.read(register, kind) for register in registers(operands[1])]
        raw = np.ascontiguousarray(np.stack(values, 1)).view(np.uint8)
        if any(word.startswith("shared") for word in words):
            self.shared.store(self.address(operands[0], "u32"), raw, chosen)
        else:
            self.memory.store(self.address(operands[0], "u64")[chosen], raw[chosen])

    def _cp(self, words: tuple[str, ...], operands: tuple[str, ...], active: Array | None) -> None:
        """Asynchronous copies. With a fourth operand, the bytes to read: all, or none, which writes zeros."""
        if "commit_group" in words:
            return self.shared.commit()
        if "wait_group" in words or "wait_all" in words:
            if "wait_all" in words:
                self.shared.commit()
            return self.shared.wait(int(operands[0]) if operands else 0)
        size, chosen = int(operands[2], 0), self.everyone if active is None else active
        reads = self.read(operands[3], "u32") if len(operands) > 3 else np.full(self.threads, size, np.uint32)
        if (chosen & (reads != 0) & (reads != size)).any():
            raise PtxFault("a copy of a part of its bytes is not known to the interpreter")
        data = np.zeros((self.threads, size), np.uint8)
        reading = chosen & (reads > 0)
        data[reading] = self.memory.load(self.address(operands[1], "u64")[reading], size)
        self.shared.copy_later(self.address(operands[0], "u32"), data, chosen)
        return None

    def _ldmatrix(self, words: tuple[str, ...], operands: tuple[str, ...], active: Array | None) -> None:
        to = registers(operands[0])
        lanes = np.tile(np.arange(32) < 8 * len(to), self.warps)
        raw = self.shared.load(self.address(operands[1], "u32"), 16, lanes)
        rows = raw.view(np.uint16).reshape(self.warps, 32, 8)
        for register, value in zip(to, ldmatrix(rows, len(to), "trans" in words), strict=True):
            self.write(register, value, active)

    def _mma(self, words: tuple[str, ...], operands: tuple[str, ...], active: Array | None) -> None:
        depth = int(words[3].partition("k")[2])
        a, b, c = ([self.read(r, "u32").reshape(self.warps, 32) for r in registers(group)] for group in operands[1:])
        for register, value in zip(registers(operands[0]), mma(a, b, c, words[-2], depth), strict=True):
            self.write(register, value, active)


def _constant(text: str, kind: np.dtype[Any]) -> int:
    """The bits of a literal; the name of shared memory stands for its first byte."""
    if text[:2] in ("0f", "0d", "0F", "0D"):
        return int(text[2:], 16)
    if re.fullmatch(r"-?(0x[0-9a-fA-F]+|\d+)U?", text):
        return int(text.rstrip("U"), 0) & (1 if kind == np.bool_ else (1 << 8 * kind.itemsize) - 1)
    return 0
