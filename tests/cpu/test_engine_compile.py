"""compile_kernel and CpuKernel.launch: what is accepted, what is refused and with which words."""

import ctypes
import os
import re
import struct
import subprocess
import sys

import pytest
import torch

from tests.cpu import small_kernels as kernels
from tritoncnn import cpu
from tritoncnn.errors import DTypeError, InputError, KernelError, ShapeError

SCALE = {"y_ptr": "*fp32", "x_ptr": "*fp32", "n": "i32"}


def scale(factor=3.0, **more):
    return cpu.compile_kernel(kernels.scale, SCALE, {"FACTOR": factor, **more})


def refused(error, text):
    return pytest.raises(error, match=r"^" + re.escape(text))


# ---- compiling -------------------------------------------------------------------------------------------------------
def test_arguments_are_in_record_order_with_tuples_flattened():
    kernel = cpu.compile_kernel(
        kernels.with_slot,
        {"y_ptr": "*fp32", "n": "i32", "args": ("*fp32", "*fp32"), "x_ptr": "*fp32"},
        {"SLOT": kernels.axpb, "SIZES": (1, (2, 3)), "BLOCK": 16},
    )
    assert kernel.name == "with_slot"
    assert kernel.arguments == (
        ("y_ptr", "*fp32"), ("x_ptr", "*fp32"), ("args.0", "*fp32"), ("args.1", "*fp32"), ("n", "i32"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("slot", "types", "expected"),
    [
        (kernels.axpb, ("*fp32", "*fp32"), lambda x: x * 9 + 5),
        (kernels.negate, ("*fp32",), lambda x: -x),
        (None, None, lambda x: x),
    ],
)
def test_functions_and_tuples_pass_through_constants(slot, types, expected):
    constants = {"SLOT": slot, "SIZES": (1, (2, 3)), "BLOCK": 16}
    signature = {"y_ptr": "*fp32", "x_ptr": "*fp32", "n": "i32"}
    if types is None:
        constants["args"] = None
    else:
        signature["args"] = types
    kernel = cpu.compile_kernel(kernels.with_slot, signature, constants)
    x, y = torch.arange(40.0), torch.zeros(40)
    extra = [torch.tensor(3.0), torch.tensor(5.0)][: len(types or ())]
    kernel.launch((3,), (y, x, *extra, 40))
    assert torch.equal(y, expected(x))


def test_one_specialisation_is_loaded_once():
    assert scale() is scale()
    assert scale() is not scale(factor=2.0)


def test_equal_constants_of_other_types_are_other_kernels():
    keys = {scale(factor).request.key for factor in (1, 1.0, True)}
    assert len(keys) == 3


def test_defaults_of_constants_are_used():
    assert scale().request.key == scale(BLOCK=16).request.key != scale(BLOCK=32).request.key


def test_every_stage_can_be_read():
    kernel = scale()
    assert "tt.func public @scale" in kernel.ttir
    assert "define void @chunk" in kernel.llvm_ir()
    assert "launch" in kernel.assembly()


def test_divisible_reaches_the_front_end_and_is_checked():
    kernel = cpu.compile_kernel(kernels.scale, SCALE, {"FACTOR": 2.0}, divisible=("x_ptr", "n"))
    assert len(re.findall(r"tt\.divisibility = 16", kernel.ttir)) == 2
    x = torch.arange(64.0)
    y = torch.zeros(64)
    kernel.launch((4,), (y, x, 64))
    assert torch.equal(y, 2 * x)
    with refused(InputError, "scale: n was promised to be a multiple of 16; got 50"):
        kernel.launch((4,), (y, x, 50))


@pytest.mark.parametrize(
    ("signature", "constants", "divisible", "text"),
    [
        (SCALE, {}, (), "scale: parameter FACTOR has neither a type nor a constant"),
        (SCALE, {"FACTOR": 1, "SIZE": 2}, (), "scale: has no parameter SIZE; it takes y_ptr, x_ptr, n, FACTOR, BLOCK"),
        (SCALE, {"FACTOR": 1, "n": 2}, (), "scale: n is given a type and a constant; give one of them"),
        (
            {**SCALE, "BLOCK": "i32"},
            {"FACTOR": 1},
            (),
            "scale: BLOCK is a constexpr; give its value among the constants",
        ),
        ({**SCALE, "n": "int"}, {"FACTOR": 1}, (), "scale: n has type 'int'; wanted one such as *fp32, i32 or fp32"),
        ({**SCALE, "n": ("i32", 4)}, {"FACTOR": 1}, (), "scale: n.1 has type 4; wanted one such as *fp32, i32 or fp32"),
        (SCALE, {"FACTOR": 1}, ("FACTOR",), "scale: divisible names FACTOR, which is not a run-time argument"),
        (SCALE, {"FACTOR": {1}}, (), "scale: a constant must be a number, text, dtype, function or tuple; got {1}"),
    ],
)
def test_parameters_that_do_not_fit_are_named(signature, constants, divisible, text):
    with refused(InputError, text):
        cpu.compile_kernel(kernels.scale, signature, constants, divisible)


def test_a_plain_function_is_refused():
    with refused(KernelError, "compile_kernel wants a @triton.jit function; got function"):
        cpu.compile_kernel(test_a_plain_function_is_refused, {}, {})


def test_what_triton_says_of_a_wrong_kernel_is_passed_on():
    with pytest.raises(KernelError, match=r"^wrong_shapes: Triton's front end refused the kernel: .*shape.*8.*16"):
        cpu.compile_kernel(kernels.wrong_shapes, {"y_ptr": "*i32"}, {})


def test_a_missing_symbol_is_an_error_and_not_an_abort(capfd):
    from tritoncnn.cpu.run import engine

    text = "define void @f() {\n call void @no_such_function()\n ret void\n}\ndeclare void @no_such_function()"
    with pytest.raises(KernelError, match=r"^compiled code could not be linked: Failed to materialize symbols"):
        engine.load(engine.compile_text(text), ("f",))
    assert "no_such_function" in capfd.readouterr().err
    with pytest.raises(KernelError, match=r"^LLVM refused the code generated for a kernel: .*expected"):
        engine.compile_text("define void f() {}")


def test_cpu_features_can_be_switched_off(monkeypatch):
    from tritoncnn.cpu.run import engine

    if engine.host().lanes < 8:
        pytest.skip("this CPU has neither AVX2 nor AVX-512")
    x, y = torch.arange(40.0), torch.zeros(40)
    for off, lanes in (("-avx512f", 8), ("avx512f,-avx2", 4)):
        monkeypatch.setenv("TRITONCNN_CPU", off)
        assert engine.host().lanes == lanes
        kernel = scale(7.0)
        assert "zmm" not in kernel.assembly()
        kernel.launch((3,), (y.zero_(), x, 40))
        assert torch.equal(y, 7 * x)


def test_a_cpu_feature_that_llvm_does_not_know_is_refused_with_one_that_it_knows(monkeypatch):
    from tritoncnn.cpu.run import engine

    known = engine.optional_features()[0]
    assert engine.architecture() != "x86_64" or known == "avx512f"
    monkeypatch.setenv("TRITONCNN_CPU", "-avx513")
    says = f"TRITONCNN_CPU: avx513 is not a CPU feature that LLVM knows here; try one such as -{known}"
    with refused(InputError, says):
        engine.host()
    monkeypatch.setenv("TRITONCNN_CPU", f"-{known}")
    assert known not in engine.host().of_note


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
def test_features_that_every_cpu_of_a_kind_has_stay_on(architecture, monkeypatch):
    from tritoncnn.cpu.run import engine

    names = {"x86_64": ["sse2", "sse", "64bit", "cx8", "avx2"], "aarch64": ["neon", "fp-armv8", "sve", "dotprod"]}[
        architecture
    ]
    monkeypatch.setattr(engine, "architecture", lambda: architecture)
    monkeypatch.setattr(engine.llvm, "get_host_cpu_features", lambda: dict.fromkeys(names, True))
    other = "avx2" if architecture == "x86_64" else "sve"
    assert engine.optional_features()[0] == other
    for name in names[: 4 if architecture == "x86_64" else 2]:
        monkeypatch.setenv("TRITONCNN_CPU", f"-{name}")
        with refused(InputError, f"TRITONCNN_CPU: {name} is a part of every such CPU; try one such as -{other}"):
            engine.host()


def test_facts_and_self_test():
    facts = cpu.host()
    assert facts.lanes in (4, 8, 16)
    assert facts.threads >= 1
    assert re.match(r"a kernel was (compiled|loaded from the cache) and ran on \d+ thread", cpu.self_test())


# ---- launching -------------------------------------------------------------------------------------------------------
def test_the_record_is_as_agreed():
    kernel = cpu.compile_kernel(kernels.store_scalar, {"y_ptr": "*fp32", "value": "fp32"}, {})
    record = kernel.record((2, 3), (4096, 1.5), 5)
    assert bytes(record) == struct.pack("<5qQf4x", 0, 2, 3, 1, 5, 4096, 1.5)


@pytest.mark.parametrize(
    ("kind", "dtype", "value"),
    [
        ("i1", torch.bool, True), ("i8", torch.int8, -128), ("u8", torch.uint8, 255), ("i16", torch.int16, -(2**15)),
        ("i32", torch.int32, -(2**31)), ("i64", torch.int64, -(2**63)), ("fp16", torch.float16, 0.1),
        ("bf16", torch.bfloat16, 3.1415926), ("bf16", torch.bfloat16, float("nan")), ("fp32", torch.float32, 0.1),
        ("fp64", torch.float64, 0.1), ("fp32", torch.float32, 3),
    ],
)  # fmt: skip
def test_scalars_of_every_type_arrive(kind, dtype, value):
    kernel = cpu.compile_kernel(kernels.store_scalar, {"y_ptr": f"*{kind}", "value": kind}, {})
    y = torch.zeros(1, dtype=dtype)
    kernel.launch((1,), (y, value))
    torch.testing.assert_close(y, torch.tensor([value], dtype=dtype), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("grid", [(7,), (2, 5), (3, 2, 4), (1, 1, 9), (64, 3, 1)])
def test_every_program_of_a_grid_runs_once(grid):
    kernel = cpu.compile_kernel(kernels.store_program, {"y_ptr": "*i32"}, {})
    n = torch.Size(grid).numel()
    y = torch.full((n + 1,), -1, dtype=torch.int32)
    kernel.launch(grid, (y,))
    assert torch.equal(y, torch.cat([torch.arange(n, dtype=torch.int32), torch.tensor([-1], dtype=torch.int32)]))


@pytest.mark.parametrize("grid", [(0,), (4, 0), (0, 0, 0), (2**20, 2**20, 0)])
def test_an_empty_grid_does_nothing(grid):
    y = torch.zeros(4)
    scale().launch(grid, (y, y + 1, 4))
    assert (y == 0).all()


@pytest.mark.parametrize(
    ("grid", "text"),
    [
        ((2**20, 2**12), "scale: grid (1048576, 4096) has 4294967296 programs; at most 2**31 can be launched"),
        ((-1,), "scale: grid must be one to three sizes of 0 or more; got (-1,)"),
        ((), "scale: grid must be one to three sizes of 0 or more; got ()"),
        ((1, 1, 1, 1), "scale: grid must be one to three sizes of 0 or more; got (1, 1, 1, 1)"),
    ],
)
def test_a_grid_that_cannot_be_launched_is_refused(grid, text):
    with refused(ShapeError, text):
        scale().launch(grid, (torch.zeros(4), torch.zeros(4), 4))


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({2: None}, DTypeError, "scale: n must be a number that fits i32; got None"),
        ({2: 2**31}, DTypeError, "scale: n must be a number that fits i32; got 2147483648"),
        ({2: 4.0}, DTypeError, "scale: n must be an integer (i32); got 4.0"),
        ({2: torch.zeros(1)}, DTypeError, "scale: n must be a number (i32); got Tensor"),
        ({1: 4096}, DTypeError, "scale: x_ptr must be a tensor (*fp32); got int"),
        ({1: torch.zeros(4, dtype=torch.float64)}, DTypeError, "scale: x_ptr must be *fp32; got a tensor of float64"),
        ({0: torch.zeros(4, device="meta")}, InputError, "scale: y_ptr must be in CPU memory; got a tensor on meta"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(change, error, text):
    arguments = {0: torch.zeros(4), 1: torch.zeros(4), 2: 4, **change}
    with refused(error, text):
        scale().launch((1,), list(arguments.values()))


def test_the_number_of_arguments_is_checked():
    with refused(InputError, "scale: takes 3 arguments; got 2"):
        scale().launch((1,), (torch.zeros(4), torch.zeros(4)))
    with refused(InputError, "scale: takes 3 arguments; got 4"):
        scale().record((1,), (0, 0, 1, 1), 1)


def test_code_lives_as_long_as_its_kernel():
    kernel = scale(11.0)
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(kernel.address)
    x, y = torch.arange(16.0), torch.zeros(16)
    record = kernel.record((1,), (y.data_ptr(), x.data_ptr(), 16), 1)
    call(ctypes.addressof(record))
    assert torch.equal(y, 11 * x)


def test_interpreted_kernels_are_refused_with_the_reason():
    program = (
        "from tests.cpu import small_kernels as kernels\n"
        "from tritoncnn import cpu\n"
        "try: cpu.compile_kernel(kernels.scale, {}, {})\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": "."},
    )  # fmt: skip
    assert done.stdout.strip() == (
        "KernelError compile_kernel wants a @triton.jit function; got InterpretedFunction; it was made under TRITON_INTERPRET=1"
    )
