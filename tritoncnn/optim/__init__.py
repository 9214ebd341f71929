"""Optimizers, one file each, and what they add to a step's graph."""

from tritoncnn.optim.adam import Adam, AdamW
from tritoncnn.optim.define import Optimizer, number_of
from tritoncnn.optim.lbfgs import LBFGS
from tritoncnn.optim.rmsprop import RMSprop
from tritoncnn.optim.sgd import SGD
from tritoncnn.optim.steps import AVERAGE, GRADIENTS, Unit, add_optimizers, numbered

__all__ = [
    "AVERAGE",
    "GRADIENTS",
    "LBFGS",
    "SGD",
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSprop",
    "Unit",
    "add_optimizers",
    "number_of",
    "numbered",
]
