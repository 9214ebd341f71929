"""Trees of tensors: what a caller hands in and gets back, as a flat list and a form.

A tree is a tensor, or a tuple, list, dict, named tuple or dataclass of trees. Everything else (numbers, words, None, switches)
is a part of the form: it is compiled in, and a call must bring the same.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._pytree import MappingKey, register_pytree_node

from tritoncnn.errors import InputError, LayoutError


class Fields(dict[str, Any]):
    """A dict whose entries are attributes too: ``out["loss"]`` is ``out.loss``."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no {name!r}; there are {', '.join(map(repr, self))}") from None


register_pytree_node(
    Fields,
    lambda fields: (list(fields.values()), list(fields)),
    lambda values, names: Fields(zip(names, values, strict=True)),
    serialized_type_name="tritoncnn.tree.Fields",
    flatten_with_keys_fn=lambda fields: ([(MappingKey(name), value) for name, value in fields.items()], list(fields)),
)


class _Tensor:
    """Stands in a form where a tensor is."""

    def __repr__(self) -> str:
        return "a tensor"


TENSOR = _Tensor()


@dataclass(frozen=True)
class Form:
    """The shape of a tree. ``kind`` makes the container of its ``parts``; a leaf has no parts, and ``kind`` is the leaf:
    ``TENSOR`` or a constant.
    """

    kind: Any
    keys: tuple[Any, ...] = ()  # names of the parts; empty for a leaf
    parts: tuple[Form, ...] = ()
    container: bool = False

    def __str__(self) -> str:
        if not self.container:
            return repr(self.kind)
        inside = ", ".join(f"{key}: {part}" for key, part in zip(self.keys, self.parts, strict=True))
        return f"{self.kind.__name__}({inside})"

    @property
    def tensors(self) -> int:
        return sum(part.tensors for part in self.parts) if self.container else int(self.kind is TENSOR)

    def paths(self, path: str = "") -> Iterator[str]:
        """Where each tensor is: ``batch.boxes[0]``."""
        if not self.container:
            if self.kind is TENSOR:
                yield path
            return
        for key, part in zip(self.keys, self.parts, strict=True):
            yield from part.paths(join(path, key))


def join(path: str, key: Any) -> str:
    return f"{path}[{key}]" if not isinstance(key, str) else f"{path}.{key}" if path else key


def _entries(tree: Any) -> tuple[type, tuple[Any, ...], tuple[Any, ...]] | None:
    """(kind, keys, parts) of a container, None for a leaf."""
    if isinstance(tree, torch.Tensor):
        return None
    if isinstance(tree, Mapping):
        return Fields if type(tree) is dict else type(tree), tuple(tree.keys()), tuple(tree.values())
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        names = tuple(f.name for f in dataclasses.fields(tree))
        return type(tree), names, tuple(getattr(tree, name) for name in names)
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree), tuple(tree._fields), tuple(tree)
    if isinstance(tree, (tuple, list)):
        return type(tree), tuple(range(len(tree))), tuple(tree)
    return None


def flatten(tree: Any, like: Form | None = None) -> tuple[list[torch.Tensor], Form]:
    """The tensors of a tree, in order, and its form. Raises InputError for arrays of others and for what hides tensors,
    LayoutError for nested tensors.

    ``like``: a form in whose order entries of plain dicts are taken, where it has the same ones.
    """
    tensors: list[torch.Tensor] = []

    def visit(part: Any, like: Form | None) -> Form:
        found = _entries(part)
        if found is not None:
            kind, keys, parts = found
            if like is None or like.kind is not kind or set(like.keys) != set(keys):
                return Form(kind, keys, tuple(visit(one, None) for one in parts), True)
            if kind is Fields:
                keys, parts = like.keys, tuple(part[key] for key in like.keys)
            return Form(kind, keys, tuple(map(visit, parts, like.parts)), True)
        if isinstance(part, torch.Tensor):
            if part.is_nested:
                raise LayoutError("a tensor must be dense; got a nested tensor; use .to_padded_tensor()")
            tensors.append(part)
            return Form(TENSOR)
        if hasattr(part, "__array__") and getattr(part, "shape", None):  # its elements would be compared one by one
            raise InputError(
                f"an array must be a tensor; got {type(part).__name__} {list(part.shape)}: use torch.as_tensor"
            )
        if why := _hides(part):
            raise InputError(f"a tree of tensors is made of tuples, lists, dicts and dataclasses; got {why}")
        return Form(part)

    form = visit(tree, like)
    return tensors, form


