"""Adversarial examples: the smallest changes of pictures that a model answers most wrongly, found by its own gradients."""

from tritoncnn.attacks.attack import METHODS, NORMS, Attack
from tritoncnn.attacks.attacker import Attacker, bounds_of
from tritoncnn.attacks.draws import random_start, same_size_noise

__all__ = ["METHODS", "NORMS", "Attack", "Attacker", "bounds_of", "random_start", "same_size_noise"]
