"""What an op is, and how it is called.

An ``OpDef`` holds all the compiler knows of one op. Calling it does the right thing for what it is given: on torch
tensors it runs the reference, on ``Sym`` (a value of a graph under construction) it adds a node. So gradients are
written once, as plain formulas, and tests run them on tensors while autodiff runs them on graphs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from tritoncnn.errors import GraphError
from tritoncnn.ir import DTYPES, FLOATS, Attr, Node, Rewriter, TensorType, Value, parse_expr
from tritoncnn.kernels.launch import Launch
from tritoncnn.kernels.target import Target

TORCH_DTYPE: dict[str, torch.dtype] = {name: getattr(torch, row.torch) for name, row in DTYPES.items()}
IR_DTYPE = {dtype: name for name, dtype in TORCH_DTYPE.items()}

SLOTS = ("epilogue", "prologue")  # attributes that hold an expression over a kernel's result, or over its first operand

Types = TensorType | tuple[TensorType, ...]


@dataclass(frozen=True)
class Table:
    """A small constant array, row-major: indices, weights."""

    type: TensorType
    numbers: tuple[float, ...]


@dataclass(frozen=True)
class Lowering:
    """Kernel launches that compute one node, in order.

    steps       (launch, refs): refs say which tensor is behind each of the launch's operands: ``r0`` the node's first result,
                ``o1`` its second operand, ``w0`` the first workspace, ``t0`` the first table; ``r0+6`` from its element 6 on.
    workspaces  types of temporary tensors.
    tables      arrays that the kernels read.
    """

    steps: tuple[tuple[Launch, tuple[str, ...]], ...]
    workspaces: tuple[TensorType, ...] = ()
    tables: tuple[Table, ...] = ()


InPanels = tuple[int, tuple[int, ...], Mapping[str, Attr]]  # column dim, row dims, what the attrs become


@dataclass(frozen=True)
class OpDef:
    """All that is known of one op.

    infer      (*operand types, **attrs) -> result type(s), row-major; raises ShapeError or DTypeError
    reference  (*tensors, **attrs) -> tensor(s): what the op means, in plain torch
    grad       (dy, y, *operands, **attrs) -> one gradient (or None) per operand, for a dy of the first result; y is the
               result, or the tuple of results
    lower      (node, target) -> Lowering, for ops that have a kernel; the types carry memory strides
    compose    (*operands, **attrs) -> results as formulas over other ops, for ops without a kernel: gradients are written for
               the whole, kernels are made of the parts
    triton     a pointwise op's Triton expression, such as ``{0} + {1}``; such ops broadcast as in torch and are fused
    view       (operand type, **attrs) -> type of the result in the operand's memory, or None when it needs a copy
    arity      how many operands come before those of a fused epilogue; -1: any number, none fused
    epilogue   the kernel has an epilogue slot
    prologue   the kernel has a slot on the loads of its first operand
    number     (**attrs) -> the numbers of an op without operands, whose result the plan keeps in memory
    packs      operands lie side by side in the result's memory, at ``offsets``; the plan lets their producers write there
    parts      (result, operands, **attrs) -> (type, first element) of each operand's part of the result; None where it has none
    copies     the operand in the memory ``order`` given
    expression computes the expression ``expr`` of its operands, element by element
    cheap      a pointwise op that costs no more than an addition: rather made again than kept
    again      rather made again in a backward pass than kept for it
    side_sum   (operand types) -> (attribute, dims) of the sum over operand 1 that the kernel can take along, or None
    reduces    "sum", "mean" or "max": takes the ``dims`` of its only operand away, and may have an expression of several instead
    orders     memory order of a result of rank n, where it is not row-major
    follows    results lie in the memory order of the first operand
    idle       (operand type, **attrs) -> whether the view is the operand itself
    joined     (attrs of a view, attrs of the same op behind it) -> attrs of one for both
    stretches  repeats dims of size 1 as broadcasting does
    offset     a view's first element in the operand's memory: (operand type, **attrs) -> elements; not given: 0
    reshapes   a view of all elements, in their row-major order
    promises   a view that says which numbers its operand must hold: ``low`` to below ``high``, or ``but``
    before     a view's way back: (operand type, order, **attrs) -> memory order of a dense operand whose view lies in
               ``order``, or None when there is none
    wants      memory order, by rank, of operand i that the kernel needs to be fast
    stored     memory order, by rank, in which a parameter that is operand i is best kept, where the kernel takes any
    any_strides the kernel writes a first result into a part of another tensor
    any_order  the kernel writes a first result of any strides as well as the usual ones
    suits      (i, operand types, attrs, target) -> whether operand i, which is wanted otherwise, had better stay as it lies
    scaled     (s, *operands, **attrs) -> operands whose result has channel c times s[c], by a formula over operands but the first
    panelled   (operand types, attrs) -> how operand 1 is read in panels (``kernels/panels.py``): the dim that counts its columns,
               its other dims as rows, outermost first, and what the attrs become; None where it is not
    channel    dim of the result that counts its channels
    whole      holds every whole number of its operand as it is, a cast to a wider dtype
    within     name of the op that does the same within the memory of operand 0, whose readers must come before it
    inplace    (result, operand) pairs that share memory, of all results that a node can have
    samples    (operand specs, attrs) for the tests that all ops share; a spec is a shape (random floats), (dtype, shape),
               ("positive", shape), or (integer dtype, shape, end[, start]): numbers from start (0) to below end
    """

    name: str
    infer: Callable[..., Types]
    reference: Callable[..., Any]
    grad: Callable[..., tuple[Any, ...]] | None = None
    lower: Callable[[Node, Target], Lowering] | None = None
    compose: Callable[..., Any] | None = None
    triton: str = ""
    view: Callable[..., TensorType | None] | None = None
    arity: int = 1
    epilogue: bool = False
    prologue: bool = False
    number: Callable[..., tuple[float, ...]] | None = None
    packs: bool = False
    parts: Callable[..., Sequence[tuple[TensorType, int] | None]] | None = None
    copies: bool = False
    expression: bool = False
    cheap: bool = False
    again: bool = False
    side_sum: Callable[[tuple[TensorType, ...]], tuple[str, tuple[int, ...]] | None] | None = None
    reduces: str = ""
    orders: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    follows: bool = False
    idle: Callable[..., bool] | None = None
    joined: Callable[[Mapping[str, Attr], Mapping[str, Attr]], Mapping[str, Attr]] | None = None
    stretches: bool = False
    offset: Callable[..., int] | None = None
    reshapes: bool = False
    promises: bool = False
    before: Callable[..., tuple[int, ...] | None] | None = None
    wants: Mapping[int, Mapping[int, tuple[int, ...]]] = field(default_factory=dict)
    stored: Mapping[int, Mapping[int, tuple[int, ...]]] = field(default_factory=dict)
    any_strides: bool = False
    any_order: bool = False
    suits: Callable[[int, tuple[TensorType, ...], Mapping[str, Attr], Target], bool] | None = None
    scaled: Callable[..., tuple[Any, ...]] | None = None
    panelled: Callable[[tuple[TensorType, ...], Mapping[str, Attr]], InPanels | None] | None = None
    channel: int = 1
    whole: bool = False
    within: str = ""
    inplace: tuple[tuple[int, int], ...] = ()
    samples: tuple[Any, ...] = ()

    def __call__(self, *operands: Any, **attrs: Attr) -> Any:
        """Run the reference on tensors, or add a node when an operand is a Sym; numbers become constants."""
        graph = next((x.graph for x in operands if isinstance(x, Sym)), None)
        if graph is None:
            return self.reference(*operands, **attrs)
        dtype = max((x.dtype for x in operands if isinstance(x, Sym)), key=lambda name: (name != "i1", name[0] == "f"))
        values = tuple(x.value if isinstance(x, Sym) else constant(graph, x, dtype) for x in operands)
        results = emit(graph, self, values, attrs, graph.source)
        syms = tuple(Sym(graph, value) for value in results)
        return syms[0] if len(syms) == 1 else syms


OPS: dict[str, OpDef] = {}  # every op by its name; the package fills it, from the files in it


def inplace_of(node: Node) -> tuple[tuple[int, int], ...]:
    """(result, operand) pairs of a node that share memory."""
    return tuple(pair for pair in OPS[node.op].inplace if pair[0] < len(node.results))


def types_tuple(types: Types) -> tuple[TensorType, ...]:
    return types if isinstance(types, tuple) else (types,)


def emit(
    graph: Rewriter, op: OpDef, operands: tuple[Value, ...], attrs: Mapping[str, Attr], source: str = ""
) -> tuple[Value, ...]:
    """Add a node of ``op``; its result types follow from the shape rule."""
    types = types_tuple(op.infer(*(v.type for v in operands), **attrs))
    return graph.add(op.name, operands, types, attrs, source)


def constant(graph: Rewriter, number: float, dtype: str) -> Value:
    """A number as a node; whole numbers wrap. Raises GraphError for another one where ``dtype`` holds whole numbers."""
    if dtype not in FLOATS and number != int(number):
        raise GraphError(f"a constant of {dtype} must be a whole number; got {number}")
    value = float(number) if dtype in FLOATS else torch.tensor(int(number)).to(TORCH_DTYPE[dtype]).item()
    (found,) = graph.add("const", (), (TensorType.dense(dtype, ()),), {"value": value, "dtype": dtype})
    return found


def dtype_of(x: Any) -> str:
    """The IR's name of the dtype of a tensor or a Sym."""
    return IR_DTYPE[x.dtype] if isinstance(x, torch.Tensor) else x.dtype


