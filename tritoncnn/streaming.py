"""A WaveNet that makes sound, a sample a call: what its layers have heard is kept, nothing is computed twice.

Source: Paine et al. 2016, "Fast WaveNet generation algorithm". A layer of dilation d needs of the past only its own input d
samples ago: a ring of d places keeps it, of which each call reads one and then overwrites it. The rings of all layers are one
buffer; the sound and its random numbers are buffers too. So a call takes no input, and many of them are one native call
(``CompiledModel.repeat``).
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

import tritoncnn
from tritoncnn.models.wavenet import LEVELS, Layer, WaveNet

CHUNK = 4000  # samples of one native call; between two of them Ctrl-C is heard


class Stream(nn.Module):
    """``stream()`` -> logits f32[1,256] of the next sample of ``sound`` u8[samples], which they draw unless it was given.

    The first ``heard`` samples of the sound are given; ``uniform`` f32[samples] has a random number in [0, 1) for each. The
    rings are right once as many samples were heard as the net hears; before the first one came ``level``.
    """

    then: torch.Tensor  # f32[layers,R,2R], of the tap in the past
    now: torch.Tensor
    bias: torch.Tensor
    residual: torch.Tensor
    residual_bias: torch.Tensor
    skip: torch.Tensor  # f32[layers*R,S]
    skip_bias: torch.Tensor
    dilations: torch.Tensor
    first: torch.Tensor  # i64[layers]: where a layer's ring begins in ``rings``
    rings: torch.Tensor  # f32[all dilations,R]
    time: torch.Tensor
    level: torch.Tensor
    sound: torch.Tensor
    uniform: torch.Tensor
    heard: torch.Tensor
    temperature: torch.Tensor

    def __init__(self, net: WaveNet, samples: int) -> None:
        super().__init__()
        self.embed, self.head, self.last = net.embed, net.head, net.last
        layers = [part for part in net.layers if isinstance(part, Layer)]
        gates = torch.stack([layer.gate.weight for layer in layers])  # f32[layers,2R,R,2]
        state = {
            "then": gates[..., 0].transpose(1, 2),
            "now": gates[..., 1].transpose(1, 2),
            "bias": torch.stack([_bias(layer.gate) for layer in layers])[:, None],
            "residual": torch.stack([layer.residual.weight[:, :, 0].t() for layer in layers]),
            "residual_bias": torch.stack([_bias(layer.residual) for layer in layers]),
            "skip": torch.cat([layer.skip.weight[:, :, 0].t() for layer in layers]),
            "skip_bias": torch.stack([_bias(layer.skip) for layer in layers]).sum(0),
            "dilations": net.dilations,
            "first": net.dilations.cumsum(0) - net.dilations,
            "rings": torch.zeros(int(net.dilations.sum()), net.embed.embedding_dim),
            "time": torch.zeros(1, dtype=torch.int64),
            "level": torch.zeros(1, dtype=torch.int64),
            "sound": torch.zeros(samples, dtype=torch.uint8),
            "uniform": torch.zeros(samples),
            "heard": torch.zeros(1, dtype=torch.int64),
            "temperature": torch.ones(1),
        }
        for name, tensor in state.items():
            self.register_buffer(name, tensor.detach().clone(memory_format=torch.contiguous_format))

    def forward(self) -> torch.Tensor:
        places = self.first + self.time % self.dilations
        before = torch.baddbmm(self.bias, self.rings[places][:, None], self.then)  # f32[layers,1,2R]
        h, heard, gated = self.embed(self.level), [], []
        for i in range(len(self.dilations)):
            a, b = torch.addmm(before[i], h, self.now[i]).chunk(2, 1)
            z = torch.tanh(a) * torch.sigmoid(b)
            heard.append(h)
            gated.append(z)
            h = h + torch.addmm(self.residual_bias[i], z, self.residual[i])
        total = F.relu(torch.addmm(self.skip_bias, torch.cat(gated, 1), self.skip))
        total = F.relu(F.linear(total, self.head.weight[:, :, 0], self.head.bias))
        logits = F.linear(total, self.last.weight[:, :, 0], self.last.bias)
        self._draw(logits)
        self.rings.index_copy_(0, places, torch.cat(heard))
        self.time.add_(1)
        return logits

    def _draw(self, logits: torch.Tensor) -> None:
        """The level at which the running sum of the probabilities passes the random number."""
        sums = torch.softmax(logits / self.temperature, 1).cumsum(1)
        passed = sums <= self.uniform[self.time] * sums[:, -1:]
        drawn = passed.sum(1).clamp(max=LEVELS - 1)
        level = torch.where(self.time < self.heard, self.sound[self.time].long(), drawn)
        self.sound.index_copy_(0, self.time, level.to(torch.uint8))
        self.level.copy_(level)


def _bias(conv: nn.Conv1d) -> torch.Tensor:
    assert conv.bias is not None, "all filters of a WaveNet have one"
    return conv.bias


@dataclass(frozen=True)
class Played:
    """Levels u8[samples], the given ones first; and what a sample took, in seconds."""

    levels: torch.Tensor
    each: float


class Player:
    """Makes sounds of at most so many ``samples`` by a net, on one core."""

    def __init__(self, net: WaveNet, samples: int, silence: int) -> None:
        """``silence``: the level that is taken to come before each sound."""
        self.context, self.samples, self.silence = net.context, samples, silence
        self.stream = Stream(net, net.context + samples).eval()
        self.model = tritoncnn.compile(self.stream, ())

    def play(self, given: torch.Tensor, samples: int, temperature: float, seed: int) -> Played:
        """Go on from levels u8[heard] until there are so many ``samples``. The same seed gives the same sound."""
        stream, start = self.stream, self.context
        assert len(given) <= samples <= self.samples, "a player is made for its longest sound"
        generator = torch.Generator().manual_seed(seed)
        stream.uniform[start:] = torch.rand(self.samples, generator=generator)
        stream.temperature.fill_(temperature)
        stream.sound[:start] = self.silence
        stream.sound[start : start + len(given)] = given
        stream.heard.fill_(start + len(given))
        stream.rings.zero_()
        stream.time.zero_()
        stream.level.fill_(self.silence)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # launches so small are soonest done by one
        begin = time.perf_counter()
        try:
            for first in range(0, start + samples, CHUNK):
                self.model.repeat(min(CHUNK, start + samples - first))
        finally:
            torch.set_num_threads(threads)
        each = (time.perf_counter() - begin) / (start + samples)
        return Played(stream.sound[start : start + samples].clone(), each)
