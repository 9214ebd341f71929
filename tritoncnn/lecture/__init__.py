"""The lecture: every system on one page, each run in small by the command that anybody may type."""

from tritoncnn.lecture.giving import give
from tritoncnn.lecture.row import Result
from tritoncnn.lecture.rows import ROWS

__all__ = ["ROWS", "Result", "give"]