def is_float(x: Any) -> bool:
    """Whether a tensor or a Sym holds floats, and so can have a gradient."""
    return dtype_of(x) in FLOATS


def op_named(name: str) -> OpDef:
    return OPS[name]


@dataclass(frozen=True)
class Sym:
    """A value of a graph under construction, with the operators that gradients need."""

    graph: Rewriter
    value: Value

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.type.shape

    @property
    def dtype(self) -> str:
        return self.value.type.dtype

    def __add__(self, other: Any) -> Any:
        return op_named("add")(self, other)

    def __sub__(self, other: Any) -> Any:
        return op_named("sub")(self, other)

    def __mul__(self, other: Any) -> Any:
        return op_named("mul")(self, other)

    def __truediv__(self, other: Any) -> Any:
        return op_named("div")(self, other)

    def __gt__(self, other: Any) -> Any:
        return op_named("gt")(self, other)

    def __lt__(self, other: Any) -> Any:
        return op_named("lt")(self, other)

    def __neg__(self) -> Any:
        return op_named("neg")(self)

    def __radd__(self, other: Any) -> Any:
        return op_named("add")(self, other)

    def __rmul__(self, other: Any) -> Any:
        return op_named("mul")(self, other)

    def __rsub__(self, other: Any) -> Any:
        return op_named("add")(op_named("neg")(self), other)

    def __rtruediv__(self, other: Any) -> Any:
        return op_named("mul")(op_named("reciprocal")(self), other)


