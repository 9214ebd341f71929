"""Python's collector of cyclic garbage, which waits while much is built that stays."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

from tritoncnn import forks


@contextlib.contextmanager
def later() -> Iterator[None]:
    """Collect nothing inside. Imports and captures make objects by the hundred thousand, nearly all of which stay, and the
    collector would walk through them again and again: about a tenth of a first compilation.

    Of blocks one inside the other, and of several threads, the one that has stopped the collector lets it go on.
    """
    with forks.apart():  # a child would have none
        stopped = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if stopped:
                gc.enable()
