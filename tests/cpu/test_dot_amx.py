"""Products by AMX. This CPU may have none, so what the tiles' instructions do is spelt out in LLVM IR, and runs anywhere."""

import platform
import re

import llvmlite.binding as llvm
import pytest
import torch
import triton
import triton.language as tl

from tests.cpu import harness
from tritoncnn.cpu.lower import lower

FEATURES = ("avx512bf16", "avx512vnni", "amx-tile", "amx-bf16", "amx-int8")


@triton.jit
def product_kernel(
    y_ptr, a_ptr, b_ptr, c_ptr, m, k, n, A_ROW: tl.constexpr, M: tl.constexpr, K: tl.constexpr, N: tl.constexpr,
    MASKED: tl.constexpr, TURNS: tl.constexpr,
):  # fmt: skip
    """y = a[:m, :k] @ b[:k, :n] + c, in TURNS steps of K."""
    rows, columns = tl.arange(0, M), tl.arange(0, N)
    at = rows[:, None] * N + columns
    sums = tl.load(c_ptr + at)
    for turn in range(TURNS):
        red = turn * K + tl.arange(0, K)
        if MASKED:
            a = tl.load(a_ptr + rows[:, None] * A_ROW + red, mask=(rows[:, None] < m) & (red < k), other=0)
            b = tl.load(b_ptr + red[:, None] * N + columns, mask=(red[:, None] < k) & (columns < n), other=0)
        else:
            a, b = tl.load(a_ptr + rows[:, None] * A_ROW + red), tl.load(b_ptr + red[:, None] * N + columns)
        sums = tl.dot(a, b, sums, out_dtype=sums.dtype)
    tl.store(y_ptr + at, sums)


def text_for(dtype, constants, lanes=16, features=FEATURES):
    into, given = ("*i32", "*i8") if dtype == torch.int8 else ("*fp32", "*bf16")
    signature = {"y_ptr": into, "a_ptr": given, "b_ptr": given, "c_ptr": into, "m": "i32", "k": "i32", "n": "i32"}
    return lower(harness.ttir(product_kernel, signature, constants), lanes=lanes, features=features)


# ---- the instructions, as Intel defines them ---------------------------------------------------------------------------
def spelt_out() -> str:
    """Tiles are 16 rows of 16 words in memory; all else is as the CPU does it, but bf16 that are subnormal stay so."""
    out = ["@tiles = internal global [8 x [16 x <16 x i32>]] zeroinitializer, align 64"]
    out.append("define internal void @amx.ldtilecfg(ptr %p) { ret void }")
    out.append("define internal void @amx.tilerelease() { ret void }")
    for name in ("tileloadd64", "tilestored64"):
        out.append(f"define internal void @amx.{name}(i8 %t, ptr %p, i64 %step) {{")
        for row in range(16):
            out.append(f"  %o{row} = mul i64 %step, {row}\n  %m{row} = getelementptr i8, ptr %p, i64 %o{row}")
            out.append(f"  %r{row} = getelementptr [8 x [16 x <16 x i32>]], ptr @tiles, i64 0, i8 %t, i64 {row}")
            source, to = ("m", "r") if "load" in name else ("r", "m")
            out.append(f"  %v{row} = load <16 x i32>, ptr %{source}{row}, align 4")
            out.append(f"  store <16 x i32> %v{row}, ptr %{to}{row}, align 4")
        out.append("  ret void\n}")
    out.append(product("tdpbssd", "i8", 4, "i32", "sext", "mul", "add"))
    out.append(product("tdpbf16ps", "bfloat", 2, "float", "fpext", "fmul", "fadd"))
    return "\n".join(out)


