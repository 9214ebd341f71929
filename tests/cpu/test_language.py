"""Parts of Triton's language that kernels written for GPUs use: tensors of one element, constant pointers, precisions,
functions with branches, options and device properties."""

from __future__ import annotations

import inspect

import pytest
import torch
import triton
import triton.language as tl
from triton.language.extra import libdevice

from tritoncnn import cpu
from tritoncnn.cpu.lower import lower
from tritoncnn.errors import UnsupportedError

from . import harness


# ---- tensors of one element -------------------------------------------------------------------------------------------
@triton.jit
def one_element_kernel(Y, X, L, BLOCK: tl.constexpr):
    """Conditions, scalars and addresses made of tensors of one element."""
    first = tl.load(X + tl.arange(0, 1))
    if (first > 0).item():
        tl.store(Y, first.item() + 1)
    else:
        tl.store(Y, -1.0)
    square = tl.load(X + tl.arange(0, BLOCK)[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :])
    total = tl.sum(tl.sum(square, axis=1, keep_dims=True), axis=0, keep_dims=True)
    tl.store(Y + 1, total.item())
    low, high = tl.split(tl.load(X + tl.arange(0, 2)))
    tl.store(Y + 2, low)
    tl.store(Y + 3, high)
    at = tl.load(L + tl.arange(0, 1))
    tl.store((Y + at).item(), 7.0)
    tl.store(Y + 5, (first > 100).item().to(tl.float32))
    old = tl.atomic_cas(L + tl.arange(0, 1), at, at + 10)
    tl.store(Y + 6, old.item().to(tl.float32))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_tensor_of_one_element_is_a_scalar_on_demand(sign: int) -> None:
    x, y, at = sign * torch.arange(1, 17).float(), torch.zeros(7), torch.tensor([4], dtype=torch.int32)
    harness.run(one_element_kernel, (1,), {"Y": y, "X": x, "L": at}, BLOCK=4)
    first = float(x[0])
    assert y.tolist() == [first + 1 if first > 0 else -1.0, float(x.sum()), first, float(x[1]), 7.0, 0.0, 4.0]
    assert at.item() == 14


# ---- pointers to constants --------------------------------------------------------------------------------------------
@triton.jit
def constant_pointer_kernel(Y, X: tl.const, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(Y + i, tl.load(X + i, mask=i < n) * 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8, torch.int64], ids=str)
def test_pointers_may_be_declared_constant(dtype: torch.dtype) -> None:
    x, y = torch.arange(16).to(dtype), torch.zeros(16, dtype=dtype)
    with cpu.active():
        constant_pointer_kernel[(1,)](y, x, 9, BLOCK=16)
    assert torch.equal(y, torch.where(torch.arange(16) < 9, x * 2, torch.zeros_like(x)))


def test_a_kernel_compiled_by_signature_takes_constant_pointers() -> None:
    kernel = cpu.compile_kernel(constant_pointer_kernel, {"Y": "*fp32", "X": "*kfp32", "n": "i32"}, {"BLOCK": 16})
    x, y = torch.arange(16).float(), torch.zeros(16)
    kernel.launch((1,), (y, x, 16))
    assert torch.equal(y, x * 2)


# ---- products ---------------------------------------------------------------------------------------------------------
@triton.jit
def product_kernel(C, A, B, L: tl.constexpr, N: tl.constexpr, K: tl.constexpr, P: tl.constexpr, OUT: tl.constexpr):
    """c = a @ b, of matrices or (L > 0) of L of them."""
    i, j, k = tl.arange(0, N), tl.arange(0, N), tl.arange(0, K)
    a, b, c = i[:, None] * K + k[None, :], k[:, None] * N + j[None, :], i[:, None] * N + j[None, :]
    if L > 0:
        at = tl.arange(0, L)[:, None, None]
        a, b, c = at * N * K + a[None, :, :], at * N * K + b[None, :, :], at * N * N + c[None, :, :]
    tl.store(C + c, tl.dot(tl.load(A + a), tl.load(B + b), input_precision=P, out_dtype=OUT))


