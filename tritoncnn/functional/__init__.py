"""Fused ops for torch tensors: forward and backward are our kernels, under autograd, torch.compile and DDP.

Tensors are f32, bf16 or f16 (sums in f32), of any strides; pictures are fastest channels-last, and come out so.
The first call with new shapes plans and compiles; later ones look the program up.
"""

from tritoncnn.functional.activation import (
    activate,
    elu,
    gated,
    gelu,
    hardsigmoid,
    hardswish,
    leaky_relu,
    log_softmax,
    mish,
    prelu,
    relu,
    relu6,
    sigmoid,
    silu,
    softmax,
    softplus,
    tanh,
)
from tritoncnn.functional.convolution import (
    conv1d,
    conv2d,
    conv2d_batch_norm,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    linear,
)
from tritoncnn.functional.grid import affine_grid, grid_sample
from tritoncnn.functional.image import concat, embedding, interpolate, one_hot, pad, pixel_shuffle, pixel_unshuffle
from tritoncnn.functional.loss import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    dice_loss,
    focal_loss,
    gram_matrix,
    huber_loss,
    l1_loss,
    mse_loss,
    smooth_l1_loss,
    total_variation,
)
from tritoncnn.functional.norm import batch_norm, group_norm, instance_norm, layer_norm, local_response_norm
from tritoncnn.functional.pool import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
)
from tritoncnn.functional.random import channel_dropout, dropout

__all__ = [
    "activate", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d",
    "adaptive_max_pool2d", "adaptive_max_pool3d", "affine_grid", "avg_pool1d", "avg_pool2d", "avg_pool3d", "batch_norm",
    "binary_cross_entropy_with_logits", "channel_dropout", "concat", "conv1d", "conv2d", "conv2d_batch_norm", "conv3d",
    "conv_transpose1d",
    "conv_transpose2d", "conv_transpose3d", "cross_entropy", "dice_loss", "dropout", "elu", "embedding", "focal_loss",
    "gated", "gelu", "gram_matrix", "grid_sample", "group_norm", "hardsigmoid", "hardswish", "huber_loss", "instance_norm",
    "interpolate", "l1_loss", "layer_norm", "leaky_relu", "linear", "local_response_norm", "log_softmax", "lp_pool1d",
    "lp_pool2d", "lp_pool3d", "max_pool1d", "max_pool2d", "max_pool3d", "max_unpool1d", "max_unpool2d", "max_unpool3d",
    "mish", "mse_loss", "one_hot", "pad", "pixel_shuffle", "pixel_unshuffle", "prelu", "relu", "relu6", "sigmoid",
    "silu", "smooth_l1_loss", "softmax", "softplus", "tanh", "total_variation",
]  # fmt: skip
