"""Compiled modules of one op on torch's own sample inputs (OpInfo), values and gradients; functional's are in tests/functional.

By default one sample of every third op of the capture table, in the deep profile all of all: each compiles kernels of its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

import tritoncnn
from tests.kernels.cases import DEEP
from tritoncnn.capture.kinds import EXPANDS, RESHAPES
from tritoncnn.capture.table import TABLE
from tritoncnn.errors import InputError

pytest.importorskip("expecttest", reason="torch's sample inputs need expecttest: pip install 'tritoncnn[test]'")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db

from tests.functional.test_opinfo import NAMES as FUNCTIONAL

ROWS = {key.split("::")[-1].split(".")[0] for key in (*TABLE, *RESHAPES, *EXPANDS)}
REFUSED = {  # op -> why some of its samples are
    "sparse.mm": "tensors that are not dense",
    "narrow": "a start that is a tensor",
    "polygamma": "orders above 1, and the gradient of order 1",
    "special.polygamma": "the gradient of order 1",
    "index_put": "several values where a mask holds",
    "searchsorted": "a sorter",
    "masked.median": "what forward keeps outside of parameters and buffers",
    "median": "of nothing",
    "nanmedian": "of nothing",
    "nn.functional.instance_norm": "running statistics that are inputs and change",
    "nn.functional.batch_norm": "running statistics that are inputs and change",
}
UNKNOWN = frozenset({"empty_like", "new_empty", "new_empty_strided", "empty"})  # what lies there is nobody's promise


def is_known(op: Any) -> bool:
    name = (op.aten_name or op.name).split(".")[-1]
    return name in ROWS and torch.float32 in op.dtypes and not op.name.startswith("_refs")


VARIANTS = ("with_dtype", "nuc")  # in f64; the nuclear norm
ALL = [op for op in op_db if is_known(op) and op.name not in UNKNOWN and op.variant_test_name not in VARIANTS]
OPS = [op for op in ALL if op.name not in FUNCTIONAL]
BOTH = [op for op in ALL if op.name in FUNCTIONAL]  # here with the options that functional's lack, too


def name_of(op: Any) -> str:
    return f"{op.name}-{op.variant_test_name}".removeprefix("nn.functional.")


class Sampled(torch.nn.Module):
    """An op with the operands of a sample that are no tensors; forward takes those that are."""

    def __init__(self, op: Callable[..., Any], sample: Any) -> None:
        super().__init__()
        self.op = op
        self.leaves, self.form = tree_flatten((sample.input, sample.args, sample.kwargs))
        self.places = [i for i, leaf in enumerate(self.leaves) if isinstance(leaf, torch.Tensor)]

    def tensors(self) -> tuple[torch.Tensor, ...]:
        return tuple(self.leaves[i].detach() for i in self.places)

    def forward(self, *tensors: torch.Tensor) -> Any:
        leaves = list(self.leaves)
        for i, tensor in zip(self.places, tensors, strict=True):
            leaves[i] = tensor
        x, args, kwargs = tree_unflatten(leaves, self.form)
        return self.op(x, *args, **kwargs)


def said(module: Sampled) -> str:
    return str([f"{str(v.dtype)[6:]}{list(v.shape)}" if isinstance(v, torch.Tensor) else v for v in module.leaves])


def chosen(samples: Sequence[Any]) -> Sequence[Any]:
    """The one in the middle: the first ones have no dims, or no elements."""
    return samples if DEEP else samples[len(samples) // 2 :][:1]


@pytest.mark.sweep(3)
@pytest.mark.parametrize("op", OPS, ids=name_of)
def test_a_module_of_one_op_agrees_on_torchs_samples(op: Any) -> None:
    check_samples(op)


@pytest.mark.sweep(12)
@pytest.mark.parametrize("op", BOTH, ids=name_of)
def test_a_module_of_an_op_that_functional_has_agrees_too(op: Any) -> None:
    check_samples(op)


def check_samples(op: Any) -> None:
    samples = list(op.sample_inputs("cpu", torch.float32, requires_grad=op.supports_autograd))
    done = 0
    for sample in chosen(samples):
        module = Sampled(op.op, sample).eval()
        xs = module.tensors()
        if sample.kwargs.get("dropout_p"):
            continue  # of other random numbers
        try:
            found = tritoncnn.compile(module, xs)(*xs)
            wanted = module(*xs)
            for one, other in zip(tree_flatten(found)[0], tree_flatten(wanted)[0], strict=True):
                close(f"{op.name} {said(module)}", one, other)
            if op.supports_autograd and isinstance(wanted, torch.Tensor) and wanted.is_floating_point():
                check_gradients(op.name, module, xs)
        except InputError as error:
            assert op.name in REFUSED, f"{op.name} {said(module)}: {error}"
            continue
        done += 1
    assert done > 0 or not samples or op.name in REFUSED


def check_gradients(name: str, module: Sampled, xs: tuple[torch.Tensor, ...]) -> None:
    """Those of the operands for which the sample asks."""
    asked = [module.leaves[place].requires_grad for place in module.places]
    leaves = [x.clone().requires_grad_(one) for x, one in zip(xs, asked, strict=True)]
    y = module(*leaves)
    floats = [i for i, x in enumerate(leaves) if x.requires_grad]
    if not y.requires_grad or not y.numel() or not floats or (name.endswith("layer_norm") and y.numel() == 1):
        return  # torch's gradient of one number that is normed is not quite 0
    dy = torch.linspace(-1, 1, y.numel()).reshape(y.shape)
    wanted = torch.autograd.grad(y, [leaves[i] for i in floats], dy, allow_unused=True)
    read = [(i, g) for i, g in zip(floats, wanted, strict=True) if g is not None]
    if not read:  # a norm of order 0 depends on nothing
        return
    compiled = tritoncnn.compile_grad(module, wrt=tuple(f"input_{i}" for i, _ in read), example=xs)
    _, found = compiled(*xs, cotangent=dy)
    for one, (_, other) in zip(found if len(read) > 1 else (found,), read, strict=True):
        close(f"gradient of {name} {said(module)}", one, other)


def close(what: str, found: Any, wanted: Any) -> None:
    if not isinstance(wanted, torch.Tensor):
        assert found == wanted, what
        return
    finite = wanted.detach()[wanted.isfinite()] if wanted.is_floating_point() else wanted.reshape(-1)[:0]
    scale = max(1.0, float(finite.abs().max()) if finite.numel() else 1.0)
    # Samples hold numbers up to 9, which functions like exp and pow spread far.
    torch.testing.assert_close(
        found, wanted, rtol=1e-4, atol=scale * 2e-5, equal_nan=True, msg=lambda m: f"{what}: {m}"
    )
