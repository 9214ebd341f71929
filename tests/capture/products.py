"""Products of matrices and of batches of them, for the tests of the capture table: name -> (function, shapes)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

aten = torch.ops.aten
QUERY, KEY = (2, 3, 5, 4), (2, 3, 7, 4)

BATCHES = {
    "bmm": (torch.bmm, ((3, 4, 5), (3, 5, 2))),
    "bmm of turned factors": (lambda a, b: a.transpose(1, 2) @ b.mT, ((3, 5, 4), (3, 2, 5))),
    "matmul of batches": (torch.matmul, ((2, 3, 4, 5), (2, 3, 5, 2))),
    "matmul broadcasts": (torch.matmul, ((2, 1, 4, 5), (3, 5, 2))),
    "matmul of one matrix on the left": (torch.matmul, ((4, 5), (2, 3, 5, 2))),
    "matmul of one matrix on the right": (torch.matmul, ((2, 3, 4, 5), (5, 2))),
    "matmul of a row": (torch.matmul, ((5,), (3, 5, 2))),
    "matmul of a column": (torch.matmul, ((3, 4, 5), (5,))),
    "matmul of a matrix and a column": (torch.matmul, ((4, 5), (5,))),
    "matmul of vectors": (torch.matmul, ((5,), (5,))),
    "matmul of five dims": (torch.matmul, ((2, 1, 2, 3, 4), (1, 3, 2, 4, 1))),
    "bias and relu after a batch": (lambda a, b, c: F.relu(a @ b + c), ((3, 4, 5), (3, 5, 2), (3, 1, 2))),
    "sum beside a batch": (lambda a, b: (a @ b) + b.sum(0), ((3, 5, 5), (3, 5, 2))),
    "mv": (torch.mv, ((4, 5), (5,))),
    "dot": (torch.dot, ((5,), (5,))),
    "vdot": (torch.vdot, ((5,), (5,))),
    "baddbmm": (lambda c, a, b: torch.baddbmm(c, a, b, beta=0.5, alpha=2), ((4, 1), (3, 4, 5), (3, 5, 2))),
    "baddbmm without its first": (lambda c, a, b: torch.baddbmm(c, a, b, beta=0) + c, ((1,), (3, 4, 5), (3, 5, 2))),
    "addmv": (lambda c, a, b: torch.addmv(c, a, b, alpha=2), ((4,), (4, 5), (5,))),
    "addbmm": (lambda c, a, b: torch.addbmm(c, a, b, beta=3), ((4, 2), (3, 4, 5), (3, 5, 2))),
}

ATTENTION = {
    "attention": (F.scaled_dot_product_attention, (QUERY, KEY, (2, 3, 7, 6))),
    "attention of one picture": (F.scaled_dot_product_attention, (QUERY[2:], KEY[2:], KEY[2:])),
    "attention with a scale": (lambda q, k: F.scaled_dot_product_attention(q, k, k, scale=0.25), (QUERY, KEY)),
    "causal attention": (lambda q, k: F.scaled_dot_product_attention(q, k, k, is_causal=True), (QUERY, KEY)),
    "attention with numbers as mask": (
        lambda q, k, m: F.scaled_dot_product_attention(q, k, k, attn_mask=m), (QUERY, KEY, (3, 5, 7))
    ),
    "attention with a mask": (
        lambda q, k, m: F.scaled_dot_product_attention(q, k, k, attn_mask=m > 0) + m.sum(), (QUERY, KEY, (5, 7))
    ),
    "attention with rows that see nothing": (
        lambda q, k, m: F.scaled_dot_product_attention(q, k, k, attn_mask=m > 99) + m.sum(),
        (QUERY, KEY, (5, 1)),
    ),
    "attention of grouped heads": (
        lambda q, k: F.scaled_dot_product_attention(q, k, k, enable_gqa=True), ((2, 4, 5, 3), (2, 2, 7, 3))
    ),
}  # fmt: skip

PRODUCTS = BATCHES | ATTENTION
