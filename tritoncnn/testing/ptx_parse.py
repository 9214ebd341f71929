"""PTX text -> a list of instructions. Only what Triton writes: one entry, no calls."""

from __future__ import annotations

import re
from typing import NamedTuple


class Instruction(NamedTuple):
    """``guard``: predicate register, with ! when it must be false, or nothing. ``words``: the name cut at its dots."""

    guard: str
    words: tuple[str, ...]
    operands: tuple[str, ...]

    def __str__(self) -> str:
        return f"{'@' + self.guard + ' ' if self.guard else ''}{'.'.join(self.words)} {', '.join(self.operands)}"


class Program(NamedTuple):
    parameters: tuple[str, ...]
    code: tuple[Instruction, ...]
    labels: dict[str, int]


STATEMENT = re.compile(r"(?:@(!?%\w+)\s+)?([a-z][\w.:]*)\s*(.*)$", re.DOTALL)


def parse_ptx(text: str) -> Program:
    entry = text[text.index(".entry") :]
    head = entry[: entry.index(")")]
    parameters = tuple(re.findall(r"\.param\s+[^,\n]*?(\w+_param_\d+)", head))
    body = entry[entry.index("{") + 1 : entry.rindex("}")]
    body = re.sub(r"//[^\n]*", "", body)
    body = re.sub(r"^\s*\.(loc|file|section|reg|maxn|minn|req|pragma)[^\n]*$", "", body, flags=re.MULTILINE)
    code: list[Instruction] = []
    labels: dict[str, int] = {}
    for statement in body.split(";"):
        rest = statement.strip()
        while True:
            label = re.match(r"(\$?[\w$]+):\s*", rest)
            if label:
                labels[label[1]] = len(code)
                rest = rest[label.end() :]
            elif rest[:1] in ("{", "}"):  # blocks of inline assembly
                rest = rest[1:].strip()
            else:
                break
        if rest and not rest.startswith("."):
            found = STATEMENT.match(rest)
            assert found is not None, rest
            code.append(Instruction(found[1] or "", tuple(found[2].split(".")), tuple(_split(found[3]))))
    return Program(parameters, tuple(code), labels)


def _split(text: str) -> list[str]:
    """Cut at the commas that are in no brackets."""
    return [part.strip() for part in re.split(r",(?![^{\[]*[}\]])", text) if part.strip()]


def registers(operand: str) -> list[str]:
    """``{%r1, %r2}`` -> its registers."""
    return [word.strip() for word in operand.strip("{} \n\t").split(",")]
