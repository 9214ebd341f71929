"""Losses of label map -> photograph: difference of pixels, a discriminator's word, difference of its features.

Source: Isola et al. 2017; hinge: Lim & Ye 2017, "Geometric GAN"; least squares: Mao et al. 2017; features: Wang et al. 2018.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from tritoncnn.data import Facts
from tritoncnn.flags import FROM_0, option
from tritoncnn.models.patchgan import PatchDiscriminator
from tritoncnn.task import Losses, Move, Step, Values

BETAS = {"betas": (0.5, 0.999)}  # of Adam, as in Isola et al.
TELLS = ("discriminator", "pixels", "adversarial", "features")
OPTIONS = (
    option("pixel_weight", 10.0, "Weight of the mean absolute difference of pixels.", FROM_0),
    option("adversarial_weight", 0.2, "Weight of the discriminator's word on what was made.", FROM_0),
    option("feature_weight", 2.0, "Weight of the difference of the discriminator's features.", FROM_0),
    option(
        "adversarial_loss", "hinge", "What the discriminator learns by.", choices=("hinge", "least-squares")
    ),
)  # fmt: skip


def losses_of(values: Values) -> Losses:
    """What the model and the discriminator learn from one batch: the made pictures are computed, and looked at, once."""
    squares = values["adversarial_loss"] == "least-squares"

    def losses(nets: Any, batch: Any) -> dict[str, torch.Tensor]:
        count, made = len(batch.x), nets.model(batch.x)
        *features, scores = nets.discriminator(torch.cat([batch.x, batch.x]), torch.cat([batch.y, made]))
        real, false = scores[:count], scores[count:]
        if squares:
            judged = ((real - 1) ** 2).mean() / 2 + (false**2).mean() / 2
            adversarial = ((false - 1) ** 2).mean()
        else:
            judged = F.relu(1 - real).mean() + F.relu(1 + false).mean()
            adversarial = -false.mean()
        pixels = F.l1_loss(made, batch.y)
        apart = [F.l1_loss(h[count:], h[:count]) for h in features]
        matched = (apart[0] + apart[1] + apart[2]) / len(apart)
        total = (
            values["pixel_weight"] * pixels
            + values["adversarial_weight"] * adversarial
            + values["feature_weight"] * matched
        )
        return {
            "loss": total,
            "discriminator": judged,
            "pixels": pixels,
            "adversarial": adversarial,
            "features": matched,
        }

    return losses


def discriminator(facts: Facts, values: Values) -> torch.nn.Module:
    return PatchDiscriminator(len(facts.classes))


ADVERSARIAL = Step(
    losses=losses_of,
    tells=TELLS,
    nets={"discriminator": discriminator},
    moves=(Move(numbers=BETAS), Move("discriminator", "discriminator", lr=0.5, numbers=BETAS)),
    options=OPTIONS,
)
