"""The fused ops on torch's own sample inputs (OpInfo), forward and backward, and on its own wrong inputs.

What is left out is listed with the reason; nothing else may be refused.
"""

from __future__ import annotations

import re
import warnings
from typing import Any

import pytest
import torch

from tests.functional.test_against_torch import as_tuple
from tritoncnn import functional as T
from tritoncnn.errors import InputError, UnsupportedError

pytest.importorskip("expecttest", reason="torch's sample inputs need expecttest: pip install 'tritoncnn[test]'")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db

LEFT_OUT = {  # what an error says -> why
    "divisor_override": "average pools with a divisor of their own",
    "scale_factor": "interpolate takes sizes",
    "one sample without N": "pools and interpolate take [N, C, ...]",
    "dtype": "softmax that answers in another dtype",
    "running statistics": "instance norm that keeps running statistics",
    "more than 3 axes": "padding of other ranks in these modes",
    "a line without channels": "batch norm of one dim",
    "number of weights": "prelu of a single number",
}
STEPS = {  # every n-th: each compiles kernels of its own
    "nn.functional.max_pool1d": 61, "nn.functional.max_pool3d": 121,
    "nn.functional.max_pool2d": 121, "nn.functional.interpolate": 4, "nn.functional.pad": 4, "nn.functional.conv2d": 3,
    "nn.functional.conv3d": 3, "nn.functional.cross_entropy": 2, "nn.functional.group_norm": 2,
}  # fmt: skip


class Skipped(UnsupportedError):
    pass


def ours(name: str, x: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The sample by our op of this name. Raises UnsupportedError for what is left out."""
    short = name.removeprefix("nn.functional.")
    kwargs = dict(kwargs)
    if short.startswith("max_pool"):
        kwargs.pop("return_indices", None)
    if short.startswith("adaptive_max_pool"):
        kwargs.pop("return_indices", None)
        args = args[:1]
    if short == "batch_norm" and x.dim() < 2:
        raise Skipped("a line without channels")
    if "_pool" in short and x.dim() != int(short[-2]) + 2:
        raise Skipped("one sample without N")
    if "divisor_override" in kwargs or (short.startswith("avg_pool") and len(args) > 5):
        raise Skipped("divisor_override")
    if short == "interpolate":
        if kwargs.pop("scale_factor", None) is not None or len(args) > 1:
            raise Skipped("scale_factor")
        kwargs["align_corners"] = bool(kwargs.get("align_corners"))
    if short == "instance_norm":
        if not kwargs.get("use_input_stats", True):
            raise Skipped("running statistics")
        return T.instance_norm(x, kwargs.get("weight"), kwargs.get("bias"), kwargs.get("eps", 1e-5))
    if short in ("softmax", "log_softmax") and (len(args) > 1 or "dtype" in kwargs):
        raise Skipped("dtype")
    if short == "prelu":
        weight = kwargs["weight"] if "weight" in kwargs else args[0]
        if weight.dim() == 0:
            raise Skipped("number of weights")
    if short == "pad" and kwargs.get("mode") is None:
        kwargs.pop("mode", None)
    if kwargs.get("value", 0.0) is None:
        kwargs.pop("value")
    for key in ("size_average", "reduce"):
        kwargs.pop(key, None)
    return getattr(T, short)(x, *args, **kwargs)


def theirs(op: Any, x: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    result = op.op(x, *args, **kwargs)
    return as_tuple(result)[0]


def doubled(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return value.detach().double().requires_grad_(value.requires_grad)
    return value.clone() if isinstance(value, torch.Tensor) else value


NAMES = [
    *(f"nn.functional.conv{d}d" for d in (1, 2, 3)), *(f"nn.functional.conv_transpose{d}d" for d in (1, 2, 3)),
    *(f"nn.functional.{name}" for name in (
        "max_pool1d", "max_pool3d", "avg_pool1d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool3d",
        "adaptive_max_pool1d", "adaptive_max_pool3d", "local_response_norm",
        "linear", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "batch_norm", "group_norm",
        "instance_norm", "layer_norm", "pad", "interpolate", "cross_entropy", "mse_loss", "l1_loss", "smooth_l1_loss",
        "huber_loss", "binary_cross_entropy_with_logits", "gelu", "prelu", "softplus", "pixel_shuffle", "pixel_unshuffle",
    )), "softmax", "log_softmax",
]  # fmt: skip
OPS = [op for op in op_db if op.name in NAMES and op.variant_test_name not in ("without_cudnn", "with_dtype", "area")]


def leaves(*values: Any) -> list[torch.Tensor]:
    return [v for v in values if isinstance(v, torch.Tensor) and v.requires_grad]


@pytest.mark.parametrize("op", OPS, ids=lambda op: f"{op.name}-{op.variant_test_name}".removeprefix("nn.functional."))
def test_torchs_own_samples_agree(op: Any) -> None:
    samples = list(op.sample_inputs("cpu", torch.float32, requires_grad=True))[:: STEPS.get(op.name, 1)]
    done = 0
    for sample in samples:
        exact = (
            doubled(sample.input),
            tuple(map(doubled, sample.args)),
            {k: doubled(v) for k, v in sample.kwargs.items()},
        )
        try:
            found = ours(op.name, sample.input, sample.args, sample.kwargs)
        except UnsupportedError as error:
            assert any(words in str(error) for words in LEFT_OUT), str(error)
            continue
        wanted = theirs(op, *exact)
        close(f"{op.name} {sample}", found, wanted)
        mine = leaves(sample.input, *sample.args, *sample.kwargs.values())
        other = leaves(exact[0], *exact[1], *exact[2].values())
        if mine and wanted.requires_grad and wanted.numel():
            dy = torch.ones_like(wanted)
            gradients = zip(
                torch.autograd.grad(found, mine, dy.float(), allow_unused=True),
                torch.autograd.grad(wanted, other, dy, allow_unused=True), strict=True,
            )  # fmt: skip
            for a, b in gradients:
                if b is not None and a is not None:
                    close(f"gradient of {op.name} {sample}", a, b)
        done += 1
    assert done > 0 or not samples


def close(what: str, found: torch.Tensor, wanted: torch.Tensor) -> None:
    assert found.shape == wanted.shape, f"{what}: {list(found.shape)} instead of {list(wanted.shape)}"
    finite = wanted.detach()[wanted.detach().isfinite()]
    scale = max(1.0, float(finite.abs().max()) if finite.numel() else 1.0)
    # Samples hold numbers up to 9 and add up to some hundred products; norms divide by small deviations.
    torch.testing.assert_close(
        found.detach().double(),
        wanted.detach(),
        rtol=1e-4,
        atol=scale * 2e-5,
        equal_nan=True,
        msg=lambda m: f"{what}: {m}",
    )


WRONG = [
    op
    for op in OPS
    if op.error_inputs_func is not None and op.name.startswith(("nn.functional.conv", "nn.functional.group"))
]


@pytest.mark.parametrize("op", WRONG, ids=lambda op: op.name.removeprefix("nn.functional."))
def test_torchs_own_wrong_inputs_are_refused(op: Any) -> None:
    for wrong in op.error_inputs("cpu"):
        sample = wrong.sample_input
        with pytest.raises((InputError, TypeError, RuntimeError)) as error:
            ours(op.name, sample.input, sample.args, sample.kwargs)
        assert not re.search("assert", str(error.value)), str(error.value)
