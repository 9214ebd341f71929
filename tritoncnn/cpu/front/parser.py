"""Read printed TTIR (``str(module)`` or ``module.str_nodebug()``) into ops.

The text is the same in triton 3.6 to 3.9, which the Python bindings are not: they cannot list a block's ops before 3.8.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tritoncnn.errors import KernelError

from .text import NAME, Locations, attributes, parse_type, parse_types, split_outside
from .traits import Traits
from .ttir import Block, Function, Op, Type, Value, unsupported

_ATTR_WORDS = re.compile(r"\{[^{}]*\}")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_UNKNOWN = Traits()


class Parser:
    """One pass over the lines of a module. Functions are re-parsed per use, so that each call has its own values.

    What differs between ops is in the columns of their ``rows``; an op without a row is read as most are.
    """

    def __init__(self, text: str, rows: Mapping[str, Traits]) -> None:
        self.rows = rows
        # Names with other signs than a word's are quoted, as those of functions specialised to tuples (triton 3.6).
        text = re.sub(r'@"([^"]*)"', lambda quoted: "@" + re.sub(r"[^\w.$]", "_", quoted[1]), text)
        self.locations = Locations(text)
        self.lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        self.starts: dict[str, int] = {}
        for i, line in enumerate(self.lines):
            if line.startswith("tt.func"):
                match = re.search(r"@([\w.$]+)", line)
                assert match
                self.starts[match.group(1)] = i
                if " private " not in line:
                    self.entry = match.group(1)
        if not self.starts:
            raise KernelError("TTIR text without a tt.func.")
        self.i = 0
        self.position = 0
        self.scope: dict[str, Value] = {}
        self.ops: list[Op] = []
        self.callees: dict[str, Function] = {}  # those that are not inlined

    def function(self, name: str = "") -> Function:
        """Parse the named function, the kernel itself by default."""
        name = name or self.entry
        self.i, self.scope, self.ops = self.starts[name], {}, []
        head, _ = self.next()
        entry = Block("", [])
        depth, end = 1, head.index("(") + 1
        while depth:
            depth += {"(": 1, ")": -1}.get(head[end], 0)
            end += 1
        for text in split_outside(head[head.index("(") + 1 : end - 1].replace("{", "<").replace("}", ">")):
            match = re.match(rf"({NAME}): (.*?)(?: <(.*)>)?(?: loc\(.*\))?$", text)
            assert match, text
            value = self.define(match.group(1), parse_type(match.group(2)), None, entry)
            if divisibility := re.search(r"tt\.divisibility = (\d+)", match.group(3) or ""):
                value.divisible = int(divisibility.group(1))
            entry.args.append(value)
            if "tt.equal_to_1" in (match.group(3) or ""):
                self.one(value, entry)
        return Function(name, self.region(entry, None), self.ops)

    def row(self, op: Op) -> Traits:
        """What an op is."""
        return self.rows.get(op.name, _UNKNOWN)

    def one(self, argument: Value, entry: Block) -> None:
        """An argument that is 1 in every launch: its readers read a constant."""
        op = Op("arith.constant", [], [], {"words": [], "value": "1"}, "", self.position, block=entry)
        op.results = [self.define(argument.name, argument.type, op, entry)]
        entry.ops.append(op)
        self.ops.append(op)

    def next(self) -> tuple[str, str]:
        """The next line without its location, and that location."""
        line = self.lines[self.i]
        self.i += 1
        if line.startswith("tt.func"):
            return line, ""
        at = line.rfind(" loc(")
        closing = len(line) - len(line.lstrip("})"))  # of a region that an earlier line opened
        while at > 0 and line[closing:at].count("(") != line[closing:at].count(")") and not line[:at].endswith("({"):
            at = line.rfind(" loc(", 0, at)
        return (line, "") if at < 0 else (line[:at], line[at:])

    def define(self, name: str, type: Type, op: Op | None, block: Block | None) -> Value:
        value = self.scope[name] = Value(name, type, op, block)
        return value

    def region(self, first: Block, owner: Op | None) -> list[Block]:
        """Blocks up to the closing brace, which is not consumed."""
        first.owner = owner
        blocks = [first]
        while not self.lines[self.i].startswith("}"):
            line = self.lines[self.i]
            if line.startswith("^"):
                self.i += 1
                label = re.match(r"\^\w+", line)
                assert label
                block = (
                    blocks[0] if len(blocks) == 1 and not first.ops and not first.label else Block("", [], [], owner)
                )
                if block is not blocks[0]:
                    blocks.append(block)
                block.label = label.group(0)
                text = re.sub(r"//.*$", "", line)
                if "(" in text:
                    inner = text[text.index("(") + 1 : text.rindex(")")]
                    for arg in split_outside(inner):
                        name, _, type = arg.partition(": ")
                        block.args.append(self.define(name, parse_type(re.sub(r" loc\(.*$", "", type)), None, block))
                continue
            self.op(blocks[-1])
        return blocks

    def op(self, block: Block) -> None:
        """Parse one op, with its regions, into the block."""
        line, loc = self.next()
        names: list[str] = []
        if match := re.match(rf"((?:{NAME}(?::\d+)?(?:, )?)+) = (.*)$", line):
            for part in match.group(1).split(", "):
                name, _, count = part.partition(":")
                names += [f"{name}#{k}" for k in range(int(count))] if count else [name]
            line = match.group(2)
        match = re.match(r'"?([\w.]+)"?', line)
        if not match:
            raise KernelError(f"TTIR line that cannot be read: {line!r}.")
        op = Op(match.group(1), [], [], {"words": []}, self.locations.resolve(loc), self.position, block=block)
        self.position += 1
        block.ops.append(op)
        self.ops.append(op)
        rest = line[match.end() :].strip()
        row = self.row(op)
        if row.called:
            block.ops.pop()
            self.ops.pop()
            self.inline(op, rest, names, block)
            return
        if row.reads is not None:
            types = row.reads(self, op, rest)
        elif rest.startswith("(") and rest.endswith("({"):
            types = self.generic(op, rest)
        elif rest.endswith("{"):
            raise unsupported(op)
        else:
            types = self.plain(op, rest)
        for value in op.operands:
            value.users.append(op)
        op.results = [self.define(n, t, op, block) for n, t in zip(names, types, strict=False)]

    def inline(self, op: Op, rest: str, names: list[str], block: Block) -> None:
        """Parse the callee's ops in place of a call."""
        callee = re.match(r"@([\w.$]+)\((.*?)\)", rest)
        if not callee or callee.group(1) not in self.starts:
            raise unsupported(op)
        arguments = self.values(callee.group(2))
        if self.branches(callee.group(1)):
            self.call(op, rest, names, block, arguments)
            return
        here, scope = self.i, self.scope
        self.i, self.scope = self.starts[callee.group(1)], {}
        head, _ = self.next()
        parameters = re.findall(rf"({NAME}): ", head[head.index("(") :])
        self.scope = dict(zip(parameters, arguments, strict=False))
        while not self.lines[self.i].startswith("}"):
            self.op(block)
        end = block.ops.pop()
        self.i, self.scope = here, scope
        for name, value in zip(names, end.operands, strict=True):
            value.users.remove(end)
            self.scope[name] = value

    def branches(self, name: str) -> bool:
        """Does a function return early?"""
        ends = [i for i in self.starts.values() if i > self.starts[name]]
        body = self.lines[self.starts[name] : min(ends, default=len(self.lines))]
        return any(re.match(r"cf\.(cond_)?br\b", line) for line in body)

    def call(self, op: Op, rest: str, names: list[str], block: Block, arguments: list[Value]) -> None:
        """Keep a call, and parse its callee once."""
        name = rest[1 : rest.index("(")]
        if name not in self.callees:
            outer = self.i, self.scope, self.ops
            self.callees[name] = self.function(name)
            self.i, self.scope, self.ops = outer
        op.operands, op.attrs["callee"] = arguments, name
        block.ops.append(op)
        self.ops.append(op)
        for value in arguments:
            value.users.append(op)
        op.results = [self.define(n, t, op, block) for n, t in zip(names, self.types(op, rest), strict=False)]

    def values(self, text: str) -> list[Value]:
        """The values named outside of strings, which may hold anything: PTX has registers with a percent sign."""
        return [self.scope[name] for name in re.findall(NAME, _STRING.sub('""', text))]

    def plain(self, op: Op, rest: str) -> list[Type]:
        """An op without regions: operands, words, attributes; the types of its results."""
        if match := re.search(r"(?:^|<| )(\{[^{}]*\})(?:$|>| )", _STRING.sub('""', rest)):
            op.attrs |= attributes(match.group(1))
            rest = rest.replace(match.group(1), "", 1).strip()
        body, _, types = (
            rest.rpartition(" : ") if " : " in rest else ("", "", rest[2:]) if rest[:2] == ": " else (rest, "", "")
        )
        if " scale " in body:  # of factors in microscaling formats: which of them have one
            op.attrs["scaled"] = [" scale " in factor for factor in body.split(", ")[:2]]
        op.operands = self.values(body)
        words = re.sub(NAME, "", body)
        op.attrs["words"] = [w for w in re.split(r"[,\s()\[\]]+", words) if w]
        return self.types(op, types)

    def types(self, op: Op, printed: str) -> list[Type]:
        """The types of an op's results, from what is printed behind its colon."""
        arrow = "->" in printed
        found = parse_types(printed.rsplit("->" if arrow else " to ", 1)[-1])
        results = self.row(op).results
        return results(found) if results and found else found if arrow else found[:1]

    def generic(self, op: Op, rest: str) -> list[Type]:
        """``"tt.reduce"(%a, %b) <{axis = 1 : i32}> ({ ... }) : (...) -> (...)``."""
        op.operands = self.values(rest)
        if match := _ATTR_WORDS.search(rest):
            op.attrs |= attributes(match.group(0))
        op.regions = [self.region(Block("", []), op)]
        return parse_types(self.close(op).rsplit("->", 1)[1])

    def close(self, op: Op) -> str:
        """The line that ends a region; the last one of an op says where the op comes from."""
        line, loc = self.next()
        op.where = self.locations.resolve(loc) or op.where
        return line
