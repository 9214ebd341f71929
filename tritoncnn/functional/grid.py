"""Pictures sampled at the places of a grid, and grids of affine maps: warping by flow, spatial transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tritoncnn.errors import InputError
from tritoncnn.formulas import grid as formula
from tritoncnn.formulas.convolution import numbers_of
from tritoncnn.functional.dispatch import Ints, fused, under_autocast

__all__ = ["affine_grid", "grid_sample"]

Tensor = torch.Tensor


@under_autocast("f32")
@fused
def _grid_sample(x: Tensor, grid: Tensor, mode: str, padding_mode: str, align_corners: bool) -> Any:
    return formula.grid_sample(x, grid, mode, padding_mode, align_corners)


@fused
def _affine_grid(theta: Tensor, size: Ints, align_corners: bool) -> Any:
    return formula.affine_grid(theta, size, align_corners)


def grid_sample(
    x: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """x [N, C, H, W] at the places of grid [N, P, Q, 2] -> [N, C, P, Q]; or with one axis more, x [N, C, D, H, W].

    A place is (x, y) or (x, y, z), each from -1 to 1 across the picture: between the middles of the outermost pixels with
    ``align_corners``, else between their outer edges. ``mode``: bilinear (of volumes trilinear), nearest, or for pictures
    bicubic. ``padding_mode`` says what lies outside: zeros, border (the nearest pixel), reflection. The gradient of x adds in
    a fixed order. Raises InputError, ShapeError, DTypeError.
    Source: Jaderberg et al. 2015, "Spatial transformer networks".
    """
    if mode not in formula.MODES:
        raise InputError(f"grid_sample: mode must be one of {', '.join(formula.MODES)}; got {mode!r}")
    if padding_mode not in formula.PADDINGS:
        raise InputError(
            f"grid_sample: padding_mode must be one of {', '.join(formula.PADDINGS)}; got {padding_mode!r}"
        )
    return _grid_sample(x, grid, mode, padding_mode, bool(align_corners))[0]


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The grid [N, H, W, 2] of places theta[n] (x, y, 1) for theta [N, 2, 3] and the ``size`` (N, C, H, W) of the result.

    Or with one axis more: theta [N, 3, 4], size (N, C, D, H, W). Raises ShapeError, DTypeError.
    """
    return _affine_grid(theta, numbers_of("affine_grid: size", size), bool(align_corners))[0]
