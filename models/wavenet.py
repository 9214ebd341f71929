"""WaveNet for sound of 256 levels (van den Oord et al. 2016): how likely is each sample, given those before it?

h[0] = E[x];  per layer i of dilation d:  z = tanh(a) sigmoid(b),  (a, b) = W[i] * h[i] (causal, taps at t - d and t)
h[i+1] = h[i] + R[i] z;  logits = O2 relu(O1 relu(sum of S[i] z))

Departures from the paper: a sample's level is looked up in a table (``E``), which is a filter of one tap on its one-hot code
where theirs has two taps; no conditioning. Filters see only samples that are there ("valid"): what lies before a window is its
context, and no zeros. ``E`` and ``O2`` begin as smooth functions of the level, not at random: that levels are in an order need
not be learned first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional as F

LEVELS = 256


class Layer(nn.Module):
    """f32[N,R,T] -> (f32[N,R,T-d], f32[N,S,count]): what goes on, and the part of the sum for the last ``count`` samples.

    A gated pair of filters of two taps, ``dilation`` d apart.
    """

    def __init__(self, residual: int, skip: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.gate = nn.Conv1d(residual, 2 * residual, 2, dilation=dilation)
        self.residual = nn.Conv1d(residual, residual, 1)
        self.skip = nn.Conv1d(residual, skip, 1)

    def forward(self, h: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        a, b = self.gate(h).chunk(2, 1)
        z = torch.tanh(a) * torch.sigmoid(b)
        return h[:, :, self.dilation :] + self.residual(z), self.skip(z[:, :, z.shape[2] - count :])


class WaveNet(nn.Module):
    """u8[N,context + T] -> f32[N,T]: minus the logarithm of the probability of each sample behind the context, in nats."""

    dilations: torch.Tensor  # kept with the weights, so that these alone tell the net

    def __init__(self, dilations: Sequence[int], residual: int = 32, skip: int = 64) -> None:
        super().__init__()
        self.register_buffer("dilations", torch.tensor(list(dilations)))
        self.context = sum(dilations) + 1  # samples that a sample is told from: the receptive field
        self.embed = nn.Embedding(LEVELS, residual)
        self.layers = nn.ModuleList(Layer(residual, skip, dilation) for dilation in dilations)
        self.head = nn.Conv1d(skip, skip, 1)
        self.last = nn.Conv1d(skip, LEVELS, 1)
        with torch.no_grad():
            self.embed.weight.copy_(waves(residual))
            self.last.weight.copy_(waves(skip)[:, :, None] / skip**0.5)

    @classmethod
    def of(cls, weights: Mapping[str, torch.Tensor]) -> WaveNet:
        """The net in eval mode that a state dict is of."""
        net = cls(weights["dilations"].tolist(), weights["embed.weight"].shape[1], weights["head.weight"].shape[0])
        net.load_state_dict(dict(weights))
        return net.eval()

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """i64[N,context + T - 1] -> f32[N,256,T]: of the samples that come after each context."""
        count = x.shape[1] - self.context + 1
        h = self.embed(x).transpose(1, 2)
        parts = []
        for layer in self.layers:
            h, part = layer(h, count)
            parts.append(part)
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        logits: torch.Tensor = self.last(F.relu(self.head(F.relu(total))))
        return logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        levels = x.long()
        return F.cross_entropy(self.logits(levels[:, :-1]), levels[:, self.context :], reduction="none")


def waves(count: int) -> torch.Tensor:
    """f32[256,count]: the level in [-1, 1], its loudness by the mu-law, and sines and cosines of more and more waves."""
    level = torch.linspace(-1, 1, LEVELS)
    found = [level, level.sign() * torch.expm1(level.abs() * math.log(LEVELS)) / (LEVELS - 1)]
    for wave in range(1, count):
        found += [torch.sin(math.pi * wave * level / 2), torch.cos(math.pi * wave * level / 2)]
    return torch.stack(found[:count], 1)


def dilated(layers: int, stacks: int) -> list[int]:
    """The paper's dilations: 1, 2, 4, ... in each stack."""
    return [2**i for _ in range(stacks) for i in range(layers)]
