"""What an attack may do: how far, by which steps, to which end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tritoncnn.errors import InputError
from tritoncnn.flags import TABLE

METHODS = ("fgsm", "pgd")
NORMS = ("linf", "l2")
STEPS = 10
LARGEST = 1_000_000  # change that may be asked for; white is 1
GAIN = 2.5  # all steps together, in units of epsilon: enough to cross the ball (Madry et al. 2018, "cifar10_challenge")
WONG = 1.25  # the one step from a random start (Wong et al. 2020)


@dataclass(frozen=True)
class Attack:
    """How pictures are changed. Lengths are in units of the pictures' values, of which black is 0 and white 1.

    fgsm  one step to the edge (Goodfellow et al. 2015, "Explaining and harnessing adversarial examples")
    pgd   ``steps`` steps, each brought back within ``epsilon`` of the picture (Madry et al. 2018, "Towards deep learning
          models resistant to adversarial attacks")

    norm          of a change: its largest value (linf), or the root of the sum of its squares (l2)
    step_size     of one step
    random_start  begin within epsilon of the picture, not at it
    """

    method: str
    norm: str
    epsilon: float
    steps: int
    step_size: float
    random_start: bool
    seed: int

    @classmethod
    def of(
        cls,
        method: str = "pgd",
        norm: str = "linf",
        epsilon: float = 0.1,
        steps: int | None = None,
        step_size: float | None = None,
        random_start: bool | None = None,
        seed: int = 0,
    ) -> Attack:
        """An attack with what is usual for all that is None. Raises InputError naming the flag."""
        _one_of("--method", method, METHODS)
        _one_of("--norm", norm, NORMS)
        if not (_is_number(epsilon) and 0 <= epsilon <= LARGEST):
            raise InputError(f"--epsilon must be from 0 to {LARGEST:,}, where white is 1; got {epsilon}")
        if method == "fgsm" and steps is not None:
            raise InputError(f"--steps is for --method pgd; fgsm takes one; got {steps}")
        steps = 1 if method == "fgsm" else STEPS if steps is None else steps
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise InputError(f"--steps must be at least 1; got {steps}")
        start = method == "pgd" if random_start is None else random_start
        if step_size is None:
            gain = GAIN if method == "pgd" else WONG if start else 1.0
            step_size = gain * epsilon / steps
        elif not (_is_number(step_size) and 0 < step_size <= LARGEST):
            raise InputError(f"--step-size must be above 0 and at most {LARGEST:,}; got {step_size}")
        TABLE["seed"].check(seed)
        return cls(method, norm, float(epsilon), steps, float(step_size), start, seed)

    def scaled(self, share: float) -> Attack:
        """The same attack with ``share`` of its epsilon and of its step size."""
        return Attack(
            self.method,
            self.norm,
            share * self.epsilon,
            self.steps,
            share * self.step_size,
            self.random_start,
            self.seed,
        )

    def reach(self) -> str:
        """For people: how large a change may be."""
        what = "no value changes by more than" if self.norm == "linf" else "the 2-norm of the change is at most"
        return f"{what} {self.epsilon:.3g}"

    def words(self) -> str:
        """For people: pgd, linf, 10 steps of 0.025 from a random start."""
        count = "1 step" if self.steps == 1 else f"{self.steps} steps"
        start = "a random start" if self.random_start else "the picture"
        return f"{self.method}, {self.norm}, {count} of {self.step_size:.4g} from {start}"


def _one_of(flag: str, value: Any, names: tuple[str, ...]) -> None:
    if value not in names:
        raise InputError(f"{flag} must be one of {', '.join(names)}; got {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
