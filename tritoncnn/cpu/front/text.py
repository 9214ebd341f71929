"""Words of TTIR's text: names, types, attributes, places in the user's file."""

from __future__ import annotations

import functools
import re

from .ttir import Type

NAME = r"%[\w$.\-]+(?:#\d+)?"


@functools.lru_cache(maxsize=4096)
def parse_type(text: str) -> Type:
    """``tensor<16x!tt.ptr<f32>>`` -> Type((16,), "ptr", "f32")."""
    text = text.strip()
    if text.startswith("tensor<"):
        match = re.match(r"((?:\d+x)*)(.*)$", text[7 : text.rindex(">")])
        assert match
        elem = parse_type(match.group(2))
        return Type(tuple(int(d) for d in match.group(1).split("x") if d), elem.elem, elem.pointee)
    if text.startswith("!tt.ptr<"):
        return Type((), "ptr", text[8:-1].split(",")[0])
    return Type((), text)


def split_outside(text: str, separator: str = ",") -> list[str]:
    """Split at separators that stand outside of <>, () and []; an arrow's ``>`` closes nothing."""
    parts, depth, start = [], 0, 0
    for i, ch in enumerate(text):
        if ch in "<([":
            depth += 1
        elif ch in ")]" or (ch == ">" and text[i - 1] != "-"):
            depth -= 1
        elif ch == separator and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    parts.append(text[start:])
    return [p.strip() for p in parts if p.strip()]


def parse_types(text: str) -> list[Type]:
    """A comma list of types, with or without brackets around it."""
    text = text.strip()
    return [parse_type(t) for t in split_outside(text[1:-1] if text.startswith("(") else text)]


def _attribute(text: str) -> object:
    if match := re.match(r"array<i\d+: ([-\d, ]+)>$", text):
        return [int(n) for n in match.group(1).split(",")]
    match = re.match(r"(-?\d+) : i\d+$", text)
    return int(match.group(1)) if match else text


def attributes(text: str) -> dict[str, object]:
    """``{axis = 1 : i32, ...}``."""
    found: dict[str, object] = {}
    for part in split_outside(text[1:-1]):
        key, _, value = part.partition(" = ")
        found[key.strip()] = _attribute(value.strip())
    return found


def message(text: str) -> str:
    """A quoted text as it was before it was printed."""
    return re.sub(r"\\([0-9A-F]{2}|\\)", lambda m: "\\" if m[1] == "\\" else chr(int(m[1], 16)), text)


class Locations:
    """The ``#loc`` table: where in the user's file an op comes from."""

    def __init__(self, text: str) -> None:
        self.table = dict(re.findall(r"^(#loc\d*) = (loc\(.*\))$", text, re.M))
        self.known: dict[str, str] = {}

    def places(self, loc: str, depth: int = 0) -> list[str]:
        """All file:line of a location, innermost call first."""
        found: list[str] = []
        for name, line, ref in re.findall(r'"([^"]*)":(\d+):\d+|(#loc\d*)', loc):
            if ref and depth < 64:
                found += self.places(self.table.get(ref, ""), depth + 1)
            elif name:
                found.append(f"{name}:{line}")
        return found

    def resolve(self, loc: str) -> str:
        """The innermost place outside of triton's own library, or "" where the text has no locations."""
        if loc not in self.known:
            places = self.places(loc)
            own = [p for p in places if "/triton/language/" not in p]
            self.known[loc] = (own or places or [""])[0]
        return self.known[loc]
