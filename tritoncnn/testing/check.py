"""One call tests a kernel: check_kernel(kernel, reference, problems)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Flaky
from hypothesis.strategies import SearchStrategy

from tritoncnn.errors import InputError, KernelBug

from .laws import LAWS, Law
from .oracle import differences, error_bound
from .problems import FILL, Problem, as_held
from .runs import FIRST, Bench, Signature, check_problem
from .worker import Kernel, Worker, name_of

Reference = Callable[..., Any]


def check_kernel(
    kernel: Kernel,
    reference: Reference | None,
    problems: SearchStrategy[Any],
    *,
    magnitude: Reference | None = None,
    exact: bool | None = None,
    laws: Sequence[str | Law] = (),
    deterministic: bool = True,
    threads: int = 2,
    max_examples: int = 100,
    shrink: bool = True,
    derandomize: bool = True,
    timeout: float = 60.0,
) -> None:
    """Run a kernel on many problems and compare it with its reference. Raises KernelBug for the smallest failure found.

    kernel       kernel(*outputs, *inputs, problem): writes every element of the outputs, which the kit allocates; it
                 launches Triton kernels as ever, ``my_kernel[grid](...)``, on CPU tensors.
    reference    reference(*inputs, problem) -> the outputs, from and in fp64; None: the problem's own.
    problems     a strategy of problems, such as convs().
    magnitude    like reference: what each output adds up, in absolute values; None: the problem's own. Only needed for
                 floats, where the allowed error is that of ``problem.terms()`` such terms in f32.
    exact        True: every output must be the reference rounded once, to the last bit; None: the problem knows.
    laws         names of ``LAWS``, or functions of your own: what must hold between several runs.
    threads      how many threads must give the same bits as one, if ``deterministic``.

    Raises InputError for arguments that make no test.
    """
    check_arguments([kernel], problems, max_examples, timeout)
    if not (reference is None or callable(reference)):
        raise InputError(f"reference must be a function of the inputs and the problem, or None; got {reference!r}")
    if threads < 1:
        raise InputError(f"threads must be 1 or more; got {threads}")
    name = name_of(kernel)
    found = [LAWS[law] if isinstance(law, str) and law in LAWS else law for law in laws]
    if wrong := [law for law in found if isinstance(law, str)]:
        raise InputError(f"laws must be of {', '.join(LAWS)}, or functions; got {wrong[0]!r}")
    with Worker([kernel], timeout) as worker:
        bench = Bench(worker, threads, deterministic)

        def one(problem: Any) -> None:
            check_problem(problem)
            inputs = problem.fill()
            outputs = bench.checked(0, problem, inputs)
            compare(name, problem, inputs, outputs, reference, magnitude, exact)
            for law in found:
                assert not isinstance(law, str)
                if complaint := law(lambda p, *x: bench.once(0, p, x, FIRST), problem):
                    raise KernelBug(f"{name} breaks a law: {complaint}")

        search(one, problems, max_examples, shrink, derandomize)


def compare(
    name: str,
    problem: Any,
    inputs: Sequence[torch.Tensor],
    outputs: Sequence[torch.Tensor],
    reference: Reference | None,
    magnitude: Reference | None,
    exact: bool | None,
) -> None:
    """Raises KernelBug at the first output that is further from the reference than it may be."""
    if reference is None and type(problem).reference is Problem.reference:
        raise InputError(
            f"{type(problem).__name__} has no reference of its own; hand in a function of (*inputs, problem)"
        )
    wanted = _several(reference(*inputs, problem) if reference else problem.reference(*inputs))
    if other := [x for x in wanted if not isinstance(x, torch.Tensor)]:
        raise InputError(f"the reference must give tensors, one per output; got {type(other[0]).__name__}")
    if [x.shape for x in wanted] != [x.shape for x in outputs]:
        shapes = ", ".join(str(list(x.shape)) for x in wanted), ", ".join(str(list(x.shape)) for x in outputs)
        raise InputError(f"the reference must give shapes {shapes[1]}, the problem's; got {shapes[0]}")
    bounds: Sequence[torch.Tensor | None] = [None] * len(wanted)
    if not (problem.is_exact() if exact is None else exact):
        sizes = _several(magnitude(*inputs, problem) if magnitude else problem.magnitude(*inputs))
        bounds = [
            error_bound(w, m, problem.terms(), y.dtype) if y.is_floating_point() else None  # whole numbers are exact
            for w, m, y in zip(wanted, sizes, outputs, strict=True)
        ]
    for label, y, right, bound in zip(problem.names[len(inputs) :], outputs, wanted, bounds, strict=True):
        wrong = differences(y, right, bound)
        if bool(wrong.any()):
            raise KernelBug(f"{name}: {_difference(label, y, right, bound, wrong)}")


def _difference(
    label: str, y: torch.Tensor, wanted: torch.Tensor, bound: torch.Tensor | None, wrong: torch.Tensor
) -> str:
    at = tuple(wrong.nonzero()[0].tolist())
    right, allowed = wanted[at].item(), "exactly" if bound is None else f"within {bound[at].item():.3g}"
    right = wanted.to(y.dtype)[at].item() if bound is None else right
    count = f"{int(wrong.sum())} of {wrong.numel()} are wrong"
    return f"{label}{list(at)} is {y[at].item():.9g}, wanted {right:.9g} {allowed}; {count}"


def check_adjoint(
    forward: Kernel,
    backward: Kernel,
    problems: SearchStrategy[Any],
    wrt: int = 0,
    *,
    max_examples: int = 100,
    shrink: bool = True,
    derandomize: bool = True,
    timeout: float = 60.0,
) -> None:
    """<forward(x, w), dy> = <x, backward(dy, w)> for a forward that is linear in its input number ``wrt``.

    forward(y, x, w, problem) and backward(dx, dy, w, problem) or, with wrt=1, backward(dw, dy, x, problem): both get the
    forward's problem. Needs no reference. Raises KernelBug for the smallest failure found.
    """
    check_arguments([forward, backward], problems, max_examples, timeout)
    with Worker([forward, backward], timeout) as worker:
        bench = Bench(worker)

        def one(problem: Any) -> None:
            check_problem(problem)
            (y_type,) = problem.outputs
            inputs = problem.fill()
            dy = as_held(FILL[problem.values](y_type.shape, problem.seed + len(inputs)), y_type)
            others = [i for i in range(len(inputs)) if i != wrt]
            x_type = problem.inputs[wrt].packed()  # the gradient of a repeated element has memory of its own
            turned = Signature(
                ("dy", *(problem.names[i] for i in others), f"d{problem.names[wrt]}"),
                (y_type, *(problem.inputs[i] for i in others)),
                (x_type,),
            )
            (y,) = bench.once(0, problem, inputs, FIRST)
            (dx,) = bench.once(1, problem, [dy, *(inputs[i] for i in others)], FIRST, turned)
            left, right = (y.double() * dy).sum(), (dx.double() * inputs[wrt]).sum()
            size = (problem.magnitude(*inputs) * dy.abs()).sum()
            bound = 2 * error_bound(size, size, problem.terms() + y.numel(), y.dtype)
            if not bool((left - right).abs() <= bound):
                raise KernelBug(
                    f"{name_of(backward)} is not the adjoint of {name_of(forward)}: <y, dy> = {left.item():.9g}, "
                    f"<{problem.names[wrt]}, gradient> = {right.item():.9g}"
                )

        search(one, problems.filter(lambda p: p.values != "special"), max_examples, shrink, derandomize)


def check_arguments(kernels: Sequence[Any], problems: Any, max_examples: int, timeout: float) -> None:
    """Raises InputError for what is no kernel, no strategy, or no number of examples or seconds."""
    for kernel in kernels:
        if not callable(kernel):
            raise InputError(f"a kernel must be a function of the outputs, the inputs and the problem; got {kernel!r}")
    if not isinstance(problems, SearchStrategy):
        raise InputError(
            f"problems must be a strategy, such as convs() or hypothesis.strategies.just(problem); got {problems!r}"
        )
    if max_examples < 1 or not timeout > 0:
        raise InputError(f"max_examples and timeout must be above 0; got {max_examples} and {timeout:g}")


def search(
    one: Callable[[Any], None], problems: SearchStrategy[Any], max_examples: int, shrink: bool, derandomize: bool
) -> None:
    """Try the problems; the smallest that fails is named in the error."""
    last: list[KernelBug] = []

    def named(problem: Any) -> None:
        try:
            one(problem)
        except KernelBug as bug:
            last[:] = [KernelBug(f"{bug}\n  for {problem!r}")]
            raise last[0] from None

    phases = [Phase.explicit, Phase.generate, *([Phase.shrink] if shrink else [])]
    chosen = settings(
        max_examples=max_examples,
        deadline=None,
        derandomize=derandomize,
        database=None,
        phases=phases,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # to wake a second thread costs more than the work of these references
    try:
        chosen(given(problems)(named))()
    except KernelBug as bug:
        raise KernelBug(str(bug)) from None  # without hypothesis's own, longer account of the problem
    except Flaky:  # it failed once, not twice
        if not last:
            raise
        raise KernelBug(f"{last[0]}\n  but not at every run of this problem") from None
    finally:
        torch.set_num_threads(before)


def _several(results: Any) -> tuple[torch.Tensor, ...]:
    return tuple(results) if isinstance(results, (tuple, list)) else (results,)
