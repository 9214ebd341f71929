"""What is no plain tensor or module, though it looks like one: refused in one sentence before anything is traced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tritoncnn
from tritoncnn import SGD
from tritoncnn.errors import CheckpointError, InputError, TritonCNNError, UnsupportedError

X = torch.linspace(-1, 1, 12).reshape(3, 4)


class Doubling(torch.Tensor):
    """Rules of its own: what is added is twice as much."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = super().__torch_function__(func, types, args, kwargs or {})
        return found * 2 if func is torch.Tensor.add else found


class Named(torch.Tensor):
    """Nothing but a name more."""

    def called(self) -> str:
        return "x"


class Adding(nn.Module):
    def __init__(self, w: torch.Tensor = X[0]) -> None:
        super().__init__()
        self.w = nn.Parameter(w)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.w


@pytest.mark.parametrize(
    "x", [X.as_subclass(Named), X.as_subclass(Doubling).as_subclass(torch.Tensor), nn.Parameter(X, False)]
)
def test_tensors_without_rules_of_their_own_are_taken(x: torch.Tensor) -> None:
    model = tritoncnn.compile(Adding(), x)
    torch.testing.assert_close(model(x), X + X[0], rtol=0, atol=0)


LINEAR, TARGET = nn.Linear(4, 4), torch.zeros(3, 4)
META = torch.empty(3, 4, device="meta")
STEP = tritoncnn.compile_step(nn.Linear(4, 4), F.mse_loss, SGD(0.1), (X, TARGET))
REFUSED: dict[str, tuple[Callable[[], object], type[TritonCNNError], str]] = {
    "example": (lambda: tritoncnn.compile(Adding(), X.as_subclass(Doubling)), InputError, "got Doubling, whose"),
    "call": (lambda: tritoncnn.compile(Adding(), X)(X.as_subclass(Doubling)), InputError, "use .as_subclass(torch.Tensor)"),
    "step's target": (lambda: STEP(X, TARGET.as_subclass(Doubling)), InputError, "got Doubling, whose __torch_function__"),
    "parameter": (lambda: tritoncnn.compile(Adding(X[0].as_subclass(Doubling)), X), UnsupportedError, "Adding.w is a Doubling"),
    "meta": (lambda: tritoncnn.compile(Adding(), META), InputError, "input x must hold numbers, on the cpu; it is on meta"),
    "meta step": (lambda: tritoncnn.compile_step(LINEAR, F.mse_loss, SGD(0.1), (META, META)), InputError, "it is on meta"),
    "meta gradient": (lambda: tritoncnn.compile_grad(torch.sum, example=(META,)), InputError, "it is on meta"),
    "script": (lambda: tritoncnn.compile(torch.jit.script(LINEAR), X), UnsupportedError, "Linear is TorchScript; compile"),
    "trace": (lambda: tritoncnn.compile(torch.jit.trace(LINEAR, X), X), UnsupportedError, "Linear is TorchScript"),
    "a script inside": (
        lambda: tritoncnn.compile_step(nn.Sequential(torch.jit.script(LINEAR)), F.mse_loss, SGD(0.1), (X, TARGET)),
        UnsupportedError, "Sequential.0 is TorchScript",
    ),
    "quantised": (
        lambda: tritoncnn.compile(torch.ao.quantization.quantize_dynamic(nn.Sequential(LINEAR), {nn.Linear}), X),
        UnsupportedError, "Sequential.0 is a quantised Linear; compile the float module",
    ),
    "vmap": (lambda: torch.vmap(tritoncnn.compile(Adding(), X[0]))(X), InputError, "in place of torch.vmap"),
    "across maps": (lambda: tritoncnn.compile(nn.CrossMapLRN2d(3), X[None, None]), UnsupportedError, "nn.LocalResponseNorm"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", REFUSED)
def test_the_rest_is_refused_by_name(name: str) -> None:
    make, kind, words = REFUSED[name]
    with pytest.raises(kind) as caught:
        make()
    assert words in str(caught.value)


@pytest.mark.parametrize("old", [False, True])
def test_load_names_a_file_of_torch_save(old: bool, tmp_path: Path) -> None:
    torch.save(LINEAR.state_dict(), tmp_path / "net.pt", _use_new_zipfile_serialization=not old)
    with pytest.raises(CheckpointError, match="was written by torch.save or torch.jit.save, not by model.save()"):
        tritoncnn.load(tmp_path / "net.pt")


@pytest.mark.parametrize(("function", "words"), [
    (lambda x: x.mode(1)[0], "mode; "),
    (lambda x: torch.special.ndtri(x.sigmoid()), "ndtri; 2**0.5 * torch.erfinv(2 * p - 1) is the same"),
    (lambda x: torch.igamma(x.exp(), x.exp()), "igamma, which has no formula here"),
    (lambda x: torch.special.bessel_j1(x), "bessel_j1, which has no formula here"),
    (lambda x: torch.special.hermite_polynomial_h(x, 2), "hermite_polynomial_h; write the polynomial"),
    (lambda x: torch.poisson(x.exp()), "random numbers by poisson; draw normal or uniform ones"),
    (lambda x: nn.utils.rnn.pack_padded_sequence(x[None], [3]).data, "a packed sequence, whose size depends on data"),
])  # fmt: skip
def test_what_has_no_formula_says_what_would_do(function: Callable[..., Any], words: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        tritoncnn.compile_grad(function, "x", (X,))
    assert words in str(caught.value)
