"""Every error a person can meet. One sentence each: what, which value, what was wanted, what to do.

``raise`` one of these for a caller's mistake, ``assert`` for our own bug. The command line prints the
sentence and exits with ``exit_code``; Python users catch ``TritonCNNError`` or one of its kinds.
"""

from __future__ import annotations


class TritonCNNError(Exception):
    """Base of all errors of ours. ``exit_code`` is what the command line ends with: 1, failed while running."""

    exit_code = 1


class InputError(TritonCNNError, ValueError):
    """What the user handed in is wrong: a flag, a file, a value. Exit code 2."""

    exit_code = 2


class ShapeError(InputError):
    """Sizes do not fit together."""


class DTypeError(InputError):
    """A dtype that the op or kernel does not take."""


class OutOfRangeError(InputError, IndexError):
    """An index that names no place, or a class number that names no class."""


class LayoutError(InputError):
    """Strides that the op or kernel does not take."""


class DataError(InputError):
    """A data set, picture or label that cannot be used."""


class CheckpointError(InputError):
    """A checkpoint that cannot be used: truncated, of another model, misshapen or non-finite."""


class UnsupportedError(InputError):
    """A module op, or an op of a Triton kernel, that the compiler does not know; names it and its source line."""


class GraphError(TritonCNNError):
    """A graph that breaks the IR's rules, or graph text that cannot be read."""


class KernelError(TritonCNNError):
    """A Triton kernel that could not be compiled or launched."""


class BoundsError(KernelError):
    """A load, store or atomic outside of its tensor, found in the CPU backend's ``bounds`` mode."""


class RaceError(KernelError):
    """Programs of one launch whose result depends on their order, found in the CPU backend's ``races`` mode."""


class CacheError(TritonCNNError):
    """A cache folder that cannot be used safely."""

    exit_code = 2


class NonFiniteError(TritonCNNError):
    """The loss stopped being a finite number."""


class Interrupted(KeyboardInterrupt):
    """Training was asked to stop, and saved its state first. The message says how to go on."""


class SaveError(TritonCNNError):
    """A file could not be written; what was there before is intact."""


class KernelBug(TritonCNNError, AssertionError):
    """A kernel under test did what it must not; names the kernel, the smallest problem found and what happened."""


def printable(text: str, lines: bool = False) -> str:
    """``text`` with what a terminal would obey, or could not encode, as escapes; line ends too, unless ``lines``.

    Names of files and classes are other people's: they may hold control characters and bytes that are no text.
    """
    return "".join(c if c.isprintable() or (lines and c == "\n") else ascii(c)[1:-1] for c in text)


def input_named(name: str) -> str:
    """How a message calls an input: "input mask", and "input" alone for one of that name."""
    return "input" if name == "input" else f"input {name}"
