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
from tests.kernels.cases import DEEP
from tritoncnn import functional as T
from tritoncnn.errors import InputError

pytest.importorskip("expecttest", reason="torch's sample inputs need expecttest: pip install 'tritoncnn[test]'")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db

LEFT_OUT = {  # what an error says -> why
    "batch_norm: x must be [N, C, ...]; got [0]": "torch takes a line without channels as long as it is empty",
}
MOST = 3  # samples of an op, spread over all of them; all in the deep profile: each compiles kernels of its own


def ours(name: str, x: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The sample by our op of this name, without torch's former arguments for ``reduction``."""
    kwargs = {key: value for key, value in kwargs.items() if key not in ("size_average", "reduce")}
    if name.endswith(".pad") and kwargs.get("mode", "") is None:
        del kwargs["mode"]
    if name.endswith(".embedding"):  # whose sample has the weight first
        return T.embedding(args[0], x, **kwargs)
    return getattr(T, name.removeprefix("nn.functional."))(x, *args, **kwargs)


def takes_more(name: str, sample: Any) -> bool:
    """Whether the sample uses an option that our op lacks: embeddings that renormalise or count, sizes that data decide."""
    options = {key for key, value in sample.kwargs.items() if value is not None and value is not False}
    if name.endswith(".embedding"):
        return bool(options - {"padding_idx"})
    return name.endswith(".one_hot") and -1 in (*sample.args, sample.kwargs.get("num_classes", 0))


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
        "grid_sample", "embedding", "relu", "relu6", "elu", "hardswish", "hardsigmoid", "leaky_relu", "mish", "silu",
        "max_unpool1d", "max_unpool2d", "max_unpool3d", "one_hot",
    )), "softmax", "log_softmax", "sigmoid", "tanh",
]  # fmt: skip
# Without cuDNN nothing else is computed here; the dtype of "with_dtype" is f64, of "complex" no float.
OPS = [
    op for op in op_db if op.name in NAMES and op.variant_test_name not in ("without_cudnn", "with_dtype", "complex")
]


def is_buffer(value: Any) -> bool:
    """What a norm may have changed in place."""
    return isinstance(value, torch.Tensor) and value.is_floating_point() and not value.requires_grad


def said(value: Any) -> Any:
    return f"{str(value.dtype)[6:]}{list(value.shape)}" if isinstance(value, torch.Tensor) else value


def described(name: str, sample: Any) -> str:
    """The call by the shapes of its tensors."""
    return (
        f"{name} {said(sample.input)} {list(map(said, sample.args))} { {k: said(v) for k, v in sample.kwargs.items()} }"
    )


def leaves(*values: Any) -> list[torch.Tensor]:
    return [v for v in values if isinstance(v, torch.Tensor) and v.requires_grad]


@pytest.mark.parametrize("op", OPS, ids=lambda op: f"{op.name}-{op.variant_test_name}".removeprefix("nn.functional."))
def test_torchs_own_samples_agree(op: Any) -> None:
    dtype = torch.float32 if torch.float32 in op.dtypes else torch.int64
    samples = list(op.sample_inputs("cpu", dtype, requires_grad=dtype.is_floating_point))
    samples = [sample for sample in samples if not takes_more(op.name, sample)]
    samples = samples if DEEP else samples[:: -(-len(samples) // MOST) or 1]
    done = 0
    for sample in samples:
        what = described(op.name, sample)
        exact = (
            doubled(sample.input),
            tuple(map(doubled, sample.args)),
            {k: doubled(v) for k, v in sample.kwargs.items()},
        )
        try:
            results = as_tuple(ours(op.name, sample.input, sample.args, sample.kwargs))
        except InputError as error:
            assert str(error) in LEFT_OUT, f"{what}: {error}"
            continue
        answers = as_tuple(op.op(exact[0], *exact[1], **exact[2]))
        for y, z in zip(results, answers, strict=True):
            close(what, y, z)
        buffers = [(s, e) for s, e in zip(sample.args, exact[1], strict=True) if is_buffer(s)]
        buffers += [(s, exact[2][key]) for key, s in sample.kwargs.items() if is_buffer(s)]
        for s, e in buffers:
            close(f"running statistics of {what}", s, e)
        found, wanted = results[0], answers[0]
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
                    close(f"gradient of {what}", a, b)
        done += 1
    assert done > 0 or not samples


def close(what: str, found: torch.Tensor, wanted: torch.Tensor) -> None:
    assert found.shape == wanted.shape, f"{what}: {list(found.shape)} instead of {list(wanted.shape)}"
    if not wanted.is_floating_point():
        assert torch.equal(found, wanted), f"{what}: whole numbers differ"
        return
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


TAKEN = {  # what torch refuses and we take -> why
    ("nn.functional.max_pool1d", (0, 10)): "a sample without channels gives a result without channels",
    ("nn.functional.max_pool3d", (0, 1, 2, 10)): "a sample without channels gives a result without channels",
}


def single(value: Any) -> Any:
    """f64 as f32, so that what is refused is not the dtype."""
    return value.float() if isinstance(value, torch.Tensor) and value.dtype == torch.float64 else value


@pytest.mark.parametrize(
    "op", [op for op in OPS if op.error_inputs_func], ids=lambda op: op.name.removeprefix("nn.functional.")
)
def test_torchs_own_wrong_inputs_are_refused(op: Any) -> None:
    for wrong in op.error_inputs("cpu"):
        sample = wrong.sample_input
        what = described(op.name, sample)
        args, kwargs = tuple(map(single, sample.args)), {k: single(v) for k, v in sample.kwargs.items()}
        try:
            ours(op.name, single(sample.input), args, kwargs)
        except InputError as error:
            assert re.search(r"^[^\n]* must [^\n]*; got [^\n]*$", str(error)), f"{what}: {error}"
        else:
            assert (op.name, tuple(sample.input.shape)) in TAKEN, f"{what} is taken; torch says: {wrong.error_regex}"
