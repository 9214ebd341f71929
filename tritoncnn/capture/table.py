"""The one table of capture: ATen op -> how it is said in our ops. What is not here is unsupported.

A function gets the ATen op's arguments, tensors as Sym. RESHAPES and IDENTITIES need only know the result's shape.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tritoncnn.formulas import arithmetic as arith
from tritoncnn.formulas import (
    attention,
    bags,
    diagonals,
    dtypes,
    grid,
    index,
    logic,
    loss,
    matrix,
    norm,
    order,
    pool,
    quantize,
    running,
    sample,
    scatter,
    searching,
    special,
)
from tritoncnn.formulas import convolution as conv
from tritoncnn.formulas import pointwise as point
from tritoncnn.ops import OPS

TABLE: dict[str, Callable[..., Any]] = {
    # convolutions, pools, norms, moves
    "conv1d.default": conv.conv1d,
    "conv1d.padding": conv.conv1d,
    "conv2d.default": conv.conv2d,
    "conv2d.padding": conv.conv2d,
    "conv3d.default": conv.conv3d,
    "conv3d.padding": conv.conv3d,
    "conv_transpose1d.default": conv.conv_transpose1d,
    "conv_transpose2d.input": conv.conv_transpose2d,
    "conv_transpose3d.input": conv.conv_transpose3d,
    "convolution.default": conv.convolution,
    **{f"max_pool{d}d.default": pool.max_pool(d) for d in (1, 2, 3)},
    **{f"max_pool{d}d_with_indices.default": pool.max_pool_with_indices(d) for d in (1, 2, 3)},
    **{f"max_unpool{d}d.default": functools.partial(pool.max_unpool, d) for d in (2, 3)},
    **{f"avg_pool{d}d.default": pool.avg_pool(d) for d in (1, 2, 3)},
    **{f"adaptive_max_pool{d}d.default": pool.adaptive_max_pool(d) for d in (1, 2, 3)},
    **{
        f"{lead}adaptive_avg_pool{d}d.default": pool.adaptive_avg_pool(d)
        for lead, d in (
            ("", 1),
            ("", 2),
            ("", 3),
            ("_", 2),
            ("_", 3),
        )
    },
    "_native_batch_norm_legit_no_training.default": norm.native_batch_norm_eval,
    "group_norm.default": norm.group_norm,
    "instance_norm.default": norm.instance_norm,
    "layer_norm.default": norm.layer_norm,
    # moving pixels
    "pad.default": sample.pad,
    "constant_pad_nd.default": sample.constant_pad,
    **{
        f"{mode}_pad{d}d.default": sample.padder(kind)
        for mode, kind in (("reflection", "reflect"), ("replication", "replicate"))
        for d in (1, 2, 3)
    },
    **{f"upsample_nearest{d}d.{form}": sample.upsample_nearest for d in (1, 2, 3) for form in ("default", "vec")},
    **{
        f"_upsample_nearest_exact{d}d.{form}": sample.upsample_nearest_exact
        for d in (1, 2, 3)
        for form in ("default", "vec")
    },
    **{
        f"upsample_{kind}.{form}": sample.upsample_linear
        for kind in ("linear1d", "bilinear2d", "trilinear3d")
        for form in ("default", "vec")
    },
    **{f"upsample_bicubic2d.{form}": sample.upsample_bicubic for form in ("default", "vec")},
    **{f"_upsample_bilinear2d_aa.{form}": sample.upsample_linear_smooth for form in ("default", "vec")},
    **{f"_upsample_bicubic2d_aa.{form}": sample.upsample_bicubic_smooth for form in ("default", "vec")},
    "im2col.default": sample.im2col,
    "col2im.default": sample.col2im,
    "unfold.default": sample.unfold,
    "tril.default": sample.triangle(lower=True),
    "triu.default": sample.triangle(lower=False),
    "diagonal.default": diagonals.diagonal,
    "diagonal_scatter.default": diagonals.diagonal_scatter,
    "pixel_shuffle.default": sample.pixel_shuffle,
    "pixel_unshuffle.default": sample.pixel_unshuffle,
    "channel_shuffle.default": sample.channel_shuffle,
    "native_channel_shuffle.default": sample.channel_shuffle,
    "flip.default": sample.flip,
    "roll.default": sample.roll,
    "grid_sampler.default": grid.grid_sample,
    "grid_sampler_2d.default": grid.grid_sample,
    "grid_sampler_3d.default": grid.grid_sample,
    "affine_grid_generator.default": grid.affine_grid,
    # picking, splitting, joining
    "cat.default": index.concat,
    "stack.default": index.stack,
    "slice_scatter.default": index.slice_scatter,
    "select_scatter.default": index.select_scatter,
    "copy.default": index.copied,
    "fill.Tensor": index.copied,
    "narrow.default": index.narrow,
    "slice.Tensor": index.slice_,
    "select.int": index.select,
    "unbind.int": index.unbind,
    "split.Tensor": index.split,
    "split.sizes": index.split,
    "split_with_sizes.default": index.split_with_sizes,
    "chunk.default": index.chunk,
    "repeat.default": index.repeat,
    "gather.default": index.gather,
    "index_select.default": index.index_select,
    "index.Tensor": index.index_tensor,
    "take_along_dim.default": index.take_along_dim,
    "take.default": index.take_flat,
    "embedding.default": index.embedding,
    "one_hot.default": index.one_hot,
    **{f"embedding_bag.{kind}": bags.embedding_bag for kind in ("default", "padding_idx")},
    # writing at places
    "scatter_add.default": scatter.scatter_add,
    "scatter.src": scatter.scatter,
    "scatter.value": scatter.scatter_value,
    "scatter.reduce": scatter.scatter_joined,
    "scatter.value_reduce": scatter.scatter_joined_value,
    "scatter_reduce.two": scatter.scatter_reduce,
    "index_reduce.default": scatter.index_reduce,
    "index_add.default": scatter.index_add,
    "index_copy.default": scatter.index_copy,
    **{f"index_fill.int_{kind}": scatter.index_fill for kind in ("Scalar", "Tensor")},
    "index_put.default": scatter.index_put,
    **{f"masked_fill.{kind}": scatter.masked_fill for kind in ("Scalar", "Tensor")},
    "masked_scatter.default": searching.masked_scatter,
    **{f"fake_quantize_per_tensor_affine.{kind}": quantize.fake_quantize for kind in ("default", "tensor_qparams")},
    "fake_quantize_per_channel_affine.default": quantize.fake_quantize_channels,
    # maxima, order, running sums
    "max.default": order.amax,
    "min.default": order.amin,
    "max.dim": order.max_dim,
    "min.dim": order.min_dim,
    "argmax.default": order.argmax,
    "argmin.default": order.argmin,
    "amax.default": order.amax,
    "amin.default": order.amin,
    "aminmax.default": order.aminmax,
    "logsumexp.default": order.logsumexp,
    **{f"any.{kind}": order.any_ for kind in ("default", "dim", "dims")},
    **{f"all.{kind}": order.all_ for kind in ("default", "dim", "dims")},
    "count_nonzero.default": order.count_nonzero,
    "count_nonzero.dim_IntList": order.count_nonzero,
    "sort.default": order.sort,
    "sort.stable": order.stable_sort,
    "argsort.default": order.argsort,
    "argsort.stable": order.stable_argsort,
    "msort.default": order.msort,
    "topk.default": order.topk,
    "kthvalue.default": order.kthvalue,
    "median.dim": order.median,
    "median.default": order.median_of_all,
    "isin.Tensor_Tensor": searching.isin,
    "searchsorted.Tensor": searching.searchsorted,
    "cumsum.default": running.cumsum,
    "nanmedian.dim": order.nanmedian,
    "nanmedian.default": order.nanmedian_of_all,
    "cumprod.default": running.cumprod,
    "cummax.default": running.cummax,
    "cummin.default": running.cummin,
    "logcumsumexp.default": running.logcumsumexp,
    "prod.default": running.prod,
    "prod.dim_int": running.prod,
    # matrices and reductions
    "linear.default": matrix.linear,
    "bilinear.default": matrix.bilinear,
    "cdist.default": matrix.cdist,
    "pdist.default": matrix.pdist,
    "addmm.default": matrix.addmm,
    **{f"{name}.default": matrix.matmul for name in ("mm", "matmul", "bmm", "mv", "dot", "vdot")},
    "baddbmm.default": matrix.addmm,
    "addmv.default": matrix.addmm,
    "addbmm.default": matrix.addbmm,
    "scaled_dot_product_attention.default": attention.scaled_dot_product_attention,
    "broadcast_tensors.default": matrix.broadcast_tensors,
    "t.default": matrix.t,
    "numpy_T.default": matrix.t,
    "mT.default": matrix.matrix_transpose,
    "transpose.int": matrix.transpose,
    "permute.default": matrix.permute,
    "sum.default": matrix.total,
    "sum.dim_IntList": matrix.total,
    **{
        f"{name}{more}.{kind}": wrap(form(both))
        for kind, form in (
            ("default", matrix.over_dims),
            ("dim", matrix.over_dims),
            ("correction", matrix.with_correction),
        )
        for name, both in (("var", matrix.moments), ("std", matrix.deviations))
        for more, wrap in (("", matrix.first_of), ("_mean", lambda both: both))
    },
    "linalg_vector_norm.default": matrix.vector_norm,
    **{
        f"norm.{kind}": matrix.vector_norm
        for kind in ("Scalar", "ScalarOpt_dim", "ScalarOpt_dtype", "ScalarOpt_dim_dtype")
    },
    "mean.default": matrix.mean,
    "mean.dim": matrix.mean,
    "softmax.int": matrix.softmax,
    "_softmax.default": matrix.default_softmax,
    "log_softmax.int": matrix.log_softmax,
    "_log_softmax.default": matrix.default_log_softmax,
    # losses
    "cross_entropy_loss.default": loss.cross_entropy,
    "nll_loss.default": loss.nll_loss,
    "nll_loss_nd.default": loss.nll_loss,
    "nll_loss2d.default": loss.nll_loss,
    "mse_loss.default": loss.mse_loss,
    "l1_loss.default": loss.l1_loss,
    "smooth_l1_loss.default": loss.smooth_l1_loss,
    "huber_loss.default": loss.huber_loss,
    "multilabel_margin_loss.default": loss.multilabel_margin_loss,
    "binary_cross_entropy.default": loss.binary_cross_entropy,
    "binary_cross_entropy_with_logits.default": loss.bce_with_logits,
    # arithmetic
    "add.Tensor": arith.add,
    "add.Scalar": arith.add,
    "sub.Tensor": arith.sub,
    "sub.Scalar": arith.sub,
    "rsub.Tensor": arith.rsub,
    "rsub.Scalar": arith.rsub,
    **{f"mul.{kind}": arith.binary("mul") for kind in ("Tensor", "Scalar")},
    **{f"div.{kind}": arith.div for kind in ("Tensor", "Scalar", "Tensor_mode", "Scalar_mode")},
    **{f"{name}.default": arith.binary(name) for name in ("maximum", "minimum")},
    "max.other": arith.binary("maximum"),
    "min.other": arith.binary("minimum"),
    **{f"floor_divide.{kind}": arith.floor_divide for kind in ("default", "Scalar")},
    **{f"remainder.{kind}": arith.remainder for kind in ("Tensor", "Scalar", "Scalar_Tensor")},
    **{f"fmod.{kind}": arith.fmod for kind in ("Tensor", "Scalar")},
    **{f"pow.{kind}": arith.power for kind in ("Tensor_Scalar", "Tensor_Tensor", "Scalar")},
    "square.default": arith.square,
    "fmax.default": logic.larger_number("maximum"),
    "fmin.default": logic.larger_number("minimum"),
    "copysign.Tensor": special.copysign,
    "copysign.Scalar": special.copysign,
    "hypot.default": special.hypot,
    "signbit.default": special.signbit,
    "angle.default": special.angle,
    **{f"xlogy.{kind}": special.xlogy for kind in ("Tensor", "Scalar_Self", "Scalar_Other")},
    **{f"special_xlogy.{kind}": special.xlogy for kind in ("default", "self_scalar", "other_scalar")},
    **{f"special_xlog1py.{kind}": special.xlog1py for kind in ("default", "self_scalar", "other_scalar")},
    "special_entr.default": special.entr,
    **{
        f"{name}.default": getattr(special, name)
        for name in ("lgamma", "mvlgamma", "digamma", "polygamma", "erfinv", "i0", "nextafter")
    },
    **{f"special_{name}.default": getattr(special, name) for name in ("i0e", "i1", "i1e")},
    **{f"{name}.default": special.logit for name in ("logit", "special_logit")},
    **{f"{name}.default": special.sinc for name in ("sinc", "special_sinc")},
    **{
        f"{name}.{kind}": logic.compare(name)
        for name in ("gt", "lt", "ge", "le", "eq", "ne")
        for kind in ("Tensor", "Scalar")
    },
    **{f"logical_{name}.default": logic.logical(f"bit_{name}") for name in ("and", "or", "xor")},
    "logical_not.default": logic.logical_not,
    **{
        f"bitwise_{name}.{kind}": logic.bitwise(f"bit_{name}")
        for name in ("and", "or", "xor")
        for kind in ("Tensor", "Scalar")
    },
    **{
        f"__{name}__.{kind}": logic.bitwise(f"bit_{name}")
        for name in ("and", "or", "xor")
        for kind in ("Tensor", "Scalar")
    },
    "bitwise_not.default": OPS["bit_not"],
    **{
        f"{torch_name}.{kind}": logic.shift(f"shift_{side}")
        for side, letter in (("left", "l"), ("right", "r"))
        for torch_name, kinds in (
            (f"bitwise_{side}_shift", ("Tensor", "Tensor_Scalar", "Scalar_Tensor")),
            (f"__{letter}shift__", ("Tensor", "Scalar")),
        )
        for kind in kinds
    },
    "where.self": logic.where,
    "where.ScalarSelf": logic.where,
    "where.ScalarOther": logic.where,
    "where.Scalar": logic.where,
    "clamp.default": logic.clamp,
    "clamp.Tensor": logic.clamp,
    "clamp_min.default": logic.clamp,
    "clamp_min.Tensor": logic.clamp,
    "clamp_max.default": logic.clamp_max,
    "clamp_max.Tensor": logic.clamp_max,
    "abs.default": arith.absolute,
    "neg.default": OPS["neg"],
    "sign.default": arith.sign,
    **{f"{name}.default": arith.rounding(name) for name in ("floor", "ceil", "trunc", "round")},
    "round.decimals": arith.round_decimals,
    "isnan.default": logic.is_nan,
    "isinf.default": logic.is_inf,
    "isfinite.default": logic.is_finite,
    "relu.default": arith.relu,
    **{
        f"{name}.default": arith.unary(name)
        for name in (
            "sigmoid",
            "tanh",
            "exp",
            "log",
            "sqrt",
            "rsqrt",
            "reciprocal",
            "erf",
            "erfc",
            "log1p",
            "expm1",
            "exp2",
            "log2",
            "log10",
            "sin",
            "cos",
            "tan",
            "asin",
            "acos",
            "atan",
            "sinh",
            "cosh",
            "asinh",
            "acosh",
            "atanh",
        )
    },
    "special_erfc.default": arith.unary("erfc"),
    "atan2.default": special.atan2,
    # activations
    "hardtanh.default": point.hardtanh,
    "relu6.default": point.relu6,
    "leaky_relu.default": point.leaky_relu,
    "prelu.default": point.prelu,
    "silu.default": point.silu,
    "gelu.default": point.gelu,
    "elu.default": point.elu,
    "selu.default": point.selu,
    "celu.default": point.celu,
    "hardshrink.default": point.hardshrink,
    "softshrink.default": point.softshrink,
    "hardswish.default": point.hardswish,
    "hardsigmoid.default": point.hardsigmoid,
    "softplus.default": point.softplus,
    "log_sigmoid.default": point.log_sigmoid,
    "mish.default": point.mish,
}

ALIKE = (  # torch's primitives, in which some formulas are written, that compute what ATen's op of the name does
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "ceil", "cos", "cosh", "erf", "erfc", "exp", "exp2",
    "expm1", "floor", "isfinite", "log", "log10", "log1p", "log2", "neg", "reciprocal", "round", "rsqrt", "sign", "sin", "sinh",
    "sqrt", "tan", "tanh", "trunc", "maximum", "minimum", "bitwise_not", "fmod", "remainder", "add", "sub", "mul", "eq", "ne",
    "ge", "gt", "le", "lt", "pow", "where", "bitwise_and", "bitwise_or", "bitwise_xor",
)  # fmt: skip
KINDS = ("default", "Tensor", "Tensor_Tensor", "self")
TABLE |= {
    f"prims::{name}.default": next(TABLE[f"{name}.{kind}"] for kind in KINDS if f"{name}.{kind}" in TABLE)
    for name in ALIKE
} | {
    "prims::convert_element_type.default": dtypes.convert,
    "prims::sum.default": matrix.sum_dims,
    "prims::amax.default": order.amax,
    "prims::amin.default": order.amin,
    "prims::var.default": matrix.var_dims,
    "prims::broadcast_in_dim.default": matrix.broadcast_in_dim,
    "prims::transpose.default": matrix.permute,
}