def _hides(leaf: Any) -> str:
    """What is wrong with a leaf that is no constant; empty when it may be one."""
    kind = type(leaf).__name__
    if isinstance(leaf, (torch.SymInt, torch.SymFloat, torch.SymBool)):
        return "a number that depends on data, as item() and tolist() give: keep the tensor"
    if isinstance(leaf, Iterator):
        return f"a {kind}, which can be read only once"
    parts = list(leaf) if isinstance(leaf, (Set, deque)) else list(getattr(leaf, "__dict__", {}).values())
    parts += [[*leaf.parameters(), *leaf.buffers()]] if isinstance(leaf, torch.nn.Module) else []
    parts += [getattr(leaf, name, None) for name in getattr(type(leaf), "__slots__", ())]
    for part in parts:
        inside = part.values() if isinstance(part, Mapping) else part if isinstance(part, (tuple, list)) else (part,)
        if any(isinstance(one, torch.Tensor) for one in inside):
            return f"a {kind}, which holds tensors"
    return ""


def reader(form: Form) -> Callable[[Any], list[torch.Tensor] | None]:
    """A function from a tree to its tensors, in the order of ``flatten``, which makes no form: None where the tree is not surely
    one of ``form``. Constants other than whole numbers, words, switches and None are never sure.
    """
    visit = _visitor(form)

    def read(tree: Any) -> list[torch.Tensor] | None:
        found: list[torch.Tensor] = []
        return found if visit(tree, found) else None

    return read


_Visit = Callable[[Any, list[torch.Tensor]], bool]


def _visitor(form: Form) -> _Visit:
    """A function that adds the tensors of a tree to a list and says whether the tree is one of ``form``."""
    if not form.container:
        return _tensor if form.kind is TENSOR else _constant(form.kind)
    kind, keys, count = form.kind, form.keys, len(form.keys)
    visits = tuple(_visitor(part) for part in form.parts)

    def tensors(tree: Any, found: list[torch.Tensor]) -> bool:
        if type(tree) is not kind or len(tree) != count:
            return False
        found.extend(tree)
        return all(isinstance(part, torch.Tensor) for part in tree)

    def items(tree: Any, found: list[torch.Tensor]) -> bool:
        if type(tree) is not kind or len(tree) != count:
            return False
        return all(visit(part, found) for visit, part in zip(visits, tree, strict=True))

    def entries(tree: Any, found: list[torch.Tensor]) -> bool:
        if type(tree) not in (dict, Fields) or tuple(tree) != keys:
            return False
        return not tree or all(visit(part, found) for visit, part in zip(visits, tree.values(), strict=True))

    def fields(tree: Any, found: list[torch.Tensor]) -> bool:
        return type(tree) is kind and all(
            visit(getattr(tree, key), found) for visit, key in zip(visits, keys, strict=True)
        )

    if issubclass(kind, Mapping):
        return entries if kind is Fields else _unsure
    if dataclasses.is_dataclass(kind):
        return fields
    return tensors if all(part.kind is TENSOR for part in form.parts) else items


def _tensor(tree: Any, found: list[torch.Tensor]) -> bool:
    found.append(tree)
    return isinstance(tree, torch.Tensor)


def _constant(value: Any) -> _Visit:
    kind = type(value)
    return (lambda tree, _: type(tree) is kind and tree == value) if kind in (bool, int, str, type(None)) else _unsure


def _unsure(tree: Any, found: list[torch.Tensor]) -> bool:
    return False


def _container(form: Form, parts: list[Any]) -> Any:
    kind = form.kind
    if issubclass(kind, Mapping):
        return kind(zip(form.keys, parts, strict=True))
    if dataclasses.is_dataclass(kind) or hasattr(kind, "_fields"):
        return kind(**dict(zip(form.keys, parts, strict=True)))
    return kind(parts)


def unflatten(form: Form, leaves: Sequence[Any]) -> Any:
    """The tree of ``form`` with ``leaves`` at the places of its tensors; plain dicts become ``Fields``."""
    return builder(form)(leaves)


def is_row(form: Form) -> bool:
    """Whether the tree is a plain tuple of tensors."""
    return form.kind is tuple and all(part.kind is TENSOR for part in form.parts)