@pytest.mark.parametrize("precision", ["ieee", "tf32", "tf32x3", "bf16x3", "bf16x6"])
def test_every_input_precision_gives_the_accuracy_of_f32(precision: str) -> None:
    a, b, c = torch.randn(16, 32), torch.randn(32, 16), torch.zeros(16, 16)
    with cpu.active():
        product_kernel[(1,)](c, a, b, L=0, N=16, K=32, P=precision, OUT=tl.float32)
    bound = 2 * 32 * 2**-24 * (a.abs() @ b.abs())
    assert bool(((c.double() - a.double() @ b.double()).abs() <= bound).all())


@pytest.mark.parametrize("batch", [0, 2])
def test_a_product_into_f16_is_summed_in_f32_and_rounded_once(batch: int) -> None:
    shape = (batch,) if batch else ()
    for K, a, b in (
        (4096, torch.ones(*shape, 16, 4096), torch.ones(*shape, 4096, 16)),
        (256, torch.randint(-4, 5, (*shape, 16, 256)).float(), torch.randint(-4, 5, (*shape, 256, 16)) / 8 + 0.001),
    ):
        a, b = a.half(), b.half()
        c = torch.zeros(*shape, 16, 16, dtype=torch.float16)
        with cpu.active():
            product_kernel[(1,)](c, a, b, L=batch, N=16, K=K, P="ieee", OUT=tl.float16)
        exact = a.double() @ b.double()
        sums = K * 2**-24 * (a.double().abs() @ b.double().abs())  # rounding of the sums in f32
        assert bool(((c.double() - exact).abs() <= exact.abs() * 2**-11 + sums).all())


@triton.jit
def carried_product_kernel(C, A, B, N: tl.constexpr, K: tl.constexpr):
    i, j = tl.arange(0, N)[:, None], tl.arange(0, N)[None, :]
    acc = tl.zeros((N, N), tl.float16)
    for k in range(0, K, N):
        acc = tl.dot(tl.load(A + i * K + k + j), tl.load(B + (k + i) * N + j), acc, out_dtype=tl.float16)
    tl.store(C + i * N + j, acc)


def test_a_loop_may_carry_sums_of_f16() -> None:
    a, b = torch.randint(-2, 3, (16, 64)).half(), torch.randint(-2, 3, (64, 16)).half()
    c = torch.zeros(16, 16, dtype=torch.float16)
    with cpu.active():
        carried_product_kernel[(1,)](c, a, b, N=16, K=64)
    assert torch.equal(c.float(), a.float() @ b.float())


# ---- functions of elements --------------------------------------------------------------------------------------------
@triton.jit
def early(x, y):
    if x > y:
        return x
    return y * 2


@triton.jit
def nested(x, y):
    z = x
    if x > y:
        z = x + 1
        if z > 2:
            return z * y, y
    elif y > 1:
        return y, x
    return z, x - y


@triton.jit
def pair(a, b, c, d):
    return a + d, b * c


@triton.jit
def pair_with_branches(a, b, c, d):
    if a > c:
        return a + d, b * c
    return b, a


@triton.jit
def map_kernel(Z, X, Y, F: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, ROWS)[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
    x, y = tl.load(X + i), tl.load(Y + i)
    if F == "early":
        z = tl.map_elementwise(early, x, y)
    elif F == "nested":
        a, b = tl.map_elementwise(nested, x, y)
        z = a + 10 * b
    elif F == "pair":
        z = tl.map_elementwise(pair, x, y, pack=2)[0]
    else:
        z = tl.map_elementwise(pair_with_branches, x, y, pack=2)[0]
    tl.store(Z + i, z)


def mapped(name: str, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The same in torch."""
    if name == "early":
        return torch.where(x > y, x, y * 2)
    if name == "nested":
        a = torch.where(x > y, torch.where(x + 1 > 2, (x + 1) * y, x + 1), torch.where(y > 1, y, x))
        b = torch.where(x > y, torch.where(x + 1 > 2, y, x - y), torch.where(y > 1, x, x - y))
        return a + 10 * b
    (x0, x1), (y0, y1) = x.unflatten(-1, (-1, 2)).unbind(-1), y.unflatten(-1, (-1, 2)).unbind(-1)
    both = torch.stack([x0 + y1, x1 * y0], -1)
    if name == "pair with branches":
        both = torch.where((x0 > y0)[..., None], both, torch.stack([x1, x0], -1))
    return both.flatten(-2)


needs_map = pytest.mark.skipif(not hasattr(tl, "map_elementwise"), reason="this Triton has no map_elementwise")


@needs_map
@pytest.mark.parametrize("lanes", [16, 8, 4])
@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("function", ["early", "nested", "pair", "pair with branches"])
def test_functions_of_elements_may_branch_and_take_several(function: str, rows: int, lanes: int) -> None:
    x, y, z = (torch.randint(-4, 5, (rows, 32)).float() for _ in range(3))
    harness.run(map_kernel, (1,), {"Z": z, "X": x, "Y": y}, lanes, F=function, ROWS=rows, BLOCK=32)
    assert torch.equal(z, mapped(function, x, y))


@triton.jit
def halvings(x):
    n = 0
    while x > 1:
        x = x / 2
        n += 1
    return n


@triton.jit
def map_loop_kernel(Y, X, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(Y + i, tl.map_elementwise(halvings, tl.load(X + i)))


@needs_map
def test_a_loop_in_a_function_of_elements_is_refused_by_name() -> None:
    text = harness.ttir(map_loop_kernel, {"Y": "*i32", "X": "*fp32"}, {"BLOCK": 16})
    with pytest.raises(
        UnsupportedError, match=r"only arithmetic and branches are supported inside of tt\.map_elementwise"
    ):
        lower(text, lanes=8)


@triton.jit
def positive_or_fail(x):
    if x > 0:
        return x * 2
    else:
        tl.device_assert(x > 0, "not positive")


@triton.jit
def fails_kernel(Y, X, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    v = tl.load(X + i)
    tl.store(Y + i, positive_or_fail(tl.sum(v)) + v)


@pytest.mark.parametrize("debug", [False, True])
def test_one_branch_may_return_a_value_and_the_other_fail(debug: bool) -> None:
    x, y = torch.ones(8), torch.zeros(8)
    with cpu.active():
        fails_kernel[(1,)](y, x, BLOCK=8, debug=debug)
    assert torch.equal(y, torch.full((8,), 17.0))


@triton.jit
def negate_kernel(Y, X, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    x = tl.load(X + i)
    tl.store(Y + i, -x)
    tl.store(Y + BLOCK + i, x * -1.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_negation_is_0_minus_x_as_tritons_front_end_writes_it(dtype: torch.dtype) -> None:
    x = torch.tensor([0.0, -0.0, 1.0, -2.0, float("inf"), 3.0, 4.0, 5.0], dtype=dtype)
    y = torch.zeros(2, 8, dtype=dtype)
    with cpu.active():
        kernel = negate_kernel[(1,)](y, x, BLOCK=8)
    plain = -x if "arith.negf" in kernel.asm["ttir"] else 0.0 - x
    assert torch.equal(y, torch.stack([plain, x * -1.0]))
    assert torch.equal(torch.signbit(y), torch.signbit(torch.stack([plain, x * -1.0])))


@triton.jit
def finite_kernel(Y, X, BLOCK: tl.constexpr, WIDE: tl.constexpr):
    i = tl.arange(0, BLOCK)
    x = tl.load(X + i)
    tl.store(Y + i, (libdevice.isfinited(x) if WIDE else libdevice.finitef(x)).to(tl.int32))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_finite_numbers_are_told(dtype: torch.dtype) -> None:
    x = torch.tensor([1.0, float("inf"), float("nan"), -float("inf")], dtype=dtype)
    y = torch.zeros(4, dtype=torch.int32)
    harness.run(finite_kernel, (1,), {"Y": y, "X": x}, BLOCK=4, WIDE=dtype == torch.float64)
    assert y.tolist() == [1, 0, 0, 0]


# ---- sorting ----------------------------------------------------------------------------------------------------------
@triton.jit
def sort_kernel(Y, X, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(Y + i, tl.sort(tl.load(X + i)))


@pytest.mark.parametrize("dtype", ["*i8", "*i32", "*i64", "*u32", "*fp32", "*bf16"])
def test_the_code_of_a_sort_grows_with_its_steps_only(dtype: str) -> None:
    lines = {}
    for block in (16, 128):
        text = harness.ttir(sort_kernel, {"Y": dtype, "X": dtype}, {"BLOCK": block}, debug=False)
        lines[block] = len(lower(text, lanes=8).splitlines())
    # log2(n) * (log2(n) + 1) / 2 steps, each a nest of log2(n) loops: 10 of 4, then 28 of 7
    assert lines[128] < lines[16] * (28 / 10) * (7 / 4) * 1.5


@triton.jit
def flip_kernel(Y, X, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(Y + i, tl.flip(tl.load(X + i), 0))


@pytest.mark.parametrize("dtype", ["*i8", "*i64", "*fp32"])
def test_the_code_of_a_reversal_grows_with_its_steps_only(dtype: str) -> None:
    """log2(n) steps, each an exclusive or of what is read at one place and at two."""
    lines = {}
    for block in (64, 1024):
        text = harness.ttir(flip_kernel, {"Y": dtype, "X": dtype}, {"BLOCK": block}, debug=False)
        lines[block] = len(lower(text, lanes=8).splitlines())
    assert lines[1024] < lines[64] * (10 / 6) ** 2 * 1.5  # nests of 10 loops, not of 6


def test_a_thousand_elements_are_turned_round() -> None:
    x, y = torch.randn(1024), torch.zeros(1024)
    harness.run(flip_kernel, (1,), {"Y": y, "X": x}, BLOCK=1024)
    assert torch.equal(y, x.flip(0))


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.int64, torch.float32], ids=str)
def test_integers_and_floats_are_sorted(dtype: torch.dtype) -> None:
    x, y = torch.randint(-100, 100, (128,)).to(dtype), torch.zeros(128, dtype=dtype)
    harness.run(sort_kernel, (1,), {"Y": y, "X": x}, BLOCK=128)
    assert torch.equal(y, x.sort().values)


# ---- what kernels for GPUs ask of a backend ---------------------------------------------------------------------------
@triton.jit
def store_one_kernel(Y):
    tl.store(Y, 1.0)


def gpu_options() -> set[str]:
    """Names of the options that NVIDIA's and AMD's backends take."""
    from triton.backends.amd.compiler import HIPOptions
    from triton.backends.nvidia.compiler import CUDAOptions

    named = {
        "maxnreg",
        "ptx_options",
        "waves_per_eu",
        "matrix_instr_nonkdim",
        "kpack",
        "num_warps",
        "num_stages",
        "num_ctas",
    }
    return {name for kind in (CUDAOptions, HIPOptions) for name in inspect.signature(kind).parameters} & named


@pytest.mark.parametrize("option", sorted(gpu_options()))
def test_options_for_gpus_are_accepted(option: str) -> None:
    y = torch.zeros(1)
    with cpu.active():
        store_one_kernel[(1,)](y, **{option: "" if option == "ptx_options" else 1})
    assert y.item() == 1.0


def test_an_option_that_no_backend_has_is_refused() -> None:
    with cpu.active(), pytest.raises(KeyError, match="num_wraps"):
        store_one_kernel[(1,)](torch.zeros(1), num_wraps=4)


def test_an_occupancy_can_be_computed_as_on_gpus() -> None:
    """As Triton's tutorial of a fused softmax does it."""
    with cpu.active():
        active = triton.runtime.driver.active
        properties = active.utils.get_device_properties(active.get_active_torch_device().index)
        kernel = store_one_kernel.warmup(torch.zeros(1), grid=(1,))
        kernel._init_handles()
        occupancy = properties["max_num_regs"] // (kernel.n_regs * properties["warpSize"] * 1)
        occupancy = min(occupancy, properties["max_shared_mem"] // kernel.metadata.shared)
    assert properties["multiprocessor_count"] * occupancy >= 1


def test_a_kernel_shows_its_llvm_ir() -> None:
    with cpu.active():
        kernel = store_one_kernel[(1,)](torch.zeros(1))
    assert "define void @launch(" in kernel.asm["llir"]


@triton.jit
def print_kernel(X, BLOCK: tl.constexpr):
    x = tl.load(X + tl.arange(0, BLOCK))
    tl.device_print("", x)
    tl.device_print("x", x)
    tl.device_print("here")


def test_prints_look_as_on_gpus(capfd: pytest.CaptureFixture[str]) -> None:
    with cpu.active():
        print_kernel[(1,)](torch.tensor([1, 2], dtype=torch.int32), BLOCK=2)
    pid = "pid (0, 0, 0)"
    assert capfd.readouterr().out.splitlines() == [
        f"{pid} idx (0): 1", f"{pid} idx (1): 2", f"{pid} idx (0) x: 1", f"{pid} idx (1) x: 2", f"{pid} here",
    ]  # fmt: skip
