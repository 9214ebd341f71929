"""What the machine code of a kernel says: registers, spills, matrix instructions, how wide the main loop loads.

The main loop is the smallest loop with matrix instructions, else the smallest one that loads from global memory;
all of the code where the loop with the matrix instructions was unrolled.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import triton

from tritoncnn.gpu.binary import Binary
from tritoncnn.gpu.targets import Gpu
from tritoncnn.kernels.launch import Launch

NVIDIA_TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
SASS = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9a-z_.]*)\s*([^;]*);")
NVIDIA_MATRIX = re.compile(r"(U?[A-Z]*MMA)\b")
AMD = re.compile(r"((?:v|s|ds|buffer|global|flat|scratch)_\w+)\s*(.*)")
AMD_WIDTH = {
    "dwordx4": 128,
    "dwordx3": 96,
    "dwordx2": 64,
    "dword": 32,
    "ushort": 16,
    "short": 16,
    "ubyte": 8,
    "byte": 8,
}
COLUMNS = 512  # of tensor memory in a multiprocessor of sm_100


@dataclass(frozen=True)
class Facts:
    """loop_spills   accesses to spilled registers in the main loop
    shared        bytes of a block
    blocks        that one multiprocessor can hold, by registers, shared memory and threads; 0: it cannot start
    matrix        matrix instructions of the main loop by name
    loads         global loads of the main loop by width in bits, asynchronous copies included
    async_copies  of the main loop
    buffers       tiles that the longest pipeline of shared memory holds; 1: it is not pipelined
    roofline_us   least time by data sheet: the larger of FLOP by peak and bytes by bandwidth. Nothing was timed.
    """

    registers: int
    loop_spills: int
    shared: int
    blocks: int
    matrix: dict[str, int]
    loads: dict[str, int]
    async_copies: int
    buffers: int
    loop_instructions: int
    roofline_us: float


Instruction = tuple[int, str, str]  # place, name, operands


def facts_of(binary: Binary) -> Facts:
    registers, code, loops = (_amd if binary.target.backend == "hip" else _nvidia)(binary)
    if binary.target.backend == "hip":
        matrix_, load, copy, spill = r"v_mfma|v_smfma", r"(buffer|global|flat)_load", r"$^", r"scratch_"
    else:
        matrix_, load, copy, spill = NVIDIA_MATRIX.pattern, r"LDG\.|LDGSTS|UTMALDG|LD\.", r"LDGSTS|UTMALDG", r"STL|LDL"
    body = _main_loop(code, loops, matrix_, load)
    names = [name for _, name, _ in body]
    matrix = Counter(".".join(name.split(".")[:3]) for name in names if re.match(matrix_, name))
    loads = Counter(str(_width(name)) for name in names if re.match(load, name))
    return Facts(
        registers, sum(bool(re.match(spill, name)) for name in names), binary.shared, _blocks(binary, registers),
        dict(matrix), dict(loads), sum(bool(re.match(copy, name)) for name in names), _buffers(binary.texts["ttgir"]),
        len(body), roofline(binary.launch, binary.target),
    )  # fmt: skip


def roofline(launch: Launch, target: Gpu) -> float:
    """Least time in microseconds by data sheet."""
    return round(max(launch.flops / target.peak, launch.nbytes / target.bandwidth) * 1e6, 3)


def _main_loop(
    code: Sequence[Instruction], loops: Sequence[tuple[int, int]], matrix: str, load: str
) -> list[Instruction]:
    bodies = [[i for i in code if first <= i[0] <= last] for first, last in sorted(loops, key=lambda p: p[1] - p[0])]

    def holds(body: list[Instruction], pattern: str) -> bool:
        return any(re.match(pattern, name) for _, name, _ in body)

    with_matrix = [body for body in bodies if holds(body, matrix)]
    # Where loading and multiplying are apart, both count: the smallest loop that does both, else the first.
    both = [body for body in with_matrix if holds(body, load)]
    if not with_matrix and holds(list(code), matrix):
        return list(code)  # the compiler has unrolled the main loop completely
    return next(iter(both or with_matrix or [body for body in bodies if holds(body, load)]), [])


def _width(name: str) -> int:
    """Bits that one thread loads."""
    if name[0].islower():
        kind = re.sub(r"_d16(_hi)?$|_lds$", "", name.split("_load_")[1])
        return AMD_WIDTH.get(kind, 32)
    found = re.search(r"\.(64|128)(\.|$)", name)
    return int(found[1]) if found else 16 if re.search(r"\.[US]16", name) else 8 if re.search(r"\.[US]8", name) else 32


def _buffers(ttgir: str) -> int:
    """Leading size of the largest ring of tiles in shared memory."""
    rings = re.findall(r"local_alloc\s*:\s*\(\)\s*->\s*!ttg\.memdesc<(\d+)x\d+x\d+", ttgir)
    return max((int(size) for size in rings), default=1)


def _blocks(binary: Binary, registers: int) -> int:
    target, warps = binary.target, binary.warps
    by_shared = target.shared_unit // max(binary.shared + target.reserved, 1)
    if target.backend == "hip":
        waves = min(8, 512 // max(8, -(-registers // 8) * 8))  # of each of the four SIMDs
        return min(waves * 4 // warps, by_shared, 32 // warps)
    per_warp = max(-(-registers * 32 // 256) * 256, 256)
    blocks = min(65536 // 4 // per_warp * 4 // warps, by_shared, 64 // warps, 32)
    return min(blocks, COLUMNS // binary.tensor_memory) if binary.tensor_memory else blocks


def _nvidia(binary: Binary) -> tuple[int, list[Instruction], list[tuple[int, int]]]:
    looped = re.search(r"\b(scf\.(for|while)|cf\.br)\b", binary.texts["ttgir"])
    flags = ["-res-usage", *(["-sass"] if looped else [])]  # disassembling takes a second: only where there is a loop
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary.cubin)
        file.flush()
        command = [str(NVIDIA_TOOLS / "cuobjdump"), *flags, file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    registers = re.search(r"REG:(\d+)", text)
    assert registers is not None
    found = (SASS.match(line) for line in text.splitlines())
    code = [(int(m[1], 16), m[2], m[3]) for m in found if m]
    jumps = [(place, re.search(r"0x([0-9a-f]+)", to)) for place, name, to in code if name.split(".")[0] == "BRA"]
    loops = [(int(to[1], 16), place) for place, to in jumps if to and int(to[1], 16) < place]
    return int(registers[1]), code, loops


def _amd(binary: Binary) -> tuple[int, list[Instruction], list[tuple[int, int]]]:
    text = binary.texts["amdgcn"]
    registers = re.search(r"\.vgpr_count:\s+(\d+)", text)
    assert registers is not None
    code: list[Instruction] = []
    labels: dict[str, int] = {}
    for line in map(str.strip, text.splitlines()):
        if label := re.match(r"(\.LBB\w+):", line):
            labels[label[1]] = len(code)
        elif found := AMD.match(line):
            code.append((len(code), found[1], found[2]))
    jumps = [(place, to.split()[0]) for place, name, to in code if name.startswith(("s_cbranch", "s_branch")) and to]
    loops = [(labels[to], place) for place, to in jumps if to in labels and labels[to] <= place]
    return int(registers[1]), code, loops
