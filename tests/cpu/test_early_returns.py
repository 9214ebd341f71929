"""Functions with early returns: what their blocks hand on to each other, and the order of their loads and stores."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl

from tritoncnn import cpu

from . import harness

LANES = (16, 8, 4)


@triton.jit
def cross_entropy_kernel(X, L, n, ignore, BLOCK: tl.constexpr):
    """Turn each row of logits into its gradient, in place; rows whose label is ``ignore`` become 0."""
    pid = tl.program_id(0)
    label = tl.load(L + pid)
    X += pid * n
    if label == ignore:
        for i in range(0, n, BLOCK):
            offs = i + tl.arange(0, BLOCK)
            tl.store(X + offs, 0.0, mask=offs < n)
        return
    top, total = float("-inf"), 0.0
    for i in range(0, n, BLOCK):
        offs = i + tl.arange(0, BLOCK)
        x = tl.load(X + offs, mask=offs < n, other=float("-inf"))
        higher = tl.maximum(top, tl.max(x))
        total = total * tl.exp(top - higher) + tl.sum(tl.exp(x - higher))
        top = higher
    for i in range(0, n, BLOCK):
        offs = i + tl.arange(0, BLOCK)
        x = tl.load(X + offs, mask=offs < n, other=float("-inf"))
        p = tl.exp(x - top) / total
        tl.store(X + offs, tl.where(offs == label, p - 1, p), mask=offs < n)


@pytest.mark.parametrize("block", [16, 64, 256])
@pytest.mark.parametrize("lanes", LANES)
def test_a_row_may_be_blanked_instead_of_changed_in_place(lanes: int, block: int) -> None:
    x, labels = torch.randn(4, 100), torch.tensor([1, -100, 99, -100], dtype=torch.int32)
    leaf = x.clone().requires_grad_()
    torch.nn.functional.cross_entropy(leaf, labels.long(), reduction="sum").backward()
    harness.run(cross_entropy_kernel, (4,), {"X": x, "L": labels, "n": 100, "ignore": -100}, lanes, BLOCK=block)
    torch.testing.assert_close(x, leaf.grad, rtol=1e-5, atol=1e-6)


@triton.jit
def blank_or_double_kernel(X, L, n, BLOCK: tl.constexpr):
    pid = tl.program_id(0)
    offs = tl.arange(0, BLOCK)
    P = X + pid * n
    if tl.load(L + pid) < 0:
        tl.store(P + offs, 0.0, mask=offs < n)
        return
    for i in range(0, n, BLOCK):
        x = tl.load(P + i + offs, mask=i + offs < n, other=0.0)
        tl.store(P + i + offs, x * 2 + 1, mask=i + offs < n)


@pytest.mark.parametrize("block", [16, 64])
@pytest.mark.parametrize("lanes", LANES)
def test_a_returning_store_leaves_the_loop_behind_it_alone(lanes: int, block: int) -> None:
    x, labels = torch.randn(4, block), torch.tensor([0, -1, 5, -1], dtype=torch.int32)
    expected = torch.where(labels[:, None] < 0, torch.tensor(0.0), x * 2 + 1)
    harness.run(blank_or_double_kernel, (4,), {"X": x, "L": labels, "n": block}, lanes, BLOCK=block)
    assert torch.equal(x, expected)


@triton.jit
def stages_kernel(X, Y, F, BLOCK: tl.constexpr):
    """Each block reads tensors of the ones before it, made in several ways."""
    pid = tl.program_id(0)
    offs = pid * BLOCK + tl.arange(0, BLOCK)
    if tl.load(F + pid) == 0:
        return
    x = tl.load(X + offs)
    sums = tl.cumsum(x, 0)
    total = x
    for i in range(pid):
        total += i
    tl.store(X + offs, x + 1)
    if tl.load(F + pid) == 1:
        return
    tl.store(Y + offs, x)
    tl.store(Y + 4 * BLOCK + offs, sums)
    if tl.load(F + pid) == 2:
        tl.store(Y + offs, sums * 2)
        return
    for _ in range(2):
        tl.store(X + offs, tl.load(X + offs) * 2 + x)
    tl.store(Y + 4 * BLOCK + offs, sums - total)


@pytest.mark.parametrize("lanes", LANES)
def test_later_blocks_read_what_earlier_ones_have_made(lanes: int) -> None:
    start = torch.randint(-8, 9, (4, 16)).float()
    x, y, flags = start.clone(), torch.zeros(2, 4, 16), torch.tensor([0, 1, 2, 3], dtype=torch.int32)
    harness.run(stages_kernel, (4,), {"X": x, "Y": y, "F": flags}, lanes, BLOCK=16)
    expected_x, expected_y, sums = start.clone(), torch.zeros(2, 4, 16), start.cumsum(1)
    expected_x[1:] += 1
    expected_y[0, 2], expected_y[1, 2] = 2 * sums[2], sums[2]
    expected_x[3] = (expected_x[3] * 2 + start[3]) * 2 + start[3]
    expected_y[0, 3], expected_y[1, 3] = start[3], sums[3] - (start[3] + 3)
    assert torch.equal(x, expected_x)
    assert torch.equal(y, expected_y)


@triton.jit
def diamond_kernel(X, Y, F, BLOCK: tl.constexpr):
    """x is loaded in one block, overwritten in a second that is not always passed, and stored in a third."""
    pid = tl.program_id(0)
    flag = tl.load(F + pid)
    offs = pid * BLOCK + tl.arange(0, BLOCK)
    if flag == 0:
        return
    x = tl.load(X + offs)
    if flag > 1:
        tl.store(X + offs, x * 0)
        if flag > 2:
            return
    tl.store(Y + offs, x)


@pytest.mark.parametrize("lanes", LANES)
def test_a_load_is_not_read_again_behind_a_store_of_another_path(lanes: int) -> None:
    start = torch.randn(4, 16)
    x, y, flags = start.clone(), torch.zeros(4, 16), torch.tensor([0, 1, 2, 3], dtype=torch.int32)
    harness.run(diamond_kernel, (4,), {"X": x, "Y": y, "F": flags}, lanes, BLOCK=16)
    kept, written = torch.tensor([1, 1, 0, 0]), torch.tensor([0, 1, 1, 0])
    assert torch.equal(x, start * kept[:, None])
    assert torch.equal(y, start * written[:, None])


@triton.jit
def products_kernel(C, A, n, BLOCK: tl.constexpr):
    pid = tl.program_id(0)
    i, j = tl.arange(0, BLOCK)[:, None], tl.arange(0, BLOCK)[None, :]
    if pid >= n:
        return
    a = tl.load(A + i * BLOCK + j)
    product = tl.dot(a, a)
    if pid == 1:
        tl.store(C + pid * BLOCK * BLOCK + i * BLOCK + j, product)
        return
    tl.store(C + pid * BLOCK * BLOCK + i * BLOCK + j, tl.dot(product, a))


def test_products_go_from_block_to_block() -> None:
    a, c = torch.randint(-3, 4, (16, 16)).float(), torch.zeros(3, 16, 16)
    with cpu.active():
        products_kernel[(3,)](c, a, 2, BLOCK=16)
    assert torch.equal(c, torch.stack([a @ a @ a, a @ a, torch.zeros(16, 16)]))
