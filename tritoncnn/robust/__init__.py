"""Trained classifiers under attack: accuracy over the size of the change, and single pictures."""

from tritoncnn.robust.curve import accuracies, attack_curve
from tritoncnn.robust.pictures import Attacked, attack_pictures, write_attacked
from tritoncnn.robust.victim import Victim

__all__ = ["Attacked", "Victim", "accuracies", "attack_curve", "attack_pictures", "write_attacked"]
