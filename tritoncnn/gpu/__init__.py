"""GPU kernels without a GPU: every kernel compiled for real targets, and what came out read and judged.

Nothing here is run or timed on a GPU. ``make_report`` compiles, ``faults`` is the gate, ``execute`` runs PTX in an interpreter.
"""

from tritoncnn.gpu.binary import Binary, compile_for
from tritoncnn.gpu.cases import Case, cases
from tritoncnn.gpu.execute import Executed, execute
from tritoncnn.gpu.facts import Facts, facts_of
from tritoncnn.gpu.gate import faults
from tritoncnn.gpu.page import Outcome, outcomes, page
from tritoncnn.gpu.report import Row, make_report, print_table
from tritoncnn.gpu.targets import TARGETS, Gpu, find_target

__all__ = [
    "TARGETS",
    "Binary",
    "Case",
    "Executed",
    "Facts",
    "Gpu",
    "Outcome",
    "Row",
    "cases",
    "compile_for",
    "execute",
    "facts_of",
    "faults",
    "find_target",
    "make_report",
    "outcomes",
    "page",
    "print_table",
]  # fmt: skip