def builder(form: Form) -> Callable[[Sequence[Any]], Any]:
    """A function from leaves to the tree: quick where the tree is one tensor or a plain tuple of them."""
    if form.kind is TENSOR:
        return lambda leaves: leaves[0]
    if is_row(form):
        return tuple

    def build(leaves: Sequence[Any]) -> Any:
        rest = iter(leaves)

        def visit(part: Form) -> Any:
            if part.container:
                return _container(part, [visit(one) for one in part.parts])
            return next(rest) if part.kind is TENSOR else part.kind

        return visit(form)

    return build


def apply(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """The tree of what ``function`` makes of each tensor, and of those at the same place in other trees of the same form."""
    tensors, form = flatten(tree)
    return unflatten(
        form, [function(*row) for row in zip(tensors, *(match(form, other) for other in others), strict=True)]
    )


def difference(wanted: Form, got: Form, path: str = "") -> str:
    """Where two forms differ, as 'batch.mask must be a tensor; got None'; empty when they do not."""
    where = path or "the input"
    if wanted.container != got.container:
        return f"{where} must be {wanted}; got {got}"
    if not wanted.container:
        same = wanted.kind is got.kind or (
            TENSOR not in (wanted.kind, got.kind)
            and type(wanted.kind) is type(got.kind)
            and bool(wanted.kind == got.kind)
        )
        return "" if same else f"{where} must be {wanted.kind!r}, as in the example; got {got.kind!r}"
    if wanted.kind is not got.kind:
        return f"{where} must be a {wanted.kind.__name__}, as in the example; got a {got.kind.__name__}"
    if wanted.keys != got.keys:
        return f"{where} must have {_names(wanted)}, as in the example; got {_names(got)}"
    for key, a, b in zip(wanted.keys, wanted.parts, got.parts, strict=True):
        if found := difference(a, b, join(path, key)):
            return found
    return ""


def _names(form: Form) -> str:
    if form.keys == tuple(range(len(form.keys))):
        return f"{len(form.keys)} items"
    return ", ".join(map(str, form.keys)) or "no entries"


def match(wanted: Form, tree: Any, path: str = "") -> list[torch.Tensor]:
    """The tensors of ``tree``. Raises InputError, with the place, when its form is not ``wanted``."""
    tensors, form = flatten(tree)
    if form != wanted:
        raise InputError(difference(wanted, form, path))
    return tensors


def leaves(wanted: Form, tree: Any) -> list[Any] | None:
    """What stands in ``tree`` where ``wanted`` has its tensors; None when its containers are others."""
    if not wanted.container:
        return [tree] if wanted.kind is TENSOR else []
    found = _entries(tree)
    if found is None or found[0] is not wanted.kind or set(found[1]) != set(wanted.keys):
        return None
    given = dict(zip(found[1], found[2], strict=True))
    parts = [leaves(part, given[key]) for key, part in zip(wanted.keys, wanted.parts, strict=True)]
    return None if None in parts else [leaf for part in parts if part is not None for leaf in part]


_CONTAINERS: dict[str, type] = {"dict": Fields, "tuple": tuple, "list": list}


def form_to_words(form: Form, what: str) -> Any:
    """A form as JSON. Raises InputError for containers and constants that a file cannot name; ``what`` it is the form of."""
    if not form.container:
        if form.kind is TENSOR:
            return {"tensor": True}
        if form.kind is None or isinstance(form.kind, (bool, int, float, str)):
            return {"value": form.kind}
        raise InputError(f"{what} must be made of tensors, numbers and words; got a {type(form.kind).__name__}")
    kind = next((word for word, known in _CONTAINERS.items() if form.kind is known), None)
    if kind is None:
        raise InputError(f"{what} must be made of tuples, lists and dicts; got a {form.kind.__name__}")
    return {"kind": kind, "keys": list(form.keys), "parts": [form_to_words(part, what) for part in form.parts]}


def form_from_words(words: Mapping[str, Any]) -> Form:
    """The reverse of ``form_to_words``. Raises KeyError, TypeError for what is no form."""
    if "kind" in words:
        kind, parts = _CONTAINERS[words["kind"]], tuple(form_from_words(part) for part in words["parts"])
        return Form(kind, tuple(words["keys"]), parts, True)
    return Form(TENSOR) if words.get("tensor") else Form(words["value"])
