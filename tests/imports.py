"""Which file imports which, read from their text: imports for type hints and imports inside functions are imports too."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator, Mapping
from pathlib import Path

Arrows = dict[str, set[str]]  # module -> the modules that it imports


def module_name(path: Path) -> str:
    """How a file is imported, given its path from the folder that is searched."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def arrows(files: Mapping[str, Path]) -> Arrows:
    """The imports among modules.

    A package's ``__init__.py`` is passed through: a name that it takes from another file is imported from that one, and only what
    it defines itself is imported from it.
    """
    wanted = {module: list(_imports(module, path)) for module, path in files.items()}
    handed = {
        module: {known: (base, name) for base, name, known in wanted[module] if name}
        for module, path in files.items()
        if path.name == "__init__.py"
    }

    def origin(module: str, name: str) -> str | None:
        """The file in which a name of a module is defined, if it is one of ours."""
        given = handed.get(module, {}).get(name)
        if given is not None and given != (module, name):
            return origin(*given)
        inner = f"{module}.{name}"
        return inner if inner in files else module if module in files else None

    found = {module: {origin(base, name) for base, name, _ in wanted[module]} for module in files}
    return {module: {to for to in targets if to is not None} for module, targets in found.items()}


def _imports(module: str, path: Path) -> Iterator[tuple[str, str, str]]:
    """Every import of a file: module, name that is taken from it or "", what it is called here."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "", alias.asname or alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((base, alias.name, alias.asname or alias.name) for alias in node.names)


def circle(found: Arrows) -> list[str]:
    """Modules of which each imports a neighbour in the list, the last being the first again; none: nothing goes round."""
    try:
        graphlib.TopologicalSorter(found).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []
