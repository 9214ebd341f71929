"""Fused ops for torch tensors: forward and backward are our kernels, under autograd, torch.compile and DDP.

Tensors are f32, bf16 or f16 (sums in f32), of any strides; pictures are fastest channels-last, and come out so.
The first call with new shapes plans and compiles; later ones look the program up. Each file of the room says in its own
``__all__`` what it offers.
"""

from tritoncnn.functional import activation, convolution, grid, image, loss, norm, pool, random
from tritoncnn.functional.activation import *
from tritoncnn.functional.convolution import *
from tritoncnn.functional.grid import *
from tritoncnn.functional.image import *
from tritoncnn.functional.loss import *
from tritoncnn.functional.norm import *
from tritoncnn.functional.pool import *
from tritoncnn.functional.random import *

__all__: list[str] = []
__all__ += activation.__all__
__all__ += convolution.__all__
__all__ += grid.__all__
__all__ += image.__all__
__all__ += loss.__all__
__all__ += norm.__all__
__all__ += pool.__all__
__all__ += random.__all__