def sum_to(x: Any, shape: tuple[int, ...]) -> Any:
    """The gradient of broadcasting: sum ``x`` over the dims along which ``shape`` was stretched."""
    lead = len(x.shape) - len(shape)
    dims = tuple(d for d in range(len(x.shape)) if d < lead or shape[d - lead] == 1)
    if any(d < lead or x.shape[d] != 1 for d in dims):  # dims of size 1 join: one form for any number of pictures
        x = op_named("sum")(x, dims=dims)
    return x if tuple(x.shape) == tuple(shape) else op_named("reshape")(x, shape=tuple(shape))


def broadcast_shape(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """torch's broadcasting rule. Raises GraphError when sizes differ and none is 1.

    Not ``torch.broadcast_shapes``: that loads sympy, which a saved model needs for nothing else.
    """
    found: list[int] = []
    for sizes in itertools.zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1):
        others = {size for size in sizes if size != 1}
        if len(others) > 1:
            raise GraphError(f"shapes {', '.join(map(str, map(list, shapes)))} do not broadcast together")
        found.append(others.pop() if others else 1)
    return tuple(reversed(found))


def pointwise(name: str, triton: str, reference: Callable[..., Any], grad: Callable[..., Any] | None, arity: int = 1,
              dtype: str = "", samples: tuple[Any, ...] = (), cheap: bool = False) -> OpDef:  # fmt: skip
    """A pointwise op. ``dtype`` is the result's where it is not the operands' common one."""

    def infer(*types: TensorType) -> TensorType:
        if len(types) != arity:
            raise GraphError(f"{name} takes {arity} operands; got {len(types)}")
        compared = types[1:] if name == "where" else types
        if len({t.dtype for t in compared}) != 1:
            raise GraphError(f"{name}: operands must have one dtype; got {', '.join(t.dtype for t in compared)}")
        return TensorType.dense(dtype or compared[0].dtype, broadcast_shape(*(t.shape for t in types)))

    if not samples:
        shapes: dict[int, list[Any]] = {
            1: [((2, 3, 5, 7),), ((0, 3, 4, 4),), ((1,),)],
            2: [
                ((2, 3, 5, 7), (2, 3, 5, 7)),
                ((2, 3, 5, 7), (1, 3, 1, 1)),
                ((4, 1), (1, 5)),
                ((0, 3), (3,)),
                ((2,), ()),
            ],
        }
        samples = tuple((operands, {}) for operands in shapes.get(arity, []))
    return OpDef(name, infer, reference, grad, triton=triton, arity=arity, cheap=cheap, samples=samples)


def check_node(node: Node) -> None:
    """The verifier's rule: the op exists, and its result types are what the shape rule says (in any memory order)."""
    op = OPS.get(node.op)
    if op is None:
        raise GraphError(f"there is no op {node.op!r}")
    base = node.operands if op.arity < 0 or "expr" in node.attrs else node.operands[: op.arity]
    attrs = {key: value for key, value in node.attrs.items() if key not in SLOTS}
    wanted = types_tuple(op.infer(*(v.type for v in base), **attrs))
    got = tuple(v.type for v in node.results)
    if [(t.dtype, t.shape) for t in wanted] != [(t.dtype, t.shape) for t in got]:
        raise GraphError(f"results must be {', '.join(map(str, wanted))}; they are {', '.join(map(str, got))}")
    slots = [str(node.attrs[key]) for key in SLOTS if key in node.attrs]
    if slots:
        if not op.epilogue:
            raise GraphError(f"{op.name} has no epilogue slot")
        leaves = (leaf for text in slots for leaf in parse_expr(text).leaves())
        used = {leaf.operand for leaf in leaves if leaf.operand is not None}
        if used != set(range(len(node.operands) - op.arity)):
            raise GraphError(
                f"what is fused, {', '.join(slots)}, does not use the {len(node.operands) - op.arity} operands it has"
            )
