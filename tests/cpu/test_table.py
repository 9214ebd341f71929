"""The table of TTIR ops: one row for each, and a refusal by name of every other op, wherever it stands."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

from tritoncnn.cpu import table
from tritoncnn.cpu.lower import lower
from tritoncnn.cpu.table import TABLE
from tritoncnn.errors import UnsupportedError

KERNEL = """
tt.func public @kernel(%p: !tt.ptr<f32>) {{
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %c8 = arith.constant 8 : i32
  %r = tt.make_range {{end = 16 : i32, start = 0 : i32}} : tensor<16xi32>
  %s = tt.splat %p : !tt.ptr<f32> -> tensor<16x!tt.ptr<f32>>
  %a = tt.addptr %s, %r : tensor<16x!tt.ptr<f32>>, tensor<16xi32>
  %x = tt.load %a : tensor<16x!tt.ptr<f32>>
  {0}
  tt.return
}}
tt.func private @early(%q: !tt.ptr<f32>) {{
  %z = tt.load %q : !tt.ptr<f32>
  %zero = arith.constant 0.000000e+00 : f32
  %t = arith.cmpf olt, %z, %zero : f32
  cf.cond_br %t, ^bb1, ^bb2
^bb1:  // pred: ^bb0
  tt.return
^bb2:  // pred: ^bb0
  %y = {1} %z : f32
  tt.store %q, %y : !tt.ptr<f32>
  tt.return
}}
"""
PLACES = {
    "alone": "%y = {op} %x : tensor<16xf32>\n  tt.store %a, %y : tensor<16x!tt.ptr<f32>>",
    "unread": "%y = {op} %x : tensor<16xf32>",
    "in a loop": """scf.for %i = %c0 to %c8 step %c1  : i32 {{
    %y = {op} %x : tensor<16xf32>
    tt.store %a, %y : tensor<16x!tt.ptr<f32>>
  }}""",
    "in a combiner": """%y = "tt.reduce"(%x) <{{axis = 0 : i32}}> ({{
  ^bb0(%u: f32, %v: f32):
    %w = {op} %u, %v : f32
    tt.reduce.return %w : f32
  }}) : (tensor<16xf32>) -> f32
  tt.store %p, %y : !tt.ptr<f32>""",
    "in a function that returns early": "tt.call @early(%p) : (!tt.ptr<f32>) -> ()",
}


def kernel(place: str, op: str) -> str:
    """The text of a kernel in which an op stands at a place."""
    return KERNEL.format(PLACES[place].format(op=op), op if "function" in place else "math.exp")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ["tt.elementwise_inline_asm", "math.unheard_of", "arith.unheard_of", "ttg.unheard_of"])
def test_an_op_without_a_row_is_refused_by_its_name(place: str, name: str) -> None:
    with pytest.raises(UnsupportedError, match=f"^{name}: the CPU backend does not know this op"):
        lower(kernel(place, name), lanes=8)


@pytest.mark.parametrize("place", PLACES)
def test_an_op_with_a_row_is_lowered_there(place: str) -> None:
    known = "arith.addf" if place == "in a combiner" else "math.exp"
    assert "define void @launch" in lower(kernel(place, known), lanes=8)


def test_each_op_has_one_row() -> None:
    tree = ast.parse(inspect.getsource(table))
    keys = [key.value for node in ast.walk(tree) if isinstance(node, ast.Dict) for key in node.keys
            if isinstance(key, ast.Constant) and "." in str(key.value)]  # fmt: skip
    assert len(keys) == len(set(keys))
    assert set(keys) <= set(TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_each_row_says_how_code_is_written_for_its_op(name: str) -> None:
    row = TABLE[name]
    assert row.emit or row.pull or row.emit_group or row.ends
    assert bool(row.group) == bool(row.emit_group)
    assert not row.elementwise or (row.pull and row.axis and row.stride and row.pointwise)
    assert row.mask is None or row.access


ROOM = Path(table.__file__).parent
# These look for a pattern of ops; cursor.py makes ops for them.
REWRITES = {"inductions.py", "cursor.py", "reshapes.py", "scaled.py", "sums.py"}


def _names_compared(tree: ast.AST) -> list[str]:
    """The names of ops that code compares with or looks up, as "tt.load" in ``op.name == "tt.load"``."""
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Set | ast.Tuple | ast.Dict):
            parts = [node.value]
        else:
            continue
        texts = [x.value for part in parts for x in ast.walk(part) if isinstance(x, ast.Constant)]
        found += [x for x in texts if isinstance(x, str) and x in TABLE]
    return found


WINGS = ("front", "facts", "emit", "dot", "sanitize")


@pytest.mark.parametrize("path", [path for wing in WINGS for path in (ROOM / wing).glob("*.py")],
                         ids=lambda path: f"{path.parent.name}/{path.name}")  # fmt: skip
def test_the_reader_and_analyses_and_emission_ask_the_row_and_not_the_name(path: Path) -> None:
    assert path.name in REWRITES or not _names_compared(ast.parse(path.read_text()))


def test_comparing_an_ops_name_would_be_seen() -> None:
    for code in (
        'op.name == "tt.load"',
        'op.name in ("tt.load", "x")',
        'A = {"tt.load", "tt.store"}',
        'A = {"tt.load": 1}',
    ):
        assert "tt.load" in _names_compared(ast.parse(code))
