"""Buffers of which a call changes some places only, and many calls by one."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

import tritoncnn
from tritoncnn.errors import InputError


class Kept(nn.Module):
    """Some rows, a line of numbers and a counter, which ``change`` does something to."""

    def __init__(self, change: Callable[[Kept, torch.Tensor], object]) -> None:
        super().__init__()
        self.change = change
        self.register_buffer("rows", torch.arange(24.0).reshape(6, 4))
        self.register_buffer("more", torch.arange(24.0).reshape(6, 4) ** 2)
        self.register_buffer("line", torch.arange(9, dtype=torch.uint8))
        self.register_buffer("time", torch.tensor([1]))

    def forward(self, x: torch.Tensor) -> object:
        return self.change(self, x)


def ring(m: Kept, x: torch.Tensor) -> torch.Tensor:
    place = m.time % 5
    old = m.rows[place]
    m.rows.index_copy_(0, place, old * 0.5 + x)
    m.line.index_copy_(0, m.time % 9, m.time.to(torch.uint8))
    m.time.add_(1)
    return old


def columns(m: Kept, x: torch.Tensor) -> torch.Tensor:
    m.rows.index_copy_(1, torch.cat([m.time % 4, (m.time + 2) % 4]), x.reshape(-1)[:2].expand(6, 2))
    m.time.add_(1)
    return x + 1


def moved(m: Kept, x: torch.Tensor) -> torch.Tensor:
    """What is written are views of what is written over, and the place is a counter that goes on."""
    m.rows.index_copy_(0, m.time, m.rows[2:3].clone())
    m.line.index_copy_(0, m.time, m.line[3:4].clone())
    m.time.copy_((m.time + 1) % 5)
    return m.rows.sum(0) + x


def swapped(m: Kept, x: torch.Tensor) -> torch.Tensor:
    """Each of two buffers is written with what the other one held before."""
    line = m.line[:1].clone()
    m.line.index_copy_(0, m.time, m.rows[0, :1].to(torch.uint8))
    m.rows.index_copy_(0, m.time, line.float().expand(1, 4))
    return x * 1.0


def returned(m: Kept, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    m.rows.index_copy_(0, m.time, x)
    m.time.add_(1)
    return m.rows, m.rows * 2


def twice(m: Kept, x: torch.Tensor) -> torch.Tensor:
    m.rows.index_copy_(0, m.time, x)
    m.rows.index_copy_(0, m.time + 1, x * 2)
    return x - 1


def exchanged(m: Kept, x: torch.Tensor) -> torch.Tensor:
    m.rows, m.more = m.more, m.rows
    return m.rows + x


def set_anew(m: Kept, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """What the buffer held before is returned, as it is and seen through a view, and is the content of another one."""
    old = m.rows
    m.rows = m.rows * 0.5 + x
    m.more = old[2:3].expand(6, 4)
    m.rows = m.rows + m.more
    return old, old[1:], m.rows, m.more.sum(0)


def set_and_written(m: Kept, x: torch.Tensor) -> torch.Tensor:
    old = m.rows
    m.rows = torch.ones(6, 4)
    m.rows += old
    old.mul_(2)
    return old


def put_into_the_dict(m: Kept, x: torch.Tensor) -> torch.Tensor:
    m._buffers["rows"] = m.rows * 0.5 + x
    m.register_buffer("more", m.more + m.rows)
    return m.rows * 2


CHANGES = (
    ring, columns, moved, swapped, returned, twice, exchanged, set_anew, set_and_written, put_into_the_dict,
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_buffers_keep_what_eager_torch_keeps_call_by_call_and_by_one_call(change: Callable[..., object]) -> None:
    wanted, ours, at_once = Kept(change), Kept(change), Kept(change)
    x = torch.randn(1, 4, generator=torch.Generator().manual_seed(0))
    model, many = tritoncnn.compile(ours, x), tritoncnn.compile(at_once, x)
    for _ in range(4):
        result, own = wanted(x), model(x)
        torch.testing.assert_close(own, copy.deepcopy(result))
    torch.testing.assert_close(many.repeat(4, x), copy.deepcopy(result))
    for module in (ours, at_once):
        for name, buffer in wanted.named_buffers():
            torch.testing.assert_close(dict(module.named_buffers())[name], buffer, rtol=0.0, atol=0.0)


@pytest.mark.parametrize(("change", "written"), [(ring, 2), (columns, 1), (swapped, 2), (returned, 0)])
def test_places_are_written_in_place_unless_the_new_buffer_is_needed_whole(
    change: Callable[..., object], written: int
) -> None:
    plan = tritoncnn.compile(Kept(change), torch.ones(1, 4)).plan
    assert [call.node.op for call in plan.calls].count("write") == written
    copies = [
        call for call in plan.calls if call.node.op in ("assign", "overwrite") and call.node.result.type.numel > 4
    ]
    assert bool(copies) == (written == 0)


@pytest.mark.parametrize("times", [0, -1, 1.0, True, "2"])
def test_a_number_of_calls_that_is_none_is_refused(times: object) -> None:
    model = tritoncnn.compile(Kept(ring), torch.ones(1, 4))
    with pytest.raises(InputError, match="repeat: times must be a whole number of at least 1; got"):
        model.repeat(times, torch.ones(1, 4))  # type: ignore[arg-type]


def test_random_numbers_that_would_be_the_same_in_each_call_are_refused() -> None:
    model = tritoncnn.compile(nn.Sequential(nn.Dropout()), torch.ones(3))  # in training mode
    model.repeat(1, torch.ones(3))
    with pytest.raises(InputError, match="repeat: Sequential draws random numbers, which would be the same each time"):
        model.repeat(2, torch.ones(3))


@pytest.mark.parametrize("take", [lambda rows: rows[:1], lambda rows: rows.T[:1, :4], lambda rows: rows[5:]])
def test_an_input_in_the_memory_of_a_buffer_that_changes_is_refused(
    take: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    """In torch it changes on the way."""
    module = Kept(twice)
    model = tritoncnn.compile(module, torch.ones(1, 4))
    before = module.rows.clone()
    with pytest.raises(InputError, match=r"input x lies in the memory of a buffer that the call changes; use .clone()"):
        model(take(module.rows))
    assert torch.equal(module.rows, before)
    model(take(module.rows).clone())
