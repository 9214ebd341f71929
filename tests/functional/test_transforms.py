"""Fused ops under what torch does to a call from outside: autocast, forward-mode, torch.func, fake and unusual tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad

from tritoncnn import functional as T
from tritoncnn.errors import LayoutError, UnsupportedError

pytestmark = pytest.mark.sweep(2)

IMAGE = (2, 4, 6, 6)


def image(seed: int = 0) -> torch.Tensor:
    return torch.randn(IMAGE, generator=torch.Generator().manual_seed(seed))


def filters(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(9))


# Under autocast

Call = Callable[[Any, torch.Tensor], Any]
LABELS = torch.tensor([[[0, 1, 3, 2, -100, 1]] * 6] * 2)
MIXED: dict[str, Call] = {
    "conv1d": lambda m, x: m.conv1d(x.flatten(2), filters(3, 4, 3), filters(3)),
    "conv2d": lambda m, x: m.conv2d(x, filters(3, 4, 3, 3), filters(3)),
    "conv3d": lambda m, x: m.conv3d(x[:, :, None], filters(3, 4, 1, 3, 3)),
    **{
        f"conv_transpose{d}d": lambda m, x, d=d: getattr(m, f"conv_transpose{d}d")(
            x.flatten(2) if d == 1 else x if d == 2 else x[:, :, None], filters(4, 3, *(2,) * d), filters(3)
        )
        for d in (1, 2, 3)
    },
    "linear": lambda m, x: m.linear(x, filters(5, 6), filters(5)),
    "prelu": lambda m, x: m.prelu(x, filters(4)),
    "relu": lambda m, x: m.relu(x),
    "gelu": lambda m, x: m.gelu(x),
    "softmax": lambda m, x: m.softmax(x, 1),
    "batch_norm": lambda m, x: m.batch_norm(x, filters(4), filters(4).abs(), filters(4), filters(4)),
    "batch_norm train": lambda m, x: m.batch_norm(x, filters(4), filters(4).abs(), filters(4), filters(4), True),
    "group_norm": lambda m, x: m.group_norm(x, 2, filters(4), filters(4)),
    "instance_norm": lambda m, x: m.instance_norm(x, None, None, filters(4), filters(4)),
    "layer_norm": lambda m, x: m.layer_norm(x, (6,), filters(6), filters(6)),
    "local_response_norm": lambda m, x: m.local_response_norm(x, 3),
    "max_pool2d": lambda m, x: m.max_pool2d(x, 2),
    "avg_pool3d": lambda m, x: m.avg_pool3d(x, 2),
    "max_pool3d": lambda m, x: m.max_pool3d(x, 2),
    "adaptive_avg_pool2d": lambda m, x: m.adaptive_avg_pool2d(x, 2),
    "interpolate": lambda m, x: m.interpolate(x, scale_factor=2, mode="bilinear"),
    "pad": lambda m, x: m.pad(x, (1, 2)),
    "cross_entropy": lambda m, x: m.cross_entropy(x, LABELS),
    "soft targets": lambda m, x: m.cross_entropy(x, filters(*IMAGE).softmax(1)),
    **{
        name: lambda m, x, name=name: getattr(m, name)(x, filters(*IMAGE).sigmoid())
        for name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy_with_logits")
    },
    "grid_sample": lambda m, x: m.grid_sample(x, filters(2, 3, 3, 2).tanh(), align_corners=False),
}


@pytest.mark.parametrize(("asked", "given"), [
    (torch.bfloat16, torch.float32), (torch.bfloat16, torch.bfloat16), (torch.float16, torch.float16),
])  # fmt: skip
@pytest.mark.parametrize("name", MIXED)
def test_autocast_gives_torchs_dtypes(name: str, asked: torch.dtype, given: torch.dtype) -> None:
    x = image().to(given).requires_grad_()
    with torch.autocast("cpu", asked):
        found, wanted = MIXED[name](T, x), MIXED[name](F, x)
    assert found.dtype == wanted.dtype
    # Sums of at most 64 products below 30, of numbers rounded to 8 bits; ours round once, torch's often.
    torch.testing.assert_close(found.float(), wanted.float(), rtol=0.03, atol=0.15)
    gradient = torch.autograd.grad(found.float().sum(), x)[0]
    assert gradient.dtype == given
    assert gradient.isfinite().all()


def test_parameters_of_norms_may_be_wider_than_what_they_norm() -> None:
    x = image().bfloat16()
    w = filters(4).requires_grad_()
    found, wanted = T.group_norm(x, 2, w), F.group_norm(x, 2, w)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, wanted)
    (dw,) = torch.autograd.grad(found.sum(), w)
    assert dw.dtype == torch.float32
    mean, var = torch.zeros(4), torch.ones(4)
    T.batch_norm(x, mean, var, training=True)
    torch.testing.assert_close(mean, 0.1 * x.float().mean((0, 2, 3)), rtol=1e-5, atol=1e-6)


def test_what_is_joined_under_autocast_is_as_wide_as_its_widest_part() -> None:
    x = image()
    with torch.autocast("cpu", torch.bfloat16):
        for pair in ([x, x.bfloat16()], [x.bfloat16(), x.bfloat16()], [x, x]):
            assert T.concat(pair).dtype == torch.cat(pair).dtype
        y = T.conv2d_batch_norm(x, filters(3, 4, 3, 3), torch.zeros(3), torch.ones(3), filters(3), training=True)
    assert y.dtype == torch.bfloat16


def test_autocast_that_is_switched_off_within_casts_nothing() -> None:
    with torch.autocast("cpu", torch.bfloat16), torch.autocast("cpu", enabled=False):
        assert T.conv2d(image(), filters(3, 4, 3, 3)).dtype == torch.float32


# Under transforms

W, NOTHING = filters(3, 4, 3, 3), torch.zeros(())
FUNCTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "silu": T.silu,
    "conv2d": lambda x: T.conv2d(x, W),
    "max_pool2d": lambda x: T.max_pool2d(x, 2),
    "batch_norm": lambda x: T.batch_norm(x, None, None, training=True),
    "mse_loss": lambda x: T.mse_loss(x, NOTHING),
}
TRANSFORMS: dict[str, Callable[[Any], Any]] = {
    "jvp": lambda f: torch.func.jvp(f, (image(),), (image(1),)),
    "jacfwd": lambda f: torch.func.jacfwd(f)(image()),
    "grad": lambda f: torch.func.grad(lambda x: f(x).sum())(image()),
    "vjp": lambda f: torch.func.vjp(f, image()),
    "jacrev": lambda f: torch.func.jacrev(f)(image()),
    "hessian": lambda f: torch.func.hessian(lambda x: f(x).sum())(image()),
    "vmap": lambda f: torch.func.vmap(f)(image()[None]),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_transforms_of_torch_func_are_refused_by_name(name: str, transform: str) -> None:
    with pytest.raises(UnsupportedError, match=r"^\w+: torch\.func\.\w+.* cannot pass through a fused op; use"):
        TRANSFORMS[transform](FUNCTIONS[name])


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("recorded", [False, True])
def test_tangents_are_refused_and_never_taken_for_zero(name: str, recorded: bool) -> None:
    x = image().requires_grad_(recorded)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, image(1))
        with pytest.raises(UnsupportedError, match="forward-mode differentiation cannot pass through a fused op"):
            FUNCTIONS[name](dual)
        FUNCTIONS[name](x)  # what has no tangent passes
        y = T.silu(image().requires_grad_())
        with pytest.raises(UnsupportedError, match="activate_backward: forward-mode differentiation"):
            (y * dual).sum().backward()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_of_gradients_are_refused_by_name(name: str) -> None:
    x = image().requires_grad_()
    with pytest.raises(UnsupportedError, match="gradients of gradients are not known"):
        torch.autograd.grad(FUNCTIONS[name](x).sum(), x, create_graph=True)


# Unusual tensors


def negative() -> torch.Tensor:
    """A tensor whose memory holds its numbers with the other sign."""
    x = torch.complex(image(), image()).conj().imag
    assert x.is_neg()
    return x


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_sign_that_is_kept_aside_is_read(name: str) -> None:
    x = negative()
    wanted = FUNCTIONS[name](x.resolve_neg())
    assert torch.equal(FUNCTIONS[name](x), wanted)
    assert torch.equal(FUNCTIONS[name](x.detach().requires_grad_()), wanted)
    y = FUNCTIONS[name](image().requires_grad_())
    dy = torch.complex(torch.ones_like(y), torch.ones_like(y)).detach().conj().imag
    x = image().requires_grad_()
    found = torch.autograd.grad(FUNCTIONS[name](x), x, dy)[0]
    assert torch.equal(found, torch.autograd.grad(FUNCTIONS[name](x), x, dy.resolve_neg())[0])


def test_a_sign_kept_aside_within_a_list_is_read() -> None:
    assert torch.equal(T.concat([negative(), image()]), torch.cat([negative(), image()]))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_zeros_that_have_no_memory_are_zeros(name: str) -> None:
    x = torch._efficientzerotensor(IMAGE)
    assert torch.equal(FUNCTIONS[name](x), FUNCTIONS[name](torch.zeros(IMAGE)))
    leaf = image().requires_grad_()
    y = FUNCTIONS[name](leaf)
    (dx,) = torch.autograd.grad(y, leaf, torch._efficientzerotensor(y.shape))
    assert not dx.any()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_tensors_without_numbers_give_shapes_and_no_crash(name: str) -> None:
    shape = FUNCTIONS[name](image()).shape
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    for fake in (mode.from_tensor(image()), mode.from_tensor(image().requires_grad_()), image().to("meta")):
        if fake.device.type == "meta" and name in ("conv2d", "mse_loss"):
            continue  # its other operand is on the cpu, which is refused
        y = FUNCTIONS[name](fake)
        assert y.shape == shape
        if fake.requires_grad:
            assert torch.autograd.grad(y.sum(), fake)[0].shape == IMAGE


def test_the_default_device_does_not_move_what_is_computed() -> None:
    x, w = image(), filters(3, 4, 3, 3)
    wanted = F.conv2d(x, w, stride=3)
    torch.set_default_device("meta")
    try:
        leaf = x.requires_grad_()
        found = T.conv2d(leaf, w, stride=3)  # sizes that no other test has, so that programs are made here
        value, at = T.max_pool2d(leaf, 5, return_indices=True)
        dropped = T.dropout(leaf, 0.25, seed=3)
        value.sum().backward()  # the places of the maxima get no gradient
    finally:
        torch.set_default_device(None)
    assert {t.device.type for t in (found, value, at, dropped, leaf.grad)} == {"cpu"}  # type: ignore[union-attr]
    torch.testing.assert_close(found, wanted)


def test_nested_tensors_are_refused() -> None:
    x = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)])
    with pytest.raises(LayoutError, match="x must be a dense tensor; got a nested tensor"):
        T.relu(x)
