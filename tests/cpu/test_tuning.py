"""Triton's tuning, heuristics, warm-up and hooks on CPU tensors."""

import numpy
import pytest
import torch
import triton
import triton.language as tl
from triton.runtime.driver import driver

from tests.cpu import small_kernels as kernels


# ---- tuning ----------------------------------------------------------------------------------------------------------
@triton.jit
def _add_one(y_ptr, n, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + offs, tl.load(y_ptr + offs, mask=offs < n) + 1, mask=offs < n)


def blocks(*sizes):
    return [triton.Config({"BLOCK": size}, num_warps=2, num_stages=3) for size in sizes]


def in_blocks(meta):
    return (triton.cdiv(meta["n"], meta["BLOCK"]),)


@pytest.mark.parametrize(("how", "wanted"), [("reset_to_zero", 1.0), ("restore_value", 6.0)])
def test_autotune_leaves_one_launch_in_the_tensors(active, how, wanted):
    tuned = triton.autotune(blocks(16, 32, 64), key=["n"], **{how: ["y_ptr"]})(_add_one)
    y = torch.full((100,), 5.0)
    tuned[in_blocks](y, 100)
    assert torch.equal(y, torch.full((100,), wanted))
    tuned[in_blocks](y, 100)
    assert torch.equal(y, torch.full((100,), wanted + 1)), "a known size is not tuned again"
    assert len(tuned.cache) == 1
    tuned[in_blocks](torch.zeros(50), 50)
    assert len(tuned.cache) == 2


@pytest.mark.filterwarnings("ignore:warmup, rep, and use_cuda_graph")
def test_what_asks_for_cuda_graphs_is_measured_without(active):
    tuned = triton.autotune(blocks(16, 32), key=["n"], use_cuda_graph=True, rep=1)(_add_one)
    y = torch.zeros(64)
    tuned[in_blocks](y, 64)
    assert y.min() == y.max() > 0
    assert tuned.best_config.kwargs["BLOCK"] in (16, 32)
    assert (
        len(triton.testing.do_bench_cudagraph(lambda: _add_one[(1,)](y, 4, BLOCK=16), rep=1, quantiles=[0.2, 0.8])) == 2
    )


def test_autotune_prunes(active):
    seen = []

    def early(configs, named, **_):
        assert named["n"] == 64
        return [c for c in configs if c.kwargs["BLOCK"] > 16]

    def model(BLOCK, **_):
        seen.append(BLOCK)
        return -BLOCK

    prune = {"early_config_prune": early, "perf_model": model, "top_k": 1}
    tuned = triton.autotune(blocks(16, 32, 64), key=["n"], prune_configs_by=prune)(_add_one)
    tuned[in_blocks](torch.zeros(64), 64)
    assert seen == [32, 64]
    assert tuned.best_config.kwargs == {"BLOCK": 64}


def test_autotune_keeps_results_on_disk(active, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))

    def results():
        tuned = triton.autotune(blocks(16, 32), key=["n"], cache_results=True)(_add_one)
        tuned[in_blocks](torch.zeros(64), 64)
        return list(tuned.configs_timings.values())

    assert results() == results()
    assert len(list(tmp_path.rglob("*.autotune.json"))) == 1


def test_autotune_with_hooks_and_given_times(active):
    said = []
    config = triton.Config({"BLOCK": 32}, pre_hook=lambda args: said.append(args["BLOCK"]))
    tuned = triton.autotune([config], key=["n"])(_add_one)
    y = torch.zeros(40)
    tuned[in_blocks](y, 40)
    assert said == [32]
    assert y.eq(1).all()
    with pytest.warns(DeprecationWarning, match="warmup, rep"):
        timed = triton.autotune(blocks(16, 32), key=["n"], warmup=1, rep=2)(_add_one)
    timed[in_blocks](y, 40)
    assert all(len(times) == 3 for times in timed.configs_timings.values())


def test_heuristics_choose_constants(active):
    @triton.heuristics({"BLOCK": lambda args: triton.next_power_of_2(args["n"])})
    @triton.jit
    def fill(y_ptr, n, BLOCK: tl.constexpr):
        offs = tl.arange(0, BLOCK)
        tl.store(y_ptr + offs, BLOCK, mask=offs < n)

    y = torch.zeros(20)
    fill[(1,)](y, 9)
    assert torch.equal(y, torch.cat([torch.full((9,), 16.0), torch.zeros(11)]))


def test_tuning_over_heuristics(active):
    even = triton.heuristics({"FACTOR": lambda args: 2.0 if args["n"] % 2 == 0 else 3.0})(kernels.scale)
    tuned = triton.autotune(blocks(16, 32), key=["n"])(even)
    x, y = torch.arange(7.0), torch.zeros(7)
    tuned[in_blocks](y, x, 7)
    assert torch.equal(y, 3 * x)


def test_do_bench_times_cpu_kernels(active):
    x, y = torch.arange(64.0), torch.zeros(64)
    launch = lambda: kernels.scale[(4,)](y, x, 64, FACTOR=2.0)  # noqa: E731
    assert triton.testing.do_bench(launch, warmup=1, rep=2) > 0
    low, middle, high = triton.testing.do_bench(launch, warmup=1, rep=2, quantiles=[0.1, 0.5, 0.9])
    assert 0 < low <= middle <= high
    assert len(triton.testing.do_bench(launch, warmup=1, rep=2, return_mode="all")) >= 1
    tuned = driver.active.get_benchmarker()(launch, quantiles=(0.5, 0.2, 0.8))
    assert tuned[1] <= tuned[0] <= tuned[2]
    assert torch.equal(y, 2 * x)


# ---- warm-up and hooks -----------------------------------------------------------------------------------------------
def test_warm_up_compiles_without_running(active):
    y = torch.zeros(16)
    compiled = kernels.scale.warmup(y, y, 16, FACTOR=7.0, grid=(1,))
    assert y.eq(0).all()
    assert kernels.scale.warmup(torch.float32, torch.float32, 16, FACTOR=7.5, grid=(1,)) is not None
    assert "tt.store" in compiled.asm["ttir"]
    assert kernels.scale[(1,)](y, y + 1, 16, FACTOR=7.0) is compiled
    assert y.eq(7).all()


def test_hooks_before_a_run(active):
    @triton.jit
    def store_two(y_ptr, value, BLOCK: tl.constexpr):
        tl.store(y_ptr, value)

    said = []
    store_two.add_pre_run_hook(lambda *args, **kwargs: said.append((args[1:], kwargs["BLOCK"])))
    y = torch.zeros(1)
    store_two[(1,)](y, 3.5, BLOCK=4)
    assert said == [((3.5,), 4)]
    assert y.item() == 3.5


def test_hooks_around_a_launch_and_after_compiling(active, monkeypatch):
    from triton import knobs

    said = []
    monkeypatch.setattr(knobs.runtime, "jit_post_compile_hook", lambda *args, **kwargs: said.append("compiled"))
    enter, leave = (lambda meta: said.append(("enter", meta.get()["name"])), lambda meta: said.append("leave"))
    knobs.runtime.launch_enter_hook.add(enter)
    knobs.runtime.launch_exit_hook.add(leave)
    try:
        y = torch.zeros(1)
        kernels.store_scalar[(1,)](y, numpy.float32(2.5).item())
        said_once = list(said)
        kernels.store_scalar[(0,)](y, 4.5)
    finally:
        knobs.runtime.launch_enter_hook.remove(enter)
        knobs.runtime.launch_exit_hook.remove(leave)
    assert said_once[-2:] == [("enter", "store_scalar"), "leave"]
    assert y.item() == 2.5, "an empty grid stores nothing"
