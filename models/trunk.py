"""One encoder, several answers: what is shared by parts, depth and colour of a picture is learned once.

Sources: Caruana 1997, "Multitask learning"; Eigen & Fergus 2015, "Predicting depth, surface normals and semantic labels with a
common multi-scale convolutional architecture"; Zhang, Isola, Efros 2016, "Colorful image colorization", for colour out of grey
as a task. Encoder and decoders are those of ``depthnet.py``. Departures: each answer has a decoder of its own behind the encoder;
colour is told as two numbers of each pixel, not as one of 313 classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from tritoncnn.models.depthnet import MIDDLE, Decoder, Encoder, init_filters

HEADS = ("parts", "depth", "colour")
WIDTHS = (16, 24, 48, 64)
SMALL = 0.1  # of each head's last filters, a new one's share of what ReLU would ask for


class Trunk(nn.Module):
    """f32[N,channels,H,W] -> for each of ``heads`` its answers:

    parts   f32[N,classes,H,W], logits
    depth   f32[N,H,W], the logarithm of metres
    colour  f32[N,2,H,W], how much bluer and how much redder than grey
    """

    def __init__(
        self, channels: int, classes: int, heads: Sequence[str] = HEADS, widths: Sequence[int] = WIDTHS
    ) -> None:
        super().__init__()
        self.encoder = Encoder(channels, widths)
        answers = {"parts": (classes, 0.0), "depth": (1, MIDDLE), "colour": (2, 0.0)}
        self.heads = nn.ModuleDict({name: Decoder(self.encoder.channels, *answers[name]) for name in heads})
        init_filters(self)
        with torch.no_grad():  # no head's first errors drown those of the others
            for name in heads:
                self.get_submodule(f"heads.{name}.head").get_parameter("weight").mul_(SMALL)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        maps = self.encoder(x)
        found = {name: decoder(maps) for name, decoder in self.heads.items()}
        return {name: y[:, 0] if name == "depth" else y for name, y in found.items()}