def product(name: str, elem: str, each: int, into: str, widen: str, mul: str, add: str) -> str:
    """sums[m][n] += a[m][k] . b[k][n] for words a[m][k], b[k][n] of ``each`` elements."""
    wide, narrow = f"<{16 * each} x {into}>", f"<{16 * each} x {elem}>"
    splat, zero = ", ".join(["i32 0"] * 16), "<16 x i32> poison"
    body = [f"define internal void @amx.{name}(i8 %c, i8 %a, i8 %b) {{", "entry:", "  br label %loop", "loop:"]
    body += ["  %n = phi i64 [ 0, %entry ], [ %n1, %loop ]", "  %m = lshr i64 %n, 4", "  %k = and i64 %n, 15"]
    body += ["  %pa = getelementptr [8 x [16 x [16 x i32]]], ptr @tiles, i64 0, i8 %a, i64 %m, i64 %k"]
    body += [
        f"  %p{x} = getelementptr [8 x [16 x <16 x i32>]], ptr @tiles, i64 0, i8 %{x}, i64 %{at}"
        for x, at in ("bk", "cm")
    ]
    body += ["  %w = load i32, ptr %pa", f"  %w1 = insertelement {zero}, i32 %w, i32 0"]
    body += [f"  %ws = shufflevector <16 x i32> %w1, {zero}, <16 x i32> <{splat}>", "  %vb = load <16 x i32>, ptr %pb"]
    for x, given in (("x", "ws"), ("y", "vb")):
        body.append(f"  %{x}n = bitcast <16 x i32> %{given} to {narrow}\n  %{x}w = {widen} {narrow} %{x}n to {wide}")
    body += [f"  %p = {mul} {wide} %xw, %yw", f"  %s0 = load <16 x {into}>, ptr %pc"]
    for part in range(each):
        picks = ", ".join(f"i32 {each * lane + part}" for lane in range(16))
        body.append(f"  %q{part} = shufflevector {wide} %p, {wide} poison, <16 x i32> <{picks}>")
        body.append(f"  %s{part + 1} = {add} <16 x {into}> %s{part}, %q{part}")
    body += [f"  store <16 x {into}> %s{each}, ptr %pc", "  %n1 = add i64 %n, 1", "  %more = icmp ult i64 %n1, 256"]
    return "\n".join([*body, "  br i1 %more, label %loop, label %end", "end:", "  ret void", "}"])


def runnable(text: str) -> str:
    assert "llvm.x86.tdp" in text
    text = re.sub(r"declare void @llvm\.x86\.(tile|ldtile|tdp)\S*\(.*\)\n", "", text)
    return re.sub(r"@llvm\.x86\.(tile|ldtile|tdp)", r"@amx.\1", text) + spelt_out()


@pytest.mark.skipif(harness.lanes_here() != 16, reason="the code around the tiles needs AVX-512")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int8])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("M", "K", "N"), [(16, 64, 16), (32, 64, 32), (64, 128, 16), (16, 64, 64), (128, 64, 128)])
def test_products_by_tiles(M, K, N, masked, dtype):
    torch.manual_seed(M + N)
    turns, most = 2, 128 if dtype == torch.int8 else 8
    depth = K * turns
    row = depth + 4
    a, b = (torch.randint(-most, most, s).to(dtype) for s in ((M, row), (depth, N)))
    c = torch.randint(-100, 100, (M, N)).to(torch.int32 if dtype == torch.int8 else torch.float32)
    m, k, n = (M - 1, depth - 3, N - 5) if masked else (M, depth, N)
    y = torch.zeros_like(c)
    constants = {"A_ROW": row, "M": M, "K": K, "N": N, "MASKED": masked, "TURNS": turns}
    harness.Compiled(runnable(text_for(dtype, constants))).launch((1,), [y, a, b, c, m, k, n])
    wanted = c.double()
    wanted[:m, :n] += a.double()[:m, :k] @ b.double()[:k, :n]
    assert torch.equal(y.double(), wanted)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="LLVM is asked for x86 code")
@pytest.mark.parametrize(("dtype", "instruction"), [(torch.bfloat16, "tdpbf16ps"), (torch.int8, "tdpbssd")])
def test_llvm_makes_the_instructions_of_a_cpu_that_has_them(dtype, instruction):
    constants = {"A_ROW": 64, "M": 32, "K": 64, "N": 32, "MASKED": False, "TURNS": 2}
    target = llvm.Target.from_triple("x86_64-unknown-linux-gnu")
    machine = target.create_target_machine(cpu="sapphirerapids", features="-prefer-256-bit", opt=3)
    code = machine.emit_assembly(llvm.parse_assembly(text_for(dtype, constants)))
    assert code.count(instruction) == 4
    assert code.count("tileloadd") == 8
    assert code.count("tilestored") == 4
    assert "ldtilecfg" in code
    assert "tilerelease" in code


def test_tiles_are_for_whole_sixteens_on_cpus_that_have_them():
    small = {"A_ROW": 16, "M": 16, "K": 16, "N": 16, "MASKED": False, "TURNS": 1}
    assert "tdpbf16ps" not in text_for(torch.bfloat16, small)
    whole = {**small, "A_ROW": 32, "K": 32}
    assert "tdpbf16ps" in text_for(torch.bfloat16, whole)
    assert "tdpbf16ps" not in text_for(torch.bfloat16, whole, features=("avx512bf16",))
    assert "tdpbf16ps" not in text_for(torch.bfloat16, whole, lanes=8)
