"""Models kept on disk: the same bits as when they were compiled, and never another model's, an older one's or a damaged one's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tritoncnn
from tritoncnn import cpu, frozen
from tritoncnn.cpu.run import engine
from tritoncnn.errors import OutOfRangeError, ShapeError
from tritoncnn.frozen import Frozen, compile_grad_kept, compile_kept, launches_of

X = torch.linspace(-1, 1, 2 * 3 * 6 * 5).reshape(2, 3, 6, 5)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRITONCNN_CACHE", str(tmp_path))
    return tmp_path / "models"


def net() -> nn.Module:
    """Filters into which a batch norm is folded, a buffer, a view."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5))
    norm = module[1]
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_var is not None
    norm.running_var.fill_(0.3)
    return module.eval()


class Tree(nn.Module):
    def forward(self, x: torch.Tensor) -> dict[str, Any]:
        return {"sum": x.sum(1), "parts": [(x > 0, x.argmax(2)), x], "n": 3}


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b) and a.dtype == b.dtype and a.stride() == b.stride()
    if isinstance(a, dict):
        return list(a) == list(b) and all(map(same, a.values(), b.values()))
    if isinstance(a, (tuple, list)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and bool(a == b)


@pytest.mark.parametrize(("make", "x"), [(net, X), (net, X[:1].to(memory_format=torch.channels_last)), (Tree, X[0])])
def test_a_kept_model_gives_the_bits_of_the_compiled_one(
    make: Callable[[], nn.Module], x: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frozen, "_known", lambda _: True)
    first, compiled = compile_kept(make(), x), tritoncnn.compile(make(), x)
    monkeypatch.delattr(tritoncnn.compiler, "compile")
    kept = compile_kept(make(), x)
    assert isinstance(kept, Frozen)
    for given in (x, x.flip(0).clone(memory_format=torch.preserve_format), x * 3):
        assert same(kept(given), compiled(given))
        assert same(first(given), compiled(given))


class Scored(nn.Module):
    """Pictures and classes -> the sum of their losses; a third input is not read."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, x: torch.Tensor, classes: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(self.net(x), classes, reduction="sum")


def test_a_kept_gradient_gives_the_bits_of_the_compiled_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen, "_known", lambda _: True)
    inputs = X, torch.tensor([4, 1]), torch.ones(3)
    first, compiled = compile_grad_kept(Scored(), *inputs), tritoncnn.compile_grad(Scored(), example=inputs)
    monkeypatch.delattr(tritoncnn.compiler, "compile_grad")
    kept = compile_grad_kept(Scored(), *inputs)
    assert isinstance(kept, Frozen)
    for x, classes in ((X, [4, 1]), (X.flip(0), [0, 0]), (X * 3, [-100, 2])):
        given = x, torch.tensor(classes), torch.ones(3)
        assert same(kept(*given), compiled(*given))
        assert same(first(*given), compiled(*given))
    assert launches_of(kept) == launches_of(compiled) > 1
    for model in (kept, compiled):
        with pytest.raises(OutOfRangeError, match="classes must hold numbers from 0 to 4, or -100; got 5"):
            model(X, torch.tensor([0, 5]), torch.ones(3))


def test_a_gradient_that_takes_a_cotangent_and_one_that_computes_what_it_checks_are_not_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Shifted(Scored):
        def forward(self, x: torch.Tensor, classes: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
            return super().forward(x, classes - 1, scale)

    monkeypatch.setattr(frozen, "_known", lambda _: True)
    compile_grad_kept(net(), X)
    compile_grad_kept(Shifted(), X, torch.tensor([1, 2]), torch.ones(3))
    assert list(folder.iterdir()) == []


class Foreign(nn.Module):
    """Calls a function of this file, which torch.fx keeps as a call."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return foreign(x)


@torch.fx.wrap
def foreign(x: torch.Tensor) -> torch.Tensor:
    return x.relu()


def test_what_torch_fx_wrote_is_kept_by_its_code_unless_it_calls_foreign_functions(folder: Path) -> None:
    def written(last: nn.Module) -> nn.Module:
        return torch.fx.symbolic_trace(nn.Sequential(*net(), last)).eval()

    compile_kept(written(nn.ReLU()), X)
    assert isinstance(compile_kept(written(nn.ReLU()), X), Frozen)
    cut = written(nn.ReLU())
    cut.graph.output_node().args = (list(cut.graph.nodes)[-3],)
    cut.recompile()
    assert not isinstance(compile_kept(cut, X), Frozen)
    kept = len(list(folder.iterdir()))
    compile_kept(torch.fx.symbolic_trace(Foreign()), X)
    assert len(list(folder.iterdir())) == kept


def _other_weight(module: Any) -> None:
    module[0].weight.data[0, 0, 0, 0] += 1e-7


def _other_buffer(module: Any) -> None:
    module[1].running_mean += 1


def _other_mode(module: Any) -> None:
    module[1].train()


def _other_constant(module: Any) -> None:
    module[1].eps = 0.5


def _other_attribute(module: Any) -> None:
    module.scale = 2.0


def _hooked(module: Any) -> None:
    module[4].register_forward_hook(lambda *_: None)


def _other_code(module: Any) -> None:
    module[2] = nn.Tanh()


CHANGES = [_other_weight, _other_buffer, _other_mode, _other_constant, _other_code, _other_attribute, _hooked]


@pytest.mark.parametrize("change", CHANGES)
def test_another_model_is_not_taken_for_the_one_that_is_kept(change: Callable[[Any], None]) -> None:
    compile_kept(net(), X)
    module = net()
    change(module)
    assert not isinstance(compile_kept(module, X), Frozen)


def test_other_sizes_layouts_sources_and_autocast_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    module = net()
    keys = [
        frozen._key("result", module, (x,)) for x in (X, X[:1], X.double(), X.to(memory_format=torch.channels_last))
    ]
    with torch.autocast("cpu"):
        keys.append(frozen._key("result", module, (X,)))
    with monkeypatch.context() as patch:
        patch.setattr(frozen, "_sources", lambda: "other sources")
        keys.append(frozen._key("result", module, (X,)))
    monkeypatch.setenv("TRITONCNN_CPU", f"-{engine.optional_features()[0]}")
    keys.append(frozen._key("result", module, (X,)))
    keys.append(frozen._key("gradient", module, (X,)))
    keys.append(frozen._key("result", module, (X, X)))
    assert len(set(keys)) == len(keys)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _no_header(file: Path) -> None:
    cpu.DiskCache(file.parent.parent, "models").put(file.name, {}, b"")


def _no_code(file: Path) -> None:
    cache = cpu.DiskCache(file.parent.parent, "models")
    found = cache.get(file.name)
    assert found is not None
    cache.put(file.name, found[0], b"")


@pytest.mark.parametrize("damage", [_cut, _flip, _empty, _no_header, _no_code])
def test_a_damaged_file_is_told_and_made_again(damage: Callable[[Path], None], folder: Path) -> None:
    module = nn.Sequential(nn.Flatten(), nn.ReLU())
    wanted = compile_kept(module, X)(X)
    (file,) = folder.iterdir()
    damage(file)
    with pytest.warns(RuntimeWarning, match=r"is damaged \(.+\); the model is compiled again"):
        again = compile_kept(module, X)
    assert same(again(X), wanted)
    assert isinstance(compile_kept(module, X), Frozen)


def test_what_draws_random_numbers_changes_state_or_has_foreign_code_is_not_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (nn.Dropout(0.5), nn.BatchNorm2d(3), Tree()):
        compile_kept(module, X)
    monkeypatch.setenv("TRITONCNN_REFERENCE", "1")
    compile_kept(nn.ReLU(), X)
    assert list(folder.iterdir()) == []


def test_an_input_of_another_size_or_layout_is_refused() -> None:
    compile_kept(nn.ReLU(), X)
    kept = compile_kept(nn.ReLU(), X)
    for x in (X[:1], X.double(), X.to(memory_format=torch.channels_last), X.to("meta")):
        with pytest.raises(ShapeError, match=r"must be float32 \[2, 3, 6, 5\] with strides"):
            kept(x)


def test_a_kept_model_loads_neither_triton_nor_what_torch_export_needs() -> None:
    program = (
        "import sys, torch; from tritoncnn.frozen import compile_kept\n"
        "y = compile_kept(torch.nn.ReLU(), torch.ones(3) - 2)(torch.ones(3))\n"
        "print(float(y.sum()), sorted({'triton', 'sympy', 'tritoncnn.ops', 'tritoncnn.capture'} & set(sys.modules)))"
    )
    said = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
            for _ in range(2)]  # fmt: skip
    assert said[0] == "3.0 ['triton', 'tritoncnn.capture', 'tritoncnn.ops']"
    assert said[1] == "3.0 []"


def test_models_that_were_not_used_for_longest_go_when_the_folder_is_full(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = [net(), net(), net()]
    for i, module in enumerate(modules):
        module[4].bias.data.fill_(i)  # type: ignore[index,union-attr]
    for i, module in enumerate(modules[:2]):
        compile_kept(module, X)
        (entry,) = set(folder.iterdir()) - {path for path in folder.iterdir() if path.stat().st_mtime < 1000}
        os.utime(entry, (i, i))  # as if long ago, the first before the second
    assert isinstance(compile_kept(modules[0], X), Frozen)  # used now: the second is the oldest
    size = entry.stat().st_size
    (folder / "half").write_bytes(bytes(size))  # what a killed process left
    os.utime(folder / "half", (0, 0))
    monkeypatch.setattr(frozen, "LIMIT", size * 2 + size // 2)
    compile_kept(modules[2], X)
    assert [isinstance(compile_kept(module, X), Frozen) for module in (modules[0], modules[2])] == [True, True]
    assert not entry.exists()
    assert len(list(folder.iterdir())) == 2


def test_a_model_larger_than_the_folder_may_be_is_still_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen, "LIMIT", 1)
    compile_kept(net(), X)
    assert isinstance(compile_kept(net(), X), Frozen)
